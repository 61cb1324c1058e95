"""OpenAI's SDK through the gateway to a real model server, whose own answers are the measure.

Any OpenAI-compatible server will do. With transformers, in a folder `tiny` that holds any saved causal language model
and its tokenizer with a chat template (a `LlamaForCausalLM` of a random `LlamaConfig` is enough):

    pip install torch 'transformers[serving]'
    HF_HUB_OFFLINE=1 transformers serve --host 127.0.0.1 --port 8471 &
    export GATEWAY_TEST_MODEL_URL=http://127.0.0.1:8471/v1 GATEWAY_TEST_MODEL=$PWD/tiny
    pytest -m long tests/acceptance/test_real_model_server.py

Law: nothing is known of the model but its name; the same question is put to the server directly, at temperature 0.
"""

import asyncio
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionChunk
from outside.caller import Caller, data_frames, is_done
from outside.ledger import Ledger, cost_nusd
from servers import configs
from servers.gateway import ADMIN_KEY, MASTER_SECRET, GatewayProcess
from servers.process import wait_until
from servers.proxy import TcpProxy, proxy_in_thread

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

URL, MODEL = "GATEWAY_TEST_MODEL_URL", "GATEWAY_TEST_MODEL"
PUBLIC = "tiny"
HELLO = [{"role": "user", "content": "say hello to the gateway"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Says what the weather is like.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
ENDLESS_TOKENS = 3_000
"""An answer that long takes any server seconds."""


OWN_CODE = "invalid_request"
"""Of what the gateway refuses by itself."""


class Served(NamedTuple):
    """A gateway, and the name by which it serves the server's model."""

    gateway: GatewayProcess
    model: str
    is_named: bool


class Subject(NamedTuple):
    """Who is asked, for which model."""

    client: OpenAI
    model: str

    def ask(self, **more: Any) -> Any:
        """Ask for a short answer that is the same each time."""
        asked = {"model": self.model, "messages": HELLO, "temperature": 0, "max_tokens": 8, **more}
        return self.client.chat.completions.create(**asked)

    def stream(self, **more: Any) -> list[ChatCompletionChunk]:
        """Ask for the same answer as a stream."""
        return list(self.ask(stream=True, **more))

    def refusal(self, **more: Any) -> openai.APIError | None:
        """Ask; return how it was refused, by a status or inside of a stream, or `None` if it was answered."""
        try:
            answer = self.ask(**more)
            _ = list(answer) if more.get("stream") else answer
        except openai.APIError as error:
            return error
        return None


@pytest.fixture(scope="module")
def direct() -> Iterator[Subject]:
    """The server without a gateway."""
    with OpenAI(base_url=_given(URL), api_key="none", max_retries=0, timeout=120) as client:
        yield Subject(client, _given(MODEL))


@pytest.fixture(scope="module")
def wiretap() -> Iterator[TcpProxy]:
    """What stands between the gateway and the server, to see their connections."""
    parts = urlsplit(_given(URL))
    with proxy_in_thread(parts.hostname or "127.0.0.1", parts.port or 80) as proxy:
        yield proxy


@pytest.fixture(scope="module", params=["named", "unnamed"])
def served(request: pytest.FixtureRequest, wiretap: TcpProxy) -> Iterator[Served]:
    """A gateway with a `models:` section, and one that only knows where the server is."""
    provider = {"adapter": "openai", "base_url": wiretap.url(_given(URL)), "api_key": None}
    tree: dict[str, Any] = {"providers": {"local": provider}}
    is_named = request.param == "named"
    if is_named:
        target = {"provider": "local", "model": _given(MODEL)}
        tree["models"] = {PUBLIC: {"targets": [target], "price": dict(configs.PRICE)}}
    environ = {"GATEWAY_ADMIN_KEY": ADMIN_KEY, "GATEWAY_MASTER_SECRET": MASTER_SECRET}
    gateway = GatewayProcess.launch(tree, environ=environ)
    try:
        yield Served(gateway, PUBLIC if is_named else f"local/{_given(MODEL)}", is_named=is_named)
        gateway.stop()
    finally:
        gateway.close()


@pytest.fixture
def caller(served: Served) -> Iterator[Caller]:
    with Caller(served.gateway) as fresh:
        yield fresh


@pytest.fixture
def through(served: Served, caller: Caller) -> Iterator[Subject]:
    """The server behind the gateway, asked by `caller`."""
    with OpenAI(base_url=served.gateway.openai_url, api_key=caller.key, max_retries=0, timeout=120) as client:
        yield Subject(client, served.model)


@pytest.fixture
def event(served: Served, caller: Caller) -> Callable[[], dict[str, Any]]:
    """Waits for the one usage event of the test's caller."""

    def wait() -> dict[str, Any]:
        (found,) = Ledger(served.gateway).wait(1, within_s=10, key_id=caller.key_id)
        return found

    return wait


def _given(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        pytest.fail(f"{name} is not set: {__doc__}")
    return value


def _text(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


def _reason(chunks: list[ChatCompletionChunk]) -> str | None:
    reasons = [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason]
    assert len(reasons) == 1
    return reasons[0]


def _said(answer: Any) -> dict[str, Any]:
    """Return an answer without what differs each time: the ids and the time."""
    said = answer.model_dump(exclude={"id", "created"})
    for choice in said["choices"]:
        for call in choice["message"].get("tool_calls") or []:
            del call["id"]
    return said


# --- Models


def test_lists_the_models(served: Served, through: Subject, direct: Subject):
    expected = {PUBLIC} if served.is_named else {f"local/{model.id}" for model in direct.client.models.list()}
    assert wait_until(lambda: expected <= {model.id for model in through.client.models.list()}, within_s=10)


# --- Answers


@pytest.mark.parametrize("max_tokens", [1, 8])
def test_answers_as_the_server_does(through: Subject, direct: Subject, max_tokens: int):
    answer = through.ask(max_tokens=max_tokens)
    assert _said(answer) == _said(direct.ask(max_tokens=max_tokens))
    assert answer.choices[0].message.content
    assert 0 < answer.usage.completion_tokens <= max_tokens


def test_streams_as_the_server_does(through: Subject, direct: Subject):
    chunks, expected = through.stream(), direct.stream()
    assert _text(chunks) == _text(expected) != ""
    assert _reason(chunks) == _reason(expected)
    assert len([chunk for chunk in chunks if _text([chunk])]) > 1


def test_streams_usage_when_asked(through: Subject):
    whole = through.ask().usage
    last = through.stream(stream_options={"include_usage": True})[-1]
    assert last.usage is not None
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (whole.prompt_tokens, whole.completion_tokens)


def test_every_stream_ends_as_openais_do(served: Served, caller: Caller):
    answer = caller.chat(served.model, stream=True, max_tokens=4, gateway={"include": ["cost"]})
    assert answer.status_code == 200
    assert answer.headers["x-gateway-provider"] == "local"
    assert is_done(answer.text)
    assert answer.text.count("[DONE]") == 1
    assert data_frames(answer.text)[-1]["gateway"]["provider"] == "local"


def test_stops_where_it_is_told(through: Subject, direct: Subject):
    pieces = [_text([chunk]) for chunk in through.stream(max_tokens=32)]
    stop = next(piece for piece in pieces[1:] if piece.strip())
    answer = through.ask(max_tokens=32, stop=[stop])
    assert _said(answer) == _said(direct.ask(max_tokens=32, stop=[stop]))
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.completion_tokens < 32
    assert _reason(through.stream(max_tokens=32, stop=[stop])) == "stop"


async def test_answers_and_streams_asynchronously(served: Served, caller: Caller):
    asked: dict[str, Any] = {"model": served.model, "messages": HELLO, "temperature": 0, "max_tokens": 8}

    async with AsyncOpenAI(base_url=served.gateway.openai_url, api_key=caller.key, max_retries=0, timeout=120) as sdk:

        async def streamed() -> str:
            stream = await sdk.chat.completions.create(**asked, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])

        texts = await asyncio.gather(*(streamed() for _ in range(4)))
        answer = await sdk.chat.completions.create(**asked)
    assert set(texts) == {texts[0]}
    assert texts[0]
    assert answer.choices[0].message.content


def test_translates_the_stream_for_its_own_endpoint(served: Served, caller: Caller, direct: Subject):
    body = {"model": served.model, "messages": HELLO, "temperature": 0, "max_tokens": 8, "stream": True}
    answer = caller.post(body, path="/v1/llm/chat")
    events = data_frames(answer.text)
    assert events[0]["type"] == "started"
    said = "".join(event["text"] for event in events if event["type"] == "text")
    assert said == _text(direct.stream())
    assert events[-1]["type"] == "finished"
    assert events[-1]["usage"]["output_tokens"] == direct.ask().usage.completion_tokens
    assert is_done(answer.text)


# --- Tools


def test_tools_reach_the_server(through: Subject, direct: Subject):
    answer = through.ask(tools=[WEATHER])
    assert _said(answer) == _said(direct.ask(tools=[WEATHER]))
    assert answer.usage.prompt_tokens > through.ask().usage.prompt_tokens, "the tools are in the prompt"


def test_tool_results_reach_the_server(through: Subject, direct: Subject):
    call = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Berlin"}'}}
    asked = {"role": "assistant", "content": "", "tool_calls": [call]}
    messages = [*HELLO, asked, {"role": "tool", "tool_call_id": "call_1", "content": "sunny"}]
    answer = through.ask(messages=messages, tools=[WEATHER])
    assert _said(answer) == _said(direct.ask(messages=messages, tools=[WEATHER]))


def test_streams_with_tools(through: Subject, direct: Subject):
    chunks, expected = through.stream(tools=[WEATHER]), direct.stream(tools=[WEATHER])
    assert _text(chunks) == _text(expected)
    assert _reason(chunks) == _reason(expected)


# --- Errors


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "fault",
    [
        {"extra_body": {"no_such_parameter": 1}},
        {"messages": [{"content": "a message without a role"}]},
        {"max_tokens": -5},
        {"stop": 7},
    ],
    ids=["unknown parameter", "no role", "negative cap", "odd stop"],
)
def test_what_the_server_refuses_is_refused_alike(
    through: Subject, direct: Subject, fault: dict[str, Any], stream: bool
):
    _check_alike(through.refusal(stream=stream, **fault), direct.refusal(stream=stream, **fault))


def _check_alike(refusal: openai.APIError | None, expected: openai.APIError | None) -> None:
    """Check a refusal that came through the gateway against the server's own.

    What the server refuses keeps its words and its status, but for FastAPI's 422, which is OpenAI's 400. What breaks
    it, be it in a stream, is a 502: nothing has been said by then. The gateway itself may refuse what is plainly wrong.
    """
    if refusal is None:
        assert expected is None
        return
    assert isinstance(refusal, openai.APIStatusError), "it came as a status"
    assert refusal.request_id
    assert refusal.message
    if refusal.status_code == 400 and refusal.code == OWN_CODE:
        return
    assert expected is not None
    if isinstance(expected, openai.APIStatusError) and expected.status_code < 500:
        assert refusal.status_code == {422: 400}.get(expected.status_code, expected.status_code)
        assert _words_of(expected) in refusal.message
    else:
        assert (refusal.status_code, refusal.code) == (502, "upstream_error")


def _words_of(refusal: openai.APIStatusError) -> str:
    """Return what a server said, as FastAPI says it or as OpenAI does."""
    said = refusal.response.json()
    detail = said.get("detail") or said.get("error", {}).get("message")
    return detail if isinstance(detail, str) else ""


def test_an_unknown_model_is_an_error(served: Served, through: Subject, direct: Subject):
    unknown = through.refusal(model="no-such-model")
    assert unknown is not None
    assert (unknown.status_code, unknown.code) == (404, "model_not_found")
    if not served.is_named:
        _check_alike(through.refusal(model="local/no-such/model"), direct.refusal(model="no-such/model"))


def test_embeds_if_the_server_does(through: Subject, direct: Subject):
    refusals: list[openai.APIStatusError] = []
    vectors: list[list[float]] = []
    for client, model in (direct, through):
        try:
            answer = client.embeddings.create(model=model, input="hello", encoding_format="float")
        except openai.APIStatusError as error:
            refusals.append(error)
        else:
            vectors.append(answer.data[0].embedding)
    if vectors:
        assert vectors[0] == pytest.approx(vectors[1])
    else:
        _check_alike(refusals[1], refusals[0])


# --- Money


@pytest.mark.parametrize("stream", [False, True])
def test_charges_what_the_server_counted(
    served: Served, through: Subject, direct: Subject, event: Callable[[], dict[str, Any]], stream: bool
):
    counted = direct.ask().usage
    _ = through.stream() if stream else through.ask()
    found = event()
    assert (found["outcome"], found["usage_source"], found["stream"]) == ("ok", "provider", stream)
    assert (found["input_tokens"], found["output_tokens"]) == (counted.prompt_tokens, counted.completion_tokens)
    expected_nusd = cost_nusd(counted.prompt_tokens, counted.completion_tokens) if served.is_named else None
    assert found["cost_nusd"] == expected_nusd


def test_who_leaves_early_pays_for_what_came_and_the_server_is_let_go(
    served: Served, caller: Caller, event: Callable[[], dict[str, Any]], wiretap: TcpProxy
):
    body = {"model": served.model, "messages": HELLO, "max_tokens": ENDLESS_TOKENS, "stream": True}
    idle = wiretap.connections
    came, _ = caller.leave(body, after_s=1)
    assert came.count(b"data: ") > 10
    assert b"[DONE]" not in came
    found = event()
    assert (found["outcome"], found["usage_source"]) == ("cancelled", "estimated")
    assert 0 < found["output_tokens"] < ENDLESS_TOKENS
    assert found["input_tokens"] > 0
    assert (found["cost_nusd"] is not None) == served.is_named
    assert wait_until(lambda: wiretap.connections < max(idle, 1), within_s=10), "the call is still connected"
    again = caller.chat(served.model, max_tokens=2)
    assert again.status_code == 200
    assert again.json()["usage"]["completion_tokens"] <= 2
