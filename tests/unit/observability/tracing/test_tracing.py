import asyncio
import time
from uuid import UUID

import pytest

from app.domain.keys.principal import Principal
from app.observability.metrics import SPANS, Metrics
from app.observability.tracing import Span, Tracer, Tracing
from app.observability.tracing.otlp import url_of
from app.settings.model import TracingSettings

KINDS = frozenset({"worker"})
PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0%d"
SPAN = Span(name="x", kind="internal", trace_id=1, span_id=1, parent_id=None, start_ns=0, end_ns=1, attributes={})


class Taken:
    def __init__(self):
        self.spans = []

    def send(self, spans):
        self.spans += spans
        return True

    def stop(self):
        pass


def tracer(**fields):
    return Tracer(TracingSettings(**fields))


def begin(made, **headers):
    return made.begin({name.encode(): value for name, value in headers.items()}, started_ns=0)


@pytest.mark.parametrize("sample", [0.0, 0.5, 1.0])
def test_a_caller_decides_for_its_own_trace(sample):
    for flag in (0, 1):
        found = begin(tracer(sample=sample), traceparent=PARENT % flag)
        assert found.is_sampled is bool(flag)
        assert found.trace_id == 0x0AF7651916CD43DD8448EB211C80319C


@pytest.mark.parametrize(("sample", "least", "most"), [(0.0, 0, 0), (0.25, 380, 620), (1.0, 2000, 2000)])
def test_of_traces_that_begin_here_a_share_is_sampled(sample, least, most):
    made = tracer(sample=sample)
    assert least <= sum(begin(made).is_sampled for _ in range(2000)) <= most


def test_ids_are_never_the_same():
    made = tracer()
    found = [begin(made) for _ in range(1000)]
    assert len({each.trace_id for each in found}) == len({each.span_id for each in found}) == 1000


def test_content_is_for_those_who_asked():
    key, team, organization = UUID(int=1), UUID(int=2), UUID(int=3)
    caller = Principal(key_id=key, team_id=team, organization_id=organization)
    assert not tracer().wants_content(caller)
    assert not tracer(content=(str(UUID(int=9)),)).wants_content(caller)
    for chosen in (str(key), str(team).upper(), str(organization), "*"):
        assert tracer(content=(chosen,)).wants_content(caller)


async def test_settings_turn_it_on_and_off_and_numbers_never_go_back():
    receivers = []

    def opens(_):
        receivers.append(Taken())
        return receivers[-1]

    metrics = Metrics()
    tracing = Tracing(metrics=metrics, version="1", opens=opens)
    tracing.replace(None)
    assert tracing.tracer is None
    tracing.replace(TracingSettings(endpoint="http://a"))
    tracing.replace(TracingSettings(endpoint="http://a"))
    assert len(receivers) == 1
    tracing.add([SPAN])
    tracing.replace(TracingSettings(endpoint="http://b"))
    tracing.add([SPAN, SPAN])
    tracing.replace(None)
    tracing.add([SPAN])
    await tracing.aclose()
    assert [len(each.spans) for each in receivers] == [1, 2]
    assert metrics.values(SPANS, kinds=KINDS) == {("sent",): 3, ("dropped",): 1}


async def test_numbers_that_are_shown_again_and_again_are_counted_once():
    taken, metrics = Taken(), Metrics()
    tracing = Tracing(metrics=metrics, version="1", opens=lambda _: taken)
    tracing.replace(TracingSettings())
    tracing.add([SPAN])
    deadline = time.monotonic() + 5
    while not taken.spans and time.monotonic() < deadline:  # noqa: ASYNC110 - it happens in another thread
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    for _ in range(3):
        tracing.show()
    assert metrics.values(SPANS, kinds=KINDS)[("sent",)] == 1
    await tracing.aclose()


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        (None, None),
        ("http://h:4318", "http://h:4318/v1/traces"),
        ("http://h:4318/", "http://h:4318/v1/traces"),
        ("http://h/otlp", "http://h/otlp/v1/traces"),
        ("http://h/v1/traces", "http://h/v1/traces"),
    ],
)
def test_where_spans_are_posted(endpoint, url):
    assert url_of(endpoint) == url
