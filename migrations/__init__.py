"""The schema's history, as Alembic revisions. Law: expand only; nothing goes that the last release still uses."""

HEAD = "0012"
"""The newest revision. It stands here so that a start need not import Alembic; a test holds it to the history."""
