"""Token counts."""

import msgspec

MAX_TOKENS = 100_000_000
"""More than any attempt uses: a count beyond it is a mistake."""
MAX_IMAGES = 10_000
"""More pictures than any attempt makes."""


class Usage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What one upstream attempt consumed, in tokens. Every dialect converts at its border.

    The four main counts are disjoint: `input_tokens` excludes cache reads and writes. The others say what of a main
    count was of a dearer or cheaper kind, and parts of the same count do not overlap:

    - of `input_tokens`: `audio_input_tokens` and `image_input_tokens`, the rest being text, video or documents;
    - of `cache_write_tokens`: `cache_write_1h_tokens`, written to live an hour;
    - of `output_tokens`: `reasoning_tokens`, `audio_output_tokens` and `image_output_tokens`, the rest being text.

    `images` are the pictures made, which some vendors bill one by one; they are no tokens. `service_tier` is what the
    vendor's answer says served it, in the vendor's word. `estimated` says that the provider did not report the tokens.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    audio_input_tokens: int = 0
    image_input_tokens: int = 0
    audio_output_tokens: int = 0
    image_output_tokens: int = 0
    cache_write_1h_tokens: int = 0
    images: int = 0
    service_tier: str | None = None
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
        counts = (
            self.input_tokens,
            self.output_tokens,
            self.cache_read_tokens,
            self.cache_write_tokens,
            self.reasoning_tokens,
            self.audio_input_tokens,
            self.image_input_tokens,
            self.audio_output_tokens,
            self.image_output_tokens,
            self.cache_write_1h_tokens,
        )
        return all(0 <= count <= MAX_TOKENS for count in counts) and 0 <= self.images <= MAX_IMAGES
