"""A client's Responses request, read into the canonical form and written again: for its own wire, and for another."""

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import response_create_params
from pydantic import TypeAdapter, ValidationError

from providers.catalog import Quirks
from providers.errors import RequestRefused
from providers.openai.plugin import OpenAIDialect
from providers.openai.responses.downstream import input_items, parse_response_request
from providers.openai.responses.seals import open_content, seal_content
from providers.testing.cases import SOURCE
from providers.types import (
    ChatRequest,
    FilePart,
    Message,
    OpaquePart,
    Target,
    TextPart,
    ThinkingPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
)

CASES = json.loads((Path(__file__).parent / "cases" / "requests.json").read_text(encoding="utf-8"))
OPENAI = Quirks(max_tokens_field="max_completion_tokens", is_openai=True)
TARGET = Target(provider="p", model="real", base_url="https://api.example.com/v1")
ENCRYPTED = "reasoning.encrypted_content"
# The SDK's types know no such format; another vendor may.
BEYOND_SDK = {"a format of a vendor's own"}
USER = {"role": "user", "content": "x"}


def _named(cases):
    return [pytest.param(case, id=case["name"]) for case in cases]


def _encode(request, quirks=OPENAI, chat_api="responses"):
    return OpenAIDialect(quirks, chat_api=chat_api).encode_chat(request, TARGET)


def _send(body, quirks=OPENAI, chat_api="responses"):
    request = parse_response_request({"model": "public", **body})
    return msgspec.json.decode(_encode(request, quirks, chat_api).body)


def _expected(case, sent):
    """Return what goes out: the real model, nothing stored, and encrypted reasoning back where there is any."""
    include = [name for name in sent.get("include") or [] if name != ENCRYPTED]
    include = [ENCRYPTED] * bool(case.get("thinks")) + include
    return {**sent, "model": "real", "store": False} | ({"include": include} if include else {})


@pytest.mark.parametrize("case", _named(CASES["cases"]))
def test_a_request_goes_out_as_it_came_in(case):
    assert _send(case["body"]) == _expected(case, case["body"])


@pytest.mark.parametrize("case", _named(CASES["rewritten"]))
def test_a_request_goes_out_in_the_form_that_means_the_same(case):
    assert _send(case["body"]) == _expected(case, case["sent"])


@pytest.mark.parametrize("case", _named(CASES["cases"] + CASES["rewritten"]))
def test_cases_name_their_source(case):
    assert SOURCE.search(case["source"])


@pytest.mark.parametrize("case", _named(CASES["cases"]))
def test_what_goes_out_is_read_back_the_same(case):
    body = {"model": "real", **case["body"]}
    assert parse_response_request(_send(case["body"])) == parse_response_request(body)


@pytest.mark.parametrize("case", _named(case for case in CASES["cases"] if case["name"] not in BEYOND_SDK))
def test_the_sdk_knows_what_goes_out(case):
    base = response_create_params
    params = base.ResponseCreateParamsStreaming if "stream" in case["body"] else base.ResponseCreateParamsNonStreaming
    sent = _send(case["body"])
    sent.pop("client_metadata", None)
    try:
        TypeAdapter(params).validate_python(sent)
    except ValidationError as error:
        # Clients leave out ids and names that the SDK's types demand and the API does not.
        kinds = {fault["type"] for fault in error.errors()}
        assert case["name"] in {"Codex CLI", "Codex CLI with local_shell", "Vercel AI SDK"} or kinds == {"missing"}


@pytest.mark.parametrize("field", sorted(response_create_params.ResponseCreateParamsBase.__annotations__))
def test_every_documented_field_has_a_case(field):
    assert field == "model" or any(field in case["body"] for case in CASES["cases"] + CASES["rewritten"])


# --- A conversation made up


TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6)
IDS = st.integers(1, 99).map(str)
PARTS = st.one_of(
    st.fixed_dictionaries({"type": st.just("input_text"), "text": TEXTS}),
    st.just({"type": "input_image", "image_url": "https://example.com/a.png", "detail": "auto"}),
    st.just({"type": "input_file", "file_url": "https://example.com/a.pdf"}),
)
ITEMS = st.one_of(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "system", "developer"]), "content": TEXTS}),
    st.fixed_dictionaries(
        {"role": st.just("user"), "type": st.just("message"), "content": st.lists(PARTS, min_size=2)}
    ),
    st.fixed_dictionaries({"role": st.just("assistant"), "content": TEXTS}),
    st.fixed_dictionaries(
        {
            "type": st.just("message"),
            "role": st.just("assistant"),
            "id": IDS.map("msg_".__add__),
            "content": st.lists(
                st.fixed_dictionaries({"type": st.just("output_text"), "text": TEXTS, "annotations": st.just([])}),
                min_size=1,
                max_size=3,
            ),
        }
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("reasoning"),
            "id": IDS.map("rs_".__add__),
            "summary": st.lists(st.fixed_dictionaries({"type": st.just("summary_text"), "text": TEXTS}), max_size=3),
            "encrypted_content": TEXTS,
        }
    ),
    st.fixed_dictionaries({"type": st.just("function_call"), "call_id": IDS, "name": TEXTS, "arguments": TEXTS}),
    st.fixed_dictionaries({"type": st.just("custom_tool_call"), "call_id": IDS, "name": TEXTS, "input": TEXTS}),
    st.fixed_dictionaries({"type": st.just("function_call_output"), "call_id": st.just("f"), "output": TEXTS}),
    st.fixed_dictionaries({"type": st.just("custom_tool_call_output"), "call_id": st.just("c"), "output": TEXTS}),
    st.fixed_dictionaries({"type": st.just("web_search_call"), "id": IDS, "status": st.just("completed")}),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(ITEMS, max_size=8))
def test_any_conversation_goes_out_as_it_came_in(items):
    assert _send({"input": items})["input"] == items


# --- To a provider that speaks chat completions


def test_what_codex_sends_is_said_as_a_chat():
    codex = next(case["body"] for case in CASES["cases"] if case["name"] == "Codex CLI")
    request = parse_response_request({"model": "public", **codex})
    asked = _encode(request, Quirks(), "chat")
    sent = msgspec.json.decode(asked.body)
    assert set(asked.dropped) == {"client_metadata", "prompt_cache_key", "reasoning", "text", "tools.web_search"}
    assert [message["role"] for message in sent["messages"]] == [
        "system",
        "system",
        "user",
        "user",
        "assistant",
        "tool",
        "assistant",
        "tool",
        "assistant",
        "user",
    ]
    patch = sent["messages"][6]["tool_calls"][0]["function"]
    assert (patch["name"], json.loads(patch["arguments"])) == (
        "apply_patch",
        {"input": "*** Begin Patch\n*** End Patch\n"},
    )
    assert [tool["function"]["name"] for tool in sent["tools"]] == ["exec_command", "apply_patch"]
    assert "start: begin_patch" in sent["tools"][1]["function"]["description"]
    assert (sent["reasoning_effort"], sent["tool_choice"], sent["stream"]) == ("medium", "auto", True)


def test_openai_itself_gets_custom_tools_and_what_both_apis_share():
    codex = next(case["body"] for case in CASES["cases"] if case["name"] == "Codex CLI")
    sent = _send(codex, chat_api="chat")
    definition = codex["tools"][1]["format"]["definition"]
    grammar = {"type": "grammar", "grammar": {"syntax": "lark", "definition": definition}}
    assert sent["tools"][1]["custom"]["format"] == grammar
    assert sent["messages"][6]["tool_calls"][0] == {
        "id": "call_2",
        "type": "custom",
        "custom": {"name": "apply_patch", "input": "*** Begin Patch\n*** End Patch\n"},
    }
    assert (sent["prompt_cache_key"], sent["verbosity"]) == ("0199", "low")


def test_tools_in_namespaces_stand_alone_elsewhere():
    case = next(case["body"] for case in CASES["cases"] if case["name"] == "calls in a namespace")
    sent = _send(case, Quirks(), "chat")
    assert sent["tools"][0]["function"]["name"] == "crm__find"
    assert sent["messages"][1]["tool_calls"][0]["function"]["name"] == "crm__find"
    assert sent["tool_choice"]["function"]["name"] == "crm__find"


@pytest.mark.parametrize(
    ("field", "value"),
    [("previous_response_id", "resp_1"), ("conversation", "conv_1"), ("prompt", {"id": "p"}), ("odd", 1)],
)
def test_what_may_not_be_lost_is_refused_by_name(field, value):
    with pytest.raises(RequestRefused) as caught:
        _send({"input": [USER], field: value}, Quirks(), "chat")
    assert (caught.value.param, caught.value.status) == (field, 400)


@pytest.mark.parametrize("item", [{"type": "item_reference", "id": "a"}, {"type": "local_shell_call", "id": "b"}])
def test_an_item_that_only_this_wire_knows_is_refused_elsewhere(item):
    with pytest.raises(RequestRefused) as caught:
        _send({"input": [USER, item]}, Quirks(), "chat")
    assert caught.value.param == "messages"


def test_a_hosted_tool_alone_is_refused_elsewhere():
    with pytest.raises(RequestRefused, match="web_search") as caught:
        _send({"input": [USER], "tools": [{"type": "web_search"}]}, Quirks(), "chat")
    assert caught.value.param == "tools"


# --- Another dialect's request


def _foreign(*content, role="user", **fields):
    message = Message(role=role, content=list(content), extras={"foreign": 1})
    return ChatRequest(model="public", messages=[message], dialect="other", **fields)


@pytest.mark.parametrize("name", ["stop", "logit_bias", "n"])
def test_a_field_that_this_wire_lacks_is_refused_by_name(name):
    fields = (
        {"n": 2}
        if name == "n"
        else {"sampling": {"stop": {"stop": ["x"]}, "logit_bias": {"logit_bias": {"1": 1}}}[name]}
    )
    request = msgspec.convert({"model": "m", "messages": [], "dialect": "openai", **fields}, ChatRequest)
    with pytest.raises(RequestRefused) as caught:
        _encode(request)
    assert caught.value.param == name


def test_extras_of_another_dialect_stay_behind():
    inner = TextPart(text="b", extras={"foreign": 1})
    result = ToolResultPart(id="1", content=[inner], extras={"foreign": 1})
    tool = Tool(name="f", parameters={}, extras={"foreign": 1})
    for request, dropped in (
        (_foreign(TextPart(text="a", extras={"foreign": 1}), tools=[tool]), ("foreign", "tools.foreign")),
        (_foreign(result, role="tool"), ("foreign",)),
    ):
        assert "foreign" not in _encode(request).body.decode()
        assert _encode(request).dropped == dropped


@pytest.mark.parametrize("part", [OpaquePart(dialect="other", value={}), ThinkingPart(text="x")])
def test_a_part_that_this_wire_cannot_say_is_refused(part):
    with pytest.raises(RequestRefused) as caught:
        _encode(_foreign(part))
    assert caught.value.param == "messages"


def test_a_file_without_a_name_gets_one():
    sent = msgspec.json.decode(_encode(_foreign(FilePart(data="JVBERi0=", media_type="application/pdf"))).body)
    assert sent["input"][0]["content"][0]["filename"] == "document"


def test_a_server_of_open_models_gets_functions_for_custom_tools():
    call = ToolCallPart(id="1", name="shell", arguments="ls", extras={"type": "custom"})
    result = Message(role="tool", content=[ToolResultPart(id="1", content=[TextPart(text="a")])])
    request = _foreign(call, role="assistant", tools=[Tool(name="shell", kind="custom")])
    request = msgspec.structs.replace(request, messages=[*request.messages, result])
    sent = msgspec.json.decode(_encode(request, Quirks()).body)
    assert [item["type"] for item in sent["input"]] == ["function_call", "function_call_output"]
    assert json.loads(sent["input"][0]["arguments"]) == {"input": "ls"}
    assert sent["tools"][0]["type"] == "function"


# --- Signatures


@pytest.mark.parametrize("place", ["here", "redacted", "before", "behind"])
def test_a_sealed_signature_says_what_it_signs(place):
    assert open_content(seal_content("anthropic:abc=", place)) == ("anthropic:abc=", place)


@pytest.mark.parametrize("place", ["here", "redacted"])
def test_a_vendors_own_signature_is_bare(place):
    assert seal_content("responses:gAAA", place) == "gAAA"
    assert open_content("gAAA") == ("responses:gAAA", "here")


def _signed(place, signature="gemini:s"):
    return {"type": "reasoning", "summary": [], "encrypted_content": seal_content(signature, place)}


def test_a_signature_finds_the_part_that_it_signs():
    call = {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"}
    said = {"role": "assistant", "content": "a"}
    items = [_signed("before"), call, call, said, _signed("behind", "gemini:t"), _signed("redacted", "anthropic:r")]
    (message,) = parse_response_request({"model": "m", "input": items}).messages
    signatures = [(type(part), part.signature) for part in message.content]
    assert signatures == [
        (ToolCallPart, "gemini:s"),
        (ToolCallPart, None),
        (TextPart, "gemini:t"),
        (ThinkingPart, "anthropic:r"),
    ]
    assert message.content[-1].redacted


def test_a_signature_whose_part_is_gone_signs_nothing_else():
    items = [_signed("before"), USER, {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"}]
    messages = parse_response_request({"model": "m", "input": items}).messages
    assert messages[1].content[0].signature is None


def test_the_input_may_be_a_string_or_absent():
    assert input_items({"input": "x"}) == [USER]
    assert input_items({}) == []
