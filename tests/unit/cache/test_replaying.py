"""The law of a kept answer as a stream: what is cut into pieces is collected as it was."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.cache.replaying import PIECE_CHARACTERS, in_pieces
from providers.stream import collect
from providers.types import Choice, Completion, RefusalPart, TextDelta, TextPart, ThinkingDelta, ThinkingPart, Usage

LONG = st.integers(0, 3 * PIECE_CHARACTERS + 1).flatmap(
    lambda length: st.text(st.characters(codec="utf-8"), min_size=3, max_size=3).map(
        lambda text: (text * length)[:length]
    )
)
NOTES = st.lists(st.fixed_dictionaries({"type": st.just("url_citation"), "url": st.just("u")}), max_size=2)
PART = st.one_of(
    st.builds(TextPart, text=LONG, annotations=NOTES, signature=st.none() | st.just("c2ln")),
    st.builds(RefusalPart, text=LONG),
    st.builds(ThinkingPart, text=LONG, signature=st.none() | st.just("c2ln"), redacted=st.booleans()),
)
CHOICE = st.builds(
    Choice,
    index=st.just(0),
    content=st.lists(PART, max_size=4),
    finish_reason=st.just("stop"),
    logprobs=st.none() | st.just({"content": [{"token": "a", "logprob": -1}]}),
)
COMPLETION = st.builds(
    Completion,
    id=st.just("1"),
    model=st.just("m"),
    created=st.just(1),
    choices=CHOICE.map(lambda choice: [choice]),
    usage=st.none() | st.just(Usage(input_tokens=1, output_tokens=2)),
)


@settings(max_examples=200)
@given(COMPLETION)
def test_what_is_cut_into_pieces_is_collected_as_it_was(completion: Completion) -> None:
    events = list(in_pieces(completion))
    assert collect(events) == completion
    texts = [event.text for event in events if isinstance(event, TextDelta | ThinkingDelta)]
    assert max(map(len, texts), default=0) <= PIECE_CHARACTERS


@pytest.mark.parametrize("length", [0, 1, PIECE_CHARACTERS, PIECE_CHARACTERS + 1, 5 * PIECE_CHARACTERS])
def test_a_long_text_comes_in_pieces(length: int) -> None:
    text = "".join(chr(0x4E00 + at % 999) for at in range(length))
    made = Choice(index=0, content=[TextPart(text=text)], finish_reason="stop")
    completion = Completion(id="1", model="m", created=1, choices=[made])
    pieces = [event.text for event in in_pieces(completion) if isinstance(event, TextDelta)]
    assert ("".join(pieces), len(pieces)) == (text, max(1, -(-length // PIECE_CHARACTERS)))
