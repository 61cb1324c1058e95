"""The provider that needs no vendor: it repeats, counts words, and refuses what OpenAI would refuse."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.echo.adapter import EchoAdapter, last_user_text, words
from providers.echo.plugin import echo_plugin
from providers.errors import ConnectFailed, RequestRefused
from providers.stream import collect
from providers.testing.sender import ScriptedSender
from providers.types import (
    ChatRequest,
    EmbeddingRequest,
    ImagePart,
    Message,
    RelayRequest,
    Sampling,
    Target,
    TextDelta,
    TextPart,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
    Usage,
)

TARGET = Target(provider="echo", model="echo", base_url="")
WEATHER = Tool(name="weather", parameters={"type": "object"})
CLOCK = Tool(name="clock", parameters={"type": "object"})


def _user(*texts):
    return Message(role="user", content=[TextPart(text=text) for text in texts])


def _request(text="hello big world", **fields):
    return ChatRequest(model="echo", dialect="openai", **({"messages": [_user(text)]} | fields))


async def _events(request):
    stream = await EchoAdapter().chat(request, TARGET)
    return [event async for event in stream]


async def _answer(request):
    return collect(await _events(request))


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("hello big world", ["hello", " big", " world"]),
        ("  a\n b ", ["  a", "\n b "]),
        ("one", ["one"]),
        ("one ", ["one "]),
        ("", []),
        (" \n", [" \n"]),
        ("a\u00a0b\u2028c", ["a", "\u00a0b", "\u2028c"]),
    ],
)
def test_words(text, spoken):
    assert words(text) == spoken


@given(st.text())
def test_words_joined_are_the_text(text):
    assert "".join(words(text)) == text
    assert len(words(text)) == len(text.split()) or not text.strip()


async def test_it_repeats_one_word_a_chunk_and_a_token():
    events = await _events(_request())
    assert [event.text for event in events if isinstance(event, TextDelta)] == ["hello", " big", " world"]
    answer = collect(events)
    assert answer.choices[0].content == [TextPart(text="hello big world")]
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage == Usage(input_tokens=3, output_tokens=3)
    assert answer.model == "echo"


async def test_it_repeats_the_last_turn_of_the_user():
    messages = [
        Message(role="system", content=[TextPart(text="be brief")]),
        _user("first"),
        Message(role="assistant", content=[TextPart(text="one two")]),
        Message(
            role="user", content=[TextPart(text="a "), ImagePart(url="https://example.com/a.png"), TextPart(text="b")]
        ),
        Message(role="tool", content=[ToolResultPart(id="1", content=[TextPart(text="x y z")])]),
    ]
    answer = await _answer(_request(messages=messages))
    assert answer.choices[0].content == [TextPart(text="a b")]
    assert answer.usage == Usage(input_tokens=2 + 1 + 2 + 2 + 3, output_tokens=2)


async def test_without_a_user_it_says_nothing_and_ends():
    messages = [Message(role="system", content=[TextPart(text="be brief")])]
    assert last_user_text(messages) == ""
    answer = await _answer(_request(messages=messages))
    assert (answer.choices[0].content, answer.choices[0].finish_reason) == ([], "stop")
    assert answer.usage == Usage(input_tokens=2, output_tokens=0)


@pytest.mark.parametrize(
    ("cap", "text", "reason"),
    [
        (1, "hello", "length"),
        (2, "hello big", "length"),
        (3, "hello big world", "stop"),
        (9, "hello big world", "stop"),
    ],
)
async def test_an_output_cap_ends_it_by_length(cap, text, reason):
    answer = await _answer(_request(max_output_tokens=cap))
    assert answer.choices[0].content == [TextPart(text=text)]
    assert answer.choices[0].finish_reason == reason
    assert answer.usage.output_tokens == len(text.split())


async def test_each_of_several_answers_is_the_same_and_counted():
    answer = await _answer(_request(n=3, max_output_tokens=2))
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert {choice.content[0].text for choice in answer.choices} == {"hello big"}
    assert answer.usage == Usage(input_tokens=3, output_tokens=6)


@pytest.mark.parametrize(
    ("choice", "name"),
    [(ToolChoice(mode="required"), "weather"), (ToolChoice(mode="named", name="clock"), "clock")],
)
async def test_a_demanded_tool_is_called_with_the_text(choice, name):
    answer = await _answer(_request('say "hi"', tools=[WEATHER, CLOCK], tool_choice=choice))
    (call,) = answer.choices[0].content
    assert isinstance(call, ToolCallPart)
    assert (call.name, json.loads(call.arguments)) == (name, {"input": 'say "hi"'})
    assert call.id.startswith("call_")
    assert answer.choices[0].finish_reason == "tool_calls"
    assert answer.usage.output_tokens == 2


@pytest.mark.parametrize("choice", [None, ToolChoice(mode="auto"), ToolChoice(mode="none")])
async def test_a_tool_that_is_only_offered_is_not_called(choice):
    answer = await _answer(_request(tools=[WEATHER], tool_choice=choice))
    assert answer.choices[0].content == [TextPart(text="hello big world")]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"sampling": Sampling(temperature=2.1)}, "temperature"),
        ({"sampling": Sampling(temperature=-0.1)}, "temperature"),
        ({"sampling": Sampling(top_p=1.1)}, "top_p"),
        ({"sampling": Sampling(frequency_penalty=-2.1)}, "frequency_penalty"),
        ({"sampling": Sampling(presence_penalty=2.1)}, "presence_penalty"),
        ({"sampling": Sampling(top_logprobs=21)}, "top_logprobs"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"max_output_tokens": 0}, "max_tokens"),
        ({"max_output_tokens": -3}, "max_tokens"),
        ({"tool_choice": ToolChoice(mode="required")}, "tool_choice"),
        ({"tool_choice": ToolChoice(mode="named", name="weather")}, "tool_choice"),
        ({"tool_choice": ToolChoice(mode="named", name="weather"), "tools": [CLOCK]}, "tool_choice"),
    ],
)
async def test_what_openai_would_refuse_is_refused_by_name(fields, param):
    with pytest.raises(RequestRefused) as caught:
        await EchoAdapter().chat(_request(**fields), TARGET)
    assert (caught.value.param, caught.value.status) == (param, 400)


@pytest.mark.parametrize(
    "sampling",
    [Sampling(temperature=0, top_p=0, frequency_penalty=-2), Sampling(temperature=2, top_p=1, presence_penalty=2)],
)
async def test_the_ends_of_the_ranges_are_taken(sampling):
    assert (await _answer(_request(sampling=sampling, n=1))).choices


async def test_vectors_are_of_unit_length_and_the_same_for_the_same_input():
    inputs = ["hello big", "world", "hello big", ""]
    request = EmbeddingRequest(model="echo", input=inputs, dialect="openai")
    found = await EchoAdapter().embed(request, TARGET)
    first, second, third, _ = found.vectors
    assert first == third != second
    assert all(math.isclose(math.hypot(*vector), 1.0) for vector in found.vectors)
    assert {len(vector) for vector in found.vectors} == {64}
    assert found.usage == Usage(input_tokens=5)
    assert found == await EchoAdapter().embed(request, TARGET)


async def test_tokens_may_be_embedded():
    request = EmbeddingRequest(model="echo", input=[[1, 2], [3]], dialect="openai", dimensions=5)
    found = await EchoAdapter().embed(request, TARGET)
    assert [len(vector) for vector in found.vectors] == [5, 5]
    assert found.usage == Usage(input_tokens=3)


@pytest.mark.parametrize("dimensions", [-1, 0, 4_097])
async def test_absurd_dimensions_are_refused(dimensions):
    request = EmbeddingRequest(model="echo", input=["x"], dialect="openai", dimensions=dimensions)
    with pytest.raises(RequestRefused) as caught:
        await EchoAdapter().embed(request, TARGET)
    assert caught.value.param == "dimensions"


async def test_it_has_no_wire_of_its_own():
    assert EchoAdapter().relays(TARGET) == frozenset()
    with pytest.raises(RequestRefused):
        await EchoAdapter().relay(RelayRequest(operation="openai.chat", body=b"{}", document={}), TARGET)
    assert await EchoAdapter().models(TARGET) == ["echo"]


async def test_its_plugin_needs_no_key_and_calls_nobody():
    sender = ScriptedSender(ConnectFailed())
    adapter = echo_plugin.open(sender, echo_plugin.options())
    assert not echo_plugin.needs_key
    await adapter.chat(_request(), TARGET)
    assert not sender.requests


@pytest.mark.parametrize(
    "request_",
    [
        _request(),
        _request(sampling=Sampling(temperature=3.0)),
        _request(sampling=Sampling(logit_bias={"1": 2})),
        _request(tool_choice=ToolChoice(mode="named", name="clock"), tools=[WEATHER]),
        _request(n=0),
        EmbeddingRequest(model="echo", dialect="openai", input=["a"], dimensions=0),
        EmbeddingRequest(model="echo", dialect="openai", input=["a"], dimensions=4),
        RelayRequest(operation="openai.rerank", body=b"{}", document={}),
    ],
)
async def test_what_it_refuses_it_tells_beforehand(request_):
    adapter = EchoAdapter()
    calls = {ChatRequest: adapter.chat, EmbeddingRequest: adapter.embed, RelayRequest: adapter.relay}
    told = asked = None
    try:
        adapter.check_request(request_, TARGET)
    except RequestRefused as error:
        told = (error.message, error.param, error.code)
    try:
        await calls[type(request_)](request_, TARGET)
    except RequestRefused as error:
        asked = (error.message, error.param, error.code)
    assert told == asked
