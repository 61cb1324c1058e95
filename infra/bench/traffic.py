"""What goes over the wire in the benchmark: the requests, and the exact bytes that must come back.

Law: the fake upstream and the load driver both build from here, so the driver can compare every answer byte for byte.
Each request carries a canary that the answer must repeat: an answer given to the wrong caller is seen.
"""

import re
from typing import Final

MODEL: Final = "bench-model"
PACED_MODEL: Final = "bench-paced"
CROWD_MODEL: Final = "bench-crowd"
PATH: Final = "/v1/chat/completions"
CHUNKS: Final = 50
FIRST_CHUNK_MS: Final = 50
CHUNK_GAPS_MS: Final = {PACED_MODEL: 10, CROWD_MODEL: 50}
"""The time between two chunks of the models that take their time; those of all others leave back to back."""
PROMPT_BYTES: Final = 2100
CANARY_LENGTH: Final = 16
CANARY_MARK: Final = b"canary-"
DONE: Final = b"data: [DONE]\n\n"

# A paced chunk says when it was sent (CLOCK_MONOTONIC, ns) and how long after its request (ns). The stamp sits in a
# field that every dialect knows, so it survives a server that decodes and encodes chunks again.
STAMPED_FRAME: Final = re.compile(rb"fp_(\d{19})_(\d{12})[^\n]*\n\n")
UNSTAMPED: Final = b"fp_bench"

_SLOT: Final = b"@canary@"
_STAMP_SLOT: Final = b"@stamp@"
_SENTENCE: Final = "The harbour master wrote down each ship, its cargo and the hour at which it came in. "

_USAGE: Final = (
    b'{"prompt_tokens":412,"completion_tokens":50,"total_tokens":462,'
    b'"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},'
    b'"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0}}'
)
_ANSWER: Final = (
    b'{"id":"chatcmpl-@canary@","object":"chat.completion","created":1764000000,"model":"bench-model",'
    b'"choices":[{"index":0,"message":{"role":"assistant","content":"Four ships came in before noon, two of them with '
    b'timber, and one turned back at the bar to wait for the tide.","refusal":null},"logprobs":null,'
    b'"finish_reason":"stop"}],"usage":' + _USAGE + b',"service_tier":"default","system_fingerprint":"fp_bench"}'
)


def stream_s(model: str) -> float:
    """Return how many seconds a stream of a model takes."""
    gap_ms = CHUNK_GAPS_MS.get(model)
    return 0.0 if gap_ms is None else (FIRST_CHUNK_MS + gap_ms * (CHUNKS - 1)) / 1000


def request_pieces(*, model: str, stream: bool, key: str, port: int, body_bytes: int) -> tuple[bytes, bytes]:
    """Return what stands before and after the canary in a whole HTTP request with a body of so many bytes."""
    flags = ',"stream":true,"stream_options":{"include_usage":true}' if stream else ""
    opening = f'{{"model":"{model}","messages":[{{"role":"user","content":"canary-'
    closing = f'"}}],"temperature":0.7,"max_tokens":256{flags}}}'
    room = body_bytes - len(opening) - len(closing) - CANARY_LENGTH - 1
    filler = (_SENTENCE * (room // len(_SENTENCE) + 1))[:room]
    closing = f" {filler}{closing}"
    length = len(opening) + CANARY_LENGTH + len(closing)
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nAccept: application/json\r\nUser-Agent: gateway-bench\r\n"
        f"Content-Length: {length}\r\n\r\n"
    )
    return (head + opening).encode(), closing.encode()


def answer(canary: bytes) -> bytes:
    """Return the body of the unary answer, about 600 bytes."""
    return _BEFORE + canary + _AFTER


def stream_frames(canary: bytes) -> list[bytes]:
    """Return the frames of a whole stream: 50 chunks of about 240 bytes, the usage chunk, `[DONE]`."""
    return [canary.join(pieces) for pieces in _FRAMES]


def paced_frame(number: int, *, canary: bytes, sent_ns: int, after_ns: int) -> bytes:
    """Return frame `number` of a stream, with the time at which it was sent and its distance from the request."""
    stamp = b"fp_%019d_%012d" % (sent_ns, after_ns)
    return canary.join(_PACED_FRAMES[number]).replace(_STAMP_SLOT, stamp)


def _chunk(number: int, fingerprint: bytes) -> bytes:
    """Return chunk `number` as an event, with a slot for the canary; the last one carries the finish reason."""
    delta = b'{"content":" harbour"}'
    if number == 0:
        delta = b'{"role":"assistant","content":"The"}'
    if number == CHUNKS - 1:
        delta = b"{}"
    finish = b'"stop"' if number == CHUNKS - 1 else b"null"
    return (
        b'data: {"id":"chatcmpl-@canary@","object":"chat.completion.chunk","created":1764000000,"model":"bench-model",'
        b'"system_fingerprint":"' + fingerprint + b'","choices":[{"index":0,"delta":' + delta + b","
        b'"logprobs":null,"finish_reason":' + finish + b"}]}\n\n"
    )


def _frames(fingerprint: bytes) -> list[list[bytes]]:
    """Return every frame of a stream, cut where the canary goes."""
    usage = (
        b'data: {"id":"chatcmpl-@canary@","object":"chat.completion.chunk","created":1764000000,"model":"bench-model",'
        b'"system_fingerprint":"fp_usage","choices":[],"usage":' + _USAGE + b"}\n\n"
    )
    frames = [*(_chunk(number, fingerprint) for number in range(CHUNKS)), usage, DONE]
    return [frame.split(_SLOT) for frame in frames]


_BEFORE, _AFTER = _ANSWER.split(_SLOT)
_FRAMES: Final = _frames(UNSTAMPED)
_PACED_FRAMES: Final = _frames(_STAMP_SLOT)
