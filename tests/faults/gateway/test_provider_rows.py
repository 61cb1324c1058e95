"""What a provider, its name and its certificate may do wrong, row by row: the answer, the ledger, and what comes after.

Every row is asked whole and as a stream, by a caller of its own who may have one request at a time: so the next one,
which must be served, also shows that nothing of the last is held. What differs between the clients' dialects, and what
may happen within a stream, is in `faults.dialects`; storms, breakers and credentials are in the tests of routing.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import psutil  # type: ignore[import-untyped]  # psutil ships no types
import pytest
from outside.caller import Caller, is_done, user
from outside.charges import check_failed
from outside.ledger import Ledger, usd
from servers.balancer import tls_in_thread
from servers.certificates import Authority
from servers.configs import FAKE_KEY, FAKE_KEY_NAME, PRICE
from servers.gateway import ADMIN_KEY, MASTER_SECRET, GatewayProcess
from servers.process import free_port, wait_until

from providers.testing import FakeProvider, Script

MIB = 1 << 20
BAD, CUT, LARGE = "upstream_bad_response", "upstream_interrupted", "upstream_too_large"
UNREACHABLE, TLS = "upstream_unreachable", "upstream_tls_error"
REFUSED, MOVED = "invalid_value", "upstream_redirect_blocked"
HTML = Script(body="<html>nobody is to see this</html>", content_type="text/html")
SECRET = "nobody"
CHUNK = 'data: {"id":"1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"hi"}}]}\n\n'
LIFECYCLE = 'data: {"id":"1","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n' * 2
STOP = 'data: {"id":"1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
WHOLE = json.dumps({"id": "1", "choices": [{"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}]})
MODES = (False, True)


class Row(NamedTuple):
    """One fault: what the provider does, and what must come of it.

    `provider` is who is asked. `streams` are the modes in which it is asked. `status` and `code` are the client's
    answer, `outcome` the ledger's word. Without `code` the answer is served. `retries` is how often it might have been
    tried again.
    """

    code: str | None
    outcome: str = "error"
    status: int = 502
    script: Script | None = None
    provider: str = "fake"
    streams: tuple[bool, ...] = MODES
    retries: int = 0


def raw(*lines: str, body: str = "") -> Script:
    """Return what sends these lines for a head, and a body."""
    return Script(raw="\r\n".join([*lines, "", ""]) + body)


def chunked(*extra: str, chunk_extension: str = "", trailers: str = "") -> Script:
    """Return a stream whose framing is written by hand."""
    body = "".join(f"{len(part):x}{chunk_extension}\r\n{part}\r\n" for part in (CHUNK, STOP, "data: [DONE]\n\n"))
    head = ("HTTP/1.1 200 OK", "content-type: text/event-stream", "transfer-encoding: chunked", *extra)
    return raw(*head, body=f"{body}0\r\n{trailers}\r\n")


def told(status: int, message: str) -> Script:
    """Return a refusal in a vendor's words."""
    error = {"message": message, "type": "invalid_request_error", "param": "top_p", "code": "invalid_value"}
    return Script(status=status, body=json.dumps({"error": error}))


def half(body: str, fault: Any) -> Script:
    """Return what breaks in the middle of a body."""
    kind = "application/json" if body is WHOLE else "text/event-stream"
    return Script(body=body, content_type=kind, fault=fault, fault_after_bytes=len(body) // 2)


OK_WHOLE = ("content-type: application/json", f"content-length: {len(WHOLE)}")
ROWS: dict[str, Row] = {
    # provider: connect refused / DNS / TLS error; DNS: resolver down; TLS: expired, wrong host
    "refused connection": Row(UNREACHABLE, provider="dead"),
    "name without an address": Row(UNREACHABLE, provider="nowhere"),
    "expired certificate": Row(TLS, provider="expired"),
    "certificate of another host": Row(TLS, provider="misnamed"),
    "certificate of an unknown authority": Row(TLS, provider="untrusted"),
    "silence instead of TLS": Row("upstream_timeout", "timeout", 504, provider="plain"),
    "certificate of an own authority": Row(None, "ok", 200, provider="trusted"),
    # provider: hang before headers (its clocks: test_five_clocks)
    "closed before the head": Row(CUT, "interrupted", script=Script(fault="close")),
    "reset before the head": Row(CUT, "interrupted", script=Script(fault="reset")),
    # provider: partial SSE, `[DONE]` without usage; usage missing, negative, huge, float, string
    "no usage": Row(None, "ok", 200, script=Script(usage="missing")),
    "negative usage": Row(None, "ok", 200, script=Script(usage="negative")),
    "huge usage": Row(None, "ok", 200, script=Script(usage="huge")),
    "fractional usage": Row(None, "ok", 200, script=Script(usage="float")),
    "usage in words": Row(None, "ok", 200, script=Script(usage="text")),
    # provider: garbage / HTML 200 / bad JSON
    "html": Row(BAD, script=HTML),
    "bad json": Row(BAD, script=Script(body='{"id": "nobody', content_type="application/json")),
    "not an object": Row(BAD, script=Script(body='["nobody"]', content_type="application/json")),
    "nothing": Row(BAD, script=Script(body="", content_type="application/json")),
    "garbage events": Row(BAD, script=Script(frames=["data: {nobody\n\n"]), streams=(True,)),
    "not http": Row(BAD, script=Script(raw="SSH-2.0-nobody\r\n\r\n")),
    "garbage with 2xx": Row(BAD, script=Script(status=201, body="\x00\x01 nobody", content_type="application/json")),
    # provider: reset mid-stream, of an answer that is not streamed, and of a stream before its content
    "cut in its body": Row(CUT, "interrupted", script=half(WHOLE, "close"), streams=(False,)),
    "reset in its body": Row(CUT, "interrupted", script=half(WHOLE, "reset"), streams=(False,)),
    "cut before content": Row(CUT, "interrupted", script=half(LIFECYCLE, "close"), streams=(True,)),
    "reset before content": Row(CUT, "interrupted", script=half(LIFECYCLE, "reset"), streams=(True,)),
    # A provider that refuses: its words are relayed, and nobody else is asked.
    "bad request": Row(REFUSED, "refused", 400, script=told(400, "top_p is too large"), retries=2),
    "unprocessable": Row(REFUSED, "refused", 400, script=told(422, "top_p is too large"), retries=2),
    "html for a bad request": Row(
        "upstream_invalid_request",
        "refused",
        400,
        script=Script(status=400, body="<html>nobody</html>", content_type="text/html"),
        retries=2,
    ),
    # provider: 3xx
    **{
        f"redirect {status}": Row(
            MOVED, script=Script(status=status, body="", headers={"location": "http://127.0.0.1:1/v1"}), retries=0
        )
        for status in (301, 302, 303, 307, 308)
    },
    # provider: gzip/br bomb, 1 GB body, 10 MB SSE line, endless headers
    "bomb": Row(LARGE, script=Script(pad_bytes=40 * MIB, encoding="gzip"), streams=(False,)),
    "deflated bomb": Row(LARGE, script=Script(pad_bytes=40 * MIB, encoding="deflate"), streams=(False,)),
    "brotli": Row(BAD, script=Script(headers={"content-encoding": "br"})),
    "oversize": Row(LARGE, script=Script(pad_bytes=33 * MIB), streams=(False,)),
    "body of a gigabyte": Row(
        LARGE,
        script=raw(
            "HTTP/1.1 200 OK", "content-type: application/json", f"content-length: {1 << 30}", body=" " * (33 * MIB)
        ),
        streams=(False,),
    ),
    "line of ten megabytes": Row(LARGE, script=Script(frames=["data: " + "x" * (10 * MIB)]), streams=(True,)),
    "endless head": Row(LARGE, script=Script(raw="HTTP/1.1 200 OK\r\nx: " + "x" * (1 << 17))),
    "head of many fields": Row(LARGE, script=Script(raw="HTTP/1.1 200 OK\r\n" + "x: y\r\n" * 10_000)),
    # provider: 101/1xx flood, trailers, chunk-ext junk
    "switching protocols": Row(
        BAD, script=raw("HTTP/1.1 101 Switching Protocols", "upgrade: x", "connection: upgrade")
    ),
    "flood of informational answers": Row(BAD, script=Script(raw="HTTP/1.1 102 Processing\r\n\r\n" * 500)),
    "few informational answers": Row(
        None,
        "ok",
        200,
        streams=(False,),
        script=raw("HTTP/1.1 103 Early Hints", "link: </x>", "", "HTTP/1.1 200 OK", *OK_WHOLE, body=WHOLE),
    ),
    "trailers": Row(
        None, "ok", 200, script=chunked("trailer: x-usage", trailers="x-usage: nobody\r\n"), streams=(True,)
    ),
    "chunk extensions": Row(None, "ok", 200, script=chunked(chunk_extension=";nobody=1"), streams=(True,)),
    "long chunk extensions": Row(None, "ok", 200, script=chunked(chunk_extension=";x=" + "y" * 2_000), streams=(True,)),
}
ELSEWHERE = ("dead", "nowhere", "expired")
"""Providers that cannot be reached, before one that can."""


def config(provider: FakeProvider, ports: dict[str, int], authority: Authority) -> dict[str, Any]:
    fake = {"adapter": "openai", "base_url": provider.url, "api_key": f"env:{FAKE_KEY_NAME}"}
    providers = {"fake": fake}
    for name, port in ports.items():
        providers[name] = {**fake, "base_url": f"https://127.0.0.1:{port}/v1", "ca_file": authority.path}
    providers["untrusted"] = {**fake, "base_url": f"https://localhost:{ports['trusted']}/v1"}
    providers["plain"] = {**fake, "base_url": provider.url.replace("http:", "https:")}
    providers["dead"] = {**fake, "base_url": f"http://127.0.0.1:{free_port()}/v1"}
    providers["nowhere"] = {**fake, "base_url": "http://no-such-host.invalid/v1"}
    models = {name: _model(row.provider, name, retries=row.retries) for name, row in MODELS.items()}
    for name in ELSEWHERE:
        models[f"before {name}"] = _model(name, "plain", "fake", retries=1)
    return {"providers": providers, "models": models}


def _model(provider: str, upstream: str, *others: str, retries: int) -> dict[str, Any]:
    targets = [{"provider": name, "model": upstream} for name in (provider, *others)]
    model = {"targets": targets, "balance": "priority", "retries": retries, "breaker": False}
    return {**model, "price": dict(PRICE), "timeouts": {"connect_s": 1, "first_token_s": 20, "idle_s": 20}}


MODELS = {name.replace(" ", "-"): row for name, row in ROWS.items()} | {"healthy": Row(None, "ok", 200)}


@pytest.fixture(scope="module")
def rows(session_provider: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway with a model for each row."""
    authority = Authority(tmp_path_factory.mktemp("authority"))
    environ = {"GATEWAY_ADMIN_KEY": ADMIN_KEY, "GATEWAY_MASTER_SECRET": MASTER_SECRET, FAKE_KEY_NAME: FAKE_KEY}
    port = int(session_provider.origin.rpartition(":")[2])
    contexts = {
        "trusted": authority.server("127.0.0.1"),
        "expired": authority.server("127.0.0.1", days=-1),
        "misnamed": authority.server("other.test"),
    }
    with tls_in_thread(port, contexts) as ports:
        running = GatewayProcess.launch(config(session_provider, ports, authority), environ=environ)
        try:
            yield running
            running.stop()
            assert [record for record in running.log_records() if record["level"] in {"error", "critical"}] == []
        finally:
            running.close()


def test_every_row_is_answered_ledgered_and_over(rows: GatewayProcess, fake_provider: FakeProvider):
    for name, row in MODELS.items():
        if row.script is not None:
            fake_provider.script(row.script, model=name)
    pids = rows.pids()
    cases = [(name, stream) for name, row in MODELS.items() for stream in row.streams]
    with ThreadPoolExecutor(6) as pool:
        failures = [said for said in pool.map(lambda case: check(rows, *case), cases) if said]
    assert not failures, "\n\n".join(failures)
    assert rows.pids() == pids


def check(gateway: GatewayProcess, name: str, stream: bool) -> str:
    """Return what is wrong with a row; nothing if all is as it must be."""
    row = MODELS[name]
    try:
        with Caller(gateway, limits={"concurrency": 1}, budget={"amount": "1", "period": "total"}) as caller:
            body = {"model": name, "messages": user("hello big world"), "stream": stream}
            answer = caller.post(body)
            check_answer(row, answer, stream=stream)
            [event] = Ledger(gateway).wait(1, key_id=caller.key_id, within_s=10)
            check_event(row, event)
            again = caller.post({**body, "model": "healthy", "stream": False})
            assert again.status_code == 200, again.text
            check_budget(gateway, caller)
    except AssertionError as error:
        return f"{name}, {'stream' if stream else 'whole'}: {error}"
    return ""


def check_answer(row: Row, answer: Any, *, stream: bool) -> None:
    assert answer.status_code == row.status, answer.text[:300]
    assert answer.headers["x-gateway-attempts"] == "1"
    assert SECRET not in answer.text
    assert FAKE_KEY not in answer.text
    assert "127.0.0.1" not in answer.text
    if row.code is not None:
        assert answer.json()["error"]["code"] == row.code, answer.text
    elif stream:
        assert is_done(answer.text)
    else:
        assert answer.json()["choices"]


def check_event(row: Row, event: dict[str, Any]) -> None:
    assert event["outcome"] == row.outcome
    assert event["error_code"] == row.code or row.outcome == "refused"
    assert event["attempt"] == 1
    assert 0 <= event["output_tokens"] < 1_000
    if row.code is None:
        assert event["cost_nusd"] > 0
        return
    check_failed(event, row.script)
    assert event["output_tokens"] == 0, "nobody has had anything"


def check_budget(gateway: GatewayProcess, caller: Caller) -> None:
    """Nothing of either request is held, and both are paid."""
    events = Ledger(gateway).wait(2, key_id=caller.key_id, within_s=10)
    (use,) = gateway.admin("GET", f"/budgets/key/{caller.key_id}")["use"]
    assert (use["used"], use["held"]) == (usd(sum(event["cost_nusd"] for event in events)), usd(0))


def test_what_breaks_costs_the_same_streamed_or_not(rows: GatewayProcess, fake_provider: FakeProvider):
    """The two bodies that ask are of one length, for both say `true` once and `false` once."""
    for name in ("html", "garbage-with-2xx", "brotli"):
        assert MODELS[name].script is not None
        fake_provider.script(MODELS[name].script, model=name)
        with Caller(rows) as caller:
            for stream in MODES:
                assert caller.chat(name, stream=stream, logprobs=not stream).status_code == 502
            first, second = Ledger(rows).wait(2, key_id=caller.key_id, within_s=20)
        assert first["cost_nusd"] == second["cost_nusd"] > 0


@pytest.mark.parametrize("stream", MODES)
@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_cannot_be_reached_is_passed_by(
    rows: GatewayProcess, fake_provider: FakeProvider, name: str, stream: bool
):
    with Caller(rows) as caller:
        answer = caller.chat(f"before {name}", stream=stream)
        assert answer.status_code == 200
        assert answer.headers["x-gateway-provider"] == "fake"
        first, second = Ledger(rows).wait(2, key_id=caller.key_id, within_s=20)
    assert (first["provider"], first["outcome"], first["cost_nusd"]) == (name, "error", 0)
    assert (second["provider"], second["outcome"]) == ("fake", "ok")
    assert len(fake_provider.journal.entries) == 1


def test_what_is_too_large_is_not_kept_in_memory(rows: GatewayProcess, fake_provider: FakeProvider):
    fake_provider.script(Script(pad_bytes=40 * MIB, encoding="gzip"), model="bomb")
    [pid] = rows.pids()
    with Caller(rows) as caller:
        caller.chat("bomb")
        process = psutil.Process(pid)
        before_bytes = process.memory_info().rss
        for _ in range(4):
            assert caller.chat("bomb").json()["error"]["code"] == LARGE
        # The allocator may take a moment to give back what one answer had, but not what four had.
        kept = []
        assert wait_until(
            lambda: kept.append(process.memory_info().rss - before_bytes) or kept[-1] < 10 * MIB, within_s=15
        ), kept[::20]


def test_a_redirect_is_not_followed(rows: GatewayProcess, fake_provider: FakeProvider):
    elsewhere = Script(status=302, body="", headers={"location": f"{fake_provider.url}/elsewhere"})
    fake_provider.script(elsewhere, model="redirect-302")
    with Caller(rows) as caller:
        for stream in MODES:
            assert caller.chat("redirect-302", stream=stream).status_code == 502
    assert [entry.path for entry in fake_provider.journal.entries] == ["/v1/chat/completions"] * 2
