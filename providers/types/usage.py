"""Token counts."""

import msgspec

MAX_TOKENS = 100_000_000
"""More than any attempt uses: a count beyond it is a mistake."""


class Usage(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one upstream attempt consumed, in tokens.

    The four counts are disjoint: `input_tokens` excludes cache reads and writes. `reasoning_tokens` is "of which"
    `output_tokens`. Every dialect converts at its border. `estimated` says that the provider did not report it.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False

    @property
    def prompt_tokens(self) -> int:
        """All tokens that went in, cached or not."""
        return self.input_tokens + self.cache_read_tokens + self.cache_write_tokens

    @property
    def total_tokens(self) -> int:
        """All tokens, each counted once."""
        return self.prompt_tokens + self.output_tokens

    @property
    def is_plausible(self) -> bool:
        """Whether every count can be one: an adapter may pass on whatever it was told."""
        counts = (self.input_tokens, self.output_tokens, self.cache_read_tokens, self.cache_write_tokens)
        return all(0 <= count <= MAX_TOKENS for count in (*counts, self.reasoning_tokens))
