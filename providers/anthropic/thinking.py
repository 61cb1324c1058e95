"""How long to think, and how tokens are chosen beside it, in what a model takes.

Older models have a budget (`enabled`), newer ones decide themselves (`adaptive`) and take an effort; those from 4.7 on
refuse a budget, and since 5.5 most cannot be told not to think.
Sources: https://platform.claude.com/docs/en/build-with-claude/thinking,
https://platform.claude.com/docs/en/build-with-claude/extended-thinking,
https://platform.claude.com/docs/en/api/versioning, read 2026-11.
"""

from typing import Any, NamedTuple

from providers.anthropic.wire import DIALECT
from providers.claude import Traits, may_think_on
from providers.reasoning import budget_below, effort_of
from providers.types import ChatRequest, ReasoningOptions

_DEFAULT_OUTPUT = 32_000
"""The output cap of a request that has none, which this wire demands: more than answers are long, and less than what
takes longer than callers wait. Thinking counts towards it."""
_LEAST_BUDGET = 1_024
_ROOM_TO_ANSWER = 8_192
_LEAST_TOP_P = 0.95
_DISPLAYS = {True: "summarized", False: "omitted"}
NO_SAMPLING_SINCE = "2026-10-21"
"""The version of the API that refuses sampling parameters for every model."""


class Plan(NamedTuple):
    """What is said of thinking and sampling: fields of the body, the effort, and what of the client's is lost."""

    fields: dict[str, Any]
    effort: str | None
    lost: frozenset[str]


def plan(request: ChatRequest, *, traits: Traits, version: str, forces_tool: bool) -> Plan:
    """Return what is said of thinking, sampling and the output cap.

    `forces_tool` is whether the model must call a tool, with which it cannot think first.
    """
    wish = request.reasoning
    cap = request.max_output_tokens
    thinking, effort, kept = None, None, True
    if wish is not None:
        thinking, effort, kept = _thinking(request, wish, traits=traits, forces_tool=forces_tool)
    if thinking is not None and thinking["type"] == "enabled":
        cap = _with_room(cap, thinking, traits=traits)
    fields: dict[str, Any] = {"max_tokens": min(traits.max_output, _DEFAULT_OUTPUT) if cap is None else cap}
    if thinking is not None:
        fields["thinking"] = thinking
    thinks = thinking is not None and thinking["type"] != "disabled"
    sampling = {} if version >= NO_SAMPLING_SINCE else _sampling(request, traits=traits, thinks=thinks)
    lost = _lost_sampling(request, sampling) | (frozenset() if kept else {"reasoning_effort"})
    return Plan(fields | sampling, effort, lost)


def _thinking(
    request: ChatRequest, wish: ReasoningOptions, *, traits: Traits, forces_tool: bool
) -> tuple[dict[str, Any] | None, str | None, bool]:
    """Return the field `thinking`, the effort, and whether the wish is fulfilled."""
    if wish.effort == "none" or traits.thinking == "none":
        return _rest(wish, traits=traits)
    effort = effort_of(wish, known=traits.efforts) if traits.efforts and _has_effort(wish) else None
    if request.dialect == DIALECT and wish.effort is not None and not wish.adaptive and wish.budget_tokens is None:
        return None, effort, effort is not None
    if forces_tool and traits.may_rest:
        return {"type": "disabled"}, None, False
    display = {} if wish.include is None else {"display": _DISPLAYS[wish.include]}
    if traits.thinking == "adaptive":
        return {"type": "adaptive"} | display, effort, True
    budget = _budget(request, wish, traits=traits)
    if budget is None or not may_think_on(request.messages):
        return None, effort, False
    return {"type": "enabled", "budget_tokens": budget} | display, effort, True


def _rest(wish: ReasoningOptions, *, traits: Traits) -> tuple[dict[str, Any] | None, str | None, bool]:
    """Return how not to think; a model that always does thinks little."""
    if traits.thinking == "none":
        return None, None, wish.effort == "none"
    return ({"type": "disabled"}, None, True) if traits.may_rest else (None, traits.efforts[0], False)


def _has_effort(wish: ReasoningOptions) -> bool:
    return wish.effort is not None or wish.budget_tokens is not None


def _budget(request: ChatRequest, wish: ReasoningOptions, *, traits: Traits) -> int | None:
    """Return a budget below the output cap; `None` where that leaves too little to think with."""
    cap = traits.max_output if request.max_output_tokens is None else request.max_output_tokens
    budget = max(budget_below(wish, cap), _LEAST_BUDGET)
    return budget if budget < cap else None


def _with_room(cap: int | None, thinking: dict[str, Any], *, traits: Traits) -> int:
    """Return the output cap: the client's, or one that leaves room for an answer behind the budget."""
    if cap is not None:
        return cap
    budget: int = thinking["budget_tokens"]
    return min(max(_DEFAULT_OUTPUT, budget + _ROOM_TO_ANSWER), traits.max_output)


def _sampling(request: ChatRequest, *, traits: Traits, thinks: bool) -> dict[str, Any]:
    """Return the sampling parameters that the model takes; thinking leaves little to choose."""
    given = {name: getattr(request.sampling, name) for name in ("temperature", "top_p", "top_k")}
    taken = {name: value for name, value in given.items() if value is not None}
    if not traits.samples:
        return {}
    if thinks:
        return {name: value for name, value in taken.items() if name == "top_p" and value >= _LEAST_TOP_P}
    if traits.samples_once and taken.keys() >= {"temperature", "top_p"}:
        del taken["top_p"]
    return taken


def _lost_sampling(request: ChatRequest, taken: dict[str, Any]) -> frozenset[str]:
    """Return which parameters are left out although they ask for something: 1 is what the vendor does anyhow."""
    sampling = request.sampling
    asked = {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k}
    return frozenset(name for name, value in asked.items() if value not in (None, 1) and name not in taken)


__all__ = ["NO_SAMPLING_SINCE", "Plan", "plan"]
