"""Recorded wire cases: one table drives encode and decode. Law: a case names the vendor's page or type that it is from.

A file of cases is JSON: `{"cases": [{"name", "source", "request", "sent", "answer" | "stream" | "stream_base64",
"completion", …}]}`. `request` and `completion` are the canonical structs as JSON, `sent` and `answer` the vendor's,
`stream` the text of a stream as it is on the wire (a list of texts is joined), `stream_base64` one that is no text.
"""

import base64
import re
from pathlib import Path
from typing import Any

import msgspec

from providers.types import ChatRequest, Completion

SOURCE = re.compile(r"(https://\S+, read 20\d\d-(0[1-9]|1[0-2]))|(\b[\w-]+ \d+(\.\d+)*: \w[\w.]*)")
"""A page and the month it was read, or a package, its version and a type: `anthropic 0.112: types.Message`."""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A recorded exchange: what the vendor answered to `request`, and what that amounts to.

    `sent` is the JSON that must go to the vendor, and `dropped` what of the request it is not told, if that is to be
    checked. `feature` is what the case shows (`tools`, `images`, …).
    """

    name: str
    source: str
    request: ChatRequest
    answer: bytes
    completion: Completion
    content_type: str = "application/json"
    sent: dict[str, Any] | None = None
    dropped: tuple[str, ...] = ()
    feature: str = "text"


class _Recorded(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A case as its file has it."""

    name: str
    source: str
    request: ChatRequest
    completion: Completion
    answer: Any = None
    stream: str | list[str] | None = None
    stream_base64: str | None = None
    content_type: str | None = None
    sent: dict[str, Any] | None = None
    dropped: tuple[str, ...] = ()
    feature: str = "text"

    def case(self, *, stream_type: str) -> Case:
        """Return the case with the bytes of its answer."""
        is_stream = self.answer is None
        return Case(
            name=self.name,
            source=self.source,
            request=self.request,
            answer=self._bytes(),
            completion=self.completion,
            content_type=self.content_type or (stream_type if is_stream else "application/json"),
            sent=self.sent,
            dropped=self.dropped,
            feature=self.feature,
        )

    def _bytes(self) -> bytes:
        if self.stream_base64 is not None:
            return base64.b64decode(self.stream_base64)
        if self.stream is not None:
            return (self.stream if isinstance(self.stream, str) else "".join(self.stream)).encode()
        return msgspec.json.encode(self.answer)


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    cases: list[_Recorded]


def load_cases(*paths: Path, stream_type: str = "text/event-stream") -> list[Case]:
    """Return the cases of the files; `stream_type` is the media type of their streams."""
    files = [msgspec.json.decode(path.read_bytes(), type=_File) for path in paths]
    return [recorded.case(stream_type=stream_type) for file in files for recorded in file.cases]


__all__ = ["SOURCE", "Case", "load_cases"]
