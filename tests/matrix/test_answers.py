"""Every recorded answer of every vendor, said to a client of every dialect: the SDKs' own models take each word of it.

What is streamed says the same as what comes whole, and neither says less than the vendor did.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic.types as anthropic_types
import msgspec
import pytest
from accounting.attempts import begun
from google.genai import types as google_types
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from app.domain.keys.principal import Principal
from app.pipeline.exchange import Exchange
from app.pipeline.operation import Asked
from app.routing.table import Route
from matrix.cells import CLIENTS, Client
from matrix.sse import events_of
from providers.openai.upstream import read_completion
from providers.stream import collect, replay
from providers.testing.cases import Case, load_cases
from providers.types import ChatRequest, Completion, OpaquePart, TextPart, ThinkingPart, ToolCallPart, Usage

WIRE = Path(__file__).parents[1] / "wire"
DOCUMENTS: dict[str, dict[str, Any]] = {
    "openai.chat": {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
    "openai.responses": {"model": "m", "input": "hi", "store": False},
    "anthropic.messages": {"model": "m", "max_tokens": 99, "messages": [{"role": "user", "content": "hi"}]},
    "gemini.generate": {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]},
    "llm.chat": {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
}
MESSAGE_EVENT: TypeAdapter[Any] = TypeAdapter(anthropic_types.RawMessageStreamEvent)
RESPONSE_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def _recorded() -> Iterator[Any]:
    for path in sorted(WIRE.glob("*/cases/*.json")):
        document = json.loads(path.read_bytes())
        if isinstance(document.get("cases"), list) and "completion" in document["cases"][0]:
            for case in load_cases(path):
                yield pytest.param(case, id=f"{path.parents[1].name}: {case.name}")


def _of_chat() -> Iterator[Any]:
    """Yield OpenAI's own answers, whose cases are of an older form."""
    document = json.loads((WIRE / "openai" / "cases" / "answers.json").read_bytes())
    for case in document["cases"]:
        body = json.dumps(case["body"]).encode()
        recorded = Case(
            name=case["name"],
            source=document["source"],
            request=ChatRequest(model="m", messages=[], dialect="openai"),
            answer=body,
            completion=read_completion(body),
        )
        yield pytest.param(recorded, id=f"openai: {case['name']}")


CASES = [*_recorded(), *_of_chat()]


def exchange_of(client: Client, *, stream: bool) -> Exchange:
    document = DOCUMENTS[client.relay]
    made = Exchange(
        request_id="0190b2c47d1e7c3a9f00000000000000",
        principal=Principal(key_id=None, organization_id=None),
        operation=client.wire.operation,
        route=Route(name="m", label="m", targets=(), owned_by="p"),
        body=b"{}",
        document=document,
        started_ns=0,
        asked=Asked(model="m", stream=stream, keep_usage=True),
    )
    begun(made, "p").usage = Usage()
    return made


def dated(completion: Completion) -> Completion:
    """Return an answer with what the pipeline adds where a vendor says it not.

    Parts that one dialect alone has, and log-probabilities, are abbreviated in the recorded cases, so that no SDK would
    take them from their own vendor; they are left out.
    """
    choices = [
        msgspec.structs.replace(
            choice, content=[part for part in choice.content if not isinstance(part, OpaquePart)], logprobs=None
        )
        for choice in completion.choices
    ]
    return msgspec.structs.replace(completion, created=completion.created or 1_790_000_000, choices=choices)


def whole(client: Client, completion: Completion) -> dict[str, Any]:
    renderer = client.wire.operation.renderer
    assert renderer is not None
    answer: dict[str, Any] = json.loads(renderer.whole(exchange_of(client, stream=False), dated(completion)))
    return answer


def streamed(client: Client, completion: Completion) -> bytes:
    renderer = client.wire.operation.renderer
    assert renderer is not None
    stream = renderer.stream(exchange_of(client, stream=True))
    return b"".join(stream.feed(event) for event in replay(dated(completion))) + stream.finish()


def accept(client: Client, answer: dict[str, Any]) -> None:
    """Read an answer with the models of the vendor's SDK; they refuse what is missing or of another type."""
    match client.dialect:
        case "responses":
            Response.model_validate_json(json.dumps(answer), strict=True)
        case "anthropic":
            anthropic_types.Message.model_validate_json(json.dumps(answer), strict=True)
        case "gemini":
            google_types.GenerateContentResponse.model_validate(answer)
        case "openai" if client.relay == "openai.chat":
            ChatCompletion.model_validate_json(json.dumps(answer), strict=True)


def accept_event(client: Client, event: dict[str, Any]) -> None:
    match client.dialect:
        case "responses":
            RESPONSE_EVENT.validate_json(json.dumps(event), strict=True)
        case "anthropic":
            MESSAGE_EVENT.validate_json(json.dumps(event), strict=True)
        case "gemini":
            google_types.GenerateContentResponse.model_validate(event)
        case "openai" if client.relay == "openai.chat":
            ChatCompletionChunk.model_validate_json(_without_custom(event), strict=True)


def _without_custom(event: dict[str, Any]) -> str:
    """Return a chunk as the SDK's model has it: OpenAI streams calls of custom tools, its SDK knows them whole only."""
    return json.dumps(event).replace('"type": "custom"', '"type": "function"')


def words(completion: Completion) -> list[str]:
    """Return what an answer says that every dialect has words for: text, reasoning, and calls of functions."""
    said = []
    for part in completion.choices[0].content:
        if isinstance(part, TextPart) or (isinstance(part, ThinkingPart) and part.text):
            said += part.text.split()
        elif isinstance(part, ToolCallPart) and _is_whole(part.arguments):
            said.append(part.name)
    return said


def _is_whole(arguments: str) -> bool:
    """Whether arguments were not cut: where they are objects on the wire, a cut call cannot be said."""
    try:
        return json.loads(arguments) is not None
    except ValueError:
        return False


@pytest.mark.parametrize("client", CLIENTS, ids=[client.relay for client in CLIENTS])
@pytest.mark.parametrize("case", CASES)
def test_the_sdk_takes_an_answer(case: Case, client: Client):
    answer = whole(client, case.completion)
    accept(client, answer)
    text = json.dumps(answer, ensure_ascii=False)
    missing = [word for word in words(case.completion) if json.dumps(word, ensure_ascii=False)[1:-1] not in text]
    assert not missing


@pytest.mark.parametrize("client", CLIENTS, ids=[client.relay for client in CLIENTS])
@pytest.mark.parametrize("case", CASES)
def test_the_sdk_takes_every_event(case: Case, client: Client):
    frames = streamed(client, case.completion)
    events = events_of(frames)
    assert events
    for event in events:
        accept_event(client, event)
    assert (b"data: [DONE]" in frames) == (client.dialect == "openai")


@pytest.mark.parametrize("case", CASES)
def test_a_stream_amounts_to_the_whole(case: Case):
    assert collect(replay(case.completion)) == case.completion


def test_every_vendor_is_here():
    assert {case.id.partition(":")[0] for case in CASES} >= {
        *("anthropic", "bedrock", "cohere", "gemini", "mistral", "ollama", "openai", "responses", "tgi")
    }
