import asyncio
import threading

from app.api.probes import Scrape
from app.observability.metrics import Metrics

KINDS = frozenset({"gateway"})


class Slow(Metrics):
    """Metrics whose exposition waits until it is let go."""

    def __init__(self):
        super().__init__()
        self.go, self.began, self.calls = threading.Event(), threading.Event(), 0

    def exposition(self, names):
        self.calls += 1
        self.began.set()
        assert self.go.wait(10)
        return b"%d" % self.calls


async def test_a_scrape_stops_nobody_and_many_share_one():
    metrics = Slow()
    scrape = Scrape(metrics, KINDS)
    asking = [asyncio.create_task(scrape.read()) for _ in range(50)]
    assert await asyncio.to_thread(metrics.began.wait, 10)
    asking[0].cancel()
    await asyncio.sleep(0)
    metrics.go.set()
    assert set(await asyncio.gather(*asking[1:])) == {b"1"}
    assert await scrape.read() == b"2"
