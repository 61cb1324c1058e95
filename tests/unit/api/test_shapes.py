import copy
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.addresses import check_addresses, check_media_url
from app.api.llm.chat import check_llm_chat
from app.api.openai.models import anthropic_page
from app.api.openai.paths import CHAT_WIRE, EMBEDDINGS_WIRE
from app.api.understanding import Call
from app.kernel.errors import InvalidRequest
from app.pipeline.mentions import find_mentions
from app.routing.table import Route
from providers.openai.downstream import parse_chat

PRIVATE = "http://169.254.169.254/latest"
USER = {"role": "user", "content": "hi"}
FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def read(wire, document):
    """Return the model that a body of the wire asks for."""
    return wire.read(document, Call("", "")).model


def chat(**fields):
    return {"model": "m", "messages": [USER]} | fields


def said(content, role="user"):
    return chat(messages=[{"role": role, "content": content}])


def image(url):
    return said([{"type": "image_url", "image_url": {"url": url}}])


GOOD_CHATS = {
    "the least": chat(),
    "null fields": chat(temperature=None, stream=None, stop=None, tools=None, user=None, metadata=None, n=None),
    "numbers of both kinds": chat(temperature=0, top_p=0.5, frequency_penalty=-2, seed=-(2**70)),
    "values that only the vendor may judge": chat(temperature=3, n=0, max_tokens=-1, top_p=99.0),
    "unknown fields": chat(some_new_option={"deep": [1]}, verbosity="low"),
    "unknown part types": said([{"type": "hologram", "x": 1}]),
    "every role": chat(messages=[{"role": role, "content": "x"} for role in ("system", "developer", "user", "tool")]),
    "an assistant without content": chat(
        messages=[{"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f"}}]}]
    ),
    "a custom tool call": chat(messages=[{"role": "assistant", "content": None, "tool_calls": [{"custom": {}}]}]),
    "no tool calls": chat(messages=[{"role": "assistant", "content": "x", "tool_calls": None}]),
    "parts": said([{"type": "text", "text": ""}, {"type": "text", "text": "a"}]),
    "an image": image("https://example.com/a.png"),
    "an image by address": image("http://93.184.216.34/a.png"),
    "image data": image("data:image/png;base64,AAAA"),
    "stops": chat(stop=["a", "b"]),
    "one stop": chat(stop="a"),
    "tools": chat(tools=[FUNCTION, {"type": "web_search"}], tool_choice="auto"),
    "a function without parameters": chat(tools=[{"type": "function", "function": {"name": "f"}}]),
    "a named tool": chat(tools=[FUNCTION], tool_choice={"type": "function", "function": {"name": "f"}}),
    "a schema": chat(response_format={"type": "json_schema", "json_schema": {"name": "s", "schema": {}}}),
    "an object": chat(response_format={"type": "json_object"}),
    "metadata to the brim": chat(metadata={f"{i:0>64}": "v" * 512 for i in range(16)}),
    "a user": chat(user="u" * 512),
    "10,000 messages": chat(messages=[USER] * 10_000),
    "a model's longest name": chat(model="m" * 512),
}

BAD_CHATS = {
    "no model": ({"messages": [USER]}, "model"),
    "a null model": (chat(model=None), "model"),
    "an empty model": (chat(model=""), "model"),
    "a model that is a list": (chat(model=["m"]), "model"),
    "a model with a NUL": (chat(model="a\x00b"), "model"),
    "a model with a line end": (chat(model="a\r\nx-evil: 1"), "model"),
    "a model of 10 KB": (chat(model="m" * 10_240), "model"),
    "no messages": ({"model": "m"}, "messages"),
    "empty messages": (chat(messages=[]), "messages"),
    "null messages": (chat(messages=None), "messages"),
    "messages that are text": (chat(messages="hi"), "messages"),
    "messages that are an object": (chat(messages={"0": USER}), "messages"),
    "10,001 messages": (chat(messages=[USER] * 10_001), "messages"),
    "a message that is text": (chat(messages=[USER, "hi"]), "messages[1]"),
    "a null message": (chat(messages=[None]), "messages[0]"),
    "no role": (chat(messages=[{"content": "x"}]), "messages[0].role"),
    "an unknown role": (said("x", "root"), "messages[0].role"),
    "a role that is a list": (said("x", ["user"]), "messages[0].role"),
    "a role that is an object": (said("x", {}), "messages[0].role"),
    "content that is a number": (said(5), "messages[0].content"),
    "content that is an object": (said({"type": "text"}), "messages[0].content"),
    "a user who says nothing": (said(None), "messages[0].content"),
    "a system that says nothing": (said(None, "system"), "messages[0].content"),
    "a part that is text": (said(["hi"]), "messages[0].content[0]"),
    "a part without a type": (said([{"text": "hi"}]), "messages[0].content[0]"),
    "a part whose type is a list": (said([{"type": ["text"]}]), "messages[0].content[0]"),
    "a text part without text": (said([{"type": "text"}]), "messages[0].content[0].text"),
    "a text part with a number": (said([{"type": "text", "text": 1}]), "messages[0].content[0].text"),
    "an image without a URL": (said([{"type": "image_url", "image_url": {}}]), "messages[0].content[0].image_url.url"),
    "an image that is text": (said([{"type": "image_url", "image_url": "x"}]), "messages[0].content[0].image_url.url"),
    "an image whose detail is a list": (
        said([{"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": ["x"]}}]),
        "messages[0].content[0].image_url.detail",
    ),
    "a name that is a list": (chat(messages=[USER | {"name": ["x"]}]), "messages[0].name"),
    "a call's id that is a number": (
        chat(messages=[{"role": "tool", "tool_call_id": 1, "content": "x"}]), "messages[0].tool_call_id",
    ),
    "a call's id that is a list": (
        chat(messages=[{"role": "tool", "tool_call_id": [{}], "content": "x"}]), "messages[0].tool_call_id",
    ),
    "an id that is an object": (
        chat(messages=[USER | {"tool_calls": [{"id": {}, "function": {"name": "f"}}]}]), "messages[0].tool_calls[0].id",
    ),
    "an effort that is a list": (chat(reasoning_effort=["low"]), "reasoning_effort"),
    "a custom tool without a name": (chat(tools=[{"type": "custom", "custom": None}]), "tools[0].custom.name"),
    "an image on this machine": (image("http://127.0.0.1/x"), "messages[0].content[0].image_url.url"),
    "tool calls that are an object": (chat(messages=[USER | {"tool_calls": {}}]), "messages[0].tool_calls"),
    "a tool call that is text": (chat(messages=[USER | {"tool_calls": ["f"]}]), "messages[0].tool_calls[0]"),
    "a tool call without function": (chat(messages=[USER | {"tool_calls": [{}]}]), "messages[0].tool_calls[0]"),
    "a hot temperature": (chat(temperature="hot"), "temperature"),
    "a true temperature": (chat(temperature=True), "temperature"),
    "top_p in a list": (chat(top_p=[1]), "top_p"),
    "half a token": (chat(max_tokens=1.5), "max_tokens"),
    "tokens as text": (chat(max_completion_tokens="5"), "max_completion_tokens"),
    "n that is true": (chat(n=True), "n"),
    "a seed that is text": (chat(seed="1"), "seed"),
    "stream that is yes": (chat(stream="yes"), "stream"),
    "stream that is one": (chat(stream=1), "stream"),
    "a stop that is a number": (chat(stop=1), "stop"),
    "a stop among numbers": (chat(stop=["a", 1]), "stop"),
    "logit_bias as a list": (chat(logit_bias=[]), "logit_bias"),
    "stream_options as text": (chat(stream_options="usage"), "stream_options"),
    "tools as an object": (chat(tools={}), "tools"),
    "a tool that is text": (chat(tools=["f"]), "tools[0]"),
    "a tool without a type": (chat(tools=[{"function": {}}]), "tools[0]"),
    "a function without a name": (chat(tools=[{"type": "function", "function": {}}]), "tools[0].function.name"),
    "parameters as text": (
        chat(tools=[{"type": "function", "function": {"name": "f", "parameters": "x"}}]),
        "tools[0].function.parameters",
    ),
    "an unknown tool choice": (chat(tool_choice="perhaps"), "tool_choice"),
    "a tool choice that is a number": (chat(tool_choice=1), "tool_choice"),
    "a tool choice that is a list": (chat(tool_choice=["auto"]), "tool_choice"),
    "a format that is text": (chat(response_format="json"), "response_format"),
    "a format without a type": (chat(response_format={}), "response_format"),
    "a schema that is missing": (chat(response_format={"type": "json_schema"}), "response_format.json_schema"),
    "a schema that is text": (
        chat(response_format={"type": "json_schema", "json_schema": {"schema": "x"}}), "response_format.json_schema",
    ),
    "a user of 10 KB": (chat(user="u" * 10_240), "user"),
    "a user with line ends": (chat(user="a\r\nb"), "user"),
    "a user that is a number": (chat(user=5), "user"),
    "metadata as a list": (chat(metadata=[]), "metadata"),
    "17 pairs": (chat(metadata={str(i): "v" for i in range(17)}), "metadata"),
    "a long value": (chat(metadata={"a": "v" * 513}), "metadata.a"),
    "a long name": (chat(metadata={"n" * 65: "v"}), "metadata." + "n" * 64),
    "a value that is a number": (chat(metadata={"a": 1}), "metadata.a"),
}  # fmt: skip

FORBIDDEN = ["api_base", "base_url", "api_key", "custom_llm_provider", "extra_headers"]


@pytest.mark.parametrize("name", GOOD_CHATS)
def test_a_good_chat_passes_unchanged(name):
    body = copy.deepcopy(GOOD_CHATS[name])
    assert read(CHAT_WIRE, body) == body["model"]
    assert body == GOOD_CHATS[name]


@pytest.mark.parametrize("name", BAD_CHATS)
def test_a_bad_chat_is_refused_by_path(name):
    body, param = BAD_CHATS[name]
    with pytest.raises(InvalidRequest) as caught:
        read(CHAT_WIRE, body)
    assert caught.value.param == param
    assert len(caught.value.message) < 300


@pytest.mark.parametrize("wire", [CHAT_WIRE, EMBEDDINGS_WIRE])
@pytest.mark.parametrize("name", FORBIDDEN)
def test_fields_that_would_redirect_are_refused(wire, name):
    with pytest.raises(InvalidRequest) as caught:
        read(wire, chat(input="x") | {name: "http://evil"})
    assert (caught.value.code, caught.value.param) == ("unknown_parameter", name)


@pytest.mark.parametrize("name", ["Model", "MODEL", "Stream", "\u017ftream", "N", "Max_Tokens", "Api_Base", "Gateway"])
def test_what_a_server_that_ignores_case_would_take_for_another_field_is_refused(name):
    with pytest.raises(InvalidRequest) as caught:
        read(CHAT_WIRE, chat(**{name: "x"}))
    assert (caught.value.code, caught.value.param) == ("unknown_parameter", name)


def test_metadata_that_would_impersonate_is_refused():
    with pytest.raises(InvalidRequest) as caught:
        read(CHAT_WIRE, chat(metadata={"user_api_key_team_id": "x"}))
    assert (caught.value.code, caught.value.param) == ("unknown_parameter", "metadata.user_api_key_team_id")


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(allow_nan=False)
    | st.sampled_from(["user", "text", "x", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "type", "text", "function", "name", "image_url", "url", "tool_calls"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)
fields = sorted({*parse_chat.__globals__["_READ"], "cache", "fanout", "input", "encoding_format", "dimensions"})


@given(st.dictionaries(st.sampled_from(fields), json_values, max_size=4))
def test_no_json_breaks_the_checks(extra):
    for check in (partial(read, CHAT_WIRE), partial(read, EMBEDDINGS_WIRE), check_llm_chat):
        try:
            said = check(chat(input="x") | extra)
        except InvalidRequest as error:
            said = error.param
        assert isinstance(said, str)


@pytest.mark.parametrize(
    "given",
    ["text", ["a", "b"], [1, 2, 3], [[1, 2], [3]], ["x"] * 2_048, list(range(300_000))],
    ids=["text", "texts", "tokens", "token lists", "2,048 texts", "300,000 tokens"],
)
def test_good_embedding_inputs_pass(given):
    assert read(EMBEDDINGS_WIRE, {"model": "m", "input": given}) == "m"


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        [],
        [""],
        [[]],
        [1, -1],
        [-1],
        [True],
        [1.5],
        ["a", 1],
        ["a", ["b"]],
        [[1], "a"],
        [[[1]]],
        {},
        5,
        ["x"] * 2_049,
    ],
    ids=lambda given: repr(given)[:20],
)
def test_bad_embedding_inputs_are_refused(given):
    with pytest.raises(InvalidRequest) as caught:
        read(EMBEDDINGS_WIRE, {"model": "m", "input": given})
    assert caught.value.param == "input"


@pytest.mark.parametrize(
    ("extra", "param"),
    [
        ({"dimensions": "5"}, "dimensions"),
        ({"dimensions": True}, "dimensions"),
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"encoding_format": ["float"]}, "encoding_format"),
        ({"encoding_format": {}}, "encoding_format"),
    ],
)
def test_bad_embedding_options_are_refused(extra, param):
    with pytest.raises(InvalidRequest) as caught:
        read(EMBEDDINGS_WIRE, {"model": "m", "input": "x"} | extra)
    assert caught.value.param == param


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/", "https://127.0.0.1:8080/x", "http://127.1/", "http://2130706433/", "http://0x7f000001/",
        "http://0x7f.1/", "http://0/", "http://10.0.0.1/", "http://192.168.1.1/", "http://169.254.169.254/latest/meta-data",
        "http://100.64.0.1/",
        "http://[::1]/", "http://[fe80::1]/", "http://[::ffff:127.0.0.1]/", "http://[::ffff:10.0.0.1]/",
        "http://[fd00::1]/", "http://localhost/", "http://LOCALHOST/", "http://a.localhost/", "http://localhost./",
        "http://127.0.0.1./", "file:///etc/passwd", "gopher://x/", "ftp://example.com/", "javascript:alert(1)",
        "//example.com",
        "http://127。0。0。1/", "http://①⑦②.16.0.1/", "http://redis:6379/", "http://metadata.google.internal/",
        "http://api.svc.cluster.local/", "http://127.0.0.1\\@example.com/", "http://exa\tmple.com/", "http://a b.com/",
        "http://[64:ff9b::7f00:1]/", "http://[2002:7f00:1::]/", "http://%31%32%37.0.0.1/",
        "example.com", "", "http://", "http:///x", "http://[::1", "http://user@127.0.0.1/", "http://./",
    ],
)  # fmt: skip
def test_urls_that_no_vendor_should_fetch_are_refused(url):
    with pytest.raises(InvalidRequest) as caught:
        check_media_url(url, "here")
    assert caught.value.param == "here"


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/a.png?x=1",
        "http://8.8.8.8/",
        "http://[2606:4700::1111]/",
        "data:,x",
        "https://1.example.com/",
        "https://a.b1/",
        "https://münchen.example.com/bild.png",
        "http://[64:ff9b::808:808]/",
    ],
)
def test_public_urls_pass(url):
    assert check_media_url(url, "here") is None


@pytest.mark.parametrize(
    ("cache", "param"),
    [
        ("exact", "cache"),
        ([], "cache"),
        ({"mode": "sometimes"}, "cache.mode"),
        ({"mode": ["off"]}, "cache.mode"),
        ({"mode": {}}, "cache.mode"),
    ],
)
def test_the_cache_object_of_the_own_dialect_is_checked(cache, param):
    with pytest.raises(InvalidRequest) as caught:
        check_llm_chat(chat(cache=cache))
    assert caught.value.param == param


def test_the_own_dialect_takes_what_openai_takes():
    assert check_llm_chat(chat(cache={"mode": "exact"}, tools=[FUNCTION])) == "m"


def test_a_fan_out_stands_for_its_first_model_where_the_body_names_none():
    body = {name: value for name, value in chat().items() if name != "model"}
    assert check_llm_chat(body | {"fanout": {"models": ["a", "b"]}}) == "a"
    assert check_llm_chat(chat(fanout={"models": ["a", "b"]})) == "m"


@pytest.mark.parametrize(
    ("fanout", "param"),
    [
        (None, "model"),
        (["a"], "fanout"),
        ({}, "fanout.models"),
        ({"models": []}, "fanout.models"),
        ({"models": [None]}, "fanout.models"),
    ],
)
def test_a_body_without_a_model_needs_one_in_its_fan_out(fanout, param):
    body = {name: value for name, value in chat().items() if name != "model"}
    with pytest.raises(InvalidRequest) as caught:
        check_llm_chat(body | {"fanout": fanout})
    assert caught.value.param == param


def test_the_gateways_own_dialect_has_one_answer():
    assert check_llm_chat(chat(n=1)) == check_llm_chat(chat(n=None)) == "m"
    with pytest.raises(InvalidRequest) as caught:
        check_llm_chat(chat(n=2))
    assert caught.value.param == "n"


def routes(*names):
    return [Route(name=name, label=name, targets=(), owned_by="p") for name in names]


@pytest.mark.parametrize(
    ("query", "ids", "has_more"),
    [
        ({}, ["a", "b", "c", "d"], False),
        ({"limit": "2"}, ["a", "b"], True),
        ({"limit": "2", "after_id": "b"}, ["c", "d"], False),
        ({"limit": "2", "before_id": "d"}, ["b", "c"], True),
        ({"after_id": "d"}, [], False),
        ({"after_id": "nobody"}, ["a", "b", "c", "d"], False),
    ],
)
def test_pages_of_models_in_anthropics_shape(query, ids, has_more):
    page = anthropic_page(routes("a", "b", "c", "d"), query)
    assert [item["id"] for item in page["data"]] == ids
    assert page["has_more"] is has_more
    assert (page["first_id"], page["last_id"]) == ((ids[0], ids[-1]) if ids else (None, None))


@pytest.mark.parametrize("limit", ["0", "-1", "1001", "x", "", "1.5", "²", "9" * 5_000])
def test_a_page_has_a_limit(limit):
    with pytest.raises(InvalidRequest) as caught:
        anthropic_page(routes("a"), {"limit": limit})
    assert caught.value.param == "limit"


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"messages": [{"content": [{"type": "video_url", "video_url": {"url": PRIVATE}}]}]}, "video_url.url"),
        ({"messages": [{"content": [{"type": "document_url", "document_url": PRIVATE}]}]}, "document_url"),
        ({"messages": [{"content": [{"type": "odd", "image_url": "file:///etc/passwd"}]}]}, "image_url"),
        ({"input": [{"content": [{"type": "input_image", "file_id": "f", "image_url": PRIVATE}]}]}, "image_url"),
        ({"input": [{"type": "computer_call_output", "output": {"image_url": PRIVATE}}]}, "output.image_url"),
        ({"tools": [{"type": "mcp", "server_url": PRIVATE}]}, "tools[0].server_url"),
        ({"tools": [{"type": "image_generation", "input_image_mask": {"image_url": PRIVATE}}]}, "image_url"),
        ({"tools": [{"mcpServers": [{"streamableHttpTransport": {"url": "//127.0.0.1/x"}}]}]}, "Transport.url"),
    ],
)
def test_an_address_is_looked_at_wherever_it_stands(document, path):
    with pytest.raises(InvalidRequest) as caught:
        check_addresses(find_mentions(document))
    assert caught.value.param.endswith(path)


def test_what_is_no_address_or_the_clients_own_passes():
    own = {"type": "function", "function": {"parameters": {"url": PRIVATE}}}
    document = {
        "metadata": {"url": PRIVATE},
        "tools": [own],
        "messages": [
            {"content": [{"type": "tool_use", "input": {"url": PRIVATE}}, {"url": "a/b"}, {"url": "data:,x"}]},
            {"content": [{"type": "file", "file": {"file_data": "aGk="}}, {"fileData": {"fileUri": "gs://a/b"}}]},
        ],
    }
    assert check_addresses(find_mentions(document)) is None
