"""Tenants: organisations and their teams, with the policies that sit on them."""
