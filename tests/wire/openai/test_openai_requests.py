"""A client's chat request, read into the canonical form and written for an OpenAI-compatible provider."""

import json
from pathlib import Path

import msgspec
import pytest
from openai.types.chat import completion_create_params
from pydantic import TypeAdapter

from providers.catalog import Quirks
from providers.errors import RequestRefused
from providers.openai.azure import AzureDialect
from providers.openai.downstream import parse_chat, parse_embeddings
from providers.openai.plugin import OpenAIDialect
from providers.types import (
    ChatRequest,
    Edits,
    FilePart,
    Message,
    OpaquePart,
    RelayRequest,
    Secret,
    Target,
    TextPart,
    ThinkingPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
)

CASES = json.loads((Path(__file__).parent / "cases" / "requests.json").read_text(encoding="utf-8"))
NEW_NAME = Quirks(max_tokens_field="max_completion_tokens", is_openai=True)
TARGET = Target(provider="p", model="real", base_url="https://api.example.com/v1", credential=Secret("sk-1"))
MESSAGES = [{"role": "user", "content": "x"}]
# Of the SDK's parameters these cases know more than its types say, on purpose.
BEYOND_SDK = {"an image with an option that we do not know", "a part that we do not know"}


def _named(cases):
    return [pytest.param(case, id=case["name"]) for case in cases]


def _send(body, quirks=NEW_NAME):
    request = parse_chat({"model": "public", **body})
    return msgspec.json.decode(OpenAIDialect(quirks).encode_chat(request, TARGET).body)


@pytest.mark.parametrize("case", _named(CASES["cases"]))
def test_a_request_goes_out_as_it_came_in(case):
    assert _send(case["body"]) == {"model": "real", **case["body"]}


@pytest.mark.parametrize("case", _named(CASES["rewritten"]))
def test_a_request_goes_out_in_the_form_that_means_the_same(case):
    assert _send(case["body"]) == {"model": "real", **case["sent"]}


@pytest.mark.parametrize("case", _named(CASES["cases"] + CASES["rewritten"]))
def test_what_goes_out_is_read_back_the_same(case):
    assert parse_chat(_send(case["body"])) == parse_chat({"model": "real", **case["body"]})


@pytest.mark.parametrize("case", _named(case for case in CASES["cases"] if case["name"] not in BEYOND_SDK))
def test_the_sdk_knows_what_goes_out(case):
    params = completion_create_params.CompletionCreateParams
    if "stream" not in case["body"]:
        params = completion_create_params.CompletionCreateParamsNonStreaming
    TypeAdapter(params).validate_python(_send(case["body"]))


@pytest.mark.parametrize("field", sorted(completion_create_params.CompletionCreateParamsBase.__annotations__))
def test_every_documented_field_has_a_case(field):
    assert field == "model" or any(field in case["body"] for case in CASES["cases"] + CASES["rewritten"])


# --- Another dialect's request


def _foreign(*content, role="user", **fields):
    message = Message(role=role, content=list(content), extras={"foreign": 1})
    return ChatRequest(model="public", messages=[message], dialect="other", extras={"labels": {"foreign": 1}}, **fields)


def _written(request):
    return msgspec.json.decode(OpenAIDialect(NEW_NAME).encode_chat(request, TARGET).body)


def test_extras_of_another_dialect_stay_behind():
    inner = TextPart(text="b", extras={"foreign": 1})
    request = _foreign(
        TextPart(text="a", extras={"foreign": 1}), tools=[Tool(name="f", parameters={}, extras={"foreign": 1})]
    )
    result = _foreign(ToolResultPart(id="1", content=[inner], extras={"foreign": 1}), role="tool")
    for sent in (_written(request), _written(result)):
        assert "foreign" not in json.dumps(sent)


def test_thoughts_of_another_dialect_stay_behind():
    call = ToolCallPart(id="1", name="f", arguments="{}", extras={"foreign": 1})
    sent = _written(_foreign(ThinkingPart(text="hm", signature="s"), TextPart(text="a"), call, role="assistant"))
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    assert sent["messages"] == [{"role": "assistant", "content": "a", "tool_calls": [call]}]


@pytest.mark.parametrize(
    "part", [OpaquePart(dialect="other", value={"type": "odd"}), FilePart(url="https://example.com/a.pdf")]
)
def test_a_part_that_this_wire_cannot_say_is_refused(part):
    with pytest.raises(RequestRefused) as caught:
        _written(_foreign(part))
    assert caught.value.param == "messages"


def test_another_dialects_built_in_tool_is_refused_by_name():
    with pytest.raises(RequestRefused, match="bash_20250124") as caught:
        _written(_foreign(TextPart(text="a"), tools=[Tool(name="bash", kind="bash_20250124", extras={"type": "x"})]))
    assert caught.value.param == "tools"


def test_results_of_one_turn_become_messages():
    results = [ToolResultPart(id=number, content=[TextPart(text=number)]) for number in ("1", "2")]
    assert _written(_foreign(*results, role="tool"))["messages"] == [
        {"role": "tool", "tool_call_id": number, "content": number} for number in ("1", "2")
    ]


def test_a_file_of_text_is_sent_as_text():
    assert _written(_foreign(FilePart(text="abc", filename="a.txt")))["messages"][0]["content"] == [
        {"type": "text", "text": "abc"}
    ]


# --- Quirks


def test_a_field_that_the_vendor_refuses_is_refused_by_name():
    quirks = Quirks(unsupported=frozenset({"logit_bias", "n", "store"}))
    with pytest.raises(RequestRefused) as caught:
        _send({"messages": MESSAGES, "store": True, "n": 2}, quirks)
    assert (caught.value.param, caught.value.status) == ("n", 400)
    assert _send({"messages": MESSAGES, "n": 1}, quirks) == {"model": "real", "messages": MESSAGES}


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("given", ["max_tokens", "max_completion_tokens"])
def test_the_cap_goes_by_the_vendors_name(field, given):
    sent = _send({"messages": MESSAGES, given: 9}, Quirks(max_tokens_field=field))
    assert sent == {"model": "real", "messages": MESSAGES, field: 9}


def test_a_vendor_that_always_reports_usage_is_not_asked():
    quirks = Quirks(stream_usage="always")
    body = {
        "messages": MESSAGES,
        "stream": True,
        "stream_options": {"include_usage": True, "include_obfuscation": True},
    }
    assert _send(body, quirks) == {"model": "real", "messages": MESSAGES, "stream": True}


# --- Relayed bytes


def _relay(document, quirks=NEW_NAME, **fields):
    body = json.dumps(document).encode()
    fields = {"operation": "openai.chat", "stream": bool(document.get("stream"))} | fields
    sent = OpenAIDialect(quirks).encode_relay(RelayRequest(body=body, document=document, **fields), TARGET)
    return body, sent.body


def _relayed(document, quirks=NEW_NAME, **fields):
    return json.loads(_relay(document, quirks, **fields)[1])


def test_a_body_that_needs_no_edit_is_not_touched():
    body, sent = _relay({"model": "real", "messages": MESSAGES})
    assert sent is body


def test_only_the_model_is_replaced():
    body, sent = _relay({"model": "public", "messages": MESSAGES, "odd": [1, {"model": "public"}]})
    assert sent == body.replace(b'"public"', b'"real"', 1)


@pytest.mark.parametrize(
    ("options", "keep_usage", "sent"),
    [
        (None, False, {"include_usage": True}),
        ({"include_usage": False}, False, {"include_usage": True}),
        ({"include_obfuscation": False}, False, {"include_obfuscation": False, "include_usage": True}),
        ({"include_usage": True}, True, {"include_usage": True}),
    ],
)
def test_a_stream_is_made_to_report_its_usage(options, keep_usage, sent):
    document = {"model": "real", "messages": MESSAGES, "stream": True}
    document |= {} if options is None else {"stream_options": options}
    assert _relayed(document, keep_usage=keep_usage)["stream_options"] == sent


def test_stream_options_are_dropped_where_the_vendor_refuses_them():
    document = {"model": "real", "messages": MESSAGES, "stream": True, "stream_options": {"include_usage": True}}
    quirks = Quirks(stream_usage="always")
    assert "stream_options" not in _relayed(document, quirks, keep_usage=True)
    assert "stream_options" not in _relayed({"model": "real", "stream": True}, quirks)


OLD_ONLY = Quirks(unsupported=frozenset({"max_completion_tokens"}))


@pytest.mark.parametrize(
    ("quirks", "given", "sent"),
    [
        (NEW_NAME, {}, {"max_completion_tokens": 20}),
        (Quirks(), {}, {"max_tokens": 20}),
        (NEW_NAME, {"max_tokens": None}, {"max_tokens": None, "max_completion_tokens": 20}),
        (NEW_NAME, {"max_tokens": 10}, {"max_tokens": 10}),
        (NEW_NAME, {"max_tokens": 30}, {"max_tokens": 20}),
        (Quirks(), {"max_completion_tokens": 30}, {"max_completion_tokens": 20}),
        (NEW_NAME, {"max_completion_tokens": 10, "max_tokens": 30}, {"max_completion_tokens": 10, "max_tokens": 20}),
        (NEW_NAME, {"max_completion_tokens": 30, "max_tokens": 30}, {"max_completion_tokens": 20, "max_tokens": 20}),
        (OLD_ONLY, {"max_completion_tokens": 10}, {"max_tokens": 10}),
        (OLD_ONLY, {"max_completion_tokens": 30}, {"max_tokens": 20}),
        (OLD_ONLY, {"max_completion_tokens": 30, "max_tokens": 40}, {"max_tokens": 20}),
    ],
)
def test_no_field_asks_for_more_than_the_cap(quirks, given, sent):
    document = {"model": "real", "messages": MESSAGES, **given}
    assert _relayed(document, quirks, output_cap=20) == {"model": "real", "messages": MESSAGES, **sent}


def test_without_a_cap_the_field_is_only_renamed():
    document = {"model": "real", "messages": MESSAGES, "max_completion_tokens": 30}
    assert _relayed(document, OLD_ONLY) == {"model": "real", "messages": MESSAGES, "max_tokens": 30}


def test_embeddings_have_no_output_to_cap():
    document = {"model": "real", "input": "x"}
    assert _relayed(document, operation="openai.embeddings", output_cap=20) == document


def test_edits_of_the_request_are_made_too():
    edits = Edits(put={"temperature": b"0.5"}, drop=frozenset({"user"}), rename={"old": "new"})
    document = {"model": "public", "messages": MESSAGES, "user": "u", "old": 1, "gateway": {}}
    assert _relayed(document, edits=edits) == {
        "model": "real",
        "messages": MESSAGES,
        "new": 1,
        "gateway": {},
        "temperature": 0.5,
    }


# --- Where it goes


def _urls(dialect, target):
    chat = dialect.encode_chat(parse_chat({"model": "m", "messages": MESSAGES}), target)
    embeddings = dialect.encode_embeddings(parse_embeddings({"model": "m", "input": "x"}), target)
    models = dialect.encode_models(target)
    assert (chat.method, embeddings.method, models.method) == ("POST", "POST", "GET")
    return chat.url, embeddings.url, models.url


def test_the_urls_of_openai():
    base = "https://api.example.com/v1"
    assert _urls(OpenAIDialect(Quirks()), TARGET) == (
        f"{base}/chat/completions",
        f"{base}/embeddings",
        f"{base}/models",
    )


AZURE = msgspec.structs.replace(TARGET, base_url="https://res.openai.azure.com", model="my deployment/1")


def test_the_urls_of_azure_without_versions():
    base = "https://res.openai.azure.com/openai/v1"
    urls = _urls(AzureDialect(Quirks(auth="api-key")), AZURE)
    assert urls == (f"{base}/chat/completions", f"{base}/embeddings", f"{base}/models")


def test_the_urls_of_azure_by_dated_version_name_the_deployment():
    dialect = AzureDialect(Quirks(auth="api-key"), api_version="2024-10-21")
    base, query = "https://res.openai.azure.com/openai", "?api-version=2024-10-21"
    deployment = f"{base}/deployments/my%20deployment%2F1"
    assert _urls(dialect, AZURE) == (
        f"{deployment}/chat/completions{query}",
        f"{deployment}/embeddings{query}",
        f"{base}/models{query}",
    )


def test_a_vendor_that_lists_no_models_says_so():
    with pytest.raises(RequestRefused):
        OpenAIDialect(Quirks(models_path="")).encode_models(TARGET)


@pytest.mark.parametrize(
    ("quirks", "secret", "header"),
    [
        (Quirks(), Secret("sk-1"), ("authorization", "Bearer sk-1")),
        (Quirks(auth="optional"), Secret("sk-1"), ("authorization", "Bearer sk-1")),
        (Quirks(auth="api-key"), Secret("sk-1"), ("api-key", "sk-1")),
        (Quirks(auth="optional"), None, None),
    ],
)
def test_the_key_goes_in_the_vendors_header(quirks, secret, header):
    target = msgspec.structs.replace(TARGET, credential=secret)
    headers = OpenAIDialect(quirks).encode_models(target).headers
    credentials = [pair for pair in headers if pair[0] in {"authorization", "api-key"}]
    assert credentials == ([] if header is None else [header])


def test_a_vendors_own_headers_go_with_every_request():
    dialect = OpenAIDialect(Quirks(headers={"X-Title": "Gateway"}), (("openai-organization", "o"),))
    headers = dict(dialect.encode_models(TARGET).headers)
    assert (headers["x-title"], headers["openai-organization"]) == ("Gateway", "o")


# --- Embeddings


@pytest.mark.parametrize(
    ("given", "sent"),
    [("a", ["a"]), (["a", "b"], ["a", "b"]), ([1, 2], [[1, 2]]), ([[1], [2, 3]], [[1], [2, 3]])],
)
def test_inputs_of_embeddings(given, sent):
    request = parse_embeddings(
        {"model": "m", "input": given, "dimensions": 8, "user": "u", "encoding_format": "base64", "task": "q"}
    )
    assert request.encoding == "base64"
    body = msgspec.json.decode(OpenAIDialect(Quirks()).encode_embeddings(request, TARGET).body)
    assert body == {
        "model": "real",
        "input": sent,
        "encoding_format": "float",
        "dimensions": 8,
        "user": "u",
        "task": "q",
    }
