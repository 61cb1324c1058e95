"""Programs that are not run here: what they are documented to send is sent as it is, and answered as they expect."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from anthropic.types import MessageTokensCount, RawMessageStreamEvent
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter
from servers.gateway import GatewayProcess

from clients.chain import ROUTES, model
from providers.framing import sse
from providers.testing.cases import SOURCE

FOLDER = Path(__file__).parent
PATIENCE_S = 3
"""How long Claude Code waits for the list of models."""
CASES = {
    f"{file.stem}: {case['name']}": case
    for file in sorted((FOLDER / "cases").glob("*.json"))
    for case in json.loads(file.read_text(encoding="utf-8"))["cases"]
}
ASKED = [
    pytest.param(case, route, id=f"{name}, by {route}")
    for name, case in CASES.items()
    for route in (ROUTES if case["method"] == "POST" else ROUTES[:1])
]


def body_of(case: dict[str, Any], name: str) -> bytes | None:
    """Return the body of a case for a model; some stand with the cases of their wire."""
    if case["method"] != "POST":
        return None
    body = dict(case.get("body", {}))
    if "body_of" in case:
        shared = FOLDER.parent / "wire" / case["body_of"]["file"] / "cases" / "requests.json"
        found = json.loads(shared.read_text(encoding="utf-8"))["cases"]
        body = next(one["body"] for one in found if one["name"] == case["body_of"]["name"]) | body
    return json.dumps(body | {"model": name}).encode()


# --- Answers


def _frames(answer: httpx.Response) -> list[str]:
    assert answer.headers["content-type"].startswith("text/event-stream")
    return [sse.data_of(frame).decode() for frame in sse.split_frames(answer.content) if sse.data_of(frame)]


def _is_empty(answer: httpx.Response) -> None:
    assert answer.content == b""


def _lists_anthropic(answer: httpx.Response) -> None:
    assert any(found["id"].startswith("claude") for found in answer.json()["data"])
    assert all(found["type"] == "model" for found in answer.json()["data"])
    assert not answer.json()["has_more"]


def _lists_openai(answer: httpx.Response) -> None:
    assert answer.json()["object"] == "list"
    assert all(found["object"] == "model" for found in answer.json()["data"])


def _lists_for_codex(answer: httpx.Response) -> None:
    _lists_openai(answer)
    # Codex reads this member only, and knows far more of a model than the gateway does.
    assert answer.json()["models"] == []


def _streams_anthropic(answer: httpx.Response) -> None:
    events = [TypeAdapter(RawMessageStreamEvent).validate_json(data) for data in _frames(answer)]
    assert (events[0].type, events[-1].type) == ("message_start", "message_stop")
    assert any(event.type == "content_block_delta" for event in events)
    assert answer.headers["request-id"]


def _counts(answer: httpx.Response) -> None:
    assert MessageTokensCount.model_validate(answer.json()).input_tokens > 0


def _streams_responses(answer: httpx.Response) -> None:
    events = [TypeAdapter(ResponseStreamEvent).validate_json(data) for data in _frames(answer)]
    assert (events[0].type, events[-1].type) == ("response.created", "response.completed")
    # Codex takes what was said from these events, and the usage from the last.
    assert any(event.type == "response.output_item.done" for event in events)
    assert events[-1].response.usage is not None


def _streams_openai(answer: httpx.Response) -> None:
    frames = _frames(answer)
    chunks = [ChatCompletionChunk.model_validate_json(data) for data in frames[:-1]]
    assert frames[-1] == "[DONE]"
    assert any(choice.delta.content for chunk in chunks for choice in chunk.choices)
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 0


def _answers_openai(answer: httpx.Response) -> None:
    assert ChatCompletion.model_validate(answer.json()).choices[0].message.content


def _calls_openai(answer: httpx.Response) -> None:
    calls = ChatCompletion.model_validate(answer.json()).choices[0].message.tool_calls or []
    assert [list(json.loads(call.function.arguments)) for call in calls] == [["explanation", "files"]]


ANSWERS: dict[str, Callable[[httpx.Response], None]] = {
    "empty": _is_empty,
    "anthropic.models": _lists_anthropic,
    "anthropic.stream": _streams_anthropic,
    "anthropic.count": _counts,
    "openai.models": _lists_openai,
    "codex.models": _lists_for_codex,
    "openai.stream": _streams_openai,
    "openai.whole": _answers_openai,
    "openai.call": _calls_openai,
    "responses.stream": _streams_responses,
}


@pytest.mark.parametrize(("case", "route"), ASKED)
def test_a_documented_request_is_answered(front: GatewayProcess, case: dict[str, Any], route: str):
    headers = {name: value.replace("KEY", front.key) for name, value in case["headers"].items()}
    body = body_of(case, model("plain", route, like=case["like"]))
    if body is not None:
        headers["content-type"] = "application/json"
    started = time.monotonic()
    answer = httpx.request(case["method"], front.base_url + case["path"], content=body, headers=headers, timeout=30)
    assert answer.status_code == httpx.codes.OK, answer.text
    assert time.monotonic() - started < PATIENCE_S
    ANSWERS[case["answer"]](answer)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_case_says_where_it_is_from(case: dict[str, Any]):
    assert SOURCE.fullmatch(case["source"])
    assert case["answer"] in ANSWERS
