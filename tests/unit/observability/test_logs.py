import json
import logging
import os
import time
from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest

from app.observability import logs as module
from app.observability.logs import JsonFormatter, RequestLine, RequestLog, configure_logging

LINE = RequestLine(
    time=datetime(2026, 11, 23, tzinfo=UTC), level="info", logger="gateway.request", request_id="r-1", method="POST",
    route="/v1/chat/completions", status=200, duration_ms=5, overhead_ms=0.25, key_id=UUID(int=7), model="m",
    provider="p", attempts=1,
)  # fmt: skip


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def read(end):
    os.set_blocking(end, False)
    parts = []
    try:
        while part := os.read(end, 1 << 16):
            parts.append(part)
    except BlockingIOError:
        pass
    return b"".join(parts)


async def test_a_line_is_one_object_of_json(pipe):
    log = RequestLog(descriptor=pipe[1])
    for _ in range(3):
        log.add(LINE)
    assert not read(pipe[0])
    log.flush()
    lines = read(pipe[0]).splitlines()
    assert len(lines) == 3
    said = json.loads(lines[0])
    assert (said["request_id"], said["status"], said["model"], said["overhead_ms"]) == ("r-1", 200, "m", 0.25)
    assert said["time"].startswith("2026-11-23T00:00:00")
    assert "error_code" not in said
    log._timer.cancel()


async def test_lines_are_written_without_being_asked(pipe, monkeypatch):
    monkeypatch.setattr(module, "_FLUSH_S", 0.001)
    log = RequestLog(descriptor=pipe[1])
    log.add(LINE)
    for _ in range(2_000):
        if text := read(pipe[0]):
            break
        await module.asyncio.sleep(0.005)
    assert json.loads(text)["request_id"] == "r-1"
    assert log._timer is None


async def test_a_reader_that_does_not_read_stops_nobody(pipe, monkeypatch):
    monkeypatch.setattr(module, "_FLUSH_BYTES", 1_000)
    monkeypatch.setattr(module, "_MAX_BUFFER_BYTES", 100_000)
    log = RequestLog(descriptor=pipe[1])
    before = time.perf_counter()
    for _ in range(5_000):
        log.add(LINE)
    log.flush()
    assert time.perf_counter() - before < 10
    assert log.dropped > 0
    assert len(log._buffer) < 102_000
    text = b""
    for _ in range(100):
        text += read(pipe[0])
        log.flush()
    lines = (text + read(pipe[0])).splitlines()
    assert len(lines) + log.dropped == 5_000
    assert all(json.loads(line)["request_id"] == "r-1" for line in lines)
    assert not log._buffer
    log._timer.cancel()


async def test_after_a_jam_lines_are_written_again(pipe, monkeypatch):
    monkeypatch.setattr(module, "_FLUSH_BYTES", 1_000)
    log = RequestLog(descriptor=pipe[1])
    for _ in range(1_000):
        log.add(LINE)
    assert log._is_held_up
    while log._buffer:
        read(pipe[0])
        log.flush()
    assert not log._is_held_up
    assert log.dropped == 0
    log._timer.cancel()


async def test_a_reader_that_is_gone_costs_only_the_lines():
    reader, writer = os.pipe()
    os.close(reader)
    log = RequestLog(descriptor=writer)
    for _ in range(3):
        log.add(LINE)
    log.flush()
    assert (log.dropped, len(log._buffer)) == (3, 0)
    log._timer.cancel()
    os.close(writer)


async def test_a_log_that_is_off_takes_nothing(pipe):
    log = RequestLog(descriptor=pipe[1], enabled=False)
    log.add(LINE)
    log.flush()
    assert not read(pipe[0])


def test_no_field_of_a_line_could_hold_a_secret():
    fields = {field.name for field in msgspec.structs.fields(RequestLine)}
    assert not fields & {"body", "headers", "authorization", "token", "key", "prompt", "url", "query", "message"}


def record(level=logging.ERROR, **fields):
    made = logging.LogRecord("gateway.x", level, __file__, 1, "it broke: %s", ("why",), None)
    vars(made).update(fields)
    return made


def _fail(text):
    raise RuntimeError(text)


def test_a_traceback_shows_where_but_no_values():
    secret = "hunter2"
    with pytest.raises(RuntimeError) as caught:
        _fail(secret)
    fault = (caught.type, caught.value, caught.tb)
    said = json.loads(JsonFormatter().format(record(exc_info=fault)))
    assert said["message"] == "it broke: why"
    assert (said["level"], said["logger"], said["error"]) == ("error", "gateway.x", "RuntimeError")
    assert said["stack"][0].endswith("test_a_traceback_shows_where_but_no_values")
    assert said["stack"][-1].endswith("_fail")
    assert secret not in json.dumps(said)


def test_a_line_of_the_standard_library_is_one_line():
    text = JsonFormatter().format(record(args=("a\nb\u2028c",)))
    assert "\n" not in text
    assert json.loads(text)["message"] == "it broke: a\nb\u2028c"


def test_chatty_libraries_are_kept_quiet():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        configure_logging("debug")
        assert isinstance(root.handlers[0].formatter, JsonFormatter)
        assert root.level == logging.DEBUG
        assert not logging.getLogger("httpx").isEnabledFor(logging.INFO)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
