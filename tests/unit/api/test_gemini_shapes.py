"""The shapes of bodies on Google's paths: what is taken is described, and a refusal names the field as it was sent."""

import json

import pytest
from documents import check_request

from app.api.gemini.shapes import check_generate
from app.api.inference_openapi import inference_document
from app.kernel.errors import InvalidRequest

DOCUMENT = json.loads(inference_document(version="1"))
PATH = "/v1beta/models/{model}:generateContent"
HI = {"role": "user", "parts": [{"text": "Hi?"}]}
FUNCTION = {"name": "f", "description": "F.", "parametersJsonSchema": {"type": "object"}}


def _user(*parts: dict) -> dict:
    return {"contents": [{"role": "user", "parts": list(parts)}]}


@pytest.mark.parametrize(
    "body",
    [
        {"contents": [HI]},
        {"contents": [{"parts": [{"text": "Hi?"}]}], "model": "models/x"},
        {"contents": [HI, {"role": "model", "parts": [{"text": "Yes?"}]}, {"role": "function", "parts": []}]},
        {"contents": [HI], "systemInstruction": {"parts": [{"text": "Be brief."}]}},
        {"contents": [HI], "generationConfig": {"temperature": 0.5, "topK": 3.0, "stopSequences": ["x"], "novel": 1}},
        {"contents": [HI], "generationConfig": {"thinkingConfig": {"thinkingLevel": "low", "includeThoughts": True}}},
        {"contents": [HI], "tools": [{"functionDeclarations": [FUNCTION]}, {"googleSearch": {}}]},
        {"contents": [HI], "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}}},
        {
            "contents": [HI],
            "safetySettings": [{"category": "C", "threshold": "T"}],
            "labels": {"a": "b"},
            "store": None,
        },
        _user({"inlineData": {"mimeType": "image/png", "data": "aGk="}}, {"novel": {"x": 1}}),
        _user({"fileData": {"mimeType": "image/png", "fileUri": "https://example.com/a.png"}}),
        _user({"fileData": {"fileUri": "gs://bucket/a"}}, {"fileData": {"fileUri": "files/abc"}}),
        _user({"functionResponse": {"name": "f", "response": {"output": 1}, "parts": []}}),
        _user({"text": "x", "thought": True, "thoughtSignature": "c2ln"}),
    ],
)
def test_what_is_taken_is_described(body):
    check_generate(body, model="m")
    assert check_request(DOCUMENT, PATH, "POST", body) == []


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "contents"),
        ({"contents": []}, "contents"),
        ({"contents": HI}, "contents"),
        ({"contents": [7]}, "contents[0]"),
        ({"contents": [HI, {"role": "assistant", "parts": []}]}, "contents[1].role"),
        ({"contents": [{"role": 7}]}, "contents[0].role"),
        ({"contents": [{"parts": {"text": "x"}}]}, "contents[0].parts"),
        (_user(7), "contents[0].parts[0]"),
        (_user({"text": 7}), "contents[0].parts[0].text"),
        (_user({"text": "a"}, {"thoughtSignature": 7}), "contents[0].parts[1].thoughtSignature"),
        (_user({"inlineData": {"mimeType": "image/png"}}), "contents[0].parts[0].inlineData.data"),
        (_user({"inline_data": {"mime_type": 7, "data": ""}}), "contents[0].parts[0].inline_data.mime_type"),
        (_user({"text": "a"}, {"fileData": {"fileUri": "http://10.0.0.1/a"}}), "contents[0].parts[1].fileData.fileUri"),
        (_user({"file_data": {"file_uri": "file:///etc/passwd"}}), "contents[0].parts[0].file_data.file_uri"),
        (_user({"fileData": {"fileUri": "https://localhost/a"}}), "contents[0].parts[0].fileData.fileUri"),
        (_user({"fileData": {}}), "contents[0].parts[0].fileData.fileUri"),
        (_user({"functionCall": {"args": {}}}), "contents[0].parts[0].functionCall.name"),
        (_user({"functionCall": {"name": "f", "args": []}}), "contents[0].parts[0].functionCall.args"),
        (_user({"functionResponse": {"name": "f", "response": "x"}}), "contents[0].parts[0].functionResponse.response"),
        (
            _user({"functionResponse": {"name": "f", "parts": [{"fileData": {"fileUri": "http://127.1/"}}]}}),
            "contents[0].parts[0].functionResponse.parts[0].fileData.fileUri",
        ),
        ({"contents": [HI], "systemInstruction": "x"}, "systemInstruction"),
        ({"contents": [HI], "system_instruction": {"parts": [7]}}, "system_instruction.parts[0]"),
        ({"contents": [HI], "generationConfig": []}, "generationConfig"),
        ({"contents": [HI], "generationConfig": {"temperature": "hot"}}, "generationConfig.temperature"),
        ({"contents": [HI], "generation_config": {"max_output_tokens": "9"}}, "generation_config.max_output_tokens"),
        ({"contents": [HI], "generationConfig": {"stopSequences": "x"}}, "generationConfig.stopSequences"),
        (
            {"contents": [HI], "generationConfig": {"thinkingConfig": {"thinkingBudget": "9"}}},
            "generationConfig.thinkingConfig.thinkingBudget",
        ),
        ({"contents": [HI], "tools": {}}, "tools"),
        ({"contents": [HI], "tools": [7]}, "tools[0]"),
        ({"contents": [HI], "tools": [{"functionDeclarations": {}}]}, "tools[0].functionDeclarations"),
        ({"contents": [HI], "tools": [{"functionDeclarations": [{}]}]}, "tools[0].functionDeclarations[0].name"),
        (
            {"contents": [HI], "tools": [{"functionDeclarations": [{"name": "f", "parameters": 7}]}]},
            "tools[0].functionDeclarations[0].parameters",
        ),
        (
            {"contents": [HI], "toolConfig": {"functionCallingConfig": {"mode": 7}}},
            "toolConfig.functionCallingConfig.mode",
        ),
        ({"contents": [HI], "safetySettings": {}}, "safetySettings"),
        ({"contents": [HI], "cachedContent": 7}, "cachedContent"),
        ({"contents": [HI], "api_base": "http://x"}, "api_base"),
        ({"contents": [HI], "metadata": {"user_api_key_x": "y"}}, "metadata.user_api_key_x"),
    ],
)
def test_a_refusal_names_the_field(body, param):
    with pytest.raises(InvalidRequest) as caught:
        check_generate(body, model="m")
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"contents": [HI], "systemInstruction": HI, "system_instruction": HI}, "system_instruction"),
        (
            {"contents": [HI], "generationConfig": {"max_output_tokens": 1, "maxOutputTokens": 9}},
            "generationConfig.maxOutputTokens",
        ),
        (_user({"inlineData": {"data": ""}, "inline_data": {"data": ""}}), "contents[0].parts[0].inline_data"),
    ],
)
def test_a_field_that_is_said_in_both_cases_is_refused(body, param):
    with pytest.raises(InvalidRequest) as caught:
        check_generate(body, model="m")
    assert caught.value.param == param


@pytest.mark.parametrize("model", ["", "x" * 513, "a\x00b"])
def test_the_name_of_the_model_is_checked_as_everywhere(model):
    with pytest.raises(InvalidRequest) as caught:
        check_generate({"contents": [HI]}, model=model)
    assert caught.value.param == "model"


def test_too_many_contents_are_refused():
    with pytest.raises(InvalidRequest):
        check_generate({"contents": [HI] * 10_001}, model="m")
