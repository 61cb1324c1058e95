"""Signed reasoning on the chat wire: what clients keep between turns, and what which provider gets back."""

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.catalog import Quirks, load_catalog
from providers.framing import sse
from providers.openai.chunks import ChunkDecoder
from providers.openai.downstream import parse_chat
from providers.openai.plugin import OpenAIDialect
from providers.openai.render import DONE, ChunkRenderer, render_completion
from providers.openai.upstream import read_completion
from providers.signatures import seal, unseal
from providers.stream import collect, replay
from providers.types import (
    ChatRequest,
    Choice,
    Completion,
    Edits,
    Message,
    RelayRequest,
    Target,
    TextPart,
    ThinkingPart,
    ToolCallPart,
)

TARGET = Target(provider="p", model="real", base_url="https://api.example.com/v1")
USER = {"role": "user", "content": "x"}
PLAIN, GOOGLE, OPENROUTER = Quirks(), Quirks(signs="google"), Quirks(signs="openrouter")
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CLAUDE, GEMINI = "anthropic:sig=", "gemini:thought="
SIGNED_CALL = {**CALL, "extra_content": {"google": {"thought_signature": "thought="}}}
# Source: https://openrouter.ai/docs/use-cases/reasoning-tokens, read 2026-11.
ROUTED = [
    {
        "type": "reasoning.text",
        "text": "hm",
        "signature": "sig=",
        "id": None,
        "format": "anthropic-claude-v1",
        "index": 0,
    },
    {"type": "reasoning.encrypted", "data": "enc=", "id": "r", "format": "anthropic-claude-v1", "index": 1},
    {"type": "reasoning.summary", "summary": "short", "format": "openai-responses-v1", "index": 2},
]


def _messages(request, quirks):
    return msgspec.json.decode(OpenAIDialect(quirks).encode_chat(request, TARGET).body)["messages"]


def _again(message, quirks=PLAIN):
    return _messages(parse_chat({"model": "m", "messages": [USER, message]}), quirks)[1]


def _said(*content):
    return Completion(
        id="1", model="m", created=7, choices=[Choice(index=0, content=list(content), finish_reason="stop")]
    )


def _streamed(answer, **options):
    renderer = ChunkRenderer(model="m", include_usage=False, **options)
    stream = b"".join([renderer.feed(event) for event in replay(answer)]) + DONE
    decoder = ChunkDecoder()
    return stream, collect([*decoder.feed(stream), *decoder.finish()])


CONTENT = [
    ThinkingPart(text="hm", signature=CLAUDE),
    ThinkingPart(redacted=True, signature="anthropic:enc="),
    TextPart(text="Hi", signature=GEMINI),
    ToolCallPart(id="c", name="f", arguments="{}", signature=GEMINI),
]


# --- Clients


def _kept_by_client(answer):
    """Return the turn that a client keeps of a whole answer, and parses again in its next request."""
    message = render_completion(answer, model="m")["choices"][0]["message"]
    return parse_chat({"model": "m", "messages": [USER, json.loads(json.dumps(message))]}).messages[1]


def test_what_was_signed_comes_back_signed():
    turn = _kept_by_client(_said(*CONTENT))
    bare = [
        msgspec.structs.replace(part, extras={})
        for part in turn.content
        if isinstance(part, ThinkingPart | TextPart | ToolCallPart)
    ]
    assert bare == CONTENT


def test_a_stream_says_what_is_signed_in_whole_blocks():
    stream, again = _streamed(_said(*CONTENT))
    blocks = [
        block
        for frame in sse.split_frames(stream)[:-1]
        for choice in json.loads(sse.data_of(frame))["choices"]
        for block in choice["delta"].get("reasoning_details", [])
    ]
    whole = render_completion(_said(*CONTENT), model="m")["choices"][0]["message"]["reasoning_details"]
    assert blocks == whole
    assert [(block["type"], block["index"]) for block in blocks] == [("reasoning.text", 0), ("reasoning.encrypted", 1)]
    read = [msgspec.structs.replace(part, extras={}) for part in again.choices[0].content]
    assert read == CONTENT


def test_unsigned_reasoning_is_said_as_text_only():
    message = render_completion(_said(ThinkingPart(text="hm")), model="m")["choices"][0]["message"]
    assert message["reasoning_content"] == "hm"
    assert "reasoning_details" not in message


@pytest.mark.parametrize("quirks", [PLAIN, GOOGLE, OPENROUTER])
@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": "4", "reasoning_content": "2+2"},
        {"role": "assistant", "content": "4", "reasoning_details": ROUTED},
        {
            "role": "assistant",
            "content": "4",
            "reasoning_details": ROUTED,
            "reasoning_content": "hm",
            "reasoning": "hm",
        },
        {"role": "assistant", "content": "4", "reasoning_details": ROUTED[1:2], "reasoning_content": "hm"},
        {"role": "assistant", "content": None, "tool_calls": [SIGNED_CALL]},
        {"role": "assistant", "content": None, "tool_calls": [{**CALL, "extra_content": {"acme": {"a": 1}}}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{**CALL, "extra_content": {"google": {"thought_signature": "t", "b": 2}, "acme": 1}}],
        },
        {"role": "assistant", "content": "4", "extra_content": {"google": {"thought_signature": "thought="}}},
        {"role": "assistant", "content": "4", "extra_content": {"acme": {"a": 1}}},
    ],
)
def test_what_a_vendor_signed_goes_back_to_it_as_it_came(message, quirks):
    written = _again(message, quirks)
    details = message.get("reasoning_details", [])
    assert written.pop("reasoning_details", []) == [{**block} for block in details]
    assert written == {name: value for name, value in message.items() if name != "reasoning_details"}


TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6)
FORMAT = st.sampled_from(["anthropic-claude-v1", "google-gemini-v1", "xai-responses-v1", "unknown"])
BLOCK = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("reasoning.text"), "text": TEXT, "format": FORMAT},
        optional={"signature": TEXT, "index": st.just(0)},
    ),
    st.fixed_dictionaries({"type": st.just("reasoning.encrypted"), "data": TEXT, "format": FORMAT}),
    st.fixed_dictionaries({"type": st.just("reasoning.summary"), "summary": TEXT, "format": FORMAT}),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(BLOCK, min_size=1, max_size=4))
def test_any_blocks_go_back_as_they_came(blocks):
    message = {"role": "assistant", "content": "4", "reasoning_details": blocks}
    assert _again(message) == message


# --- Providers


def test_the_signs_of_the_catalogue():
    signs = {name: row.quirks.signs for name, row in load_catalog().vendors.items() if row.quirks.signs != "none"}
    assert signs == {
        "gemini-openai": "google",
        "openrouter": "openrouter",
        "deepseek": "plain",
        "moonshot": "plain",
        "zai": "plain",
    }


def _foreign(*content, dialect="anthropic"):
    turn = Message(role="assistant", content=list(content))
    return ChatRequest(model="m", messages=[turn], dialect=dialect)


def test_googles_endpoint_gets_its_signatures_back_and_no_others():
    call = ToolCallPart(id="c", name="f", arguments="{}", signature=GEMINI)
    other = ToolCallPart(id="c", name="f", arguments="{}", signature="responses:x")
    (google,) = _messages(_foreign(call, other), GOOGLE)
    assert google["tool_calls"] == [SIGNED_CALL, CALL]
    (plain,) = _messages(_foreign(call), PLAIN)
    assert plain["tool_calls"] == [CALL]


def test_openrouter_gets_signed_reasoning_in_the_signers_format():
    content = [ThinkingPart(text="hm", signature=CLAUDE), ThinkingPart(text="unsigned"), TextPart(text="4")]
    (routed,) = _messages(_foreign(*content), OPENROUTER)
    block = {"type": "reasoning.text", "text": "hm", "signature": "sig=", "format": "anthropic-claude-v1"}
    assert routed == {"role": "assistant", "content": "4", "reasoning_details": [block]}
    (plain,) = _messages(_foreign(*content), PLAIN)
    assert plain == {"role": "assistant", "content": "4"}


def test_openrouters_answer_is_read():
    message = {"role": "assistant", "content": "4", "reasoning": "hm", "reasoning_details": ROUTED}
    body = {"id": "1", "model": "m", "created": 7, "choices": [{"message": message, "finish_reason": "stop"}]}
    thinking = read_completion(json.dumps(body).encode()).choices[0].content[:3]
    assert [(part.text, part.signature, part.redacted) for part in thinking] == [
        ("hm", CLAUDE, False),
        ("", "anthropic:enc=", True),
        ("short", None, False),
    ]


def _chunk(**delta):
    return sse.encode(
        json.dumps({"id": "1", "created": 7, "model": "m", "choices": [{"index": 0, "delta": delta}]}).encode()
    )


END = sse.encode(b'{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}') + DONE


def test_openrouters_stream_is_read():
    def block(**fields):
        return [{"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0, **fields}]

    stream = (
        _chunk(reasoning="h", reasoning_details=block(text="h"))
        + _chunk(reasoning_details=block(text="m"))
        + _chunk(reasoning_details=block(signature="sig="))
        + _chunk(reasoning_details=[ROUTED[1]])
        + _chunk(content="4")
    )
    decoder = ChunkDecoder()
    content = collect([*decoder.feed(stream + END), *decoder.finish()]).choices[0].content
    assert [(part.text, part.signature) for part in content[:2]] == [("hm", CLAUDE), ("", "anthropic:enc=")]
    assert content[2] == TextPart(text="4")


def test_googles_stream_is_read():
    stream = _chunk(content="4", extra_content={"google": {"thought_signature": "thought="}}) + _chunk(
        tool_calls=[{"index": 0, **SIGNED_CALL}]
    )
    decoder = ChunkDecoder()
    content = collect([*decoder.feed(stream + END), *decoder.finish()]).choices[0].content
    assert [part.signature for part in content] == [GEMINI, GEMINI]


# --- Relayed bytes


def _relayed(messages, quirks, **fields):
    document = {"model": "real", "messages": messages}
    body = json.dumps(document).encode()
    request = RelayRequest(operation="openai.chat", body=body, document=document, **fields)
    return body, OpenAIDialect(quirks).encode_relay(request, TARGET).body


def test_a_seal_never_reaches_a_vendor():
    sealed = seal(GEMINI, "openai")
    assert unseal(sealed, "openai") == GEMINI
    call = {**CALL, "extra_content": {"google": {"thought_signature": sealed}}}
    block = {"type": "reasoning.text", "text": "hm", "signature": seal(CLAUDE, "openai"), "format": "unknown"}
    turn = {"role": "assistant", "content": "4", "tool_calls": [call], "reasoning_details": [block]}
    for quirks in (PLAIN, GOOGLE, OPENROUTER):
        sent = json.loads(_relayed([USER, turn], quirks)[1])["messages"]
        assert sent[0] == USER
        assert "Z3cxL" not in json.dumps(sent)
        assert sent[1]["tool_calls"] == [SIGNED_CALL]
    assert sent[1]["reasoning_details"][0]["signature"] == "sig="


def test_the_operators_messages_stay_where_a_seal_is_taken_out():
    call = {**CALL, "extra_content": {"google": {"thought_signature": seal(CLAUDE, "openai")}}}
    turn = {"role": "assistant", "content": None, "tool_calls": [call]}
    system = {"role": "system", "content": "Obey."}
    edits = Edits(put={"messages": json.dumps([system, USER, turn]).encode()})
    sent = json.loads(_relayed([USER, turn], PLAIN, edits=edits)[1])["messages"]
    assert sent == [system, USER, {"role": "assistant", "content": None, "tool_calls": [CALL]}]


def test_bare_signatures_are_relayed_untouched():
    turn = {"role": "assistant", "content": "4", "tool_calls": [SIGNED_CALL], "reasoning_details": ROUTED}
    body, sent = _relayed([USER, turn], PLAIN)
    assert sent is body
