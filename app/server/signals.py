"""The signals of the parent, read from a socket. Law: a handler does nothing; the loop decides what a signal means."""

import contextlib
import signal
import socket
from types import TracebackType
from typing import Self

_HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


class SignalSocket:
    """Turns signals into bytes on a socket, from entry to exit of the context."""

    def __init__(self) -> None:
        """Open the socket; no signal is touched yet."""
        self._reader, self._writer = socket.socketpair()
        self._reader.settimeout(0)
        self._writer.settimeout(0)
        self._previous = {number: signal.getsignal(number) for number in _HANDLED}
        self._previous_fd = -1

    def __enter__(self) -> Self:
        for number in _HANDLED:
            signal.signal(number, _leave_to_loop)
        self._previous_fd = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.set_wakeup_fd(self._previous_fd)
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._close()

    def fileno(self) -> int:
        """Return the descriptor that is readable when a signal has come."""
        return self._reader.fileno()

    def take(self) -> bytes:
        """Return the numbers of the signals that have come, one byte each."""
        with contextlib.suppress(BlockingIOError):
            return self._reader.recv(4096)
        return b""

    def hold(self) -> set[signal.Signals]:
        """Keep signals waiting; returns what `signal.pthread_sigmask` needs to set them free.

        Around a fork this keeps a signal to the child from being taken for one to the parent, whose socket it shares.
        """
        return {signal.Signals(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)}

    def leave_in_child(self) -> None:
        """Give a forked worker the signals of its own: SIGTERM ends it, SIGINT and SIGHUP are the parent's business."""
        signal.set_wakeup_fd(-1)
        self._close()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)

    def _close(self) -> None:
        self._reader.close()
        self._writer.close()


def _leave_to_loop(_number: int, _frame: object) -> None:
    """Do nothing: the signal's number arrives on the wake-up socket."""
