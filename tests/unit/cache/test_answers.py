"""What may be kept, and that what is sealed opens where it was sealed for and nowhere else."""

import os

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.cache.answers import Answered, Sealer, is_safe, place_of
from providers.types import (
    Choice,
    Completion,
    FinishReason,
    ImagePart,
    OpaquePart,
    Part,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    Usage,
)

SEALER = Sealer(b"k" * 32)
PLACE = place_of("organization:1", "ab" * 16)
TEXT = TextPart(text="hello")


def completion(*content: Part, reason: FinishReason = "stop", choices: int = 1) -> Completion:
    made = [Choice(index=at, content=list(content), finish_reason=reason) for at in range(choices)]
    return Completion(id="1", model="m", created=1, choices=made, usage=Usage(input_tokens=3, output_tokens=2))


ANSWERED = Answered(
    provider="p",
    model="m",
    upstream_model="u",
    created_ms=7,
    relay="openai.chat",
    completion=completion(ThinkingPart(text="hm", signature="c2ln"), TEXT),
    body=b"{}",
    cost_nusd=5,
    dropped=("top_k",),
)


@pytest.mark.parametrize("content", [(TEXT,), (ThinkingPart(text="hm"), TEXT), (TEXT, TEXT)])
def test_words_that_end_by_themselves_are_safe(content: tuple[Part, ...]) -> None:
    assert is_safe(completion(*content))


@pytest.mark.parametrize(
    "answer",
    [
        *(completion(TEXT, reason=reason) for reason in ("length", "tool_calls", "content_filter", "refusal", "other")),
        completion(TEXT, choices=2),
        completion(TEXT, choices=0),
        completion(),
        completion(TextPart(text=" \n\t")),
        completion(ThinkingPart(text="hm")),
        completion(TEXT, RefusalPart(text="no")),
        completion(RefusalPart(text="no")),
        completion(TEXT, ToolCallPart(id="1", name="f")),
        completion(TEXT, ImagePart(data="aaaa", media_type="image/png")),
        completion(TEXT, OpaquePart(dialect="anthropic", value={})),
    ],
)
def test_nothing_else_is(answer: Completion) -> None:
    assert not is_safe(answer)


@pytest.mark.parametrize("body", [b"{}", b"x" * 4_096, os.urandom(9_000)])
def test_what_is_sealed_opens_where_it_was_sealed_for(body: bytes) -> None:
    answered = msgspec.structs.replace(ANSWERED, body=body)
    assert SEALER.open_answer(SEALER.seal_answer(answered, place=PLACE), place=PLACE) == answered


def test_a_seal_is_never_the_same_and_shows_nothing() -> None:
    seals = {SEALER.seal_answer(ANSWERED, place=PLACE) for _ in range(50)}
    assert len(seals) == 50
    assert not any(b"hello" in seal for seal in seals)


@pytest.mark.parametrize(
    "place",
    [
        place_of("organization:2", "ab" * 16),
        place_of("organization:1", "ac" * 16),
        place_of("team:1", "ab" * 16),
        b"",
    ],
)
def test_in_another_place_it_does_not_open(place: bytes) -> None:
    for answered in (ANSWERED, msgspec.structs.replace(ANSWERED, body=b"x" * 5_000)):
        assert SEALER.open_answer(SEALER.seal_answer(answered, place=PLACE), place=place) is None


def test_under_another_key_it_does_not_open() -> None:
    assert Sealer(b"l" * 32).open_answer(SEALER.seal_answer(ANSWERED, place=PLACE), place=PLACE) is None


@pytest.mark.parametrize("size", [10, 10_000])
def test_what_the_key_before_sealed_opens_too_and_nothing_else_does(size: int) -> None:
    data = b"a" * size
    renewed = Sealer(b"n" * 32, old_key=b"k" * 32)
    assert renewed.open(SEALER.seal(data, place=PLACE), place=PLACE) == data
    assert renewed.open(renewed.seal(data, place=PLACE), place=PLACE) == data
    assert SEALER.open(renewed.seal(data, place=PLACE), place=PLACE) is None
    assert renewed.open(SEALER.seal(data, place=PLACE), place=b"elsewhere") is None
    assert renewed.open(Sealer(b"l" * 32).seal(data, place=PLACE), place=PLACE) is None


def test_no_part_of_it_opens() -> None:
    sealed = SEALER.seal_answer(ANSWERED, place=PLACE)
    assert all(SEALER.open_answer(sealed[:length], place=PLACE) is None for length in range(len(sealed)))
    assert all(SEALER.open_answer(sealed[start:], place=PLACE) is None for start in range(1, len(sealed)))


@settings(max_examples=200)
@given(st.data())
def test_whatever_is_changed_it_does_not_open(data: st.DataObject) -> None:
    sealed = bytearray(SEALER.seal_answer(ANSWERED, place=PLACE))
    at = data.draw(st.integers(0, len(sealed) - 1))
    sealed[at] ^= data.draw(st.integers(1, 255))
    assert SEALER.open_answer(bytes(sealed), place=PLACE) is None


@settings(max_examples=200)
@given(st.binary(max_size=200), st.sampled_from([b"", b"\x00", b"\x01"]))
def test_garbage_does_not_open(garbage: bytes, head: bytes) -> None:
    assert SEALER.open_answer(head + garbage, place=PLACE) is None


def test_an_answer_of_another_release_is_none() -> None:
    for odd in (b"", b"\xc1", msgspec.msgpack.encode({"provider": 1}), msgspec.msgpack.encode([1, 2])):
        assert SEALER.open_answer(SEALER.seal(odd, place=PLACE), place=PLACE) is None
    more = {**msgspec.to_builtins(ANSWERED, builtin_types=(bytes,)), "of_the_future": 1}
    assert SEALER.open_answer(SEALER.seal(msgspec.msgpack.encode(more), place=PLACE), place=PLACE) == ANSWERED
