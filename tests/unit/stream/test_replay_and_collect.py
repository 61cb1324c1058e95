"""The law between finished and streamed answers: `collect(replay(c)) == c`."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.errors import StreamInterrupted
from providers.stream import ANNOTATIONS, CLOSES_PART, OPAQUE_PART, Collector, ReplayStream, collect, replay
from providers.types import (
    Choice,
    Completion,
    Finished,
    ImagePart,
    OpaquePart,
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

TEXT = st.text(st.characters(codec="utf-8"), max_size=6)
EXTRAS = st.dictionaries(st.sampled_from(["cache_control", "x"]), TEXT, max_size=2)
NOTES = st.lists(st.fixed_dictionaries({"type": st.just("url_citation"), "url": TEXT}), max_size=2)
LOGPROBS = st.none() | st.fixed_dictionaries(
    {"content": st.lists(st.fixed_dictionaries({"token": TEXT, "logprob": st.integers(-9, 0)}), max_size=2)},
    optional={"refusal": st.none()},
)
COUNT = st.integers(0, 10**6)
USAGE = st.none() | st.builds(
    Usage,
    input_tokens=COUNT,
    output_tokens=COUNT,
    cache_read_tokens=COUNT,
    cache_write_tokens=COUNT,
    reasoning_tokens=COUNT,
    estimated=st.booleans(),
)
PARTS = st.one_of(
    st.builds(TextPart, text=TEXT, annotations=NOTES, extras=EXTRAS),
    st.builds(RefusalPart, text=TEXT, extras=EXTRAS),
    st.builds(ThinkingPart, text=TEXT, signature=st.none() | TEXT, redacted=st.booleans(), extras=EXTRAS),
    st.builds(ToolCallPart, id=TEXT, name=TEXT, arguments=TEXT, extras=EXTRAS),
    st.builds(OpaquePart, dialect=TEXT, value=st.dictionaries(TEXT, TEXT, max_size=1), extras=EXTRAS),
    st.builds(ImagePart, data=TEXT, media_type=st.just("image/png")),
)
REASONS = st.sampled_from(["stop", "length", "tool_calls", "content_filter", "refusal", "other"])
CHOICES = st.lists(st.lists(PARTS, max_size=5), min_size=1, max_size=3).flatmap(
    lambda contents: st.tuples(
        *(
            st.builds(
                Choice,
                index=st.just(index),
                content=st.just(content),
                finish_reason=REASONS,
                logprobs=LOGPROBS,
                extras=EXTRAS,
            )
            for index, content in enumerate(contents)
        )
    ).map(list)
)
COMPLETIONS = st.builds(Completion, id=TEXT, model=TEXT, created=COUNT, choices=CHOICES, usage=USAGE, extras=EXTRAS)
STARTED = Started(id="1", model="m", created=7)
STOP = Finished(reason="stop")


@settings(max_examples=60, deadline=None)
@given(COMPLETIONS)
def test_what_is_replayed_is_collected_again(completion):
    assert collect(replay(completion)) == completion


@settings(max_examples=40, deadline=None)
@given(COMPLETIONS)
def test_choices_may_be_interleaved(completion):
    events = list(replay(completion))
    inner = [event for event in events if not isinstance(event, Started | UsageReported)]
    choices = [[event for event in inner if event.choice == choice.index] for choice in completion.choices]
    mixed = []
    while any(choices):
        mixed += [choice.pop(0) for choice in choices if choice]
    usage = [event for event in events if isinstance(event, UsageReported)]
    assert collect([events[0], *mixed, *usage]) == completion


@settings(max_examples=40, deadline=None)
@given(COMPLETIONS, st.data())
def test_a_stream_that_lacks_an_end_is_interrupted(completion, data):
    events = list(replay(msgspec.structs.replace(completion, choices=completion.choices[:1])))
    end = next(place for place, event in enumerate(events) if isinstance(event, Finished))
    length = data.draw(st.integers(0, end))
    with pytest.raises(StreamInterrupted):
        collect(events[:length])


def test_one_choice_of_two_that_never_finishes_is_interrupted():
    with pytest.raises(StreamInterrupted):
        collect([STARTED, TextDelta(text="a"), TextDelta(choice=1, text="b"), STOP])


def test_an_answer_without_choices_is_interrupted():
    with pytest.raises(StreamInterrupted):
        collect([STARTED, UsageReported(usage=Usage(input_tokens=1))])


def test_events_without_a_start_are_interrupted():
    with pytest.raises(StreamInterrupted):
        collect([TextDelta(text="a"), STOP])


def _content(*events):
    return collect([STARTED, *events, STOP]).choices[0].content


def test_deltas_of_one_kind_grow_one_part():
    found = _content(
        ThinkingDelta(text="let "),
        ThinkingDelta(text="me"),
        TextDelta(text="a"),
        TextDelta(text="b"),
        TextDelta(text="no", refusal=True),
        TextDelta(text="pe", refusal=True),
        TextDelta(text="c"),
    )
    assert found == [ThinkingPart(text="let me"), TextPart(text="ab"), RefusalPart(text="nope"), TextPart(text="c")]


def test_a_signature_closes_its_thoughts():
    found = _content(
        ThinkingDelta(text="a"), ThinkingDelta(signature="s1"), ThinkingDelta(text="b"), ThinkingDelta(signature="s2")
    )
    assert found == [ThinkingPart(text="a", signature="s1"), ThinkingPart(text="b", signature="s2")]


def test_tool_calls_may_be_interleaved():
    found = _content(
        ToolCallStarted(index=0, id="1", name="f"),
        ToolCallStarted(index=1, id="2", name="g"),
        ToolCallDelta(index=0, arguments="{"),
        ToolCallDelta(index=1, arguments="[]"),
        ToolCallDelta(index=0, arguments="}"),
    )
    assert found == [ToolCallPart(id="1", name="f", arguments="{}"), ToolCallPart(id="2", name="g", arguments="[]")]


def test_annotations_of_several_deltas_follow_each_other():
    found = _content(
        TextDelta(text="a"),
        TextDelta(text="", extras={ANNOTATIONS: [1]}),
        TextDelta(text="b", extras={ANNOTATIONS: [2]}),
    )
    assert found == [TextPart(text="ab", annotations=[1, 2])]


def test_an_opaque_part_takes_no_text_with_it():
    opaque = OpaquePart(dialect="x", value={"type": "odd"})
    whole = Completion(id="1", model="m", created=7, choices=[Choice(index=0, content=[opaque], finish_reason="stop")])
    carried = [event for event in replay(whole) if isinstance(event, TextDelta)]
    for event in (*carried, TextDelta(text="", extras={OPAQUE_PART: opaque})):
        found = _content(TextDelta(text="before"), event, TextDelta(text="after"))
        assert found == [TextPart(text="before"), opaque, TextPart(text="after")]


def test_a_closed_part_does_not_grow():
    found = _content(TextDelta(text="a", extras={CLOSES_PART: True}), TextDelta(text="b"))
    assert found == [TextPart(text="a"), TextPart(text="b")]


def test_log_probabilities_follow_each_other():
    parts = [{"content": [1], "refusal": None}, {"content": [2]}, None, {"refusal": [3]}]
    events = [TextDelta(text="x", logprobs=logprobs) for logprobs in parts]
    choice = collect([STARTED, *events, STOP]).choices[0]
    assert choice.logprobs == {"content": [1, 2], "refusal": [3]}


@pytest.mark.parametrize("odd", [[], [1], "x", 7, {}])
def test_odd_log_probabilities_break_nothing(odd):
    events = [TextDelta(text="a", logprobs={"content": [1]}), TextDelta(text="b", logprobs=odd)]
    for order in (events, events[::-1]):
        assert collect([STARTED, *order, STOP]).choices[0].content == [TextPart(text="".join(e.text for e in order))]


def test_the_last_report_of_usage_counts():
    collector = Collector()
    for output in (1, 2, 3):
        collector.feed(UsageReported(usage=Usage(output_tokens=output)))
    assert collector.usage == Usage(output_tokens=3)


async def test_a_replayed_stream_has_the_events_and_headers():
    stream = ReplayStream([STARTED, STOP], {"x-request-id": "7"})
    assert [event async for event in stream] == [STARTED, STOP]
    assert stream.headers == {"x-request-id": "7"}
    stream.close()
    stream.close()
