"""How sure a model was of its answer. Law: pure; no shape is believed."""

import math
from typing import Any

from providers.types import Completion

_LEAST = -9_999.0
"""What vendors say of a token that was all but impossible. Source: OpenAI's API reference, `logprob`, read 2026-11."""
_ROUNDED = 0.01
"""How far above 0, the most, rounding may put one."""


def mean_logprob(completion: Completion) -> float | None:
    """Return the mean log-probability of the tokens of an answer; `None` if they are absent or odd."""
    told = completion.choices[0].logprobs if completion.choices else None
    tokens = told.get("content") if isinstance(told, dict) else None
    if not isinstance(tokens, list) or not tokens:
        return None
    found = [_logprob(token) for token in tokens]
    known = [logprob for logprob in found if logprob is not None]
    return math.fsum(known) / len(known) if len(known) == len(found) else None


def _logprob(token: Any) -> float | None:
    logprob = token.get("logprob") if isinstance(token, dict) else None
    if isinstance(logprob, bool) or not isinstance(logprob, int | float) or not -math.inf < logprob <= _ROUNDED:
        return None
    return float(min(max(logprob, _LEAST), 0.0))
