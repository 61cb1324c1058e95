"""Whether a JSON document is valid under a schema. Law: pure; what one validation may cost is bounded."""

from typing import Any

from app.fanout.keywords import KEYWORDS
from app.fanout.patterns import Allowance, TooSlow
from app.fanout.schemas import Schema
from app.fanout.trial import TooCostly, Trial


def is_valid(document: Any, schema: Schema, *, allowance: Allowance) -> bool:
    """Whether a document, as `documents.read` returns it, is valid; it is not if that costs too much to find out."""
    trial = Trial(schema, keywords=KEYWORDS, allowance=allowance)
    try:
        return trial.check(schema.root, document) is not None
    except (TooCostly, TooSlow, RecursionError):
        return False
