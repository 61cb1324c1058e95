import asyncio
import logging
import threading
import time

import pytest

from app.observability.tracing.batch import Batch
from app.observability.tracing.span import Span


def spans(count):
    return [
        Span(name="x", kind="internal", trace_id=1, span_id=n + 1, parent_id=None, start_ns=0, end_ns=1, attributes={})
        for n in range(count)
    ]


class Far:
    """A receiver that waits until it may answer."""

    def __init__(self, *, answers=True):
        self.batches = []
        self.may_answer = threading.Event()
        self.is_stopped = threading.Event()
        self.answers = answers
        self.may_answer.set()

    def send(self, spans):
        self.may_answer.wait(10)
        self.batches.append(len(spans))
        if isinstance(self.answers, Exception):
            raise self.answers
        return self.answers

    def stop(self):
        self.is_stopped.set()
        self.may_answer.set()


async def wait(look):
    deadline = time.monotonic() + 5
    while not look():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


async def test_spans_leave_in_batches_and_at_the_latest_after_a_while():
    far = Far()
    batch = Batch(far, size=10, every_s=0.05)
    batch.add(spans(3))
    await wait(lambda: batch.sent == 3)
    batch.add(spans(25))
    await wait(lambda: batch.sent == 28)
    assert max(far.batches) <= 10
    await batch.aclose(within_s=1)
    assert far.is_stopped.is_set()


async def test_a_slow_receiver_bounds_the_queue_and_a_request_is_dropped_whole():
    far = Far()
    far.may_answer.clear()
    batch = Batch(far, most_waiting=20, size=5, every_s=0.01)
    batch.add(spans(5))
    await asyncio.sleep(0.1)
    batch.add(spans(18))
    batch.add(spans(3))
    assert batch.dropped == 3
    batch.add(spans(2))
    far.may_answer.set()
    await wait(lambda: batch.sent == 25)
    await batch.aclose(within_s=1)


@pytest.mark.parametrize("answers", [False, RuntimeError("no such host")])
async def test_what_is_not_taken_is_counted_and_said_once(answers, caplog):
    caplog.set_level(logging.WARNING)
    batch = Batch(Far(answers=answers), size=2, every_s=0.01)
    for _ in range(5):
        batch.add(spans(2))
        await asyncio.sleep(0.03)
    await wait(lambda: batch.dropped == 10)
    assert batch.sent == 0
    assert len([record for record in caplog.records if "does not take them" in record.message]) == 1
    await batch.aclose(within_s=1)


async def test_the_end_waits_no_longer_than_it_may():
    far = Far()
    far.may_answer.clear()
    batch = Batch(far, size=5, every_s=0.01)
    batch.add(spans(12))
    await asyncio.sleep(0.1)
    began = time.monotonic()
    await batch.aclose(within_s=0.2)
    assert time.monotonic() - began < 1
    assert far.is_stopped.is_set()
    assert batch.sent + batch.dropped == 12


async def test_the_end_delivers_what_waits():
    far = Far()
    batch = Batch(far, size=5, every_s=60)
    batch.add(spans(4))
    await batch.aclose(within_s=2)
    assert (batch.sent, batch.dropped) == (4, 0)
    batch.add(spans(1))
    assert batch.dropped == 1
