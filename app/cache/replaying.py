"""A kept answer as the events of a stream. Law: `collect(in_pieces(c)) == c`, as of the stream that it once was."""

from collections.abc import Iterator

import msgspec

from providers.stream import replay
from providers.types import ChatEvent, Completion, TextDelta, ThinkingDelta

PIECE_CHARACTERS = 200
"""How much text a piece has: enough to be cheap, little enough for a client that shows answers as they come."""


def in_pieces(completion: Completion) -> Iterator[ChatEvent]:
    """Yield the events, long texts cut into pieces."""
    for event in replay(completion):
        if isinstance(event, TextDelta | ThinkingDelta) and len(event.text) > PIECE_CHARACTERS:
            yield from _cut(event)
        else:
            yield event


def _cut(event: TextDelta | ThinkingDelta) -> Iterator[ChatEvent]:
    """Yield the pieces of a text; whatever else is said of it comes with the last."""
    text, last = event.text, (len(event.text) - 1) // PIECE_CHARACTERS * PIECE_CHARACTERS
    for start in range(0, last, PIECE_CHARACTERS):
        piece = text[start : start + PIECE_CHARACTERS]
        if isinstance(event, TextDelta):
            yield TextDelta(choice=event.choice, text=piece, refusal=event.refusal)
        else:
            yield ThinkingDelta(choice=event.choice, text=piece, redacted=event.redacted)
    yield msgspec.structs.replace(event, text=text[last:])
