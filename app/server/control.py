"""What a parent and a worker say to each other: one JSON object a line, over a socket pair.

Law: neither end ever blocks on the other; a message that finds the other end stuck is dropped, and silence is noticed.
"""

import socket
from typing import Any, Generic, TypeVar

import msgspec

_PENDING_BYTES = 256 * 1024
_READ_BYTES = 64 * 1024
MESSAGE_CHARS = 4000
"""The longest explanation that is sent; the rest of an error's text is in the worker's log."""


class Drain(msgspec.Struct, tag="drain", frozen=True):
    """Parent to worker: finish what is in flight, then end."""


class Reload(msgspec.Struct, tag="reload", frozen=True):
    """Parent to worker: the settings were read and are valid; read them too and apply them.

    `number` says which time this is, and comes back with the answer.
    """

    number: int = 0


class WorkerReload(msgspec.Struct, frozen=True, kw_only=True):
    """How it went in one worker; without an error the new settings are in force there."""

    worker: str
    pid: int
    error: str | None = None


class ReloadDone(msgspec.Struct, tag="reload_done", frozen=True, kw_only=True):
    """Parent to the worker that asked: how it went everywhere, or by `refused` why nobody was even told.

    `ignored` are the paths of settings that need a restart and keep their values.
    """

    question: int
    refused: list[str] = []
    ignored: list[str] = []
    workers: list[WorkerReload] = []


class Ready(msgspec.Struct, tag="ready", frozen=True):
    """Worker to parent: started, and listening."""


class Failed(msgspec.Struct, tag="failed", frozen=True):
    """Worker to parent: could not start."""

    message: str


class Draining(msgspec.Struct, tag="draining", frozen=True):
    """Worker to parent: no longer accepting; the parent lets go of its copy of the listening sockets."""


class AskReload(msgspec.Struct, tag="ask_reload", frozen=True):
    """Worker to parent: read the settings again, everywhere, and answer this question when it is done."""

    question: int


class Reloaded(msgspec.Struct, tag="reloaded", frozen=True):
    """Worker to parent: the new settings are in force."""

    number: int = 0


class ReloadFailed(msgspec.Struct, tag="reload_failed", frozen=True):
    """Worker to parent: the new settings could not be applied; the old ones are in force."""

    message: str
    number: int = 0


class Beat(msgspec.Struct, tag="stats", frozen=True):
    """Worker to parent, each second: the loop is running."""

    inflight: int


ToWorker = Drain | Reload | ReloadDone
FromWorker = Ready | Failed | Draining | AskReload | Reloaded | ReloadFailed | Beat

M = TypeVar("M")


class Channel(Generic[M]):
    """One end of the conversation; `M` is the union of messages that this end receives."""

    def __init__(self, sock: socket.socket, *, receives: Any) -> None:
        """Take over `sock`, one end of a stream socket pair; `receives` is the union as a value."""
        sock.settimeout(0)
        self._sock = sock
        self._decoder: msgspec.json.Decoder[M] = msgspec.json.Decoder(receives)
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self.is_open = True

    def fileno(self) -> int:
        """Return the descriptor to wait on; -1 once closed."""
        return self._sock.fileno()

    def send(self, message: ToWorker | FromWorker) -> bool:
        """Send a message, or keep it for the next call if the other end is slow; false if it was dropped."""
        if not self.is_open or len(self._outgoing) > _PENDING_BYTES:
            return False
        self._outgoing += msgspec.json.encode(message) + b"\n"
        try:
            sent = self._sock.send(self._outgoing)
        except BlockingIOError:
            return True
        except OSError:
            return False
        del self._outgoing[:sent]
        return True

    def receive(self) -> list[M]:
        """Return the messages that have arrived; at the end of the conversation `is_open` turns false."""
        while self.is_open:
            try:
                data = self._sock.recv(_READ_BYTES)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            self._incoming += data
            self.is_open = bool(data)
        *lines, rest = self._incoming.split(b"\n")
        self._incoming = bytearray(rest)
        return [self._decoder.decode(line) for line in lines]

    def close(self) -> None:
        """End the conversation; the other end reads its end."""
        self.is_open = False
        self._sock.close()


def open_channels() -> tuple[Channel[FromWorker], Channel[ToWorker]]:
    """Return the parent's end and the worker's end of a new conversation."""
    ours, theirs = socket.socketpair()
    return Channel(ours, receives=FromWorker), Channel(theirs, receives=ToWorker)
