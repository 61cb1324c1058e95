"""What an attempt that failed costs, by what the provider did: a rule, not a result."""

from typing import Any

from outside.ledger import cost_nusd
from providers.testing import Script

_DECLARED = frozenset(
    {
        "upstream_error",
        "upstream_rate_limited",
        "upstream_auth_failed",
        "upstream_invalid_request",
        "context_length_exceeded",
        "content_policy_violation",
    }
)
"""What a provider itself says went wrong: it does not bill that, if it has said nothing else before."""
_NEVER_MS = 60_000
"""A head that is this late is not waited for by any test."""


def is_accepted(script: Script | None) -> bool:
    """Whether a provider says that a request is a good one (2xx) before it fails: from there on it bills.

    There is no script where nobody is reached.
    """
    if script is None:
        return False
    if script.raw is not None:
        return script.raw.startswith("HTTP/1.1 2")
    has_body = script.fault_after_frames is not None or script.fault_after_bytes is not None
    is_headed = script.head_delay_ms < _NEVER_MS and (script.fault is None or has_body)
    return is_headed and 200 <= script.status < 300


def check_failed(event: dict[str, Any], script: Script | None) -> None:
    """Check the event of an attempt that failed: its prompt and what was seen, estimated, if it was accepted."""
    tokens = event["input_tokens"], event["output_tokens"]
    is_declared = event["error_code"] in _DECLARED and not tokens[1]
    if is_accepted(script) and not is_declared:
        assert event["usage_source"] == "estimated", event
        assert event["cost_nusd"] == cost_nusd(*tokens), event
        assert tokens[0] > 0, event
    else:
        assert (*tokens, event["usage_source"], event["cost_nusd"]) == (0, 0, "none", 0), event
