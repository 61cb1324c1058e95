"""The forms in which clients ask the same question, and what each hears of the answer. Law: all of them ask alike."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

CAP = 999
"""What every form lets an answer have, since one of them must say so."""


class Heard(NamedTuple):
    """What a client reads in an answer: `tokens` are those of the prompt and of the answer, `ends` how it ended."""

    text: str
    tokens: tuple[int, int]
    ends: str


class Form(NamedTuple):
    """One dialect, whole or streamed."""

    name: str
    is_streamed: bool
    path: Callable[[str], str]
    body: Callable[[str, str], dict[str, Any]]
    read: Callable[[str], Heard]

    def __str__(self) -> str:
        return f"{self.name}, {'streamed' if self.is_streamed else 'whole'}"


def _data(text: str) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in text.split("\n") if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def _always(path: str) -> Callable[[str], str]:
    return lambda _: path


def _said(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


# --- OpenAI


def _chat(model: str, text: str) -> dict[str, Any]:
    return {"model": model, "messages": _said(text), "max_tokens": CAP}


def _chat_streamed(model: str, text: str) -> dict[str, Any]:
    return {**_chat(model, text), "stream": True, "stream_options": {"include_usage": True}}


def _read_chat(body: str) -> Heard:
    answer = json.loads(body)
    choice, usage = answer["choices"][0], answer["usage"]
    counts = usage["prompt_tokens"], usage["completion_tokens"]
    return Heard(choice["message"]["content"], counts, choice["finish_reason"])


def _read_chat_stream(body: str) -> Heard:
    assert body.rstrip().endswith("data: [DONE]"), body[-300:]
    chunks = _data(body)
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    text = "".join(choice["delta"].get("content") or "" for choice in choices)
    ends = [choice["finish_reason"] for choice in choices if choice.get("finish_reason")]
    usage = [chunk["usage"] for chunk in chunks if chunk.get("usage")]
    assert (len(ends), len(usage)) == (1, 1), body[-800:]
    return Heard(text, (usage[0]["prompt_tokens"], usage[0]["completion_tokens"]), ends[0])


def _responses(model: str, text: str) -> dict[str, Any]:
    return {"model": model, "input": text, "max_output_tokens": CAP, "store": False}


def _read_response(body: str) -> Heard:
    return _heard_in_response(json.loads(body))


def _heard_in_response(answer: dict[str, Any]) -> Heard:
    parts = [part for item in answer["output"] for part in item.get("content") or []]
    usage = answer["usage"]
    counts = usage["input_tokens"], usage["output_tokens"]
    assert answer["status"] == "completed"
    return Heard("".join(part["text"] for part in parts), counts, "stop")


def _read_response_stream(body: str) -> Heard:
    events = _data(body)
    assert events[-1]["type"] == "response.completed", body[-800:]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    heard = _heard_in_response(events[-1]["response"])
    assert "".join(e["delta"] for e in events if e["type"] == "response.output_text.delta") == heard.text
    return heard


# --- Anthropic


def _messages(model: str, text: str) -> dict[str, Any]:
    return {"model": model, "max_tokens": CAP, "messages": _said(text)}


def _read_message(body: str) -> Heard:
    answer = json.loads(body)
    usage = answer["usage"]
    text = "".join(block["text"] for block in answer["content"])
    return Heard(text, (usage["input_tokens"], usage["output_tokens"]), _ends(answer["stop_reason"]))


def _read_message_stream(body: str) -> Heard:
    events = _data(body)
    assert [events[0]["type"], events[-1]["type"]] == ["message_start", "message_stop"], body[-800:]
    text = "".join(e["delta"]["text"] for e in events if e["type"] == "content_block_delta")
    counts = events[0]["message"]["usage"] | events[-2]["usage"]
    return Heard(text, (counts["input_tokens"], counts["output_tokens"]), _ends(events[-2]["delta"]["stop_reason"]))


def _ends(reason: str) -> str:
    return {"end_turn": "stop", "max_tokens": "length", "STOP": "stop", "MAX_TOKENS": "length"}[reason]


# --- Google


def _gemini(model: str, text: str) -> dict[str, Any]:
    del model
    return {
        "contents": [{"role": "user", "parts": [{"text": text}]}],
        "generationConfig": {"maxOutputTokens": CAP},
    }


def _heard_in_parts(parts: list[dict[str, Any]]) -> Heard:
    candidates = [part["candidates"][0] for part in parts if part.get("candidates")]
    text = "".join(p["text"] for c in candidates for p in (c.get("content") or {}).get("parts") or [])
    ends = [c["finishReason"] for c in candidates if c.get("finishReason")]
    usage = [part["usageMetadata"] for part in parts if part.get("usageMetadata")][-1]
    assert len(ends) == 1
    return Heard(text, (usage["promptTokenCount"], usage["candidatesTokenCount"]), _ends(ends[0]))


# --- The gateway's own


def _read_llm(body: str) -> Heard:
    return _heard_in_llm(json.loads(body))


def _heard_in_llm(answer: dict[str, Any]) -> Heard:
    usage, output = answer["usage"], answer["output"]
    return Heard(output["content"], (usage["input_tokens"], usage["output_tokens"]), output["finish_reason"])


def _read_llm_stream(body: str) -> Heard:
    assert body.rstrip().endswith("data: [DONE]")
    events = _data(body)
    heard = _heard_in_llm(events[-1])
    assert "".join(event["text"] for event in events if event["type"] == "text") == heard.text
    return heard


def _streamed(body: Callable[[str, str], dict[str, Any]]) -> Callable[[str, str], dict[str, Any]]:
    return lambda model, text: {**body(model, text), "stream": True}


def _of_google(method: str) -> Callable[[str], str]:
    return lambda model: f"/v1beta/models/{model}:{method}"


_SSE, _ARRAY = "streamGenerateContent?alt=sse", "streamGenerateContent"
CHAT = Form("chat", False, _always("/v1/chat/completions"), _chat, _read_chat)
CHAT_STREAM = Form("chat", True, _always("/v1/chat/completions"), _chat_streamed, _read_chat_stream)
MESSAGES_STREAM = Form("messages", True, _always("/v1/messages"), _streamed(_messages), _read_message_stream)
GEMINI_STREAM = Form("gemini", True, _of_google(_SSE), _gemini, lambda body: _heard_in_parts(_data(body)))
LLM = Form("llm", False, _always("/v1/llm/chat"), _chat, _read_llm)
FORMS = (
    CHAT,
    CHAT_STREAM,
    Form("responses", False, _always("/v1/responses"), _responses, _read_response),
    Form("responses", True, _always("/v1/responses"), _streamed(_responses), _read_response_stream),
    Form("messages", False, _always("/v1/messages"), _messages, _read_message),
    MESSAGES_STREAM,
    Form("gemini", False, _of_google("generateContent"), _gemini, lambda body: _heard_in_parts([json.loads(body)])),
    GEMINI_STREAM,
    Form("gemini array", True, _of_google(_ARRAY), _gemini, lambda body: _heard_in_parts(json.loads(body))),
    LLM,
    Form("llm", True, _always("/v1/llm/chat"), _streamed(_chat), _read_llm_stream),
)
STREAMED = tuple(form for form in FORMS if form.is_streamed)
