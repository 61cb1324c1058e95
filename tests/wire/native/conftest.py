"""An adapter service behind a real socket, served as `llm-gateway adapter` does it; the adapter can be changed."""

import asyncio
import socket
import threading

import pytest

from app.server.http import PlaneServer
from providers.serve import AdapterService


class Socket:
    """Where one service after the other is served."""

    def __init__(self, listener):
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self.service = None
        self._server = PlaneServer(listener, app=self._answer, backlog=64, backpressure=64)

    async def _answer(self, scope, receive, send):
        await self.service(scope, receive, send)

    def serve(self, adapter, target, *, name="served", token=None):
        self.service = AdapterService(name, adapter=adapter, target=target, token=token)
        return self.service

    async def run(self):
        await self._server.run()

    def stop(self):
        self._server.stop()


@pytest.fixture(scope="package")
def behind():
    """Serve on a loop in a thread of its own, as another process would."""
    listener = socket.socket()
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)  # so that the first caller need not be later than the server
    listener.settimeout(0)
    made, ready = [], threading.Event()

    async def run():
        made.extend([Socket(listener), asyncio.get_running_loop()])
        ready.set()
        await made[0].run()

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    assert ready.wait(10)
    place, loop = made
    yield place
    loop.call_soon_threadsafe(place.stop)
    thread.join(10)
    assert not thread.is_alive()
