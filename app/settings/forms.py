"""How a setting is written in the file where that differs from how it is kept in the tree.

Each form is an annotation that three readers share: the loader (what to accept), the JSON schema (what editors accept)
and the configuration reference (what to print). Law: data only; `app.settings.reading` acts on it.
"""

from typing import Annotated, Any

import msgspec

from providers.types import Secret

_USD_PATTERN = r"^[0-9]+(\.[0-9]{1,9})?$"
_COUNT_OR_USD = {"type": ["integer", "string"]}

Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
"""A duration, at most a day."""

Usd = Annotated[
    int,
    msgspec.Meta(extra={"kind": "usd"}, extra_json_schema={"type": "string", "pattern": _USD_PATTERN}),
]
"""Nano-USD; written as a decimal string of USD."""

Quantity = Annotated[int, msgspec.Meta(extra={"kind": "quantity"}, extra_json_schema=_COUNT_OR_USD)]
"""A count, or nano-USD where the sibling `dimension` is `cost` (then written as a decimal string of USD)."""

HeaderValue = Annotated[Secret, msgspec.Meta(extra={"kind": "header"}, extra_json_schema={"type": "string"})]
"""Text that may be a secret: `env:NAME`, `file:/path`, or the text itself; never shown."""


def derived() -> msgspec.Meta:
    """Mark a field that is no key of the file: the loader fills it in."""
    return msgspec.Meta(extra={"kind": "derived"})


def off_or(description: str, **kwargs: Any) -> msgspec.Meta:
    """Mark a field whose absence is also written `false`."""
    return msgspec.Meta(description=description, extra={"off": True}, **kwargs)


def list_as(key: str, *, description: str, **kwargs: Any) -> msgspec.Meta:
    """Mark an object that a list stands for: the list becomes its field `key`."""
    return msgspec.Meta(description=description, extra={"list_as": key}, **kwargs)


def word_as_empty(word: str, *, description: str, **kwargs: Any) -> msgspec.Meta:
    """Mark an object that one word stands for: the word is the object with every field at its default."""
    return msgspec.Meta(description=description, extra={"word": word}, **kwargs)
