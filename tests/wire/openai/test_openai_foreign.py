"""Requests of other dialects said as chat completions: what is said otherwise, dropped or refused."""

import json

import msgspec
import pytest

from providers.catalog import Quirks, load_catalog
from providers.errors import ConnectFailed, RequestRefused
from providers.framing import sse
from providers.openai.plugin import OpenAIDialect, OpenAIOptions
from providers.openai.render import ChunkRenderer, render_completion
from providers.openai.tools import custom_names_in
from providers.registry import Registry
from providers.stream import replay
from providers.testing.sender import ScriptedSender
from providers.types import (
    ChatRequest,
    Choice,
    Completion,
    Message,
    ReasoningOptions,
    Sampling,
    Target,
    TextPart,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
)

TARGET = Target(provider="p", model="real", base_url="https://api.example.com/v1")
OPENAI, OTHER = Quirks(is_openai=True), Quirks()
USER = Message(role="user", content=[TextPart(text="x")])
SHELL = Tool(name="shell", description="Runs.", kind="custom", extras={"format": {"type": "text"}})
CALL = ToolCallPart(id="c", name="shell", arguments="ls", extras={"type": "custom"})


def _asked(quirks=OTHER, *, messages=(USER,), dialect="anthropic", home=None, **fields):
    request = ChatRequest(model="m", messages=list(messages), dialect=dialect, **fields)
    asked = OpenAIDialect(quirks, home=home).encode_chat(request, TARGET)
    return msgspec.json.decode(asked.body), asked.dropped


# --- Fields


def test_openai_lacks_top_k_which_the_servers_of_others_take():
    fields = {"sampling": Sampling(top_k=3, top_p=0.5)}
    body, dropped = _asked(OPENAI, **fields)
    assert ("top_k" in body, dropped) == (False, ("top_k",))
    body, dropped = _asked(OTHER, **fields)
    assert (body["top_k"], dropped) == (3, ())


@pytest.mark.parametrize(
    ("options", "dialect", "word"),
    [
        (ReasoningOptions(budget_tokens=1_024), "anthropic", "low"),
        (ReasoningOptions(budget_tokens=10_000), "anthropic", "medium"),
        (ReasoningOptions(budget_tokens=60_000), "gemini", "high"),
        (ReasoningOptions(effort="max"), "anthropic", "high"),
        (ReasoningOptions(effort="minimal"), "gemini", "low"),
        (ReasoningOptions(effort="xhigh"), "responses", "xhigh"),
        (ReasoningOptions(include=True), "gemini", None),
    ],
)
def test_a_budget_is_said_as_an_effort(options, dialect, word):
    assert _asked(dialect=dialect, reasoning=options)[0].get("reasoning_effort") == word


def test_what_is_harmless_is_dropped_by_name_and_what_is_not_refused():
    body, dropped = _asked(extras={"thinking": {"type": "adaptive"}, "service_tier": "auto"})
    assert set(body) == {"model", "messages"}
    assert set(dropped) == {"thinking", "service_tier"}
    with pytest.raises(RequestRefused) as caught:
        _asked(extras={"container": "c"})
    assert (caught.value.param, caught.value.status) == ("container", 400)


def test_a_namesake_of_another_dialect_is_not_openais():
    assert _asked(OPENAI, extras={"service_tier": "standard_only"})[1] == ("service_tier",)
    body, dropped = _asked(OPENAI, dialect="responses", extras={"service_tier": "flex", "text": {"verbosity": "low"}})
    assert (body["service_tier"], body["verbosity"], dropped) == ("flex", "low", ())


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
def test_what_the_vendor_refuses_is_dropped_where_that_is_harmless(dialect):
    quirks = Quirks(unsupported=frozenset({"seed", "store", "logit_bias"}))
    extras = {"store": True} if dialect == "openai" else {}
    body, dropped = _asked(quirks, dialect=dialect, sampling=Sampling(seed=7), extras=extras)
    assert set(body) == {"model", "messages"}
    assert set(dropped) == {"seed", *extras}
    with pytest.raises(RequestRefused) as caught:
        _asked(quirks, dialect=dialect, sampling=Sampling(logit_bias={"1": 1.0}))
    assert caught.value.param == "logit_bias"


# --- Tools


def test_hosted_tools_stay_behind():
    hosted = Tool(name="web_search", kind="web_search_20260209", extras={"type": "web_search_20260209"})
    body, dropped = _asked(tools=[Tool(name="f", parameters={"type": "object"}), hosted])
    assert [tool["function"]["name"] for tool in body["tools"]] == ["f"]
    assert dropped == ("tools.web_search_20260209",)


@pytest.mark.parametrize("dialect", ["openai", "responses"])
def test_custom_tools_are_functions_elsewhere(dialect):
    turn = Message(role="assistant", content=[CALL])
    result = Message(role="tool", content=[ToolResultPart(id="c", content=[TextPart(text="a")])])
    choice = ToolChoice(mode="named", name="shell")
    fields = {"messages": (USER, turn, result), "tools": [SHELL], "tool_choice": choice, "dialect": dialect}
    body, _ = _asked(OPENAI, **fields)
    assert body["tools"] == [
        {"type": "custom", "custom": {"name": "shell", "description": "Runs.", "format": {"type": "text"}}}
    ]
    assert body["tool_choice"] == {"type": "custom", "custom": {"name": "shell"}}
    assert body["messages"][1]["tool_calls"] == [
        {"id": "c", "type": "custom", "custom": {"name": "shell", "input": "ls"}}
    ]
    body, _ = _asked(OTHER, **fields)
    assert body["tools"][0]["function"]["name"] == "shell"
    assert body["tool_choice"] == {"type": "function", "function": {"name": "shell"}}
    function = body["messages"][1]["tool_calls"][0]["function"]
    assert (function["name"], json.loads(function["arguments"])) == ("shell", {"input": "ls"})


def test_another_server_behind_openais_adapter_is_not_openai():
    body, _ = _asked(OPENAI, tools=[SHELL], home="https://api.openai.com/v1")
    assert body["tools"][0]["type"] == "function"
    body, _ = _asked(OPENAI, tools=[SHELL], home=TARGET.base_url)
    assert body["tools"][0]["type"] == "custom"


def test_who_is_openai():
    assert {name for name, row in load_catalog().vendors.items() if row.quirks.is_openai} == {"openai", "azure"}


# --- Answers that call custom tools


DOCUMENT = {"tools": [{"type": "custom", "custom": {"name": "shell"}}, {"type": "function", "function": {"name": "f"}}]}
ANSWER = Completion(
    id="1",
    model="m",
    created=7,
    choices=[
        Choice(
            index=0,
            content=[
                ToolCallPart(id="a", name="shell", arguments='{"input": "ls \\n"}'),
                ToolCallPart(id="b", name="f", arguments='{"input": 1}'),
                ToolCallPart(id="c", name="shell", arguments="pwd", extras={"type": "custom"}),
            ],
            finish_reason="tool_calls",
        )
    ],
)


def test_a_function_that_stands_for_a_custom_tool_is_called_as_one():
    names = custom_names_in(DOCUMENT)
    assert names == {"shell"}
    calls = render_completion(ANSWER, model="m", custom_names=names)["choices"][0]["message"]["tool_calls"]
    assert calls == [
        {"id": "a", "type": "custom", "custom": {"name": "shell", "input": "ls \n"}},
        {"id": "b", "type": "function", "function": {"name": "f", "arguments": '{"input": 1}'}},
        {"id": "c", "type": "custom", "custom": {"name": "shell", "input": "pwd"}},
    ]


def test_a_stream_says_the_same():
    renderer = ChunkRenderer(model="m", include_usage=False, custom_names=custom_names_in(DOCUMENT))
    stream = b"".join([renderer.feed(event) for event in replay(ANSWER)])
    calls = {}
    for frame in sse.split_frames(stream):
        for delta in json.loads(sse.data_of(frame))["choices"][0]["delta"].get("tool_calls", []):
            call = calls.setdefault(delta["index"], {"id": delta.get("id"), "type": delta.get("type")})
            said = delta.get("custom") or delta["function"]
            call["name"] = call.get("name", "") + said.get("name", "")
            call["said"] = call.get("said", "") + said.get("input", said.get("arguments", ""))
    assert list(calls.values()) == [
        {"id": "a", "type": "custom", "name": "shell", "said": "ls \n"},
        {"id": "b", "type": "function", "name": "f", "said": '{"input": 1}'},
        {"id": "c", "type": "custom", "name": "shell", "said": "pwd"},
    ]


# --- Models that think


THINKS = ReasoningOptions(effort="high")
HOME = "https://api.openai.com/v1"


def _place(model, *, options=None, base_url=HOME, dialect="anthropic", **fields):
    """Return where a request goes, and what it is."""
    plugin = Registry().find("openai")
    sender = ScriptedSender(ConnectFailed())
    adapter = plugin.open(sender, options or plugin.options())
    request = ChatRequest(model="m", messages=[USER], dialect=dialect, **fields)
    target = Target(provider="p", model=model, base_url=base_url)
    asked = adapter.dialect_for(request, target).encode_chat(request, target)
    return asked.url.removeprefix(base_url), msgspec.json.decode(asked.body), asked.dropped


@pytest.mark.parametrize(
    ("model", "fields", "path"),
    [
        ("gpt-5.2", {"reasoning": THINKS}, "/responses"),
        ("o3", {"reasoning": ReasoningOptions(budget_tokens=2_000)}, "/responses"),
        ("gpt-5.2", {}, "/chat/completions"),
        ("gpt-5.2", {"reasoning": ReasoningOptions(effort="none")}, "/chat/completions"),
        ("gpt-4o", {"reasoning": THINKS}, "/chat/completions"),
        ("gpt-5.2", {"reasoning": THINKS, "sampling": Sampling(stop=["x"])}, "/chat/completions"),
        ("gpt-5.2", {"reasoning": THINKS, "dialect": "openai"}, "/chat/completions"),
        ("gpt-5.2", {"reasoning": THINKS, "base_url": "https://mine.example/v1"}, "/chat/completions"),
        ("gpt-5.2", {"reasoning": THINKS, "options": OpenAIOptions(chat_api="chat")}, "/chat/completions"),
        ("gpt-4o", {"options": OpenAIOptions(chat_api="responses")}, "/responses"),
    ],
)
def test_a_request_that_thinks_goes_where_thoughts_are_shown(model, fields, path):
    assert _place(model, **fields)[0] == path


@pytest.mark.parametrize(
    ("model", "reasoning", "lost"),
    [
        ("o4-mini", None, ("temperature", "top_p", "frequency_penalty")),
        ("gpt-5-mini", None, ("temperature", "top_p", "frequency_penalty")),
        ("gpt-5.2", THINKS, ("temperature", "top_p", "frequency_penalty")),
        ("gpt-5.2", None, ()),
        ("gpt-5-chat-latest", None, ()),
        ("gpt-4o", None, ()),
    ],
)
def test_a_model_that_thinks_is_not_told_how_to_draw(model, reasoning, lost):
    drawn = Sampling(temperature=0.5, top_p=0.9, frequency_penalty=0.25, stop=["x"])
    _, body, dropped = _place(model, reasoning=reasoning, sampling=drawn)
    assert set(dropped) >= set(lost)
    assert {"temperature", "top_p", "frequency_penalty"} - body.keys() == set(lost)
    usual = _place(model, reasoning=reasoning, sampling=Sampling(temperature=1, stop=["x"]))
    assert usual[1]["temperature"] == 1
    assert "temperature" not in usual[2]
