"""Canonical requests in the words of Anthropic's Messages API.

Source: https://platform.claude.com/docs/en/api/messages/create, read 2026-11; anthropic 2.14: MessageCreateParams.
"""

from typing import Any, NamedTuple

from providers.anthropic import thinking
from providers.anthropic.turns import READS, has_details, has_names, write_turns
from providers.anthropic.wire import ANSWER_TOOL, DIALECT
from providers.carry import SUMMARY, carry, functions_only
from providers.claude import Traits, fit_schema, traits_of
from providers.custom_tools import as_function
from providers.types import ChatRequest, ResponseFormat, Tool, ToolChoice

_NO_WORDS_FOR = ("frequency_penalty", "presence_penalty", "logit_bias", "logprobs", "top_logprobs", "seed", "n")
_TIERS = {"auto": "auto", "default": "standard_only", "standard_only": "standard_only"}
"""The service tier of OpenAI's clients, and what it is here."""
_READ_EXTRAS = frozenset({"cache_control", "service_tier", SUMMARY})
_JSON_ONLY = "Answer with one valid JSON object and nothing else: no prose around it and no code fences."
_CHOICES = {"auto": "auto", "required": "any", "none": "none"}


class _Output(NamedTuple):
    """How the form of the answer is said: by `output_config.format`, a tool, or in words; and what of it is lost."""

    format: dict[str, Any] | None = None
    tool: dict[str, Any] | None = None
    words: str | None = None
    lost: tuple[str, ...] = ()


def write_messages(request: ChatRequest, *, model: str, version: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the body of `POST /v1/messages`, and the names of what is left out.

    `version` is that of the API. Raises `RequestRefused` for what may not be lost.
    """
    is_own = request.dialect == DIALECT
    traits = traits_of(model)
    output = _write_format(request, traits=traits, is_own=is_own)
    tools, dropped_tools = _write_tools(request, traits=traits, is_own=is_own)
    choice = _write_choice(request, answer_tool=output.tool is not None, has_tools=bool(tools))
    forces = choice is not None and choice["type"] in {"any", "tool"}
    said = thinking.plan(request, traits=traits, version=version, forces_tool=forces)
    system, turns = write_turns(request.messages, is_own=is_own)
    system += [{"type": "text", "text": output.words}] if output.words else []
    fields: dict[str, Any] = {
        "model": model,
        "system": _shortest(system),
        "messages": turns,
        **said.fields,
        "stop_sequences": request.sampling.stop or None,
        "tools": [*tools, *([output.tool] if output.tool else [])] or None,
        "tool_choice": choice,
        "output_config": _join_config(request, effort=said.effort, form=output.format, is_own=is_own),
        "metadata": _write_metadata(request, is_own=is_own),
        "stream": True if request.stream else None,
    }
    body = _extras(request, is_own=is_own) | {name: value for name, value in fields.items() if value is not None}
    return body, _dropped(request, said.lost, (*dropped_tools, *output.lost), is_own=is_own)


def _dropped(request: ChatRequest, lost: frozenset[str], beside: tuple[str, ...], *, is_own: bool) -> tuple[str, ...]:
    cannot = {*_NO_WORDS_FOR, *lost, *(() if is_own else ("metadata",))}
    dropped = carry(request, dialect=DIALECT, cannot=cannot, reads=_READ_EXTRAS | READS)
    tier = request.extras.get("service_tier")
    odd = {
        "name": has_names(request.messages),
        "detail": has_details(request.messages),
        "service_tier": not is_own and tier is not None and str(tier) not in _TIERS,
    }
    return (*dropped, *beside, *(name for name, is_lost in odd.items() if is_lost))


def _extras(request: ChatRequest, *, is_own: bool) -> dict[str, Any]:
    """Return the fields without a canonical name: all of this dialect's, and of others what has an equal here."""
    if is_own:
        return request.extras
    found: dict[str, Any] = {}
    if (mark := request.extras.get("cache_control")) is not None:
        found["cache_control"] = mark
    if (tier := _TIERS.get(str(request.extras.get("service_tier")))) is not None:
        found["service_tier"] = tier
    return found


def _write_metadata(request: ChatRequest, *, is_own: bool) -> dict[str, Any] | None:
    user = {} if request.user is None else {"user_id": request.user}
    return (dict(request.metadata) | user if is_own else user) or None


def _shortest(system: list[dict[str, Any]]) -> str | list[dict[str, Any]] | None:
    """Return the system prompt as text where that says it all; nothing if there is none."""
    if len(system) == 1 and system[0].keys() == {"type", "text"}:
        text: str = system[0]["text"]
        return text
    return system or None


def _join_config(
    request: ChatRequest, *, effort: str | None, form: dict[str, Any] | None, is_own: bool
) -> dict[str, Any] | None:
    given = request.extras.get("output_config") if is_own else None
    config = dict(given) if isinstance(given, dict) else {}
    config |= {"effort": effort} if effort is not None else {}
    config |= {"format": form} if form is not None else {}
    return config or None


def _write_format(request: ChatRequest, *, traits: Traits, is_own: bool) -> _Output:
    """Return how the answer is made to have its form: by a schema where the model knows that, else by a forced tool.

    For JSON without a schema there is nothing but words, so that the promise is listed as lost.
    """
    form = request.response_format
    if form is None or form.kind == "text":
        return _Output()
    if form.kind == "json_object" or form.schema is None:
        return _Output(words=_JSON_ONLY, lost=("response_format",))
    if traits.has_formats:
        schema = form.schema if is_own else fit_schema(form.schema)
        return _Output(format={"type": "json_schema", "schema": schema})
    if request.tool_choice is not None and request.tool_choice.mode in {"required", "named"}:
        return _Output()  # this answer is a call, which has no other form
    return _Output(tool=_answer_tool(form, form.schema))


def _answer_tool(form: ResponseFormat, schema: dict[str, Any]) -> dict[str, Any]:
    name = f" It is called {form.name}." if form.name else ""
    description = form.description or f"Gives the final answer to the user.{name}"
    return {"name": ANSWER_TOOL, "description": description, "input_schema": schema}


def _write_tools(request: ChatRequest, *, traits: Traits, is_own: bool) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """Return the declared tools, and the names of those, or of their promises, that are left out."""
    if is_own:
        return [_write_own_tool(tool) for tool in request.tools], ()
    kept, hosted = functions_only(request)
    functions = [as_function(tool) for tool in kept]
    lost = ("strict",) if any(tool.strict for tool in functions) and not traits.has_formats else ()
    return [_write_function(tool, traits=traits) for tool in functions], (*hosted, *lost)


def _write_own_tool(tool: Tool) -> dict[str, Any]:
    """Return a tool that was declared in this dialect."""
    if tool.kind != "function":
        return tool.extras
    return _declared(tool) | {"input_schema": tool.parameters} | _strictness(tool) | tool.extras


def _write_function(tool: Tool, *, traits: Traits) -> dict[str, Any]:
    """Return a function that was declared in another dialect."""
    schema = tool.parameters or {}
    mark = tool.extras.get("cache_control")
    is_strict = bool(tool.strict) and traits.has_formats
    schema = fit_schema(schema) if is_strict else schema
    wire = _declared(tool) | {"input_schema": {"type": "object", **schema}}
    return wire | ({"strict": True} if is_strict else {}) | ({} if mark is None else {"cache_control": mark})


def _declared(tool: Tool) -> dict[str, Any]:
    return {"name": tool.name} | ({} if tool.description is None else {"description": tool.description})


def _strictness(tool: Tool) -> dict[str, Any]:
    return {} if tool.strict is None else {"strict": tool.strict}


def _write_choice(request: ChatRequest, *, answer_tool: bool, has_tools: bool) -> dict[str, Any] | None:
    """Return which tools must be called; without tools there is nothing to say.

    The tool that stands for JSON output is forced where it is the only one, and one of several must be called else.
    """
    choice = request.tool_choice
    if answer_tool:
        ends_now = not has_tools or (choice is not None and choice.mode == "none")
        wire = {"type": "tool", "name": ANSWER_TOOL} if ends_now else {"type": "any"}
    elif not has_tools and request.dialect != DIALECT:
        return None
    else:
        wire = _said(choice)
    if request.parallel_tool_calls is None or wire.get("type") == "none":
        return wire if choice is not None or answer_tool else None
    return wire | {"disable_parallel_tool_use": not request.parallel_tool_calls}


def _said(choice: ToolChoice | None) -> dict[str, Any]:
    if choice is not None and choice.mode == "named":
        return {"type": "tool", "name": choice.name}
    return {"type": _CHOICES[choice.mode if choice is not None else "auto"]}


__all__ = ["write_messages"]
