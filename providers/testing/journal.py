"""The fake provider's ground truth: what really happened to each request, for tests to hold the ledger against."""

import time
from collections import deque
from collections.abc import Callable

import msgspec

_KEPT_ENTRIES = 20_000
_POLL_S = 0.01


class Entry(msgspec.Struct, kw_only=True):
    """One request and its answer; filled in while the answer is served. Times are milliseconds since its head came.

    `script` is the name that the body called its script by. `tokens_served` counts the output tokens whose bytes were
    handed to the socket, whatever usage then claimed; `usage` is what was claimed. `peer_closed_after_ms` is set only
    if the peer left before the answer was complete.
    But for it and `finished_after_ms`, all is written down before the bytes leave: a client that has them finds it.
    """

    number: int
    received_ns: int
    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""
    bytes_received: int = 0
    model: str = ""
    script: str = ""
    is_stream: bool = False
    status: int = 0
    prompt_tokens: int = 0
    tokens_served: int = 0
    usage: dict[str, object] | None = None
    frames_sent: int = 0
    bytes_sent: int = 0
    head_after_ms: int | None = None
    is_complete: bool = False
    finished_after_ms: int | None = None
    peer_closed_after_ms: int | None = None

    @property
    def json(self) -> dict[str, object]:
        """The body as an object, empty if it is none."""
        try:
            return msgspec.json.decode(self.body, type=dict[str, object])
        except msgspec.DecodeError:
            return {}

    def elapsed_ms(self) -> int:
        """Return the time since the head of the request came."""
        return (time.monotonic_ns() - self.received_ns) // 1_000_000


class Journal:
    """The last requests, oldest first; may be read from another thread than the one that serves."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=_KEPT_ENTRIES)
        self._last = 0

    def open(self, *, method: str, path: str, headers: dict[str, str]) -> Entry:
        """Begin the entry of a new request."""
        self._last += 1
        received_ns = time.monotonic_ns()
        entry = Entry(number=self._last, received_ns=received_ns, method=method, path=path, headers=headers)
        self._entries.append(entry)
        return entry

    @property
    def entries(self) -> list[Entry]:
        """All entries, oldest first."""
        return list(self._entries)

    @property
    def last(self) -> Entry:
        """The newest entry; raises `IndexError` if there is none."""
        return self._entries[-1]

    def for_model(self, model: str) -> list[Entry]:
        """Return the entries of one model."""
        return [entry for entry in self.entries if entry.model == model]

    def for_script(self, name: str) -> list[Entry]:
        """Return the entries of the requests that called for the script of this name."""
        return [entry for entry in self.entries if entry.script == name]

    def of_answer(self, answer_id: str) -> Entry:
        """Return the entry whose answer had this `id`; raises `LookupError`."""
        number = int(answer_id.rsplit("-", 1)[-1])
        for entry in reversed(self.entries):
            if entry.number == number:
                return entry
        raise LookupError(answer_id)

    def wait_for(self, is_so: Callable[["Journal"], bool], *, within_s: float = 10) -> bool:
        """Wait until something shows in the journal; from another thread than the one that serves."""
        deadline = time.monotonic() + within_s
        while not is_so(self):
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_S)
        return True

    def clear(self) -> None:
        """Forget all entries; numbers go on."""
        self._entries.clear()
