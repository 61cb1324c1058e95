"""What of a stream may win: whatever may not, all taken together, is what loses when it comes whole."""

import itertools

import pytest

from app.fanout.answers import is_empty, is_refusal, may_win
from providers.stream import replay
from providers.types import (
    Choice,
    Completion,
    Finished,
    ImagePart,
    OpaquePart,
    Part,
    RefusalPart,
    Started,
    TextDelta,
    TextPart,
    ThinkingDelta,
    ThinkingPart,
    ToolCallDelta,
    ToolCallPart,
    ToolCallStarted,
    Usage,
    UsageReported,
)

PARTS: list[Part] = [
    TextPart(text=""),
    TextPart(text=" \n"),
    TextPart(text="yes"),
    RefusalPart(text="no"),
    RefusalPart(text=" "),
    ThinkingPart(text="well"),
    ThinkingPart(text="", signature="s"),
    ThinkingPart(redacted=True, signature="s"),
    ToolCallPart(id="1", name="look"),
    ImagePart(url="https://example.org/a.png"),
    OpaquePart(dialect="openai", value={}),
]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (Started(id="1", model="m", created=1), False),
        (TextDelta(text=""), False),
        (TextDelta(text=" \n\t"), False),
        (TextDelta(text="\u00a0\u2003"), False),
        (TextDelta(text=" a"), True),
        (TextDelta(text="no", refusal=True), False),
        (TextDelta(text="", logprobs={"content": []}), False),
        (ThinkingDelta(text=" "), False),
        (ThinkingDelta(text="well"), True),
        (ThinkingDelta(signature="s"), False),
        (ThinkingDelta(redacted=True, signature="s"), True),
        (ToolCallStarted(index=0, id="1", name="look"), True),
        (ToolCallDelta(index=0, arguments=""), True),
        (UsageReported(usage=Usage(input_tokens=1)), False),
        (Finished(reason="stop"), False),
        (Finished(reason="content_filter"), False),
    ],
    ids=str,
)
def test_what_may_win(event, expected):
    assert may_win(event) is expected


@pytest.mark.parametrize("reason", ["stop", "content_filter"])
def test_a_stream_without_it_is_a_whole_answer_that_loses(reason):
    lost = 0
    for count in range(4):
        for parts in itertools.product(PARTS, repeat=count):
            choice = Choice(index=0, content=list(parts), finish_reason=reason)
            completion = Completion(id="1", model="m", created=1, choices=[choice])
            if not any(map(may_win, replay(completion))):
                lost += 1
                assert is_empty(completion) or is_refusal(completion), parts
    assert lost > 100


def test_a_whole_answer_that_counts_may_win_as_a_stream():
    for parts in itertools.product(PARTS, repeat=3):
        completion = Completion(
            id="1", model="m", created=1, choices=[Choice(index=0, content=list(parts), finish_reason="stop")]
        )
        if not is_empty(completion) and not is_refusal(completion):
            assert any(map(may_win, replay(completion))), parts
