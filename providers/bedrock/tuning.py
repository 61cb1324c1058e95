"""What tunes an answer: sampling, reasoning and all else that Converse hands to the model as it is.

Sources: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters.html,
https://docs.aws.amazon.com/nova/latest/nova2-userguide/extended-thinking.html, read 2026-11;
botocore 1.44.8: bedrock-runtime.OutputConfig.
"""

from collections.abc import Collection
from typing import Any, NamedTuple

from providers.bedrock.families import Claude, claude_of, family_of
from providers.errors import RequestRefused
from providers.reasoning import budget_of, effort_of
from providers.signatures import value_for
from providers.types import ChatRequest, ReasoningOptions, ThinkingPart, ToolCallPart

SIGNER = "anthropic"
_LEAST_BUDGET = 1_024
_LEAST_TOP_P_THINKING = 0.95
_CLAUDES_OWN = ("context_management", "output_config", "thinking")
"""Fields of a client in Anthropic's dialect that say what has no canonical form."""
_BETAS = ("anthropic_beta", "betas")


class Tuning(NamedTuple):
    """How a model is asked for an answer of a certain kind.

    `fields` are `additionalModelRequestFields`; `effort` is `outputConfig.effort`; `cannot` are the canonical fields
    that this model has no words for, and `reads` the extras that `fields` already say.
    """

    fields: dict[str, Any]
    effort: str | None = None
    cannot: frozenset[str] = frozenset()
    reads: frozenset[str] = frozenset()


def tune(request: ChatRequest, *, model: str) -> Tuning:
    """Return how `model` is asked for what the request says."""
    match family_of(model):
        case "claude":
            return _tune_claude(request, claude_of(model))
        case "nova":
            return _tune_nova(request, has_reasoning="nova-2" in model.lower())
        case "gpt-oss":
            options = request.reasoning
            if options is None or options.effort == "none":
                return Tuning({}, cannot=frozenset({"reasoning_effort", "top_k"}))
            return Tuning({"reasoning_effort": effort_of(options)}, cannot=frozenset({"top_k"}))
        case "mistral":
            return Tuning(_if_set(top_k=request.sampling.top_k), cannot=frozenset({"reasoning_effort"}))
        case _:
            return Tuning({}, cannot=frozenset({"reasoning_effort", "top_k"}))


def _tune_nova(request: ChatRequest, *, has_reasoning: bool) -> Tuning:
    """Return how a Nova is asked. At its highest effort it takes neither sampling nor a cap on the output."""
    top_k, options = request.sampling.top_k, request.reasoning
    fields: dict[str, Any] = {} if top_k is None else {"inferenceConfig": {"topK": top_k}}
    if not has_reasoning or options is None:
        return Tuning(fields, cannot=frozenset() if has_reasoning else frozenset({"reasoning_effort"}))
    if options.effort == "none":
        return Tuning(fields | {"reasoningConfig": {"type": "disabled"}})
    is_capped = request.max_output_tokens is not None
    effort = effort_of(options, known=("low", "medium") if is_capped else ("low", "medium", "high"))
    config = {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": effort}}
    if effort == "high":
        return Tuning(config, cannot=frozenset({"temperature", "top_p", "top_k"}))
    return Tuning(fields | config)


def _tune_claude(request: ChatRequest, claude: Claude) -> Tuning:
    thinking, effort = _think(request, claude)
    cannot = _unsampled(request, claude, is_thinking=thinking.get("type") in {"enabled", "adaptive"})
    if not thinking and effort is None and not _rests_anyhow(request.reasoning, claude):
        cannot |= {"reasoning_effort"}
    fields = _if_set(
        thinking=thinking or None,
        top_k=None if "top_k" in cannot else request.sampling.top_k,
        anthropic_beta=_betas(request.extras) or None,
    )
    own = {name: request.extras[name] for name in _CLAUDES_OWN if name in request.extras}
    if request.dialect != SIGNER:
        own = {}
    return Tuning(own | fields, effort, cannot | {"parallel_tool_calls"}, frozenset({*own, *_BETAS}))


def _rests_anyhow(options: ReasoningOptions | None, claude: Claude) -> bool:
    """Whether not to think is asked of a Claude that does not think unasked."""
    return options is not None and options.effort == "none" and not claude.thinks_unasked


def _think(request: ChatRequest, claude: Claude) -> tuple[dict[str, Any], str | None]:
    """Return Claude's `thinking`, empty if there shall be none, and the word for the effort."""
    options = request.reasoning
    if options is None or claude.thinking == "none":
        return {}, None
    if options.effort == "none":
        return _rest(claude)
    if not claude.may_rest or not _is_forced(request):
        if claude.thinking == "manual":
            return _think_within_budget(request, options), None
        words = options.effort is not None or options.budget_tokens is not None
        display = {None: {}, True: {"display": "summarized"}, False: {"display": "omitted"}}[options.include]
        effort = effort_of(options, known=claude.efforts) if words else None
        return {"type": "adaptive", **display}, effort
    return {}, None


def _rest(claude: Claude) -> tuple[dict[str, Any], str | None]:
    """Return how Claude is asked not to think, or as little as it can."""
    if not claude.may_rest:
        return {}, claude.efforts[0]
    return ({"type": "disabled"} if claude.thinks_unasked else {}), None


def _think_within_budget(request: ChatRequest, options: ReasoningOptions) -> dict[str, Any]:
    """Return thinking with a budget below the output's cap, which it counts towards.

    There is none where the cap leaves no room for the least budget, or where the turn is half over: a Claude that
    thinks refuses tool calls of its own that do not begin with its signed thoughts.
    """
    if _has_calls_without_thoughts(request):
        return {}
    budget, cap = options.budget_tokens, request.max_output_tokens
    if budget is None:
        budget = max(budget_of(options), _LEAST_BUDGET)
        budget = budget if cap is None else min(budget, cap - 1)
        if budget < _LEAST_BUDGET:
            return {}
    return {"type": "enabled", "budget_tokens": budget}


def _has_calls_without_thoughts(request: ChatRequest) -> bool:
    """Whether the last turn of the assistant calls tools without thoughts that Claude signed, and is still open."""
    for message in reversed(request.messages):
        if message.role == "user":
            return False
        if message.role == "assistant":
            calls = any(isinstance(part, ToolCallPart) for part in message.content)
            return calls and not any(
                isinstance(part, ThinkingPart) and value_for(part.signature, SIGNER) for part in message.content
            )
    return False


def _is_forced(request: ChatRequest) -> bool:
    """Whether a tool must be called, which excludes thinking."""
    return request.tool_choice is not None and request.tool_choice.mode in {"required", "named"}


def _unsampled(request: ChatRequest, claude: Claude, *, is_thinking: bool) -> frozenset[str]:
    """Return the parameters of sampling that this Claude refuses, as it thinks or does not."""
    if not claude.samples:
        return frozenset({"temperature", "top_p", "top_k"})
    sampling, refused = request.sampling, set()
    if is_thinking:
        refused.add("top_k")
        if sampling.temperature != 1:
            refused.add("temperature")
        if sampling.top_p is not None and sampling.top_p < _LEAST_TOP_P_THINKING:
            refused.add("top_p")
    if claude.samples_once and sampling.temperature is not None and "temperature" not in refused:
        refused.add("top_p")
    return frozenset(refused)


def _betas(extras: dict[str, Any]) -> list[str]:
    """Return the names of the betas that a client asks for, from a list or a text with commas."""
    given = next((extras[name] for name in _BETAS if name in extras), None)
    names: Collection[Any] = given.split(",") if isinstance(given, str) else given if isinstance(given, list) else ()
    if not all(isinstance(name, str) for name in names):
        raise RequestRefused("anthropic_beta must be a list of names", status=400, param="anthropic_beta")
    return [name.strip() for name in names]


def _if_set(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


__all__ = ["SIGNER", "Tuning", "tune"]
