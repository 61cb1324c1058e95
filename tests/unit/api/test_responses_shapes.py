"""What the body of a Responses request must look like; a refusal names the path of the field."""

import json
from pathlib import Path

import pytest

from app.api.openai.response_shapes import check_response
from app.api.openai.shapes import check_common
from app.kernel.errors import InvalidRequest
from providers.openai.responses.downstream import parse_response_request

RECORDED = Path(__file__).parents[2] / "wire" / "responses" / "cases" / "requests.json"
CASES = json.loads(RECORDED.read_text(encoding="utf-8"))
BODIES = [pytest.param(case["body"], id=case["name"]) for case in CASES["cases"] + CASES["rewritten"]]
USER = {"role": "user", "content": "x"}


def _image(url):
    return {"input": [{"role": "user", "content": [{"type": "input_text", "text": "a"}, url]}]}


@pytest.mark.parametrize("body", BODIES)
def test_what_clients_send_passes(body):
    check_common({"model": "m", **body})
    check_response({"model": "m", **body})


@pytest.mark.parametrize(
    "body",
    [
        {"input": []},
        {"input": ""},
        {"previous_response_id": "resp_1"},
        {"prompt": {"id": "p"}},
        {"conversation": {"id": "c"}},
        {"input": [{"type": "of_tomorrow", "odd": 1}]},
        {"input": [{"role": "user", "content": [{"type": "of_tomorrow"}]}]},
        {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
        {"input": [USER], "tools": [{"type": "of_tomorrow"}], "tool_choice": {"type": "of_tomorrow"}},
        {"input": [USER], "temperature": 99, "reasoning": {"effort": "of tomorrow"}},
    ],
)
def test_what_is_unknown_passes(body):
    check_response({"model": "m", **body})


WRONG = [
    ({}, "input"),
    ({"input": None}, "input"),
    ({"input": 7}, "input"),
    ({"input": {}}, "input"),
    ({"input": [USER] * 10_001}, "input"),
    ({"input": ["x"]}, "input[0]"),
    ({"input": [USER, {"type": 7}]}, "input[1].type"),
    ({"input": [{"type": ""}]}, "input[0].type"),
    ({"input": [{"content": "x"}]}, "input[0].role"),
    ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role"),
    ({"input": [{"role": ["user"], "content": "x"}]}, "input[0].role"),
    ({"input": [{"role": "user"}]}, "input[0].content"),
    ({"input": [{"role": "user", "content": {}}]}, "input[0].content"),
    ({"input": [{"role": "user", "content": ["x"]}]}, "input[0].content[0]"),
    ({"input": [{"role": "user", "content": [{"text": "x"}]}]}, "input[0].content[0]"),
    ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
    ({"input": [{"role": "assistant", "content": [{"type": "output_text"}]}]}, "input[0].content[0].text"),
    ({"input": [{"role": "assistant", "content": [{"type": "refusal"}]}]}, "input[0].content[0].refusal"),
    (_image({"type": "input_image"}), "input[0].content[1].image_url"),
    (_image({"type": "input_image", "image_url": {"url": "x"}}), "input[0].content[1].image_url"),
    (_image({"type": "input_image", "file_id": "f", "detail": ["x"]}), "input[0].content[1].detail"),
    (_image({"type": "input_file", "file_data": 7}), "input[0].content[1].file_data"),
    (_image({"type": "input_image", "image_url": "file:///etc/passwd"}), "input[0].content[1].image_url"),
    (_image({"type": "input_image", "image_url": "http://127.0.0.1/a.png"}), "input[0].content[1].image_url"),
    (_image({"type": "input_file", "file_url": "http://10.0.0.1/a.pdf"}), "input[0].content[1].file_url"),
    ({"input": [{"type": "function_call", "name": "f", "arguments": "{}"}]}, "input[0].call_id"),
    ({"input": [{"type": "function_call", "call_id": "c", "arguments": "{}"}]}, "input[0].name"),
    ({"input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": {}}]}, "input[0].arguments"),
    ({"input": [{"type": "custom_tool_call", "call_id": "c", "name": "f"}]}, "input[0].input"),
    ({"input": [{"type": "function_call_output", "output": "x"}]}, "input[0].call_id"),
    ({"input": [{"type": "function_call_output", "call_id": "c"}]}, "input[0].output"),
    ({"input": [{"type": "function_call_output", "call_id": "c", "output": "x", "name": []}]}, "input[0].name"),
    (
        {"input": [{"type": "custom_tool_call_output", "call_id": "c", "output": [{"type": "input_text"}]}]},
        "input[0].output[0].text",
    ),
    ({"input": [{"type": "reasoning", "summary": "x"}]}, "input[0].summary"),
    ({"input": [{"type": "reasoning", "summary": ["x"]}]}, "input[0].summary"),
    ({"input": [{"type": "reasoning", "summary": [], "content": 7}]}, "input[0].content"),
    ({"input": [{"type": "reasoning", "summary": [], "encrypted_content": 7}]}, "input[0].encrypted_content"),
    ({"input": [{"type": "item_reference"}]}, "input[0].id"),
    ({"input": "x", "tools": {}}, "tools"),
    ({"input": "x", "tools": ["f"]}, "tools[0]"),
    ({"input": "x", "tools": [{"type": "function"}]}, "tools[0].name"),
    ({"input": "x", "tools": [{"type": "custom"}]}, "tools[0].name"),
    ({"input": "x", "tools": [{"type": "function", "name": "f", "parameters": []}]}, "tools[0].parameters"),
    (
        {"input": "x", "tools": [{"type": "namespace", "name": "n", "tools": [{"type": "function"}]}]},
        "tools[0].tools[0].name",
    ),
    ({"input": "x", "tool_choice": "any"}, "tool_choice"),
    ({"input": "x", "tool_choice": ["auto"]}, "tool_choice"),
    ({"input": "x", "tool_choice": {"name": "f"}}, "tool_choice"),
    ({"input": "x", "text": "json"}, "text"),
    ({"input": "x", "text": {"format": "json"}}, "text.format"),
    ({"input": "x", "text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format.schema"),
    ({"input": "x", "reasoning": "high"}, "reasoning"),
    ({"input": "x", "reasoning": {"effort": 7}}, "reasoning.effort"),
    ({"input": "x", "include": "reasoning.encrypted_content"}, "include"),
    ({"input": "x", "include": [7]}, "include"),
    ({"input": "x", "instructions": ["x"]}, "instructions"),
    ({"input": "x", "temperature": "hot"}, "temperature"),
    ({"input": "x", "max_output_tokens": 1.5}, "max_output_tokens"),
    ({"input": "x", "stream": "yes"}, "stream"),
    ({"input": "x", "store": 1}, "store"),
    ({"input": "x", "previous_response_id": 7}, "previous_response_id"),
    ({"input": "x", "background": True}, "background"),
]


@pytest.mark.parametrize(("body", "param"), WRONG)
def test_a_refusal_names_the_field(body, param):
    with pytest.raises(InvalidRequest) as caught:
        check_response({"model": "m", **body})
    assert caught.value.param == param
    assert param in caught.value.message or param == "background"


@pytest.mark.parametrize("name", ["Store", "Previous_Response_Id", "MAX_OUTPUT_TOKENS", "Instructions"])
def test_a_field_that_differs_from_ours_in_case_alone_is_refused(name):
    with pytest.raises(InvalidRequest) as caught:
        check_common({"model": "m", name: "x"})
    assert caught.value.param == name


@pytest.mark.parametrize("body", BODIES)
def test_what_passes_can_be_read(body):
    assert parse_response_request({"model": "m", **body}).dialect == "responses"
