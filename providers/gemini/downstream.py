"""A client's request in Google's dialect, read into the canonical one.

The shape has been checked before (`app.api.gemini`); what is unknown, or said in a form that has no canonical equal,
goes into `extras`, by its name in camel case.
"""

from collections.abc import Mapping
from typing import Any

from providers.gemini.config import Config
from providers.gemini.tools import CONFIG, Choice, read_tools
from providers.gemini.turns import read_system, read_turns
from providers.gemini.wire import DIALECT, camel, named
from providers.types import ChatRequest

_READ = frozenset({"model", "contents", "systemInstruction", "tools", CONFIG, "generationConfig"})


def parse_generate(document: Mapping[str, Any], *, model: str, stream: bool) -> ChatRequest:
    """Return the canonical form of the body of `:generateContent`; the model and the method are in the path."""
    body = _body(document)
    config = Config(body.get("generationConfig"))
    choice = Choice(body.get(CONFIG))
    return ChatRequest(
        model=model,
        messages=[*read_system(body.get("systemInstruction")), *read_turns(body["contents"])],
        dialect=DIALECT,
        tools=read_tools(body.get("tools") or [], strict=choice.strict),
        tool_choice=choice.choice,
        response_format=config.response_format,
        sampling=config.sampling,
        reasoning=config.reasoning,
        max_output_tokens=config.max_output_tokens,
        n=config.n,
        stream=stream,
        extras={name: value for name, value in body.items() if name not in _READ} | choice.extras | config.extras,
    )


def _body(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a body; two objects under the two names of one field are one, as edits may leave them."""
    fields = named(dict(document))
    for name, value in document.items():
        known = fields[camel(name)]
        if known is not value and isinstance(known, dict) and isinstance(value, dict):
            first, second = (value, known) if "_" in name else (known, value)
            fields[camel(name)] = named(first) | second
    return fields
