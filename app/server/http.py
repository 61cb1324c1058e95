"""The door to Granian: one embedded server for one plane of one worker.

Law: HTTP/1.1 only, a header in 5 s, and more connections accepted than the application admits, so that it is the
application that sheds. Source: reliability.md section 0, rows 1, 3 and 11.
"""

import socket

from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.embed import Server

from app.server.contract import AsgiApp

HEADER_READ_TIMEOUT_MS = 5000
"""Also how long a connection may be idle between two requests."""
HEADER_BUFFER_BYTES = 16384

# Only levels are changed: a full configuration would close the handlers of every other logger.
_LOG_CONFIG = {"incremental": True, "handlers": {}, "loggers": {"_granian": {"propagate": True}}}


class _InheritedServer(Server):
    """Serves on a socket that was bound before the fork, instead of binding one."""

    def __init__(self, listener: socket.socket, *, app: AsgiApp, backlog: int, backpressure: int) -> None:
        super().__init__(
            app,
            interface=Interfaces.ASGINL,
            http=HTTPModes.http1,
            websockets=False,
            backlog=backlog,
            backpressure=backpressure,
            http1_settings=HTTP1Settings(
                header_read_timeout=HEADER_READ_TIMEOUT_MS, max_buffer_size=HEADER_BUFFER_BYTES
            ),
            log_level=LogLevels.error,
            log_dictconfig=_LOG_CONFIG,
        )
        self._listener = listener

    def _init_shared_socket(self) -> None:
        """Hand the listener over; Granian owns and closes its descriptor from here on."""
        fd, is_uds = self._listener.detach(), False
        self._shd = SocketHolder(fd, is_uds, self.backlog)  # type: ignore[assignment, call-arg] # granian's stub is short
        self._ssp = None


class PlaneServer:
    """Serves one plane from `run` until `stop`."""

    def __init__(self, listener: socket.socket, *, app: AsgiApp, backlog: int, backpressure: int) -> None:
        """Take over a bound socket; nothing is accepted before `run`."""
        self._backlog = backlog
        self._listener = listener
        self._server = _InheritedServer(listener, app=app, backlog=backlog, backpressure=backpressure)

    async def run(self) -> None:
        """Listen and serve; returns when, after `stop`, the last connection has ended."""
        self._listener.listen(self._backlog)
        await self._server.serve()

    def stop(self) -> None:
        """Refuse new connections and close idle ones; connections with a request in flight end with it."""
        self._server.stop()  # type: ignore[no-untyped-call] # granian's server module has no types
