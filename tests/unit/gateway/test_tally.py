import asyncio
from uuid import UUID

import pytest
from accounting.attempts import begun
from prometheus_client.parser import text_string_to_metric_families

from app.api.openai.paths import CHAT_WIRE
from app.domain.keys.principal import Principal
from app.gateway import tally as tally_module
from app.gateway.tally import Finished, Tally, line_of
from app.observability.logs import RequestLog
from app.observability.metrics import Metrics
from app.pipeline.exchange import Exchange
from app.pipeline.operation import Asked
from app.routing.table import Route
from providers.types import Usage

KEY = UUID(int=7)


class Lines(RequestLog):
    def __init__(self):
        super().__init__()
        self.lines = []
        self.has_some = asyncio.Event()

    def add(self, line):
        self.lines.append(line)
        self.has_some.set()


def exchange(*, stream: bool = False, attempts: int = 1) -> Exchange:
    route = Route(name="m", label="m", targets=(), owned_by="p")
    made = Exchange(
        request_id="01890a5d-ac96-774b-bcce-b302099a8057",
        principal=Principal(key_id=KEY, organization_id=UUID(int=2)),
        operation=CHAT_WIRE.operation,
        route=route,
        body=b"secret prompt",
        document={"model": "m"},
        started_ns=0,
        asked=Asked(model="m", stream=stream),
    )
    for number in range(1, attempts + 1):
        attempt = begun(made, f"p{number}", upstream_model="u")
        attempt.outcome = "ok" if number == attempts else "error"
    last = made.attempts[-1]
    last.usage, last.usage_source, last.cost_nusd = Usage(input_tokens=3, output_tokens=5), "provider", 2_000_000_000
    last.first_ns = 20_000_000
    return made


def finished(given: Exchange | None, *, status: int = 200) -> Finished:
    return Finished(1_800_000_000_000_000_000, "id", "/v1/chat/completions", given, status, None, 30_000_000)


def shown(metrics: Metrics) -> str:
    return metrics.exposition(frozenset({"worker"})).decode()


async def test_a_finished_request_is_counted_and_logged_soon(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tally_module, "_FLUSH_S", 0.01)
    metrics, lines = Metrics(), Lines()
    Tally(metrics, lines).add(finished(exchange()))
    async with asyncio.timeout(5):
        await lines.has_some.wait()
    assert 'gateway_requests_total{model="m",plane="gateway",provider="p1"' in shown(metrics)


async def test_every_attempt_tokens_and_cost_are_counted_once():
    metrics, lines = Metrics(), Lines()
    tally = Tally(metrics, lines)
    tally.add(finished(exchange(stream=True, attempts=2)))
    tally.flush()
    tally.flush()
    text = shown(metrics)
    assert 'gateway_upstream_attempts_total{outcome="error",provider="p1"} 1.0' in text
    assert 'gateway_upstream_attempts_total{outcome="ok",provider="p2"} 1.0' in text
    assert 'gateway_tokens_total{kind="input",model="m"} 3.0' in text
    assert 'gateway_tokens_total{kind="output",model="m"} 5.0' in text
    assert 'gateway_cost_usd_total{model="m",provider="p2"} 2.0' in text
    assert 'gateway_ttft_seconds_count{model="m"} 1.0' in text
    assert len(lines.lines) == 1


async def test_the_body_is_let_go_at_once():
    tally = Tally(Metrics(), Lines())
    given = exchange()
    tally.add(finished(given))
    assert (given.body, given.document) == (b"", {})
    tally.flush()


async def test_a_full_batch_does_not_wait(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tally_module, "_MOST", 3)
    lines = Lines()
    tally = Tally(Metrics(), lines)
    for _ in range(3):
        tally.add(finished(None, status=401))
    assert len(lines.lines) == 3
    assert lines.lines[0].status == 401


async def test_a_request_is_counted_by_the_conventions_of_opentelemetry():
    metrics = Metrics()
    given = exchange(stream=True, attempts=2)
    first, last = given.attempts
    first.started_ns, first.ended_ns = 0, 4_000_000
    last.started_ns, last.ended_ns, given.served = 5_000_000, 28_000_000, last
    last.usage = Usage(input_tokens=3, cache_read_tokens=40, cache_write_tokens=100, output_tokens=5)
    tally = Tally(metrics, Lines())
    tally.add(finished(given))
    tally.flush()
    found = {
        (sample.name, *(sample.labels.get(name, "") for name in ("gen_ai_token_type", "error_type"))): sample
        for family in text_string_to_metric_families(shown(metrics))
        for sample in family.samples
        if sample.name.startswith("gen_ai_") and sample.name.endswith("_sum")
    }
    assert {key: round(sample.value, 9) for key, sample in found.items()} == {
        ("gen_ai_client_token_usage_sum", "input", ""): 143,
        ("gen_ai_client_token_usage_sum", "output", ""): 5,
        ("gen_ai_client_operation_duration_seconds_sum", "", "error"): 0.004,
        ("gen_ai_client_operation_duration_seconds_sum", "", ""): 0.023,
        ("gen_ai_client_operation_time_to_first_chunk_seconds_sum", "", ""): 0.015,
        ("gen_ai_server_request_duration_seconds_sum", "", ""): 0.03,
        ("gen_ai_server_time_to_first_token_seconds_sum", "", ""): 0.02,
        ("gen_ai_server_time_per_output_token_seconds_sum", "", ""): 0.002,
    }
    assert {sample.labels["gen_ai_operation_name"] for sample in found.values()} == {"chat"}
    assert {sample.labels["gen_ai_request_model"] for sample in found.values()} == {"m"}


def test_a_line_says_who_asked_and_what_it_cost():
    line = line_of(finished(exchange(), status=503))
    assert (line.key_id, line.model, line.provider, line.cost_nusd, line.level) == (
        KEY,
        "m",
        "p1",
        2_000_000_000,
        "warning",
    )


async def test_a_request_that_cannot_be_counted_takes_no_other_with_it(caplog: pytest.LogCaptureFixture):
    metrics, lines = Metrics(), Lines()
    tally = Tally(metrics, lines)
    recorded: list[Finished] = []
    tally.recorded = recorded.extend
    broken = exchange()
    broken.attempts[0].usage = object()  # type: ignore[assignment]  # as a defect might leave it
    for each in (exchange(), broken, exchange()):
        tally.add(finished(each))
    tally.flush()
    assert len(lines.lines) == 2
    assert 'gateway_tokens_total{kind="input",model="m"} 6.0' in shown(metrics)
    assert len(recorded) == 3
    assert [record.getMessage() for record in caplog.records] == ["request id is not counted"]
