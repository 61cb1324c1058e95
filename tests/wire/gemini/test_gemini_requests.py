"""Requests to Gemini: what depends on the model, what is refused, and what is relayed."""

import json

import msgspec
import pytest

from providers.errors import RequestRefused
from providers.gemini.plugin import GeminiDialect
from providers.gemini.upstream import write_generate
from providers.types import (
    ChatRequest,
    Edits,
    FilePart,
    ImagePart,
    Message,
    OpaquePart,
    ReasoningOptions,
    RelayRequest,
    Sampling,
    Secret,
    Target,
    TextPart,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
)

BASE = "https://generativelanguage.googleapis.com/v1beta"
HI = Message(role="user", content=[TextPart(text="Hi?")])


def _target(model: str = "gemini-3.8-flash") -> Target:
    return Target(provider="p", model=model, base_url=BASE, credential=Secret("k"))


def _request(*messages: Message, dialect: str = "openai", **fields) -> ChatRequest:
    return ChatRequest(model="public", messages=list(messages) or [HI], dialect=dialect, **fields)


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("gemini-3.8-flash", "models/gemini-3.8-flash"),
        ("models/gemini-3.8-flash", "models/gemini-3.8-flash"),
        ("tunedModels/mine-1", "tunedModels/mine-1"),
        ("odd/name?x=1#y", "models/odd%2Fname%3Fx%3D1%23y"),
        ("../files", "models/..%2Ffiles"),
        ("models/", "models/"),
    ],
)
def test_the_model_and_the_method_are_in_the_path(model, path):
    dialect = GeminiDialect()
    whole = dialect.encode_chat(_request(), _target(model))
    assert whole.url == f"{BASE}/{path}:generateContent"
    streamed = dialect.encode_chat(_request(stream=True), _target(model))
    assert streamed.url == f"{BASE}/{path}:streamGenerateContent?alt=sse"
    assert streamed.body == whole.body
    assert whole.headers == (("x-goog-api-key", "k"), ("content-type", "application/json"))


def _level(word: str, *, include: bool = True) -> dict:
    return {"thinkingLevel": word, "includeThoughts": include}


def _budget(tokens: int) -> dict:
    return {"thinkingBudget": tokens, "includeThoughts": True}


@pytest.mark.parametrize(
    ("model", "options", "config"),
    [
        ("gemini-3.8-flash", ReasoningOptions(effort="minimal"), _level("LOW")),
        ("gemini-3.5-flash-lite", ReasoningOptions(effort="none"), _level("MINIMAL", include=False)),
        ("gemini-3.1-pro-preview", ReasoningOptions(effort="none"), _level("LOW", include=False)),
        ("gemini-3.8-flash", ReasoningOptions(budget_tokens=10_000), _level("MEDIUM")),
        ("gemini-3.8-flash", ReasoningOptions(effort="high", include=False), _level("HIGH", include=False)),
        ("gemini-3.8-flash", ReasoningOptions(adaptive=True), {"includeThoughts": True}),
        ("gemini-4-argon", ReasoningOptions(effort="max"), _level("HIGH")),
        ("gemini-flash-latest", ReasoningOptions(effort="low"), _level("LOW")),
        ("gemini-2.5-flash", ReasoningOptions(effort="none"), {"thinkingBudget": 0}),
        ("gemini-2.5-flash", ReasoningOptions(effort="max"), _budget(24_576)),
        ("gemini-2.5-flash-lite", ReasoningOptions(budget_tokens=100), _budget(512)),
        ("gemini-2.5-pro", ReasoningOptions(effort="none"), _budget(128) | {"includeThoughts": False}),
        ("gemini-2.5-flash", ReasoningOptions(adaptive=True), _budget(-1)),
    ],
)
def test_how_long_to_think_is_said_as_the_model_knows_it(model, options, config):
    body, dropped = write_generate(_request(reasoning=options), model=model)
    assert body["generationConfig"] == {"thinkingConfig": config}
    is_restless = options.effort == "none" and config.get("thinkingBudget") != 0
    assert dropped == (("reasoning_effort",) if is_restless else ())


def test_a_model_that_does_not_think_is_not_told_how_long():
    body, dropped = write_generate(_request(reasoning=ReasoningOptions(effort="low")), model="gemini-2.0-flash")
    assert "generationConfig" not in body
    assert dropped == ("reasoning_effort",)


def test_older_models_need_no_signatures_and_take_pictures_beside_an_answer():
    picture = ImagePart(data="aGk=", media_type="image/png")
    call = Message(role="assistant", content=[ToolCallPart(id="c1", name="draw")])
    result = Message(role="tool", content=[ToolResultPart(id="c1", content=[TextPart(text="x"), picture])])
    body, _ = write_generate(_request(HI, call, result), model="gemini-2.5-flash")
    assert body["contents"][1]["parts"] == [{"functionCall": {"id": "c1", "name": "draw", "args": {}}}]
    assert body["contents"][2]["parts"] == [
        {"functionResponse": {"id": "c1", "name": "draw", "response": {"output": "x"}}},
        {"inlineData": {"mimeType": "image/png", "data": "aGk="}},
    ]


def test_every_step_whose_first_call_is_unsigned_gets_a_stand_in():
    steps = []
    for number, signature in enumerate([None, "gemini:c2ln", "anthropic:x"]):
        steps += [
            Message(role="assistant", content=[ToolCallPart(id=f"c{number}", name="f", signature=signature)]),
            Message(role="tool", content=[ToolResultPart(id=f"c{number}", content=[TextPart(text="ok")])]),
        ]
    body, _ = write_generate(_request(HI, *steps), model="gemini-3.8-flash")
    signed = [content["parts"][0]["thoughtSignature"] for content in body["contents"] if content["role"] == "model"]
    assert signed == ["skip_thought_signature_validator", "c2ln", "skip_thought_signature_validator"]


def test_an_answer_with_words_that_mean_something_to_google_is_wrapped():
    said = '{"output": 1, "more": 2}'
    call = Message(role="assistant", content=[ToolCallPart(id="c1", name="f")])
    result = Message(role="tool", content=[ToolResultPart(id="c1", content=[TextPart(text=said)])])
    body, _ = write_generate(_request(HI, call, result), model="gemini-3.8-flash")
    assert body["contents"][2]["parts"][0]["functionResponse"]["response"] == {"output": {"output": 1, "more": 2}}


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        (_request(sampling=Sampling(logit_bias={"1": 1.0})), "logit_bias"),
        (_request(Message(role="user", content=[FilePart(file_id="file-1")])), "messages"),
        (_request(Message(role="system", content=[ImagePart(url="https://x.example/a.png")]), HI), "messages"),
        (_request(Message(role="user", content=[OpaquePart(dialect="openai", value={"type": "x"})])), "messages"),
        (_request(tools=[Tool(name="web_search", kind="web_search", extras={})]), "tools"),
        (
            _request(
                tools=[Tool(name="f", parameters={}), Tool(name="s", kind="web_search")],
                tool_choice=ToolChoice(mode="named", name="s"),
            ),
            "tool_choice",
        ),
        (_request(extras={"modalities": ["audio"]}), "modalities"),
    ],
)
def test_what_may_not_be_lost_is_refused_by_name(request_, param):
    with pytest.raises(RequestRefused) as caught:
        write_generate(request_, model="gemini-3.8-flash")
    assert caught.value.param == param
    assert caught.value.status == 400


def test_what_is_harmless_is_listed():
    image = ImagePart(url="https://x.example/a.png", detail="low", extras={"cache_control": {"type": "ephemeral"}})
    tools = [Tool(name="f", parameters={}), Tool(name="s", kind="web_search")]
    request = _request(Message(role="user", content=[image]), tools=tools, extras={"store": False}, user="u")
    _, dropped = write_generate(request, model="gemini-3.8-flash")
    assert set(dropped) == {"user", "store", "cache_control", "tools.web_search", "detail"}


def _relayed(document: dict, **fields):
    body = json.dumps(document).encode()
    request = RelayRequest(operation="gemini.generate", body=body, document=document, **fields)
    return GeminiDialect().encode_relay(request, _target())


def test_relayed_bytes_are_the_clients():
    document = {"contents": [{"parts": [{"text": "Hi?"}]}], "novel": {"x": 1}}
    asked = _relayed(document)
    assert asked.body == json.dumps(document).encode()
    assert asked.url == f"{BASE}/models/gemini-3.8-flash:generateContent"
    assert _relayed(document, stream=True).url.endswith(":streamGenerateContent?alt=sse")
    assert _relayed(document, stream=True, framing="array").url.endswith(":streamGenerateContent?alt=sse")


@pytest.mark.parametrize(
    ("config", "cap", "sent"),
    [
        ({}, 100, {"maxOutputTokens": 100}),
        ({"topK": 1}, 100, {"topK": 1, "maxOutputTokens": 100}),
        ({"maxOutputTokens": 500, "topK": 1}, 100, {"maxOutputTokens": 100, "topK": 1}),
        ({"maxOutputTokens": 0}, 100, {"maxOutputTokens": 100}),
        ({"max_output_tokens": 500}, 100, {"max_output_tokens": 100}),
        ({"max_output_tokens": 500, "maxOutputTokens": 600}, 100, {"max_output_tokens": 100, "maxOutputTokens": 100}),
    ],
)
def test_the_output_is_capped_in_the_config(config, cap, sent):
    contents = [{"parts": [{"text": "Hi?"}]}]
    asked = _relayed({"contents": contents, "generationConfig": config}, output_cap=cap)
    assert msgspec.json.decode(asked.body) == {"contents": contents, "generationConfig": sent}
    snake = _relayed({"contents": contents, "generation_config": config}, output_cap=cap)
    assert msgspec.json.decode(snake.body) == {"contents": contents, "generation_config": sent}


def test_a_cap_that_holds_already_changes_no_byte():
    document = {"contents": [], "generationConfig": {"maxOutputTokens": 50}}
    assert _relayed(document, output_cap=100).body == json.dumps(document).encode()
    fractional = {"contents": [], "generationConfig": {"maxOutputTokens": 50.0}}
    assert _relayed(fractional, output_cap=100).body == json.dumps(fractional).encode()


def test_a_cap_without_a_config_makes_one():
    assert msgspec.json.decode(_relayed({"contents": []}, output_cap=7).body) == {
        "contents": [],
        "generationConfig": {"maxOutputTokens": 7},
    }


def test_a_cap_stands_above_the_operators_edits():
    edits = Edits(put={"generationConfig": b'{"temperature":0.2,"maxOutputTokens":900}'})
    asked = _relayed({"contents": [], "generationConfig": {"topK": 1}}, edits=edits, output_cap=100)
    assert msgspec.json.decode(asked.body)["generationConfig"] == {"temperature": 0.2, "maxOutputTokens": 100}
    dropped = Edits(drop=frozenset({"generationConfig"}))
    asked = _relayed({"contents": [], "generationConfig": {"topK": 1}}, edits=dropped, output_cap=100)
    assert msgspec.json.decode(asked.body) == {"contents": [], "generationConfig": {"maxOutputTokens": 100}}


def test_a_model_in_the_body_gives_way_to_the_path():
    assert msgspec.json.decode(_relayed({"model": "models/public", "contents": []}).body) == {"contents": []}
