"""What the models on Bedrock take beyond what Converse says for all, known by their names.

The name is a model's or an inference profile's id, or an ARN of either. An ARN of a customer's own (an application
inference profile, provisioned throughput) does not tell what is behind it: `hidden`.
Source: https://docs.aws.amazon.com/bedrock/latest/userguide/models-supported.html, read 2026-11.
"""

import re
from typing import Literal, NamedTuple

Family = Literal["claude", "nova", "gpt-oss", "mistral", "cohere-embed", "titan-embed", "hidden", "other"]

_WORDS: dict[str, Family] = {
    "claude": "claude",
    "cohere.embed": "cohere-embed",
    "titan-embed": "titan-embed",
    "amazon.nova": "nova",
    "gpt-oss": "gpt-oss",
    "mistral.": "mistral",
}
_CLAUDE = re.compile(
    r"claude-(?:(?P<line>[a-z]+)-)?(?P<major>\d{1,2})(?:[.-](?P<minor>\d{1,2}))?(?=$|[^0-9])(?:-(?P<last>[a-z]+))?"
)
_NEWEST = (99, 0)
_EFFORTS = ("low", "medium", "high", "xhigh", "max")
_ALWAYS_THINKS = {"fable": (5, 0), "mythos": (0, 0), "opus": (5, 5), "sonnet": (5, 5)}
"""Claude's lines whose thinking cannot be turned off, and since which version."""


class Claude(NamedTuple):
    """How requests to a Claude must look.

    - `thinking`: `manual` has a budget of tokens, `adaptive` an effort, `none` cannot.
    - `thinks_unasked` and `may_rest`: thinking is on unless it is turned off, and can be.
    - `efforts`: the words for an effort, weakest first.
    - `samples`: `temperature`, `top_p` and `top_k` are taken; `samples_once`: only one of the first two.
    - `has_formats`: JSON output by a schema and strict tools.

    Sources: https://docs.aws.amazon.com/bedrock/latest/userguide/claude-messages-adaptive-thinking.html,
    https://docs.aws.amazon.com/bedrock/latest/userguide/structured-output.html,
    https://platform.claude.com/docs/en/build-with-claude/thinking, read 2026-11.
    """

    thinking: Literal["none", "manual", "adaptive"]
    thinks_unasked: bool
    may_rest: bool
    efforts: tuple[str, ...]
    samples: bool
    samples_once: bool
    has_formats: bool


def family_of(model: str) -> Family:
    """Return what kind of model a name means."""
    name = model.lower()
    found = next((family for word, family in _WORDS.items() if word in name), None)
    return found or ("hidden" if name.startswith("arn:") and "foundation-model/" not in name else "other")


def claude_of(model: str) -> Claude:
    """Return what a Claude takes; one whose version is not known is newer than all that are."""
    found = _CLAUDE.search(model.lower())
    line, version = "", _NEWEST
    if found is not None:
        line = found["line"] or found["last"] or ""
        version = (int(found["major"]), int(found["minor"] or 0))
    elif "mythos" in model.lower():
        line = "mythos"
    return Claude(
        thinking="none" if version < (3, 7) else "manual" if version < (4, 6) else "adaptive",
        thinks_unasked=version >= (5, 0),
        may_rest=version < _ALWAYS_THINKS.get(line, _NEWEST),
        efforts=_EFFORTS if version >= (4, 7) else ("low", "medium", "high", "max"),
        samples=version < (4, 7),
        samples_once=version >= (4, 1),
        has_formats=version >= (4, 5),
    )


def caches_prompts(family: Family) -> bool:
    """Whether a cache point may be sent; models that cache nothing refuse one."""
    return family in {"claude", "nova", "hidden"}


def has_strict_tools(family: Family, model: str) -> bool:
    """Whether a tool may be declared strict.

    Source: https://docs.aws.amazon.com/bedrock/latest/userguide/structured-output.html, read 2026-11.
    """
    return claude_of(model).has_formats if family == "claude" else family != "nova"


__all__ = ["Claude", "Family", "caches_prompts", "claude_of", "family_of", "has_strict_tools"]
