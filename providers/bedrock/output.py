"""How an answer is made to have its form: by a schema where the model takes one, else by a tool that it must call.

Source: https://docs.aws.amazon.com/bedrock/latest/userguide/structured-output.html, read 2026-11;
botocore 1.44.8: bedrock-runtime.OutputFormat.
"""

from typing import Any, NamedTuple

import msgspec

from providers.bedrock.families import Family, has_formats
from providers.bedrock.wire import ANSWER_TOOL
from providers.claude import fit_schema
from providers.types import ChatRequest, ResponseFormat

_JSON_ONLY = "Answer with one valid JSON object and nothing else: no prose around it and no code fences."
FORCED = frozenset({"required", "named"})


class Output(NamedTuple):
    """What is said of the form: `outputConfig.textFormat`, a tool, or words; and what of it is lost."""

    format: dict[str, Any] | None = None
    tool: dict[str, Any] | None = None
    words: str | None = None
    lost: tuple[str, ...] = ()


def write_output(request: ChatRequest, family: Family, *, model: str) -> Output:
    """Return how the form is said. Of JSON without a schema only words can be said, so that its promise is lost."""
    form = request.response_format
    if form is None or form.kind == "text":
        return Output()
    if form.schema is None:
        return Output(words=_JSON_ONLY, lost=("response_format",))
    if has_formats(family, model):
        return Output(format=_text_format(form, form.schema))
    if request.tool_choice is not None and request.tool_choice.mode in FORCED:
        return Output()  # this answer is a call, which has no other form
    description = form.description or "Gives the final answer to the user."
    spec = {"name": ANSWER_TOOL, "description": description, "inputSchema": {"json": form.schema}}
    return Output(tool={"toolSpec": spec})


def _text_format(form: ResponseFormat, schema: dict[str, Any]) -> dict[str, Any]:
    """Return the format; its schema travels as text."""
    fields = {
        "schema": msgspec.json.encode(fit_schema(schema)).decode(),
        "name": form.name,
        "description": form.description,
    }
    named = {name: value for name, value in fields.items() if value is not None}
    return {"type": "json_schema", "structure": {"jsonSchema": named}}


__all__ = ["FORCED", "Output", "write_output"]
