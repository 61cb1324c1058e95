"""The shapes of bodies on Anthropic's paths: ours to refuse by the path of the field, their values the vendor's."""

import pytest

from app.api.anthropic.shapes import check_messages
from app.kernel.errors import InvalidRequest

USER = {"role": "user", "content": "hi"}
TOOL = {"name": "f", "input_schema": {"type": "object"}}


def body(**fields):
    return {"model": "m", "max_tokens": 9, "messages": [USER]} | fields


def said(*blocks, role="user"):
    return body(messages=[USER, {"role": role, "content": list(blocks)}])


def image(**source):
    return {"type": "image", "source": source}


GOOD = {
    "the least": {"model": "m", "messages": [USER]},
    "null fields": body(temperature=None, stream=None, tools=None, system=None, thinking=None, metadata=None),
    "an unknown user": body(metadata={"user_id": None}),
    "values that only the vendor may judge": body(temperature=3, max_tokens=0, top_k=-1, thinking={"type": "new"}),
    "unknown fields and blocks": said({"type": "hologram", "x": 1}) | {"context_management": {}, "new": [1]},
    "a system prompt in blocks": body(system=[{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]),
    "a system message in the middle": body(messages=[USER, {"role": "system", "content": "b"}]),
    "a system message without content": body(messages=[USER, {"role": "system", "output_config": {"effort": "low"}}]),
    "an empty turn": body(messages=[USER, {"role": "assistant", "content": []}]),
    "images": said(
        image(type="base64", media_type="image/png", data="A"),
        image(type="url", url="https://example.com/a.png"),
        image(type="file", file_id="file_1"),
        image(type="new", where="there"),
    ),
    "documents": said(
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "t"}},
        {"type": "document", "source": {"type": "content", "content": "t"}},
    ),
    "calls and results": said({"type": "tool_use", "id": "t", "name": "f", "input": {}}, role="assistant"),
    "a result without content": said({"type": "tool_result", "tool_use_id": "t"}),
    "a result in blocks": said({"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "1"}]}),
    "thoughts": said(
        {"type": "thinking", "thinking": "", "signature": "s"},
        {"type": "redacted_thinking", "data": "d"},
        role="assistant",
    ),
    "tools": body(tools=[TOOL, TOOL | {"type": "custom"}, {"type": "web_search_20260318", "name": "web_search"}]),
    "a server of tools": body(mcp_servers=[{"type": "url", "url": "https://mcp.example.com", "name": "m"}]),
    "stops": body(stop_sequences=["a", ""]),
}


@pytest.mark.parametrize("document", GOOD.values(), ids=GOOD)
def test_a_good_shape_passes(document):
    assert check_messages(document) == "m"


PRIVATE = image(type="url", url="http://10.0.0.1/a.png")
DEEP = {"type": "text", "text": "t"}
for _ in range(6):
    DEEP = {"type": "tool_result", "tool_use_id": "t", "content": [DEEP]}
BAD = {
    "no model": ({"messages": [USER]}, "model"),
    "no messages": ({"model": "m"}, "messages"),
    "an empty conversation": (body(messages=[]), "messages"),
    "too many messages": (body(messages=[USER] * 10_001), "messages"),
    "no object": (body(messages=["hi"]), "messages[0]"),
    "an unknown role": (body(messages=[{"role": "tool", "content": "x"}]), "messages[0].role"),
    "no content": (body(messages=[{"role": "user"}]), "messages[0].content"),
    "content of another kind": (body(messages=[USER, {"role": "assistant", "content": 7}]), "messages[1].content"),
    "a block without a type": (said({"text": "x"}), "messages[1].content[0]"),
    "text that is none": (said({"type": "text", "text": 7}), "messages[1].content[0].text"),
    "no source": (said({"type": "image"}), "messages[1].content[0].source"),
    "no URL": (said(DEEP | {"content": "x"}, image(type="url")), "messages[1].content[1].source.url"),
    "a private address": (said({"type": "text", "text": "x"}, PRIVATE), "messages[1].content[1].source.url"),
    "a private address in a result": (
        said({"type": "tool_result", "tool_use_id": "t", "content": [PRIVATE]}),
        "messages[1].content[0].content[0].source.url",
    ),
    "a private address in a document": (
        said({"type": "document", "source": {"type": "content", "content": [PRIVATE]}}),
        "messages[1].content[0].source.content[0].source.url",
    ),
    "another scheme": (said(image(type="url", url="file:///etc/passwd")), "messages[1].content[0].source.url"),
    "base64 without data": (said(image(type="base64", media_type="image/png")), "messages[1].content[0].source.data"),
    "a call without input": (said({"type": "tool_use", "id": "t", "name": "f"}), "messages[1].content[0].input"),
    "a call without a name": (said({"type": "tool_use", "id": "t", "input": {}}), "messages[1].content[0].name"),
    "a result of nothing": (said({"type": "tool_result"}), "messages[1].content[0].tool_use_id"),
    "a result of another kind": (
        said({"type": "tool_result", "tool_use_id": "t", "content": {"a": 1}}),
        "messages[1].content[0].content",
    ),
    "results in results": (said(DEEP), "messages[1].content[0]" + ".content[0]" * 4 + ".content"),
    "thoughts of another kind": (said({"type": "thinking", "thinking": []}), "messages[1].content[0].thinking"),
    "a signature that is no text": (
        said({"type": "thinking", "thinking": "x", "signature": 1}, role="assistant"),
        "messages[1].content[0].signature",
    ),
    "a title that is no text": (
        said({"type": "document", "title": 1, "source": {"type": "text", "media_type": "text/plain", "data": "x"}}),
        "messages[1].content[0].title",
    ),
    "thinking of a type that is a list": (body(thinking={"type": []}), "thinking.type"),
    "thinking that is shown as an object": (body(thinking={"type": "adaptive", "display": {}}), "thinking.display"),
    "a system prompt of another kind": (body(system=7), "system"),
    "a system block without text": (body(system=[{"type": "text"}]), "system[0].text"),
    "tools that are no list": (body(tools={}), "tools"),
    "a tool that is no object": (body(tools=["f"]), "tools[0]"),
    "a tool without a name": (body(tools=[TOOL, {"input_schema": {}}]), "tools[1].name"),
    "a tool without a schema": (body(tools=[{"name": "f"}]), "tools[0].input_schema"),
    "a server of tools at a private address": (body(mcp_servers=[{"url": "http://127.0.0.1/"}]), "mcp_servers[0].url"),
    "a number that is text": (body(temperature="1"), "temperature"),
    "a cap that is no whole number": (body(max_tokens=1.5), "max_tokens"),
    "a flag that is text": (body(stream="yes"), "stream"),
    "one stop": (body(stop_sequences="a"), "stop_sequences"),
    "a choice that is a word": (body(tool_choice="auto"), "tool_choice"),
    "thinking that is a flag": (body(thinking=True), "thinking"),
    "a redirection": (body(api_base="http://elsewhere"), "api_base"),
    "an impersonation": (body(metadata={"user_api_key_hash": "x"}), "metadata.user_api_key_hash"),
    "a name in another case": (body(Max_Tokens=9), "Max_Tokens"),
}


@pytest.mark.parametrize(("document", "param"), BAD.values(), ids=BAD)
def test_a_bad_shape_is_refused_by_the_path_of_its_field(document, param):
    with pytest.raises(InvalidRequest) as caught:
        check_messages(document)
    assert caught.value.param == param
    assert param in caught.value.message
