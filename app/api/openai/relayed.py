"""What the paths have in common that only OpenAI's wire has words for: their answers are passed on, never made."""

from collections.abc import Mapping
from typing import Any

from app.api.openai.shapes import Rule, check_fields, wrong
from app.pipeline.operation import Operation
from app.routing.vocabulary import Vocabulary


def _no_prefix(document: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Put nothing: instructions are for conversations."""
    del document, prefix
    return {}


_VOCABULARY = Vocabulary(caps=(), choices=(), system_prefix=_no_prefix)


def relayed_operation(name: str, *, relay: str, endpoint: str, generates: bool) -> Operation:
    """Return an operation that is relayed or not served at all; `generates` is whether its answer is made of tokens."""
    return Operation(
        name=name, relay=relay, endpoint=endpoint, vocabulary=_VOCABULARY, generates=generates, is_media=True
    )


def check_needed(document: Mapping[str, Any], rules: Mapping[str, Rule], needs: tuple[str, ...]) -> None:
    """Check the fields that have a rule, and that those in `needs` are there."""
    for name in needs:
        if document.get(name) is None:
            raise wrong(name, rules[name].want)
    check_fields(document, rules)
