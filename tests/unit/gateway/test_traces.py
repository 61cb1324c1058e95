import asyncio
from uuid import UUID

import pytest
from accounting.attempts import target_at

from app.domain.keys.principal import Principal
from app.gateway import traces as traces_module
from app.gateway.spans import asked_of, short, spans_of
from app.gateway.tally import Finished
from app.gateway.traces import Traces
from app.kernel.clock import SystemClock
from app.kernel.errors import RateLimited
from app.observability.tracing import LegRecord, RequestTrace
from app.pipeline.attempt import Attempt
from app.pipeline.exchange import Exchange
from app.pipeline.notes import LayerStep, Notes, stopped
from app.pipeline.operation import Asked, Operation
from app.routing.table import Route
from providers.types import Usage

END_NS, TOOK_NS, STARTED_NS = 5_000_000_000, 1_000_000, 40_000
OPERATION = Operation(name="completions", relay="openai.completions", endpoint="/v1/completions")


def traced():
    return RequestTrace(None, trace_id=7, is_sampled=True, started_ns=STARTED_NS)


def begin(made, *, at_ns):
    attempt = Attempt(1, route=made.route, choice=target_at("p"), price=None, started_ns=STARTED_NS + at_ns)
    made.begin(attempt)
    return attempt


def exchange(trace, *, attempts=1):
    made = Exchange(
        request_id="01890a5d-ac96-774b-bcce-b302099a8057",
        principal=Principal(key_id=UUID(int=7), organization_id=UUID(int=2)),
        operation=OPERATION,
        route=Route(name="m", label="m", targets=(), owned_by="p"),
        body=b"",
        document={},
        started_ns=STARTED_NS,
        asked=Asked(model="m\n" + "x" * 1000),
    )
    made.trace = trace
    for _ in range(attempts):
        begin(made, at_ns=100)
    return made


def finished(made, *, status=200, code=None, notes=None):
    return Finished(END_NS, "id", "/v1/completions", made, status, code, TOOK_NS, notes=notes)


def noted(*steps):
    notes = Notes()
    notes.steps += steps
    return notes


class Kept:
    def __init__(self):
        self.spans = []

    def add(self, spans):
        self.spans.append(list(spans))


def test_times_of_the_monotonic_clock_are_told_in_wall_time():
    trace = traced()
    made = exchange(trace)
    (attempt,) = made.attempts
    attempt.outcome, attempt.ended_ns = "ok", STARTED_NS + 900
    root, call = spans_of(finished(made), trace, asked={}, now_ns=0)
    assert (root.start_ns, root.end_ns) == (END_NS - TOOK_NS, END_NS)
    assert (call.start_ns, call.end_ns) == (root.start_ns + 100, root.start_ns + 900)
    assert (call.parent_id, root.parent_id) == (root.span_id, None)
    assert call.name == f"text_completion {attempt.upstream_model}"


def test_a_leg_that_is_live_lasts_as_long_as_its_attempt():
    trace = traced()
    made = exchange(trace, attempts=0)
    leg = made.leg(made.route)
    attempt = begin(leg, at_ns=200)
    attempt.outcome, attempt.ended_ns, attempt.usage = (
        "ok",
        STARTED_NS + 800,
        Usage(input_tokens=1, cache_read_tokens=2),
    )
    trace.legs.append(LegRecord(leg.span_id, 0, "m", "won", STARTED_NS + 150, STARTED_NS + 300, None))
    root, shown, call = spans_of(finished(made), trace, asked={}, now_ns=0)
    assert (shown.start_ns, shown.end_ns) == (root.start_ns + 150, root.start_ns + 800)
    assert (call.parent_id, shown.parent_id) == (shown.span_id, root.span_id)
    assert call.attributes["gen_ai.usage.input_tokens"] == 3
    assert call.attributes["gateway.leg.role"] == "won"


@pytest.mark.parametrize(("status", "failed"), [(200, False), (429, False), (499, False), (500, True), (504, True)])
def test_only_what_the_server_does_wrong_is_an_error(status, failed):
    (root,) = spans_of(finished(None, status=status, code="c"), traced(), asked={}, now_ns=0)
    assert root.failed is failed
    assert root.attributes["error.type"] == "c"


def test_layers_are_told_from_the_steps_that_were_noted():
    notes = noted(
        LayerStep("authentication", "passed", STARTED_NS, STARTED_NS + 10),
        LayerStep("body", "passed", STARTED_NS + 10, STARTED_NS + 20),
        LayerStep("gate", "waited", STARTED_NS + 20, STARTED_NS + 30),
        LayerStep("cache", "passed", STARTED_NS + 30, STARTED_NS + 40),
        stopped("limits", RateLimited("no"), began_ns=STARTED_NS + 40, ended_ns=STARTED_NS + 50),
        LayerStep("settlement", "passed", STARTED_NS + 60, STARTED_NS + 70),
    )
    made = exchange(traced(), attempts=0)
    made.cache_status = "miss"
    root, *layers = spans_of(finished(made, status=429, notes=notes), traced(), asked={}, now_ns=0)
    assert [span.name for span in layers] == ["authentication", "admission", "cache", "limits"]
    assert [span.start_ns - root.start_ns for span in layers] == [0, 20, 30, 40]
    assert {span.end_ns - span.start_ns for span in layers} == {10}
    assert [span.failed for span in layers] == [False, False, False, True]
    assert layers[2].attributes == {"gateway.cache.status": "miss"}
    assert layers[3].attributes == {"error.type": RateLimited.code}
    assert {span.parent_id for span in layers} == {root.span_id}


def test_a_layer_that_begins_again_and_again_has_no_more_spans_than_are_read():
    notes = noted(*[LayerStep("cache", "waited", STARTED_NS, STARTED_NS + 1)] * 1_000)
    assert len(spans_of(finished(None, notes=notes), traced(), asked={}, now_ns=0)) == 1 + 64


def test_a_layer_that_is_left_says_by_what():
    step = stopped("gate", asyncio.CancelledError(), began_ns=1, ended_ns=2)
    assert step == LayerStep("gate", "failed", 1, 2, "CancelledError")


def test_words_of_others_are_bounded_and_printable():
    trace = traced()
    root, *_ = spans_of(finished(exchange(trace)), trace, asked={}, now_ns=STARTED_NS + 1)
    assert root.attributes["gen_ai.request.model"] == "m?" + "x" * 198
    assert short("ä" * 300) == "?" * 200


def test_of_a_body_only_numbers_are_told():
    body = {
        "temperature": 0.5,
        "max_tokens": 5,
        "n": True,
        "seed": 1 << 70,
        "top_p": "said",
        "messages": [{"role": "user", "content": "canary"}],
        "generationConfig": {"topP": 0.9, "stopSequences": ["canary"]},
    }
    assert asked_of(body) == {
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 5,
        "gen_ai.request.top_p": 0.9,
    }


async def test_a_request_waits_for_the_end_of_its_attempts(monkeypatch):
    monkeypatch.setattr(traces_module, "_FLUSH_S", 0.01)
    kept, trace = Kept(), traced()
    traces = Traces(kept, SystemClock())
    made = exchange(trace)
    traces.add(finished(made), trace)
    await asyncio.sleep(0.05)
    assert kept.spans == []
    made.attempts[0].outcome, made.attempts[0].ended_ns = "cancelled", STARTED_NS + 500
    await asyncio.sleep(0.05)
    assert [len(each) for each in kept.spans] == [2]


async def test_at_the_end_nobody_waits_and_many_are_bounded(monkeypatch):
    monkeypatch.setattr(traces_module, "_MOST", 3)
    kept = Kept()
    traces = Traces(kept, SystemClock())
    for _ in range(5):
        trace = traced()
        traces.add(finished(exchange(trace)), trace)
    traces.flush()
    assert len(kept.spans) == 2
    traces.flush(is_last=True)
    assert len(kept.spans) == 5


async def test_one_whose_spans_cannot_be_made_takes_no_other_with_it(caplog):
    kept = Kept()
    traces = Traces(kept, SystemClock())
    for usage in (None, object(), None):
        trace = traced()
        made = exchange(trace)
        made.attempts[0].outcome, made.attempts[0].usage = "ok", usage
        traces.add(finished(made), trace)
    traces.flush()
    assert [len(each) for each in kept.spans] == [2, 2]
    assert [record.getMessage() for record in caplog.records] == ["request id has no spans"]
