"""Keys: all that can change an answer is in them, how it travels and who asks is not, and the dialects meet."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.api.understanding import Call
from app.api.wires import WIRES
from app.cache.question import HOTTEST, Ground, Question, question_of, question_of_document, wants_variety
from app.kernel.errors import GatewayError
from providers.errors import ProviderError
from providers.types import (
    ChatRequest,
    FilePart,
    ImagePart,
    Message,
    Sampling,
    TextPart,
    Tool,
    ToolCallPart,
    ToolChoice,
)

OPERATIONS = {wire.operation.relay: wire for wire in WIRES}
GROUND = Ground(scope="organization:1", operation="chat", model="m", targets=b"t")
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
PNG = "data:image/png;base64,iVBORw0KGgo="
CHAT: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "be kind"},
        {"role": "developer", "content": [{"type": "text", "text": "be brief"}]},
        {
            "role": "user",
            "name": "bob",
            "content": [
                {"type": "text", "text": "hi"},
                {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}},
                {"type": "image_url", "image_url": {"url": PNG}},
                {"type": "input_audio", "input_audio": {"data": "aaaa", "format": "wav"}},
                {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0=", "filename": "a.pdf"}},
            ],
        },
        {
            "role": "assistant",
            "content": "let me see",
            "reasoning_content": "hm",
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "w", "arguments": '{"a":1}'}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
        {"role": "user", "content": "and now?"},
    ],
    "tools": [
        {"type": "function", "function": {"name": "w", "description": "d", "parameters": SCHEMA, "strict": True}}
    ],
    "tool_choice": {"type": "function", "function": {"name": "w"}},
    "parallel_tool_calls": False,
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": SCHEMA, "strict": True, "description": "x"},
    },
    "temperature": 0.5,
    "top_p": 0.9,
    "top_k": 4,
    "frequency_penalty": 0.1,
    "presence_penalty": 0.2,
    "logit_bias": {"5": 1},
    "logprobs": True,
    "top_logprobs": 2,
    "seed": 3,
    "stop": ["a", "b"],
    "reasoning_effort": "low",
    "max_tokens": 50,
    "verbosity": "low",
}
MESSAGES: dict[str, Any] = {
    "max_tokens": 9,
    "system": [{"type": "text", "text": "be kind", "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "hi"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aaaa"}},
                {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
                {
                    "type": "document",
                    "source": {"type": "text", "media_type": "text/plain", "data": "doc"},
                    "title": "t",
                    "context": "c",
                    "citations": {"enabled": True},
                },
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
                {"type": "text", "text": "let"},
                {"type": "tool_use", "id": "c1", "name": "w", "input": {"city": "a"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "c1",
                    "content": [{"type": "text", "text": "sunny"}],
                    "is_error": True,
                },
                {"type": "text", "text": "so"},
            ],
        },
    ],
    "tools": [{"name": "w", "description": "d", "input_schema": SCHEMA}],
    "tool_choice": {"type": "tool", "name": "w", "disable_parallel_tool_use": True},
    "temperature": 0.5,
    "top_p": 0.9,
    "top_k": 4,
    "stop_sequences": ["a"],
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}},
}
GENERATE: dict[str, Any] = {
    "contents": [
        {"role": "user", "parts": [{"text": "hi"}, {"inlineData": {"mimeType": "image/png", "data": "aaaa"}}]},
        {
            "role": "model",
            "parts": [
                {"text": "hm", "thought": True},
                {"text": "let"},
                {"functionCall": {"name": "w", "args": {"city": "a"}, "id": "c1"}, "thoughtSignature": "c2ln"},
            ],
        },
        {"role": "user", "parts": [{"functionResponse": {"name": "w", "id": "c1", "response": {"result": "sunny"}}}]},
        {"role": "user", "parts": [{"text": "so"}]},
    ],
    "systemInstruction": {"parts": [{"text": "be kind"}]},
    "tools": [{"functionDeclarations": [{"name": "w", "description": "d", "parametersJsonSchema": SCHEMA}]}],
    "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["w"]}},
    "generationConfig": {
        "temperature": 0.5,
        "topP": 0.9,
        "topK": 4,
        "maxOutputTokens": 9,
        "stopSequences": ["a"],
        "responseMimeType": "application/json",
        "responseJsonSchema": SCHEMA,
        "seed": 3,
        "presencePenalty": 0.1,
        "frequencyPenalty": 0.2,
        "responseLogprobs": True,
        "logprobs": 2,
        "thinkingConfig": {"thinkingBudget": 5, "includeThoughts": True},
    },
}
RESPONSES: dict[str, Any] = {
    "instructions": "be kind",
    "input": [
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "hi"},
                {"type": "input_image", "image_url": "https://example.com/a.png", "detail": "low"},
                {"type": "input_file", "file_data": "data:application/pdf;base64,JVBERi0=", "filename": "a.pdf"},
            ],
        },
        {"role": "assistant", "content": [{"type": "output_text", "text": "let"}]},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "abc"},
        {"type": "function_call", "call_id": "c1", "name": "w", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
        {"role": "user", "content": "so"},
    ],
    "tools": [{"type": "function", "name": "w", "description": "d", "parameters": SCHEMA, "strict": True}],
    "tool_choice": {"type": "function", "name": "w"},
    "parallel_tool_calls": False,
    "text": {
        "format": {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True, "description": "x"},
        "verbosity": "low",
    },
    "reasoning": {"effort": "low", "summary": "auto"},
    "temperature": 0.5,
    "top_p": 0.9,
    "max_output_tokens": 9,
}
COMPLETIONS: dict[str, Any] = {
    "prompt": "hi",
    "max_tokens": 9,
    "temperature": 0.5,
    "top_p": 0.9,
    "stop": ["a"],
    "seed": 3,
    "presence_penalty": 0.1,
    "frequency_penalty": 0.2,
    "logit_bias": {"5": 1},
}
# Said anew, so that no two places of a body are one object.
BODIES: dict[str, dict[str, Any]] = json.loads(
    json.dumps(
        {
            "openai.chat": CHAT,
            "anthropic.messages": MESSAGES,
            "gemini.generate": GENERATE,
            "openai.responses": RESPONSES,
            "openai.completions": COMPLETIONS,
            "llm.chat": CHAT,
        }
    )
)
SAME = {
    # What a provider takes for the same, or refuses.
    ("openai.chat", "messages.3.tool_calls.0.type"),
    ("llm.chat", "messages.3.tool_calls.0.type"),
    ("gemini.generate", "contents.0.role"),
    ("gemini.generate", "contents.2.role"),
    ("gemini.generate", "contents.3.role"),
    ("gemini.generate", "contents.2.parts.0.functionResponse.id"),
    ("gemini.generate", "toolConfig.functionCallingConfig.mode"),
    ("anthropic.messages", "tool_choice.disable_parallel_tool_use"),
    ("anthropic.messages", "messages.2.content.0.is_error"),
}
GONE = object()


def key_of(relay: str, document: dict[str, Any]) -> bytes | str:
    """Return the key of a body, or what is done with it instead."""
    wire = OPERATIONS[relay]
    document = {"model": "m", **document}
    call = Call("m:generateContent", "") if relay.startswith("gemini") else Call("", "")
    parse = wire.operation.parse
    assert parse is not None
    try:
        request = parse(document, wire.read(document, call))
        assert isinstance(request, ChatRequest)
        return question_of(request, GROUND, relayed=document).key
    except GatewayError:
        return "refused"
    except (ProviderError, TypeError, ValueError, AttributeError, LookupError):
        return "not kept"


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield every place in a document with what stands there."""
    if path:
        yield path, value
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in inner:
        yield from places(each, (*path, name))


def put(document: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(document)
    inner: Any = changed
    for name in path[:-1]:
        inner = inner[name]
    if value is GONE:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return changed


def changes(value: Any) -> Iterator[Any]:
    """Yield what may stand there instead: a bit of everything that a client could try."""
    yield GONE
    match value:
        case str():
            yield from (f"{value}x", f"{value} ", value.swapcase(), {"odd": 1}, ["odd"], 7)
        case bool():
            yield from (not value, "true")
        case int() | float():
            yield from (value + 1, str(value), value + 0.25)
        case dict():
            yield from ({**value, "novelty": "odd"}, {}, [value], "odd")
        case list():
            yield from ([*value, "odd"], value[::-1], value + value[:1], [], [*value, {"odd": 1}], "odd", {"a": "odd"})


@pytest.mark.parametrize("relay", BODIES)
def test_every_change_of_a_body_is_another_question(relay: str) -> None:
    document = BODIES[relay]
    key = key_of(relay, document)
    assert isinstance(key, bytes)
    met = [
        (path, changed)
        for path, value in places(document)
        for changed in changes(value)
        if changed != value
        and key_of(relay, put(document, path, changed)) == key
        and (relay, ".".join(map(str, path))) not in SAME
    ]
    assert met == []


@pytest.mark.parametrize("relay", BODIES)
def test_a_member_that_nobody_here_reads_is_another_question(relay: str) -> None:
    document = BODIES[relay]
    keys = [key_of(relay, document), *(key_of(relay, {**document, "novelty": value}) for value in (1, [2], {"a": 3}))]
    for path, value in places(document):
        if isinstance(value, dict):
            keys += [key_of(relay, put(document, path, {**value, "novelty": each})) for each in (1, {"a": 1}, {"a": 2})]
    known = [key for key in keys if isinstance(key, bytes)]
    assert len(known) > 3
    assert len(set(known)) == len(known)


TRANSPORT: dict[str, list[dict[str, Any]]] = {
    "openai.chat": [
        {"stream": True},
        {"stream": True, "stream_options": {"include_usage": True, "include_obfuscation": False}},
        {"user": "u", "metadata": {"a": "b"}, "store": True},
        {"safety_identifier": "s", "prompt_cache_key": "k", "prompt_cache_retention": "24h"},
        {"gateway": {"timeout_s": 5}},
    ],
    "anthropic.messages": [{"stream": True}, {"metadata": {"user_id": "u"}}],
    "gemini.generate": [{"labels": {"a": "b"}}],
    "openai.responses": [
        {"stream": True, "store": False},
        {"store": True, "user": "u", "metadata": {"a": "b"}, "background": False},
        {"prompt_cache_key": "k", "safety_identifier": "s"},
    ],
    "openai.completions": [{"stream": True, "user": "u"}],
    "llm.chat": [{"stream": True, "cache": {"mode": "exact"}, "gateway": {}, "user": "u"}],
}


@pytest.mark.parametrize("relay", BODIES)
@pytest.mark.parametrize("more", [{}, {"novelty": 1}], ids=["read", "unread"])
def test_how_an_answer_travels_and_who_asks_is_no_question(relay: str, more: dict[str, Any]) -> None:
    document = {**BODIES[relay], **more}
    key = key_of(relay, document)
    assert isinstance(key, bytes)
    for transport in TRANSPORT[relay]:
        assert key_of(relay, {**document, **transport}) == key, transport


def test_the_order_of_members_is_no_question() -> None:
    assert key_of("openai.chat", dict(reversed(CHAT.items()))) == key_of("openai.chat", CHAT)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("caf\u00e9", "cafe\u0301"),
        ("\u212b", "\u00c5"),
        ("a\u200bb", "ab"),
        ("A", "\uff21"),
        ("a\u00a0b", "a b"),
        ("hi", "hi "),
        ("a\r\nb", "a\nb"),
        ("\u0130", "i"),
    ],
)
def test_texts_that_look_alike_are_two_questions(one: str, other: str) -> None:
    bodies = [{"messages": [{"role": "user", "content": text}]} for text in (one, other)]
    assert key_of("openai.chat", bodies[0]) != key_of("openai.chat", bodies[1])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (10**22 + 1, 10**22 + 2),
        (2**63, 2**63 + 1),
        (-(2**63) - 1, -(2**63) - 2),
        (0, False),
        (1, True),
        (1, "1"),
        (0, None),
    ],
)
def test_numbers_that_are_nearly_the_same_are_two_questions(one: Any, other: Any) -> None:
    def body(value: Any) -> dict[str, Any]:
        text = json.dumps({"messages": [{"role": "user", "content": "hi"}], "novelty": value})
        decoded: dict[str, Any] = msgspec.json.decode(text)
        return decoded

    assert key_of("openai.chat", body(one)) != key_of("openai.chat", body(other))


def test_what_json_cannot_say_has_no_key() -> None:
    for odd in ("\ud800", b"bytes", object()):
        document = {"messages": [{"role": "user", "content": "hi"}], "novelty": odd}
        assert key_of("openai.chat", document) == "not kept" or isinstance(odd, bytes)


# --- The dialects meet

_TURNS = [("user", "hi"), ("assistant", "yes"), ("user", "so")]


def _openai(**more: Any) -> dict[str, Any]:
    turns = [{"role": role, "content": text} for role, text in _TURNS]
    return {"messages": [{"role": "system", "content": "be kind"}, *turns], "temperature": 0.5, "max_tokens": 9, **more}


def _in_every_dialect() -> dict[str, list[dict[str, Any]]]:
    turns = [{"role": role, "content": text} for role, text in _TURNS]
    parts = [{"role": {"assistant": "model"}.get(role, role), "parts": [{"text": text}]} for role, text in _TURNS]
    items = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}, *turns[1:]]
    spoken = {"temperature": 0.5, "max_output_tokens": 9}
    return {
        "openai.chat": [_openai(), _openai(stream=True, user="u")],
        "llm.chat": [_openai()],
        "anthropic.messages": [
            {"system": "be kind", "messages": turns, "temperature": 0.5, "max_tokens": 9},
            {"system": [{"type": "text", "text": "be kind"}], "messages": turns, "temperature": 0.5, "max_tokens": 9},
        ],
        "gemini.generate": [
            {
                "systemInstruction": {"parts": [{"text": "be kind"}]},
                "contents": parts,
                "generationConfig": {"temperature": 0.5, "maxOutputTokens": 9},
            },
            {
                "system_instruction": {"parts": [{"text": "be kind"}]},
                "contents": parts,
                "generation_config": {"temperature": 0.5, "max_output_tokens": 9},
            },
        ],
        "openai.responses": [
            {"instructions": "be kind", "input": turns, **spoken},
            {"input": [{"role": "system", "content": "be kind"}, *items], "store": False, **spoken},
        ],
    }


def test_one_conversation_meets_in_every_dialect() -> None:
    keys = {key_of(relay, body) for relay, bodies in _in_every_dialect().items() for body in bodies}
    assert len(keys) == 1
    assert isinstance(keys.pop(), bytes)


def test_a_word_of_one_dialect_means_nothing_in_another() -> None:
    bodies = _in_every_dialect()
    keys = [key_of(relay, {**bodies[relay][0], "novelty": 1}) for relay in bodies]
    # The gateway's own dialect is OpenAI's.
    assert len(set(keys)) == len(bodies) - 1


# --- Canonical requests

TEXT = st.text(st.characters(codec="utf-8"), max_size=5)
PART = st.one_of(
    st.builds(TextPart, text=TEXT),
    st.builds(ImagePart, url=TEXT),
    st.builds(FilePart, data=TEXT, media_type=TEXT),
    st.builds(ToolCallPart, id=TEXT, name=TEXT, arguments=TEXT),
)
MESSAGE = st.builds(
    Message,
    role=st.sampled_from(["system", "user", "assistant"]),
    content=st.lists(PART, max_size=3),
    name=st.none() | TEXT,
)
REQUEST = st.builds(
    ChatRequest,
    model=st.just("m"),
    messages=st.lists(MESSAGE, max_size=4),
    dialect=st.just("openai"),
    tools=st.lists(st.builds(Tool, name=TEXT, description=st.none() | TEXT), max_size=2),
    tool_choice=st.none() | st.builds(ToolChoice, mode=st.sampled_from(["auto", "none", "required"])),
    sampling=st.builds(Sampling, temperature=st.none() | st.floats(0, 2), stop=st.lists(TEXT, max_size=2)),
    max_output_tokens=st.none() | st.integers(1, 99),
    extras=st.dictionaries(st.sampled_from(["a", "b"]), TEXT, max_size=2),
)


def _plain(request: ChatRequest) -> Any:
    return msgspec.json.decode(msgspec.json.encode(request))


@settings(max_examples=150)
@given(REQUEST, REQUEST)
def test_two_requests_have_one_key_if_and_only_if_they_are_the_same(one: ChatRequest, other: ChatRequest) -> None:
    keys = question_of(one, GROUND).key, question_of(other, GROUND).key
    assert (keys[0] == keys[1]) == (_plain(one) == _plain(other))
    assert question_of(msgspec.convert(_plain(one), ChatRequest), GROUND).key == keys[0]


@pytest.mark.parametrize(
    "more",
    [
        {"scope": "organization:2"},
        {"operation": "completions"},
        {"model": "m2"},
        {"targets": b"u"},
        {"headers": (("anthropic-beta", "x"),)},
    ],
)
def test_the_ground_is_in_the_key(more: dict[str, Any]) -> None:
    request = ChatRequest(model="m", dialect="openai", messages=[Message(role="user", content=[TextPart(text="hi")])])
    other = msgspec.structs.replace(GROUND, **more)
    one, two = question_of(request, GROUND), question_of(request, other)
    assert (one.key != two.key, one.partition != two.partition) == (True, True)
    document = {"input": "hi"}
    assert question_of_document(document, GROUND).key != question_of_document(document, other).key


def test_all_but_the_words_of_the_last_turn_is_in_the_partition() -> None:
    def asked(*texts: str, **more: Any) -> Question:
        messages = [Message(role="user", content=[TextPart(text=text)]) for text in texts]
        return question_of(ChatRequest(model="m", dialect="openai", messages=messages, **more), GROUND)

    assert asked("a", "b").partition == asked("a", "c").partition
    assert asked("a", "b").text == "b"
    assert asked("a", "b").partition not in {
        asked("d", "b").partition,
        asked("a", "b", n=2).partition,
        asked("b").partition,
    }
    assert asked("a", " ").partition is None


def test_documents_are_told_apart_by_all_but_who_asks() -> None:
    def key(**document: Any) -> bytes:
        return question_of_document({"model": "m", "input": "hi", **document}, GROUND).key

    assert key() == key(user="u") == key(gateway={"cache": "exact"}) == key(model="other name")
    others = [key(input="ho"), key(input=["hi"]), key(dimensions=3), key(encoding_format="base64"), key(labels=["a"])]
    others += [key(metadata={"a": 1}), key(store=True), key(stream=True), key(novelty=None)]
    assert len({key(), *others}) == len(others) + 1


@pytest.mark.parametrize(
    ("n", "temperature", "wants"), [(1, None, False), (1, HOTTEST, False), (1, 0.71, True), (2, 0, True)]
)
def test_who_wants_another_answer_each_time(n: int, temperature: float | None, wants: bool) -> None:
    request = ChatRequest(model="m", dialect="openai", messages=[], n=n, sampling=Sampling(temperature=temperature))
    assert wants_variety(request) is wants
