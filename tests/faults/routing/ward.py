"""The gateway of the matrix and the providers behind it: one that fails, one that is well, one that is fallen back to.

Beside them are addresses where a call fails before anybody has heard of it.
"""

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator
from typing import NamedTuple

from faults.routing import cells
from faults.routing.points import SICK, SPARE, WELL
from servers.gateway import ADMIN_KEY, MASTER_SECRET, GatewayProcess

from providers.testing import FakeProvider, serve_in_thread

_KEY_NAME = "SOME_API_KEY"
_KEY = "sk-of-every-provider"


class Ward(NamedTuple):
    """What stands; `providers` are by the word that they say."""

    gateway: GatewayProcess
    providers: dict[str, FakeProvider]


@contextlib.contextmanager
def opened() -> Iterator[Ward]:
    """Put everything up."""
    with contextlib.ExitStack() as stack:
        providers = {word: stack.enter_context(serve_in_thread()) for word in (SICK, WELL, SPARE)}
        addresses = {word: provider.origin for word, provider in providers.items()}
        addresses["sick"] = addresses[SICK]
        addresses["plaintext"] = stack.enter_context(_plaintext())
        addresses["nobody"] = stack.enter_context(_nobody())
        addresses["blackhole"] = stack.enter_context(_blackhole())
        environ = {"GATEWAY_ADMIN_KEY": ADMIN_KEY, "GATEWAY_MASTER_SECRET": MASTER_SECRET, _KEY_NAME: _KEY}
        tree = {**cells.config_of(addresses, key=_KEY_NAME), "log_level": "warning"}
        gateway = stack.enter_context(contextlib.closing(GatewayProcess.launch(tree, environ=environ)))
        yield Ward(gateway, providers)
        gateway.stop()


@contextlib.contextmanager
def _nobody() -> Iterator[str]:
    """Hold a port that nobody listens on: connecting there is refused."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


@contextlib.contextmanager
def _blackhole() -> Iterator[str]:
    """Listen with a queue that is full: what asks for a connection there is not answered at all."""
    with socket.socket() as deaf, contextlib.ExitStack() as queue:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for _ in range(4):
            waiting = queue.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(deaf.getsockname())
        yield f"http://127.0.0.1:{deaf.getsockname()[1]}"


class _Plain(socketserver.BaseRequestHandler):
    """Answers whatever comes in plain words, and closes."""

    def handle(self) -> None:
        self.request.recv(1 << 16)
        self.request.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")


@contextlib.contextmanager
def _plaintext() -> Iterator[str]:
    """Listen where TLS is expected, and speak none."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Plain) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, name="plaintext", daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join(timeout=10)
