"""What tunes an answer: sampling, reasoning and all else that Converse hands to the model as it is.

Sources: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters.html,
https://docs.aws.amazon.com/nova/latest/nova2-userguide/extended-thinking.html, read 2026-11;
botocore 1.44.8: bedrock-runtime.OutputConfig.
"""

from collections.abc import Collection
from typing import Any, NamedTuple

from providers.bedrock.families import family_of
from providers.carry import SUMMARY
from providers.claude import SIGNER, Traits, may_think_on, traits_of
from providers.errors import RequestRefused
from providers.reasoning import budget_below, budget_of, effort_of
from providers.types import ChatRequest, ReasoningOptions

_LEAST_BUDGET = 1_024
_LEAST_TOP_P_THINKING = 0.95
_CLAUDES_OWN = ("context_management", "output_config", "thinking")
"""Fields of a client in Anthropic's dialect that say what has no canonical form."""
_DISPLAYS = {True: "summarized", False: "omitted"}
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


def tune(request: ChatRequest, *, model: str, forces_tool: bool) -> Tuning:
    """Return how `model` is asked for what the request says.

    `forces_tool` is whether it must call a tool, before which a Claude cannot think.
    """
    match family_of(model):
        case "claude":
            return _tune_claude(request, traits_of(model), forces_tool=forces_tool)
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


def _tune_claude(request: ChatRequest, traits: Traits, *, forces_tool: bool) -> Tuning:
    wish, thought = request.reasoning, _Thought()
    if wish is not None:
        thought = _think(request, wish, traits=traits, forces_tool=forces_tool)
    cannot = _unsampled(request, traits, is_thinking=thought.is_on) | {"parallel_tool_calls"}
    fields = _if_set(
        thinking=thought.thinking,
        top_k=None if "top_k" in cannot else request.sampling.top_k,
        anthropic_beta=_betas(request.extras) or None,
    )
    is_own = request.dialect == SIGNER
    own = {name: request.extras[name] for name in _CLAUDES_OWN if is_own and name in request.extras}
    cannot |= frozenset() if thought.is_granted else {"reasoning_effort"}
    return Tuning(own | fields, thought.effort, cannot, frozenset({*own, *_BETAS, SUMMARY}))


class _Thought(NamedTuple):
    """What is said of thinking: Claude's field, the word for the effort, and whether that is what was wished for."""

    thinking: dict[str, Any] | None = None
    effort: str | None = None
    is_granted: bool = True

    @property
    def is_on(self) -> bool:
        """Whether it is turned on in so many words."""
        return self.thinking is not None and self.thinking["type"] != "disabled"


def _think(request: ChatRequest, wish: ReasoningOptions, *, traits: Traits, forces_tool: bool) -> _Thought:
    if traits.thinking == "none":
        return _Thought(is_granted=wish.effort == "none")
    if wish.effort == "none":
        return _rest(traits)
    if traits.thinking == "manual":
        thinking = None if forces_tool else _think_within_budget(request, wish)
        return _Thought(thinking, is_granted=thinking is not None)
    if forces_tool and traits.may_rest:
        return _rest(traits)._replace(is_granted=False)
    has_words = wish.effort is not None or wish.budget_tokens is not None
    effort = effort_of(wish, known=traits.efforts) if has_words else None
    if request.dialect == SIGNER and wish.effort is not None and not wish.adaptive and wish.budget_tokens is None:
        return _Thought(effort=effort)  # an effort alone, which also says how much is written
    display = {} if wish.include is None else {"display": _DISPLAYS[wish.include]}
    return _Thought({"type": "adaptive", **display}, effort)


def _rest(traits: Traits) -> _Thought:
    """Return how a Claude is asked not to think, or as little as it can."""
    if not traits.may_rest:
        return _Thought(effort=traits.efforts[0], is_granted=False)
    return _Thought({"type": "disabled"} if traits.thinks_unasked else None)


def _think_within_budget(request: ChatRequest, wish: ReasoningOptions) -> dict[str, Any] | None:
    """Return thinking with a budget below the output's cap, which it counts towards; `None` where there is no room."""
    if not may_think_on(request.messages):
        return None
    budget, cap = wish.budget_tokens, request.max_output_tokens
    if budget is None:
        budget = max(budget_of(wish) if cap is None else budget_below(wish, cap), _LEAST_BUDGET)
        if cap is not None and budget >= cap:
            return None
    return {"type": "enabled", "budget_tokens": budget}


def _unsampled(request: ChatRequest, traits: Traits, *, is_thinking: bool) -> frozenset[str]:
    """Return the parameters of sampling that this Claude refuses, as it thinks or does not."""
    if not traits.samples:
        return frozenset({"temperature", "top_p", "top_k"})
    sampling, refused = request.sampling, set()
    if is_thinking:
        refused.add("top_k")
        if sampling.temperature != 1:
            refused.add("temperature")
        if sampling.top_p is not None and sampling.top_p < _LEAST_TOP_P_THINKING:
            refused.add("top_p")
    if traits.samples_once and sampling.temperature is not None and "temperature" not in refused:
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
