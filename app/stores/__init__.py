"""Shared volatile state behind narrow protocols. Law: memory and Redis pass one contract suite; the URL chooses."""
