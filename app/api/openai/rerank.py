"""`POST /v1/rerank`: documents in the order in which they answer a query, as Cohere and Jina have it."""

from collections.abc import Mapping
from typing import Any

from app.api.errors import openai_body
from app.api.openai.paths import late_error
from app.api.openai.relayed import check_needed, relayed_operation
from app.api.openai.shapes import FLAG, WHOLE, Rule, check_common
from app.api.understanding import Call, Wire
from app.pipeline.operation import Asked
from providers.openai.wire import RERANK


def _are_documents(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, str | dict) for item in value)


_RULES: dict[str, Rule] = {
    "query": Rule(lambda value: isinstance(value, str | dict), "text or an object"),
    "documents": Rule(_are_documents, "a list of at least one text or object"),
    "top_n": WHOLE,
    "return_documents": FLAG,
}


def _read(document: Mapping[str, Any], call: Call) -> Asked:
    del call
    model = check_common(document)
    check_needed(document, _RULES, ("query", "documents"))
    return Asked(model=model)


RERANK_WIRE = Wire(
    operation=relayed_operation("rerank", relay=RERANK, endpoint="/v1/rerank", generates=False),
    read=_read,
    say_error=openai_body,
    say_late_error=late_error,
)
