"""What the fake provider is told to do. Law: a script is data, so it travels in a header, in a prompt or as JSON."""

import base64
from typing import Literal

import msgspec

UsageShape = Literal["exact", "missing", "negative", "float", "text", "huge", "every_chunk"]
Fault = Literal["close", "reset", "stall"]


class Script(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How one request is answered. The defaults are a well-behaved OpenAI-compatible server.

    What is said: `text` replaces the echo of the last user text, `output_tokens` asks for that many words instead;
    `reasoning` goes before it, and `signature` with it or with the first call, as Google signs; `tool_calls` is the
    number of calls, by default one if tools were offered and no result came back yet. `ignores_output_cap` is the
    vendor that overshoots. `pad_bytes` fattens the answer.

    What replaces it: `body` is sent verbatim under `status` (an error body is made up for 400 and above); `frames` are
    the verbatim pieces of a stream, on any path, and `frames_base64` those of one that is no text; `raw` are all bytes
    on the wire, in Latin-1, head included.

    How a stream runs: pauses, how frames become writes (`joins_frames`: all in one write; `write_bytes`: cut after
    every so many bytes, wherever that falls), line ends, comments, and an error frame after so many frames.

    What breaks: `fault` comes after `fault_after_frames` frames or `fault_after_bytes` bytes of the body, or before the
    head if neither is set; `stall` sends nothing more until the peer closes.

    `times` is how many requests a registered script serves before the next one registered takes over.
    """

    times: int | None = None

    status: int = 200
    headers: dict[str, str] = {}
    content_type: str | None = None
    head_delay_ms: int = 0

    text: str | None = None
    output_tokens: int | None = None
    reasoning: str | None = None
    signature: str | None = None
    refusal: str | None = None
    tool_calls: int | None = None
    finish_reason: str | None = None
    ignores_output_cap: bool = False
    usage: UsageShape = "exact"
    cached_tokens: int = 0
    pad_bytes: int = 0

    body: str | None = None
    frames: list[str] | None = None
    frames_base64: list[str] | None = None
    raw: str | None = None

    first_chunk_delay_ms: int = 0
    chunk_delay_ms: int = 0
    joins_frames: bool = False
    write_bytes: int = 0
    line_end: Literal["\n", "\r\n", "\r"] = "\n"
    comments: bool = False
    sends_done: bool = True
    error_after_frames: int | None = None

    encoding: Literal["identity", "gzip", "deflate"] = "identity"
    framing: Literal["keep", "close"] = "keep"
    keeps_alive: bool = True
    fault: Fault | None = None
    fault_after_frames: int | None = None
    fault_after_bytes: int | None = None

    @property
    def verbatim_frames(self) -> list[bytes] | None:
        """The pieces of a stream that is sent as it is; `None` where the stream is made up."""
        if self.frames_base64 is not None:
            return [base64.b64decode(frame) for frame in self.frames_base64]
        return None if self.frames is None else [frame.encode() for frame in self.frames]


_HTML = "<html><body><h1>It works!</h1></body></html>"

PRESETS: dict[str, Script] = {
    "fake-400": Script(status=400),
    "fake-401": Script(status=401),
    "fake-403": Script(status=403),
    "fake-404": Script(status=404),
    "fake-429": Script(status=429, headers={"retry-after": "1"}),
    "fake-500": Script(status=500),
    "fake-503": Script(status=503, headers={"retry-after": "1"}),
    "fake-529": Script(status=529),
    "fake-html": Script(body=_HTML, content_type="text/html"),
    "fake-bad-json": Script(body='{"id": "chatcmpl-1", "choices": [', content_type="application/json"),
    "fake-empty": Script(body="", content_type="application/json"),
    "fake-redirect": Script(status=302, headers={"location": "http://127.0.0.1:1/v1"}, body=""),
    "fake-huge": Script(pad_bytes=40 << 20),
    "fake-gzip": Script(encoding="gzip"),
    "fake-deflate": Script(encoding="deflate"),
    "fake-slow-head": Script(head_delay_ms=3000),
    "fake-slow-chunks": Script(chunk_delay_ms=50),
    "fake-slow-first-chunk": Script(first_chunk_delay_ms=3000),
    "fake-refused": Script(fault="reset"),
    "fake-reset": Script(fault="reset", fault_after_frames=3),
    "fake-cut": Script(fault="close", fault_after_frames=3),
    "fake-stall": Script(fault="stall", fault_after_frames=3),
    "fake-no-done": Script(sends_done=False),
    "fake-no-usage": Script(usage="missing"),
    "fake-negative-usage": Script(usage="negative"),
    "fake-float-usage": Script(usage="float"),
    "fake-text-usage": Script(usage="text"),
    "fake-huge-usage": Script(usage="huge"),
    "fake-usage-everywhere": Script(usage="every_chunk"),
    "fake-error-frame": Script(error_after_frames=3),
    "fake-error-first": Script(error_after_frames=0),
    "fake-garbage": Script(frames=["data: {not json\n\n", "\x00\x01 neither\n\n", "data: [1,2\n\n"]),
    "fake-crlf": Script(line_end="\r\n"),
    "fake-cr": Script(line_end="\r"),
    "fake-comments": Script(comments=True),
    "fake-byte-by-byte": Script(write_bytes=1),
    "fake-one-write": Script(joins_frames=True),
    "fake-until-close": Script(framing="close"),
    "fake-reasoning": Script(reasoning="Let me think about it"),
    "fake-signed": Script(reasoning="Let me think about it", signature="c2lnbmVkIGJ5IHRoZSBmYWtl"),
    "fake-refusal": Script(refusal="I cannot help with that"),
    "fake-tools": Script(tool_calls=2),
    "fake-long": Script(output_tokens=2000),
    "fake-overshoot": Script(output_tokens=200, ignores_output_cap=True),
}
"""Models of the fake provider that misbehave by name."""
