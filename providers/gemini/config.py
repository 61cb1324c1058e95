"""The generation config: sampling, the form of the answer, and how long to think.

What has no canonical name is among a request's extras under its path, such as `generationConfig.speechConfig`.
Source: https://ai.google.dev/api/generate-content#generationconfig, read 2026-11; google-genai 3.6:
types.GenerationConfig.
"""

import re
from collections.abc import Mapping
from typing import Any

from providers.gemini.schema import from_openapi, to_wire
from providers.gemini.wire import DIALECT, generation, named
from providers.reasoning import budget_of, effort_of
from providers.types import ChatRequest, ReasoningOptions, ResponseFormat, Sampling

PREFIX = "generationConfig."
_JSON = "application/json"
_SAMPLING = {
    "temperature": "temperature",
    "topP": "top_p",
    "topK": "top_k",
    "seed": "seed",
    "presencePenalty": "presence_penalty",
    "frequencyPenalty": "frequency_penalty",
    "responseLogprobs": "logprobs",
    "logprobs": "top_logprobs",
}
_FORM = ("responseMimeType", "responseSchema", "responseJsonSchema", "_responseJsonSchema")
_READ = frozenset({*_SAMPLING, *_FORM, "stopSequences", "candidateCount", "maxOutputTokens", "thinkingConfig"})
_NAME = "response"
_LEVELS = ("low", "medium", "high")
_MINIMAL = re.compile(r"gemini-3(\.[0-5])?-flash")
_LEVELS_SINCE, _BUDGETS_SINCE = (3, 0), (2, 5)


class Config:
    """What a client's generation config says, canonically; `extras` is what has no canonical name."""

    def __init__(self, config: Any) -> None:
        fields = {name: value for name, value in named(config).items() if value is not None}
        form = _read_form(fields)
        thinking = named(fields.get("thinkingConfig"))
        self.sampling = Sampling(
            **{ours: fields[theirs] for theirs, ours in _SAMPLING.items() if theirs in fields},
            stop=fields.get("stopSequences") or [],
        )
        self.response_format = form
        self.reasoning = _read_thinking(thinking)
        self.max_output_tokens: int | None = fields.get("maxOutputTokens")
        self.n: int = fields.get("candidateCount") or 1
        rest = {name: value for name, value in fields.items() if name not in _READ and not _is_default(name, value)}
        if form is None:
            rest |= {name: fields[name] for name in _FORM if name in fields}
        self.extras = {PREFIX + name: value for name, value in rest.items()}


def _is_default(name: str, value: Any) -> bool:
    return name == "responseModalities" and value == ["TEXT"]


def _read_form(fields: Mapping[str, Any]) -> ResponseFormat | None:
    """Return the form of the answer; `None` where none is asked for, or one that only Google knows."""
    kind = fields.get("responseMimeType")
    schema = fields.get("responseJsonSchema") or fields.get("_responseJsonSchema")
    if schema is None and isinstance(openapi := fields.get("responseSchema"), dict):
        schema = from_openapi(openapi)
    if kind == "text/plain" and schema is None:
        return ResponseFormat(kind="text")
    if kind != _JSON:
        return None
    if schema is None:
        return ResponseFormat(kind="json_object")
    return ResponseFormat(kind="json_schema", name=_NAME, schema=schema) if isinstance(schema, dict) else None


def _read_thinking(thinking: Mapping[str, Any]) -> ReasoningOptions | None:
    """Return how long to think. A budget of -1 leaves it to the model."""
    level, budget, include = (thinking.get(name) for name in ("thinkingLevel", "thinkingBudget", "includeThoughts"))
    options = ReasoningOptions(
        effort=level.lower() if isinstance(level, str) else None,
        budget_tokens=budget if isinstance(budget, int) and budget >= 0 else None,
        include=include if isinstance(include, bool) else None,
        adaptive=isinstance(budget, int) and budget < 0,
    )
    return None if options == ReasoningOptions() else options


def write_config(request: ChatRequest, *, model: str) -> dict[str, Any]:
    """Return the generation config."""
    sampling = request.sampling
    fields: dict[str, Any] = {
        **{theirs: getattr(sampling, ours) for theirs, ours in _SAMPLING.items()},
        "stopSequences": sampling.stop or None,
        "candidateCount": None if request.n == 1 else request.n,
        "maxOutputTokens": request.max_output_tokens,
        "thinkingConfig": write_thinking(request, model=model),
        **_write_form(request.response_format, same_dialect=request.dialect == DIALECT),
    }
    own = {name.removeprefix(PREFIX): value for name, value in request.extras.items() if name.startswith(PREFIX)}
    return {name: value for name, value in fields.items() if value is not None} | own


def _write_form(form: ResponseFormat | None, *, same_dialect: bool) -> dict[str, Any]:
    if form is None or form.kind == "text":
        return {"responseMimeType": "text/plain"} if form and same_dialect else {}
    if form.schema is None:
        return {"responseMimeType": _JSON}
    schema = form.schema if same_dialect else to_wire(form.schema)
    if form.description and "description" not in schema:
        schema = {**schema, "description": form.description}
    return {"responseMimeType": _JSON, "responseJsonSchema": schema}


def thinks(model: str) -> bool:
    """Whether a model can be told how long to think."""
    return generation(model) >= _BUDGETS_SINCE


def write_thinking(request: ChatRequest, *, model: str) -> dict[str, Any] | None:
    """Return how long to think: in levels for Gemini 3 and later, in tokens for Gemini 2.5.

    Whoever asks for thinking in another dialect gets to see the thoughts, unless they say otherwise. What a client of
    this dialect says is sent as it is. Source: https://ai.google.dev/gemini-api/docs/thinking, read 2026-11.
    """
    options = request.reasoning
    if options is None or not thinks(model):
        return None
    if request.dialect == DIALECT:
        return _write_own(options)
    if generation(model) >= _LEVELS_SINCE:
        how: dict[str, Any] = {} if options.adaptive else {"thinkingLevel": _level(options, model=model).upper()}
    else:
        how = {"thinkingBudget": -1 if options.adaptive else _budget(options, model=model)}
    if options.include is None and how.get("thinkingBudget") == 0:
        return how
    shows = options.include is not False and (options.include or options.effort != "none")
    return {**how, "includeThoughts": shows}


def may_not_rest(request: ChatRequest, *, model: str) -> bool:
    """Whether a request of another dialect not to think cannot be fulfilled, since the model always does."""
    options = request.reasoning
    if options is None or options.effort != "none" or request.dialect == DIALECT or not thinks(model):
        return False
    return generation(model) >= _LEVELS_SINCE or _budget(options, model=model) != 0


def _write_own(options: ReasoningOptions) -> dict[str, Any]:
    fields = {
        "thinkingLevel": options.effort.upper() if options.effort else None,
        "thinkingBudget": -1 if options.adaptive else options.budget_tokens,
        "includeThoughts": options.include,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _level(options: ReasoningOptions, *, model: str) -> str:
    """Return the nearest level that the model knows; none of them can be kept from thinking at all.

    Source: https://docs.cloud.google.com/gemini-enterprise-agent-platform/models/thinking, read 2026-11.
    """
    return effort_of(options, known=("minimal", *_LEVELS) if _MINIMAL.search(model) else _LEVELS)


def _budget(options: ReasoningOptions, *, model: str) -> int:
    """Return the budget in tokens, within what the model takes; Pro cannot be kept from thinking."""
    budget = budget_of(options)
    if "-pro" in model:
        return min(max(budget, 128), 32_768)
    if "-lite" in model and budget:
        budget = max(budget, 512)
    return min(budget, 24_576)
