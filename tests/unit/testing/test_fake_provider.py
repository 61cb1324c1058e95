import asyncio
import base64
import json
import struct
import subprocess
import sys
import time

import httpx
import msgspec
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.testing import (
    PRESETS,
    FakeProvider,
    Script,
    count_prompt_tokens,
    count_tokens,
    serve_in_thread,
    vector_of,
)
from providers.testing.examples import example_of
from providers.testing.tokens import pieces_of

HELLO = [{"role": "user", "content": "hello big world"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
    },
}


@pytest.fixture(autouse=True)
def _forgets(fake_provider):
    """Each test finds the provider without scripts and with an empty journal."""


@pytest.fixture(scope="module")
def client(session_provider):
    with openai.OpenAI(base_url=session_provider.url, api_key="sk-test", max_retries=0, timeout=20) as client:
        yield client


@pytest.fixture(scope="module")
def http(session_provider):
    with httpx.Client(base_url=session_provider.url, timeout=20) as client:
        yield client


def _stream(http, **extra):
    body = {"model": "fake-model", "messages": HELLO, "stream": True, **extra}
    return http.post("/chat/completions", json=body)


# --- The well-behaved server


def test_it_echoes_and_counts(client, fake_provider):
    answer = client.chat.completions.create(model="fake-model", messages=HELLO)
    assert answer.choices[0].message.content == "hello big world"
    assert answer.choices[0].finish_reason == "stop"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (count_prompt_tokens(HELLO), 3)
    entry = fake_provider.journal.of_answer(answer.id)
    assert entry.json["messages"] == HELLO
    assert entry.is_complete
    assert entry.tokens_served == 3


@pytest.mark.parametrize("with_usage", [False, True])
def test_a_stream_says_the_same_as_the_whole(client, with_usage):
    options = {"include_usage": True} if with_usage else openai.omit
    chunks = list(
        client.chat.completions.create(model="fake-model", messages=HELLO, stream=True, stream_options=options)
    )
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == "hello big world"
    usages = [c.usage for c in chunks if c.usage is not None]
    assert len(usages) == int(with_usage)
    if with_usage:
        assert usages[0].completion_tokens == 3
        assert chunks[-1].choices == []


def test_choices_are_told_apart(client):
    chunks = client.chat.completions.create(model="fake-model", messages=HELLO, n=3, stream=True)
    texts = ["", "", ""]
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts == ["hello big world", "[1] hello big world", "[2] hello big world"]


@pytest.mark.parametrize("path", ["/chat/completions", "/images/generations"])
def test_no_number_of_answers_runs_it_out_of_memory(http, path):
    body = {"model": "fake-model", "messages": HELLO, "prompt": "a cat"}
    assert http.post(path, json=body | {"n": 10**30}).status_code == 400
    assert http.post(path, json=body | {"n": 2}).status_code == 200


def test_the_output_cap_is_kept_and_can_be_overshot(client):
    cut = client.chat.completions.create(model="fake-model", messages=HELLO, max_completion_tokens=2)
    assert (cut.choices[0].finish_reason, cut.usage.completion_tokens) == ("length", 2)
    over = client.chat.completions.create(model="fake-overshoot", messages=HELLO, max_tokens=10)
    assert over.usage.completion_tokens == 200


def test_a_tool_is_called_until_its_result_is_there(client):
    first = client.chat.completions.create(model="fake-model", messages=HELLO, tools=[TOOL])
    call = first.choices[0].message.tool_calls[0]
    assert first.choices[0].finish_reason == "tool_calls"
    assert json.loads(call.function.arguments) == {"city": "text", "days": 1}
    result = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    second = client.chat.completions.create(
        model="fake-model", messages=[*HELLO, first.choices[0].message, result], tools=[TOOL]
    )
    assert second.choices[0].message.content == "hello big world"


def test_streamed_tool_calls_join_to_the_whole_ones(client):
    joined: dict[int, str] = {}
    for chunk in client.chat.completions.create(model="fake-tools", messages=HELLO, tools=[TOOL], stream=True):
        for call in chunk.choices[0].delta.tool_calls or []:
            joined[call.index] = joined.get(call.index, "") + call.function.arguments
    assert [json.loads(text) for text in joined.values()] == [{"city": "text", "days": 1}] * 2


@pytest.mark.parametrize(("choice", "reason"), [("none", "stop"), ("required", "tool_calls")])
def test_the_tool_choice_is_obeyed(client, choice, reason):
    answer = client.chat.completions.create(model="fake-model", messages=HELLO, tools=[TOOL], tool_choice=choice)
    assert answer.choices[0].finish_reason == reason


def test_a_schema_is_answered_with_an_example_of_it(client):
    schema = {
        "type": "object",
        "properties": {
            "kind": {"enum": ["a", "b"]},
            "next": {"$ref": "#/$defs/step"},
            "tags": {"type": "array", "items": {"type": "string"}, "minItems": 2},
            "maybe": {"anyOf": [{"type": "null"}, {"type": "string"}]},
        },
        "$defs": {"step": {"type": "object", "properties": {"n": {"type": ["integer", "null"]}}}},
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "plan", "schema": schema, "strict": True}}
    answer = client.chat.completions.create(model="fake-model", messages=HELLO, response_format=wanted)
    said = json.loads(answer.choices[0].message.content)
    assert said == {"kind": "a", "next": {"n": 1}, "tags": ["text", "text"], "maybe": None}


def test_an_endless_schema_ends():
    loop = {"type": "object", "properties": {"self": {"$ref": "#"}}}
    assert "self" in example_of(loop)


def test_log_probabilities_come_with_every_token(client):
    answer = client.chat.completions.create(model="fake-model", messages=HELLO, logprobs=True, top_logprobs=2)
    content = answer.choices[0].logprobs.content
    assert "".join(entry.token for entry in content) == "hello big world"
    assert [len(entry.top_logprobs) for entry in content] == [2, 2, 2]


def test_images_are_accepted_and_counted(client):
    parts = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "https://a/b.png"}}]
    answer = client.chat.completions.create(model="fake-model", messages=[{"role": "user", "content": parts}])
    assert answer.choices[0].message.content == "look"
    assert answer.usage.prompt_tokens == 3 + 85 + 1


@pytest.mark.parametrize("tools", [[], [TOOL]])
def test_signs_what_it_says_or_calls(client, tools):
    """A stream says the same signature and reasoning as the whole answer, before text and before calls."""
    asked = {"model": "fake-signed", "messages": HELLO, **({"tools": tools} if tools else {})}
    message = client.chat.completions.create(**asked).choices[0].message
    assert message.reasoning_content == "Let me think about it"
    signed = message.tool_calls[0] if tools else message
    deltas = [chunk.choices[0].delta for chunk in client.chat.completions.create(**asked, stream=True)]
    assert "".join(getattr(delta, "reasoning_content", "") for delta in deltas) == message.reasoning_content
    pieces = [call for delta in deltas for call in delta.tool_calls or []] if tools else deltas
    said = [piece.extra_content for piece in pieces if hasattr(piece, "extra_content")]
    assert said == [signed.extra_content] == [{"google": {"thought_signature": PRESETS["fake-signed"].signature}}]


def test_reasoning_and_refusals_have_their_own_fields(client):
    thinking = client.chat.completions.create(model="fake-reasoning", messages=HELLO)
    assert thinking.choices[0].message.reasoning_content == "Let me think about it"
    assert thinking.usage.completion_tokens_details.reasoning_tokens == 5
    refusing = client.chat.completions.create(model="fake-refusal", messages=HELLO)
    assert refusing.choices[0].message.refusal == "I cannot help with that"
    assert refusing.choices[0].message.content is None


def test_embeddings_are_the_same_as_floats_and_as_base64(http):
    body = {"model": "fake-embedding", "input": ["one two", "three"], "dimensions": 4}
    floats = http.post("/embeddings", json=body).json()
    coded = http.post("/embeddings", json={**body, "encoding_format": "base64"}).json()
    for plain, packed in zip(floats["data"], coded["data"], strict=True):
        assert list(struct.unpack("<4f", base64.b64decode(packed["embedding"]))) == plain["embedding"]
    assert floats["data"][0]["embedding"] == vector_of("one two", 4)
    assert floats["usage"] == {"prompt_tokens": 3, "total_tokens": 3}


@pytest.mark.parametrize(("given_input", "count"), [("text", 1), ([1, 2, 3], 1), ([[1, 2], [3]], 2)])
def test_embeddings_take_texts_and_tokens(http, given_input, count):
    answer = http.post("/embeddings", json={"model": "fake-embedding", "input": given_input})
    assert len(answer.json()["data"]) == count


@pytest.mark.parametrize("given_input", [None, [], [1, "a"], {"a": 1}])
def test_embeddings_of_nonsense_are_refused(http, given_input):
    assert http.post("/embeddings", json={"model": "m", "input": given_input}).status_code == 400


def test_models_are_listed(client):
    assert [model.id for model in client.models.list()] == ["fake-model", "fake-embedding"]
    assert client.models.retrieve("fake-model").id == "fake-model"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other")


def test_a_key_can_be_required():
    with serve_in_thread(api_key="sk-right") as provider:
        body = {"model": "fake-model", "messages": HELLO}
        url = f"{provider.url}/chat/completions"
        statuses = [
            httpx.post(url, json=body, headers=headers).status_code
            for headers in ({}, {"authorization": "Bearer sk-right"}, {"api-key": "sk-right"})
        ]
        assert statuses == [401, 200, 200]


# --- Scripts


def test_a_script_comes_by_header_by_prompt_by_name_and_by_registration(http, fake_provider):
    plain = {"model": "fake-model", "messages": HELLO}
    told = {"model": "fake-model", "messages": [{"role": "user", "content": 'x [[script {"status": 503}]]'}]}
    header = {"x-fake-script": msgspec.json.encode(Script(status=402)).decode()}
    assert http.post("/chat/completions", json=plain, headers=header).status_code == 402
    assert http.post("/chat/completions", json=told).status_code == 503
    assert http.post("/chat/completions", json={**plain, "model": "fake-429"}).status_code == 429
    fake_provider.script(Script(status=500, times=2), Script(text="back"), model="fake-model")
    statuses = [http.post("/chat/completions", json=plain) for _ in range(4)]
    assert [answer.status_code for answer in statuses] == [500, 500, 200, 200]
    assert statuses[-1].json()["choices"][0]["message"]["content"] == "back"


def test_a_script_for_any_model_and_control_over_http(http, fake_provider):
    origin = fake_provider.origin
    assert httpx.put(f"{origin}/__scripts/*", json={"text": "all of you"}).status_code == 200
    answer = http.post("/chat/completions", json={"model": "whatever", "messages": HELLO})
    assert answer.json()["choices"][0]["message"]["content"] == "all of you"
    assert [entry["model"] for entry in httpx.get(f"{origin}/__journal").json()] == ["whatever"]
    httpx.delete(f"{origin}/__scripts")
    httpx.delete(f"{origin}/__journal")
    assert httpx.get(f"{origin}/__journal").json() == []
    assert httpx.put(f"{origin}/__scripts/x", json={"no": "such field"}).status_code == 400


def test_an_unreadable_script_is_an_error_that_says_so(http):
    answer = http.post("/chat/completions", json={"model": "m", "messages": HELLO}, headers={"x-fake-script": "{"})
    assert answer.status_code == 400
    assert "script" in answer.json()["error"]["message"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503, 529])
def test_a_status_comes_with_the_vendors_body(http, status):
    answer = http.post("/chat/completions", json={"model": f"fake-{status}", "messages": HELLO})
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert ("retry-after" in answer.headers) == (status in {429, 503})


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize("stream", [False, True])
def test_bodies_may_be_compressed(http, encoding, stream):
    body = {"model": f"fake-{encoding}", "messages": HELLO, "stream": stream}
    answer = http.post("/chat/completions", json=body)
    assert answer.headers["content-encoding"] == encoding
    assert "big" in answer.text


@pytest.mark.parametrize("model", ["fake-crlf", "fake-cr", "fake-comments", "fake-byte-by-byte", "fake-one-write"])
def test_a_stream_may_look_odd_and_still_be_right(client, model):
    chunks = list(client.chat.completions.create(model=model, messages=HELLO, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "hello big world"


def test_odd_streams_are_odd_on_the_wire(http):
    assert b"\r\n\r\n" in _stream(http, model="fake-crlf").content
    assert b"\n" not in _stream(http, model="fake-cr").content
    assert b": keep-alive\n\n" in _stream(http, model="fake-comments").content
    assert b"[DONE]" not in _stream(http, model="fake-no-done").content
    assert b"not json" in _stream(http, model="fake-garbage").content
    closing = _stream(http, model="fake-until-close")
    assert closing.headers["connection"] == "close"
    assert "transfer-encoding" not in closing.headers


def test_an_error_may_come_after_a_good_head(client):
    chunks = client.chat.completions.create(model="fake-error-frame", messages=HELLO, stream=True)
    with pytest.raises(openai.APIError, match="had an error"):
        list(chunks)


@pytest.mark.parametrize(
    ("model", "value"),
    [("fake-negative-usage", -4), ("fake-float-usage", 3.5), ("fake-text-usage", "3"), ("fake-huge-usage", 10**15 + 3)],
)
def test_usage_may_be_nonsense(http, model, value):
    answer = http.post("/chat/completions", json={"model": model, "messages": HELLO})
    assert answer.json()["usage"]["completion_tokens"] == value


def test_usage_may_be_missing_or_everywhere(http):
    unary = http.post("/chat/completions", json={"model": "fake-no-usage", "messages": HELLO})
    assert "usage" not in unary.json()
    frames = _stream(http, model="fake-usage-everywhere").text.split("\n\n")
    counts = [json.loads(frame[6:])["usage"]["completion_tokens"] for frame in frames if frame.startswith("data: {")]
    assert counts == sorted(counts)
    assert counts[-1] == 3


def test_verbatim_bodies_and_redirects(http):
    page = http.post("/chat/completions", json={"model": "fake-html", "messages": HELLO})
    assert page.headers["content-type"] == "text/html"
    moved = http.post("/chat/completions", json={"model": "fake-redirect", "messages": HELLO})
    assert moved.status_code == 302
    assert moved.headers["location"]


def test_a_body_may_be_huge(http, fake_provider):
    fake_provider.script(Script(pad_bytes=3 << 20))
    answer = http.post("/chat/completions", json={"model": "m", "messages": HELLO})
    assert len(answer.content) > 3 << 20


def test_all_bytes_may_be_given(fake_provider, http):
    fake_provider.script(Script(raw="HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"))
    assert http.post("/chat/completions", json={"model": "m", "messages": HELLO}).text == "hi"


def test_a_body_of_any_wire_may_call_its_script_by_name(fake_provider):
    frames = [b"\x00\xff", b"\x80"]
    encoded = [base64.b64encode(frame).decode() for frame in frames]
    fake_provider.script(Script(frames_base64=encoded, content_type="application/octet-stream"), model="case-1")
    fake_provider.script(Script(frames=["data: {}\n\n"]), model="case-2")
    asked = {"contents": [{"parts": [{"text": "please [[script case-1]]"}]}]}
    answer = httpx.post(f"{fake_provider.origin}/v1beta/models/m:streamGenerateContent", json=asked)
    assert (answer.content, answer.headers["content-type"]) == (b"".join(frames), "application/octet-stream")
    assert httpx.post(f"{fake_provider.origin}/any/path", content=b"[[script case-2]]").text == "data: {}\n\n"
    assert [entry.frames_sent for entry in fake_provider.journal.for_script("case-1")] == [2]
    assert httpx.post(f"{fake_provider.origin}/any/path", content=b"[[script case-3]]").status_code == 404


# --- Breaking off


@pytest.mark.parametrize("fault", ["close", "reset"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("after", [{}, {"fault_after_frames": 2}, {"fault_after_bytes": 60}])
def test_an_answer_may_break_anywhere(fake_provider, fault, stream, after):
    fake_provider.script(Script(fault=fault, **after))
    body = {"model": "m", "messages": HELLO, "stream": stream}
    with pytest.raises(httpx.TransportError):
        httpx.post(f"{fake_provider.url}/chat/completions", json=body)
    entry = fake_provider.journal.last
    assert fake_provider.journal.wait_for(lambda _: entry.finished_after_ms is not None)
    assert not entry.is_complete
    if after and stream:
        assert (entry.frames_sent == 2) if "fault_after_frames" in after else (entry.bytes_sent == 60)


async def test_a_stalled_stream_waits_for_the_peer_and_notes_when_it_left():
    async with FakeProvider() as provider, httpx.AsyncClient(base_url=provider.url) as client:
        request = {"model": "fake-stall", "messages": HELLO, "stream": True}
        with pytest.raises(httpx.ReadTimeout):
            await client.post("/chat/completions", json=request, timeout=0.3)
        entry = provider.journal.last
        assert await asyncio.to_thread(provider.journal.wait_for, lambda _: entry.finished_after_ms is not None)
        assert entry.peer_closed_after_ms is not None
        assert entry.peer_closed_after_ms >= 250
        assert entry.tokens_served == 2
        assert not entry.is_complete


async def test_a_client_that_leaves_stops_a_running_stream():
    async with FakeProvider() as provider, httpx.AsyncClient(base_url=provider.url, timeout=20) as client:
        script = Script(output_tokens=10_000, chunk_delay_ms=2)
        request = {"model": "m", "messages": HELLO, "stream": True}
        provider.script(script)
        async with client.stream("POST", "/chat/completions", json=request) as answer:
            async for _ in answer.aiter_raw():
                break
        entry = provider.journal.last
        assert await asyncio.to_thread(provider.journal.wait_for, lambda _: entry.finished_after_ms is not None)
        assert not entry.is_complete
        assert 0 <= entry.tokens_served < 10_000


async def test_a_slow_reader_holds_the_provider_up():
    async with FakeProvider() as provider:
        provider.script(Script(output_tokens=100_000))
        reader, writer = await asyncio.open_connection(*provider.origin.removeprefix("http://").split(":"), limit=1024)
        body = json.dumps({"model": "m", "messages": HELLO, "stream": True}).encode()
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        assert await asyncio.to_thread(provider.journal.wait_for, lambda journal: journal.entries)
        assert await asyncio.to_thread(_served_at_rest, provider) < 100_000
        assert await reader.read(1)
        writer.transport.abort()


# --- The wire


def _served_at_rest(provider: FakeProvider) -> int:
    """Return the tokens served once they have stood still for a while."""
    served = -1
    while served != (served := provider.journal.last.tokens_served):
        time.sleep(0.3)
    return served


def _exchange(provider: FakeProvider, data: bytes, *, answers: int) -> bytes:
    """Send bytes as they are and return what comes back, up to the given number of answers."""
    host, port = provider.origin.removeprefix("http://").split(":")

    async def talk() -> bytes:
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(data)
        got = b""
        while got.count(b"chat.completion") < answers:
            more = await reader.read(65536)
            if not more:
                break
            got += more
        writer.close()
        await writer.wait_closed()
        return got

    return asyncio.run(talk())


def test_requests_may_be_chunked_pipelined_and_announced(fake_provider):
    body = json.dumps({"model": "m", "messages": HELLO}).encode()
    chunked = b"POST /v1/chat/completions HTTP/1.1\r\ntransfer-encoding: chunked\r\nexpect: 100-continue\r\n\r\n"
    chunked += b"%x;note=1\r\n%b\r\n0\r\nx-trailer: 1\r\n\r\n" % (len(body), body)
    plain = b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    got = _exchange(fake_provider, chunked + plain, answers=2)
    assert got.startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert got.count(b"HTTP/1.1 200 OK") == 2
    assert [entry.bytes_received for entry in fake_provider.journal.entries] == [len(chunked), len(plain)]


def test_it_runs_as_a_process_of_its_own():
    process = subprocess.Popen([sys.executable, "-m", "providers.testing"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    url = json.loads(process.stdout.readline())["url"]
    answer = httpx.post(f"{url}/chat/completions", json={"model": "fake-model", "messages": HELLO})
    assert answer.json()["choices"][0]["message"]["content"] == "hello big world"
    process.terminate()
    assert process.wait(timeout=20) == 0
    process.stdout.close()


def test_every_preset_is_a_script_that_survives_json():
    for name, script in PRESETS.items():
        assert name.startswith("fake-")
        assert msgspec.json.decode(msgspec.json.encode(script), type=Script) == script


@given(st.text())
def test_tokens_join_to_their_text(text):
    assert "".join(pieces_of(text)) == text
    assert count_tokens(text) == len(pieces_of(text))
