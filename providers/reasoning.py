"""How long to think: words for it in one vendor's dialect, tokens in another's."""

from providers.types import ReasoningOptions

EFFORTS: tuple[tuple[str, int], ...] = (
    ("none", 0),
    ("minimal", 1_024),
    ("low", 4_096),
    ("medium", 12_288),
    ("high", 24_576),
    ("xhigh", 32_768),
    ("max", 65_536),
)
"""Every word for an effort, and the most tokens that it stands for, ascending."""

_MEDIUM = 12_288


def budget_of(options: ReasoningOptions) -> int:
    """Return the budget in tokens: the one that was given, or what the word for the effort stands for."""
    if options.budget_tokens is not None:
        return options.budget_tokens
    return dict(EFFORTS).get(options.effort or "medium", _MEDIUM)


def budget_below(options: ReasoningOptions, cap: int) -> int:
    """Return the budget in tokens below an output cap that thinking counts towards.

    What a word stands for leaves a fifth of the cap to the answer; a budget that was given may take all but one token.
    Source: https://openrouter.ai/docs/use-cases/reasoning-tokens, read 2026-11.
    """
    most = cap - 1 if options.budget_tokens is not None else cap * 4 // 5
    return min(budget_of(options), most)


def effort_of(options: ReasoningOptions, *, known: tuple[str, ...] = ("low", "medium", "high")) -> str:
    """Return the word for the effort among those that a vendor knows, from weakest to strongest.

    A word that it does not know gives way to the nearest that is not stronger, or to its weakest; a budget is the
    weakest word that allows for it.
    """
    words = [word for word, _ in EFFORTS]
    word = options.effort
    if word is None:
        budget = budget_of(options)
        word = next((word for word, tokens in EFFORTS if budget <= tokens), words[-1])
    if word in known or word not in words:
        return word
    weaker = [candidate for candidate in known if candidate in words and words.index(candidate) <= words.index(word)]
    return weaker[-1] if weaker else known[0]


__all__ = ["EFFORTS", "budget_below", "budget_of", "effort_of"]
