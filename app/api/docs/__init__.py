"""The documentation that a plane shows of itself: a page, its files, and the document that it shows."""

from app.api.docs.page import docs_handlers

__all__ = ["docs_handlers"]
