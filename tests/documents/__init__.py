"""What the tests know of OpenAPI documents: whether a document holds together, and whether an answer is as it says."""

from documents.openapi import check_answer, check_document, check_request, examples_of

__all__ = ["check_answer", "check_document", "check_request", "examples_of"]
