"""What the paths of each dialect take is what the document allows, and what they refuse it does not."""

import json
from typing import Any

import pytest
from documents import check_request

from app.api.inference_openapi import inference_document
from app.api.understanding import Call
from app.api.wires import WIRES
from app.kernel.errors import InvalidRequest

DOCUMENT = json.loads(inference_document(version="1"))
_FORM = "multipart/form-data"
_CALL_ITEM = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
_PNG = {"type": "base64", "media_type": "image/png", "data": "AA=="}

_GENERATE = "/v1beta/models/{model}:generateContent"
_TEXT_PART = {"text": "t"}

_BODIES: dict[str, dict[str, Any]] = {
    "/v1/completions": {"model": "m", "prompt": "p"},
    "/v1/responses": {"model": "m", "input": "i"},
    "/v1/moderations": {"model": "m", "input": "i"},
    "/v1/rerank": {"model": "m", "query": "q", "documents": ["d"]},
    "/v1/images/generations": {"model": "m", "prompt": "p"},
    "/v1/audio/speech": {"model": "m", "input": "i", "voice": "v"},
    "/v1/audio/transcriptions": {"model": "m", "file": "sound"},
    "/v1/audio/translations": {"model": "m", "file": "sound"},
    "/v1/messages": {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "c"}]},
    "/v1/messages/count_tokens": {"model": "m", "messages": [{"role": "user", "content": "c"}]},
    _GENERATE: {"contents": [{"role": "user", "parts": [_TEXT_PART]}]},
}
_OPTIONS = {"gateway": {"timeout_s": 5, "include": "cost"}}
_GOOD: dict[str, list[dict[str, Any]]] = {
    "/v1/completions": [
        {"prompt": ["a", "b"]},
        {"prompt": [1, 2]},
        {"prompt": [[1], [2]]},
        {"max_tokens": 5, "temperature": 0, "stop": ["a"], "n": 2, "echo": True, "logprobs": 3, "suffix": "s"},
        {"stream": True, "stream_options": {"include_usage": True}, "stop": None, "logprobs": None},
    ],
    "/v1/responses": [
        {"input": [{"role": "user", "content": "c"}]},
        {"input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "t"}]}]},
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png;base64,AA=="}]}]},
        {"input": [_CALL_ITEM, {"type": "function_call_output", "call_id": "c", "output": "o"}]},
        {"input": [{"type": "reasoning", "id": "r", "summary": [], "encrypted_content": "e"}, {"type": "new", "x": 1}]},
        {"input": None, "previous_response_id": "resp_1"},
        {"tools": [{"type": "function", "name": "f", "parameters": {}}, {"type": "web_search"}]},
        {"tool_choice": {"type": "function", "name": "f"}, "reasoning": {"effort": "low", "summary": "auto"}},
        {"text": {"format": {"type": "json_schema", "name": "n", "schema": {}}, "verbosity": "low"}},
        {"store": False, "include": ["reasoning.encrypted_content"], "metadata": {"a": "b"}, "instructions": None},
    ],
    "/v1/moderations": [
        {"input": ["a", "b"]},
        {"model": None},
        {"input": [{"type": "text", "text": "t"}, {"type": "image_url", "image_url": {"url": "https://a.b/c"}}]},
    ],
    "/v1/rerank": [{"documents": [{"text": "t"}], "top_n": 1, "return_documents": False}, {"query": {"text": "t"}}],
    "/v1/images/generations": [
        {"n": 2, "size": "auto", "quality": "low", "output_format": "png", "stream": True, "partial_images": 1},
        {"background": None, "style": "vivid", "user": "u"},
    ],
    "/v1/audio/speech": [{"voice": {"id": "v"}, "speed": 1.5, "response_format": "mp3", "stream_format": "sse"}],
    "/v1/audio/transcriptions": [
        {"stream": True, "response_format": "verbose_json", "timestamp_granularities[]": ["word"], "language": "en"},
        {"include[]": ["logprobs"], "prompt": "p", "temperature": 0},
    ],
    "/v1/audio/translations": [{"response_format": "srt", "prompt": "p"}],
    "/v1/messages": [
        {"system": "s", "temperature": 0, "top_k": 5, "stop_sequences": ["x"], "metadata": {"user_id": "u"}},
        {"system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}], "metadata": None},
        {"messages": [{"role": "user", "content": [{"type": "image", "source": _PNG}, {"type": "new", "x": 1}]}]},
        {
            "messages": [
                {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "r"}]},
            ]
        },
        {"messages": [{"role": "assistant", "content": [{"type": "thinking", "thinking": "t", "signature": "s"}]}]},
        {"tools": [{"name": "f", "input_schema": {"type": "object"}}, {"type": "web_search_20250305", "name": "w"}]},
        {"tool_choice": {"type": "tool", "name": "f"}, "thinking": {"type": "enabled", "budget_tokens": 1024}},
        {"output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {}}}, "stream": None},
    ],
    "/v1/messages/count_tokens": [{"system": "s", "tools": [], "thinking": {"type": "adaptive"}}],
    _GENERATE: [
        {"systemInstruction": {"parts": [_TEXT_PART]}, "generationConfig": {"temperature": 0, "topK": 5}},
        {"system_instruction": {"parts": [_TEXT_PART]}, "generation_config": {"top_k": 5}},
        {"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": "AA=="}}, {"new": 1}]}]},
        {"contents": [{"parts": [{"fileData": {"fileUri": "https://example.com/a.png"}}]}]},
        {"contents": [{"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]}]},
        {"contents": [{"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]}]},
        {"contents": [{"role": "model", "parts": [{"text": "t", "thought": True, "thoughtSignature": "s"}]}]},
        {"tools": [{"functionDeclarations": [{"name": "f", "parameters": {"type": "OBJECT"}}]}, {"googleSearch": {}}]},
        {"toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}}},
        {
            "generationConfig": {
                "responseMimeType": "application/json",
                "responseJsonSchema": {},
                "stopSequences": ["x"],
            }
        },
        {"generationConfig": {"thinkingConfig": {"thinkingBudget": -1, "includeThoughts": True}}, "safetySettings": []},
    ],
}
_BAD: dict[str, list[dict[str, Any]]] = {
    "/v1/completions": [
        {"prompt": []},
        {"prompt": 7},
        {"prompt": [[1], "a"]},
        {"max_tokens": "5"},
        {"echo": 1},
        {"stop": 7},
        {"logit_bias": []},
    ],
    "/v1/responses": [
        {"input": 7},
        {"input": ["text"]},
        {"store": "yes"},
        {"temperature": "hot"},
        {"max_output_tokens": 1.5},
        {"tools": {}},
        {"tools": [{"name": "f"}]},
        {"tool_choice": "sometimes"},
        {"text": {"format": {}}},
        {"text": []},
        {"reasoning": {"effort": 7}},
        {"instructions": 7},
        {"include": "everything"},
        {"previous_response_id": 7},
    ],
    "/v1/moderations": [{"input": None}, {"input": 7}, {"input": [7]}, {"model": 7}],
    "/v1/rerank": [
        {"documents": []},
        {"documents": "d"},
        {"documents": [7]},
        {"query": 7},
        {"top_n": "1"},
        {"return_documents": 1},
    ],
    "/v1/images/generations": [{"prompt": None}, {"n": "2"}, {"size": 1024}, {"stream": 1}],
    "/v1/audio/speech": [{"input": None}, {"input": 7}, {"speed": "fast"}, {"voice": 7}, {"instructions": 7}],
    "/v1/audio/transcriptions": [{"model": ""}],
    "/v1/audio/translations": [{"model": ""}],
    "/v1/messages": [
        {"messages": []},
        {"messages": [{"role": "tool", "content": "c"}]},
        {"messages": [{"role": "user", "content": 7}]},
        {"messages": [{"role": "user", "content": [{"text": "t"}]}]},
        {"max_tokens": "5"},
        {"system": 7},
        {"stop_sequences": "x"},
        {"temperature": "hot"},
        {"thinking": "yes"},
        {"tool_choice": "any"},
        {"tools": {}},
        {"stream": 1},
    ],
    "/v1/messages/count_tokens": [{"messages": []}, {"system": 7}, {"tools": {}}],
    _GENERATE: [
        {"contents": []},
        {"contents": None},
        {"contents": ["t"]},
        {"contents": [{"role": 7, "parts": []}]},
        {"contents": [{"parts": {}}]},
        {"contents": [{"parts": [{"text": 7}]}]},
        {"contents": [{"parts": [{"inlineData": {"mimeType": "image/png"}}]}]},
        {"contents": [{"parts": [{"functionCall": {"args": {}}}]}]},
        {"tools": {}},
        {"tools": [{"functionDeclarations": [{"description": "d"}]}]},
        {"generationConfig": []},
        {"generationConfig": {"temperature": "hot"}},
        {"generationConfig": {"maxOutputTokens": 1.5}},
        {"generationConfig": {"thinkingConfig": {"thinkingBudget": "much"}}},
        {"toolConfig": {"functionCallingConfig": {"mode": 7}}},
        {"systemInstruction": "s"},
    ],
}
_OF_ALL = [{"model": ""}, {"model": "m" * 513}, {"gateway": []}, {"gateway": {"tiemout_s": 5}}]


def _is_taken(path: str, body: dict[str, Any]) -> bool:
    """Whether the path's own checks take a body; of a form, a file as `read_form` tells it."""
    wire = next(wire for wire in WIRES if wire.route.partition("{")[0] == path.partition("{")[0])
    told = body | ({"file": {"filename": "a.wav"}} if "file" in body else {})
    told = {name: value for name, value in told.items() if name != "gateway"}
    try:
        wire.read(told, Call("m:generateContent", ""))
    except InvalidRequest:
        return False
    return True


def _faults(path: str, body: dict[str, Any]) -> list[str]:
    kind = _FORM if "file" in body else "application/json"
    return check_request(DOCUMENT, path, "POST", body, content_type=kind)


@pytest.mark.parametrize(
    ("path", "changed"),
    [(path, changed) for path, every in _GOOD.items() for changed in [{}, _OPTIONS, *every]],
    ids=str,
)
def test_what_a_path_takes_is_described(path, changed):
    body = _BODIES[path] | changed
    assert _is_taken(path, body)
    assert _faults(path, body) == []
    if "file" not in body:
        assert _faults(path, body | {"a_new_field": {"of": "the vendor's"}}) == []


@pytest.mark.parametrize(("path", "changed"), [(path, changed) for path in _BAD for changed in _BAD[path]], ids=str)
def test_what_a_path_refuses_is_not_described(path, changed):
    body = _BODIES[path] | changed
    assert not _is_taken(path, body)
    assert _faults(path, body) != []


@pytest.mark.parametrize("changed", _OF_ALL, ids=lambda changed: str(changed)[:40])
@pytest.mark.parametrize("path", [path for path in _BODIES if path != _GENERATE])
def test_what_every_path_refuses_is_not_described(path, changed):
    assert _faults(path, _BODIES[path] | changed) != []


def test_every_wire_is_tried_here_or_with_the_chat_paths():
    tried = {path.partition("{")[0] for path in _BODIES}
    assert {wire.route.partition("{")[0] for wire in WIRES} - tried <= {
        *("/v1/chat/completions", "/v1/llm/chat", "/v1/embeddings", "/v1beta/models/{rest:path}"),
    }
