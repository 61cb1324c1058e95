import asyncio
import time

import pytest

from app.api import downstream as module
from app.api.downstream import KEEPALIVE, ClientGone, Downstream, Stopped
from app.kernel.errors import TooLarge

FAST = {"FIRST_LOOK_S": 0.01, "BODY_IDLE_S": 0.5, "BODY_TOTAL_S": 1.0, "WRITE_IDLE_S": 0.08, "KEEPALIVE_S": 0.05}
EARLY = [(b"x-request-id", b"r-1")]


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    for name, seconds in FAST.items():
        monkeypatch.setattr(module, name, seconds)


def part(body=b"", *, more=False):
    return {"type": "http.request", "body": body, "more_body": more}


GONE = {"type": "http.disconnect"}


class Client:
    """A client that sends a script of messages (a number waits so many seconds) and keeps what it is sent."""

    def __init__(self, *script, reads=True):
        self.script = list(script)
        self.reads = reads
        self.sent = []

    async def receive(self):
        if self.script and isinstance(self.script[0], float):
            await asyncio.sleep(self.script.pop(0))
        if not self.script:
            await asyncio.Event().wait()
        return self.script.pop(0)

    async def send(self, message):
        if not self.reads and message["type"] == "http.response.body":
            await asyncio.Event().wait()
        self.sent.append(message)

    @property
    def heads(self):
        return [message for message in self.sent if message["type"] == "http.response.start"]

    @property
    def body(self):
        return b"".join(message.get("body", b"") for message in self.sent)


class Run:
    """What became of one request."""

    def __init__(self):
        self.result = self.stopped = self.error = None


async def serve(client, work):
    """Run `work` as the endpoint does, and check that nothing is left behind."""
    before = asyncio.all_tasks()
    run = Run()

    async def task():
        downstream = Downstream(client.receive, client.send)
        try:
            run.result = await work(downstream)
        except (TooLarge, ClientGone) as error:
            run.error = error
        except asyncio.CancelledError:
            if downstream.stopped is None:
                raise
        finally:
            downstream.release()
            run.stopped = downstream.stopped
        await asyncio.sleep(0)
        assert downstream._timer.cancelled() or downstream._timer.when() <= asyncio.get_running_loop().time()

    async with asyncio.timeout(20):
        await asyncio.create_task(task())
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
    return run


def expect(downstream, *, within_s=20.0, keeps_alive=False, on_expiry=lambda: None):
    downstream.expect(within_s=within_s, keeps_alive=keeps_alive, on_expiry=on_expiry, early_headers=lambda: EARLY)


@pytest.mark.parametrize(
    "script",
    [
        [part(b"hello")],
        [part(b"he", more=True), part(b"llo")],
        [part(b"", more=True), part(b"hello", more=True), part(b"")],
        [part(b"hel", more=True), 0.02, part(b"l", more=True), 0.02, part(b"o")],
    ],
)
async def test_a_body_is_read_whole_however_it_is_cut(script):
    run = await serve(Client(*script), lambda downstream: downstream.read_body(5))
    assert (run.result, run.stopped) == (b"hello", None)


@pytest.mark.parametrize(
    "script", [[part(b"123456")], [part(b"123", more=True), part(b"456")], [part(b"123456", more=True), part(b"")]]
)
async def test_a_body_over_the_limit_is_refused(script):
    run = await serve(Client(*script), lambda downstream: downstream.read_body(5))
    assert type(run.error) is TooLarge


async def test_an_endless_body_is_refused_at_the_limit_and_not_read_on():
    client = Client(*[part(b"x" * 1024, more=True)] * 100)
    run = await serve(client, lambda downstream: downstream.read_body(10_000))
    assert type(run.error) is TooLarge
    assert len(client.script) == 90


async def test_many_small_parts_are_not_dear():
    client = Client(*[part(b"x" * 100, more=True)] * 40_000, part(b""))
    before = time.process_time()
    run = await serve(client, lambda downstream: downstream.read_body(1 << 23))
    assert len(run.result) == 4_000_000
    assert time.process_time() - before < 5


@pytest.mark.parametrize("script", [[GONE], [part(b"he", more=True), GONE]])
async def test_a_client_that_leaves_while_it_sends_is_gone(script):
    run = await serve(Client(*script), lambda downstream: downstream.read_body(5))
    assert type(run.error) is ClientGone


@pytest.mark.parametrize("script", [[], [part(b"he", more=True)]])
async def test_a_body_that_stalls_is_stopped(script):
    run = await serve(Client(*script), lambda downstream: downstream.read_body(5))
    assert run.stopped is Stopped.SLOW_BODY


async def test_a_body_that_trickles_is_stopped_in_the_end():
    trickle = [each for _ in range(200) for each in (0.02, part(b"x", more=True))]
    run = await serve(Client(*trickle), lambda downstream: downstream.read_body(1_000))
    assert run.stopped is Stopped.SLOW_BODY


async def test_a_slow_body_may_still_be_answered():
    client = Client()

    async def work(downstream):
        try:
            await downstream.read_body(5)
        except asyncio.CancelledError:
            assert downstream.forgive() is Stopped.SLOW_BODY
            assert asyncio.current_task().cancelling() == 0
            await downstream.send_whole(408, [], b"slow")

    run = await serve(client, work)
    assert run.stopped is Stopped.SLOW_BODY
    assert client.heads[0]["status"] == 408
    assert client.body == b"slow"


async def test_the_deadline_stops_the_work_and_says_so_first():
    expired = []

    async def work(downstream):
        await downstream.read_body(5)
        expect(downstream, within_s=0.05, on_expiry=lambda: expired.append(asyncio.current_task()))
        await asyncio.Event().wait()

    run = await serve(Client(part(b"x")), work)
    assert run.stopped is Stopped.EXPIRED
    assert len(expired) == 1


async def test_a_deadline_shorter_than_the_first_look_holds():
    async def work(downstream):
        await downstream.read_body(5)
        expect(downstream, within_s=0.001)
        await asyncio.Event().wait()

    assert (await serve(Client(part(b"x")), work)).stopped is Stopped.EXPIRED


async def test_the_deadline_holds_after_a_body_that_took_its_time(monkeypatch):
    monkeypatch.setattr(module, "BODY_IDLE_S", 60.0)
    monkeypatch.setattr(module, "BODY_TOTAL_S", 60.0)

    async def work(downstream):
        await downstream.read_body(5)
        expect(downstream, within_s=0.2)
        await asyncio.Event().wait()

    run = await serve(Client(part(b"x", more=True), 0.1, part(b"y")), work)
    assert run.stopped is Stopped.EXPIRED


async def test_a_client_that_leaves_after_a_slow_body_is_noticed(monkeypatch):
    monkeypatch.setattr(module, "BODY_IDLE_S", 60.0)
    monkeypatch.setattr(module, "BODY_TOTAL_S", 60.0)

    async def work(downstream):
        await downstream.read_body(5)
        expect(downstream)
        await asyncio.Event().wait()

    run = await serve(Client(part(b"x", more=True), 0.1, part(b"y"), 0.05, GONE), work)
    assert run.stopped is Stopped.GONE


async def test_a_client_that_leaves_before_the_head_stops_the_work():
    async def work(downstream):
        await downstream.read_body(5)
        expect(downstream)
        await asyncio.Event().wait()

    assert (await serve(Client(part(b"x"), 0.03, GONE), work)).stopped is Stopped.GONE


async def test_a_client_that_leaves_after_the_head_stops_the_work():
    client = Client(part(b"x"), 0.03, GONE)

    async def work(downstream):
        await downstream.read_body(5)
        expect(downstream, keeps_alive=True)
        await downstream.begin_stream([])
        while True:
            await downstream.send_part(b"data: x\n\n", is_last=False)
            await asyncio.sleep(0.005)

    assert (await serve(client, work)).stopped is Stopped.GONE
    assert len(client.heads) == 1


@pytest.mark.parametrize("keeps_alive", [False, True])
async def test_a_client_that_does_not_read_is_stopped(keeps_alive):
    async def work(downstream):
        await downstream.read_body(5)
        expect(downstream, keeps_alive=keeps_alive)
        if keeps_alive:
            await downstream.begin_stream([])
            await downstream.send_part(b"x", is_last=False)
        else:
            await downstream.send_whole(200, [], b"x")

    assert (await serve(Client(part(b"x"), reads=False), work)).stopped is Stopped.SLOW_READER


async def test_a_late_answer_to_a_client_that_does_not_read_is_given_up(monkeypatch):
    monkeypatch.setattr(module, "WRITE_IDLE_S", 0.5)

    async def work(downstream):
        await downstream.read_body(5)
        expect(downstream, within_s=0.03)
        try:
            await downstream.send_whole(200, [], b"x")
        except asyncio.CancelledError:
            assert downstream.forgive() is Stopped.EXPIRED
            await downstream.send_part(b"late", is_last=True)

    run = await serve(Client(part(b"x"), reads=False), work)
    assert (run.result, run.stopped) == (None, Stopped.EXPIRED)


async def test_a_quiet_stream_is_kept_alive_before_and_between_its_parts():
    client = Client(part(b"x"))

    async def work(downstream):
        await downstream.read_body(5)
        expect(downstream, keeps_alive=True)
        await until(lambda: client.body.count(KEEPALIVE) >= 2)
        await downstream.begin_stream([(b"x-gateway-attempts", b"1")])
        await downstream.send_part(b"data: 1\n\n", is_last=False)
        seen = client.body.count(KEEPALIVE)
        await until(lambda: client.body.count(KEEPALIVE) > seen)
        await downstream.send_part(b"data: 2\n\n", is_last=True)

    await serve(client, work)
    [head] = client.heads
    assert head["status"] == 200
    assert (b"x-request-id", b"r-1") in head["headers"]
    assert client.body.replace(KEEPALIVE, b"") == b"data: 1\n\ndata: 2\n\n"
    assert client.sent[-1] == {"type": "http.response.body", "body": b"data: 2\n\n", "more_body": False}


async def until(is_so):
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110 - what is waited for is only seen
            await asyncio.sleep(0.005)


async def test_a_stream_that_flows_gets_no_comments():
    client = Client(part(b"x"))

    async def work(downstream):
        await downstream.read_body(5)
        expect(downstream, keeps_alive=True)
        await downstream.begin_stream([])
        for position in range(20):
            await downstream.send_part(b"x", is_last=position == 19)

    await serve(client, work)
    assert client.body == b"x" * 20


async def test_what_is_not_a_stream_gets_no_comments():
    client = Client(part(b"x"))

    async def work(downstream):
        await downstream.read_body(5)
        expect(downstream, keeps_alive=False)
        await asyncio.sleep(0.15)
        await downstream.send_whole(200, [], b"whole")

    await serve(client, work)
    assert client.body == b"whole"


async def test_nothing_follows_a_refusal_of_a_stream():
    client = Client(part(b"x"))

    async def work(downstream):
        await downstream.read_body(5)
        expect(downstream, keeps_alive=True)
        await downstream.send_whole(429, [], b"no")
        await downstream._keep_alive()
        await asyncio.sleep(0.15)

    await serve(client, work)
    assert client.body == b"no"
    assert dict(client.heads[0]["headers"])[b"content-length"] == b"2"


async def test_nothing_follows_the_last_part():
    client = Client(part(b"x"))

    async def work(downstream):
        await downstream.read_body(5)
        expect(downstream, keeps_alive=True)
        await downstream.begin_stream([])
        await downstream.send_part(b"end", is_last=True)
        await downstream._keep_alive()
        await asyncio.sleep(0.15)

    await serve(client, work)
    assert client.body == b"end"


async def test_comments_do_not_pile_up_before_a_client_that_does_not_read():
    client = Client(part(b"x"), reads=False)

    async def work(downstream):
        await downstream.read_body(5)
        expect(downstream, within_s=0.4, keeps_alive=True)
        tasks = len(asyncio.all_tasks())
        await asyncio.sleep(0.3)
        assert len(asyncio.all_tasks()) <= tasks + 2

    await serve(client, work)


@pytest.mark.parametrize(
    ("script", "is_reading"),
    [
        ([part(b"x")], False),
        ([part(b"x", more=True), part(b"y")], False),
        ([part(b"x" * 50, more=True), part(b"y" * 60, more=True), part(b"z")], True),
        ([GONE], False),
    ],
)
async def test_a_small_rest_of_a_refused_body_is_read(script, is_reading):
    async def work(downstream):
        await downstream.drain(100)
        return downstream.is_reading

    assert (await serve(Client(*script), work)).result is is_reading


async def test_a_request_that_is_answered_at_once_starts_no_task():
    client = Client(part(b"x"))

    async def work(downstream):
        tasks = asyncio.all_tasks()
        await downstream.read_body(5)
        expect(downstream)
        await downstream.send_whole(200, [], b"x")
        return asyncio.all_tasks() == tasks

    assert (await serve(client, work)).result is True
