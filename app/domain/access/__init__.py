"""Grants to people, and the sessions of browsers."""
