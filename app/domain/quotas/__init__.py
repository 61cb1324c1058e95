"""Quotas: the limits and budgets that sit on organisations, teams and keys, and what of them is used."""
