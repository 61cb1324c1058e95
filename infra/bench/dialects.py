"""What a streamed chunk costs in CPU, for every dialect relayed and every provider's wire translated to every client's.

    .venv/bin/python infra/bench/dialects.py [--chunks 2000] [--rounds 7] [--gate]

In one process and without sockets: the adapter over an answer that is already there, the pipeline's bodies, the
client's renderer; all that our own Python does between two reads of a socket and two writes. Each chunk comes in a read
of its own, as it does from a vendor that thinks. The figure is the median over the rounds, of the process's CPU time.
`--gate` exits with 1 if a relayed chunk costs more than 6 µs or a translated one more than 60 µs.
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from app.api.understanding import Call, Wire
from app.api.wires import WIRES
from app.domain.keys.principal import Principal
from app.domain.prices import PriceBook
from app.kernel.clock import SystemClock
from app.kernel.ids import uuid7_text
from app.pipeline.answer import Answer
from app.pipeline.dispatch import Dispatch
from app.pipeline.exchange import Exchange
from app.pipeline.verdicts import Verdicts
from app.routing.health import Health
from app.routing.table import Route, RouteTarget
from providers.catalog import Catalog
from providers.framing import eventstream
from providers.registry import Registry
from providers.testing.sender import ScriptedAnswer, ScriptedSender
from providers.types import Secret, Target

RELAYED_US, TRANSLATED_US = 6.0, 60.0
_TEXT = "token by token "
_USER = "Tell me a long story."
_encode = msgspec.json.encode


class Source(NamedTuple):
    """A provider's streamed answer: `chunks` of text between a head and a tail."""

    adapter: str
    content_type: str
    head: bytes
    chunk: Callable[[int], bytes]
    tail: bytes

    def pieces(self, count: int) -> Iterator[bytes]:
        """Yield the answer, a read a chunk."""
        if self.head:
            yield self.head
        yield from (self.chunk(number) for number in range(count))
        yield self.tail


def _sse(*objects: dict[str, Any], named: bool = False) -> bytes:
    lines = (f"event: {item['type']}\n".encode() if named else b"" for item in objects)
    return b"".join(line + b"data: " + _encode(item) + b"\n\n" for line, item in zip(lines, objects, strict=True))


def _line(item: dict[str, Any]) -> bytes:
    return _encode(item) + b"\n"


def _amazon(kind: str, item: dict[str, Any]) -> bytes:
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return eventstream.encode(headers, _encode(item))


def _chat_chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_790_000_000, "model": "m"}
    return {**head, "system_fingerprint": "fp_1", "choices": [choice], "usage": None}


_CHAT = Source(
    "openai",
    "text/event-stream",
    _sse(_chat_chunk({"role": "assistant", "content": ""})),
    lambda _: _sse(_chat_chunk({"content": _TEXT})),
    _sse(
        _chat_chunk({}, "stop"),
        {**_chat_chunk({}), "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 99, "total_tokens": 108}},
    )
    + b"data: [DONE]\n\n",
)
_MESSAGES = Source(
    "anthropic",
    "text/event-stream",
    _sse(
        {
            "type": "message_start",
            "message": {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "model": "m",
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                "usage": {"input_tokens": 9, "output_tokens": 1},
            },
        },
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        named=True,
    ),
    lambda _: _sse(
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": _TEXT}}, named=True
    ),
    _sse(
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 99},
        },
        {"type": "message_stop"},
        named=True,
    ),
)


def _gemini_chunk(text: str, **more: Any) -> dict[str, Any]:
    candidate = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0, **more}
    usage = {"promptTokenCount": 9, "candidatesTokenCount": 9, "totalTokenCount": 18}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "m", "responseId": "r1"}


_GEMINI = Source(
    "gemini",
    "text/event-stream",
    _sse(_gemini_chunk("Once")),
    lambda _: _sse(_gemini_chunk(_TEXT)),
    _sse(_gemini_chunk("", finishReason="STOP")),
)


def _response(status: str, **more: Any) -> dict[str, Any]:
    return {"id": "resp_1", "object": "response", "created_at": 1, "status": status, "model": "m", "output": [], **more}


_ITEM = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": []}
_PLACE = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
_RESPONSES = Source(
    "openai",
    "text/event-stream",
    _sse(
        {"type": "response.created", "sequence_number": 0, "response": _response("in_progress")},
        {"type": "response.output_item.added", "sequence_number": 1, "output_index": 0, "item": _ITEM},
        {
            "type": "response.content_part.added",
            "sequence_number": 2,
            **_PLACE,
            "part": {"type": "output_text", "text": "", "annotations": []},
        },
        named=True,
    ),
    lambda number: _sse(
        {
            "type": "response.output_text.delta",
            "sequence_number": number + 3,
            **_PLACE,
            "delta": _TEXT,
            "logprobs": [],
            "obfuscation": "x" * 12,
        },
        named=True,
    ),
    _sse(
        {"type": "response.output_item.done", "sequence_number": 9_998, "output_index": 0, "item": _ITEM},
        {
            "type": "response.completed",
            "sequence_number": 9_999,
            "response": _response(
                "completed", output=[_ITEM], usage={"input_tokens": 9, "output_tokens": 99, "total_tokens": 108}
            ),
        },
        named=True,
    ),
)
_BEDROCK = Source(
    "bedrock",
    "application/vnd.amazon.eventstream",
    _amazon("messageStart", {"role": "assistant"}),
    lambda _: _amazon("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": _TEXT}, "p": "abcdefgh"}),
    _amazon("contentBlockStop", {"contentBlockIndex": 0})
    + _amazon("messageStop", {"stopReason": "end_turn"})
    + _amazon("metadata", {"usage": {"inputTokens": 9, "outputTokens": 99, "totalTokens": 108}}),
)
_COHERE = Source(
    "cohere",
    "text/event-stream",
    _sse(
        {"type": "message-start", "id": "1", "delta": {"message": {"role": "assistant", "content": []}}},
        {
            "type": "content-start",
            "index": 0,
            "delta": {"message": {"content": {"type": "text", "text": ""}}},
        },
    ),
    lambda _: _sse({"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": _TEXT}}}}),
    _sse(
        {"type": "content-end", "index": 0},
        {
            "type": "message-end",
            "delta": {
                "finish_reason": "COMPLETE",
                "usage": {"tokens": {"input_tokens": 9, "output_tokens": 99}},
            },
        },
    ),
)
_AT = {"model": "m", "created_at": "2026-11-01T00:00:00Z"}
_OLLAMA = Source(
    "ollama",
    "application/x-ndjson",
    b"",
    lambda _: _line({**_AT, "message": {"role": "assistant", "content": _TEXT}, "done": False}),
    _line(
        {
            **_AT,
            "message": {"role": "assistant", "content": ""},
            "done": True,
            "done_reason": "stop",
            "prompt_eval_count": 9,
            "eval_count": 99,
        }
    ),
)
SOURCES = {
    "openai.chat": _CHAT,
    "openai.responses": _RESPONSES,
    "anthropic.messages": _MESSAGES,
    "gemini.generate": _GEMINI,
    "bedrock": _BEDROCK,
    "cohere": _COHERE,
    "ollama": _OLLAMA,
}


class Client(NamedTuple):
    """A client's way to ask for a stream."""

    wire: Wire
    document: dict[str, Any]
    call: Call = Call("", "")


def _clients() -> dict[str, Client]:
    wires = {wire.operation.relay: wire for wire in WIRES}
    messages = [{"role": "user", "content": _USER}]
    asking = {"model": "m", "stream": True}
    return {
        "openai.chat": Client(wires["openai.chat"], {**asking, "messages": messages}),
        "openai.responses": Client(wires["openai.responses"], {**asking, "input": _USER, "store": False}),
        "anthropic.messages": Client(
            wires["anthropic.messages"], {**asking, "messages": messages, "max_tokens": 4_096}
        ),
        "gemini.generate": Client(
            wires["gemini.generate"],
            {"contents": [{"role": "user", "parts": [{"text": _USER}]}]},
            Call("m:streamGenerateContent", "alt=sse"),
        ),
        "llm.chat": Client(wires["llm.chat"], {**asking, "messages": messages}),
    }


class Bench:
    """Makes answers and times how long they take to read."""

    def __init__(self, *, chunks: int, rounds: int) -> None:
        self._chunks = chunks
        self._rounds = rounds
        self._registry = Registry()
        clock = SystemClock()
        self._clock = clock
        self._health = Health()
        verdicts = Verdicts(self._health, clock=clock, changed=lambda _: None)
        self._dispatch = Dispatch(PriceBook(Catalog({}), clock=clock), clock, verdicts=verdicts)

    def cost_us(self, source: Source, client: Client, *, relays: bool) -> float:
        """Return the CPU time of one chunk, in microseconds."""
        return statistics.median(asyncio.run(self._once(source, client, relays=relays)) for _ in range(self._rounds))

    async def _once(self, source: Source, client: Client, *, relays: bool) -> float:
        answer = await self._open(source, client, relays=relays)
        live = answer.live
        if live is None:
            raise RuntimeError("the answer is no stream")
        started = time.process_time_ns()
        while not live.is_finished:
            await live.read()
        spent = time.process_time_ns() - started
        live.close()
        return spent / self._chunks / 1_000

    async def _open(self, source: Source, client: Client, *, relays: bool) -> Answer:
        plugin = self._registry.find(source.adapter)
        body = ScriptedAnswer(list(source.pieces(self._chunks)), headers={"content-type": source.content_type})
        adapter = plugin.open(ScriptedSender(body), plugin.options())
        url = plugin.base_url or "https://bedrock-runtime.us-east-1.amazonaws.com"
        where = Target(provider="p", model="m", base_url=url, credential=Secret("sk-bench"))
        relay = client.wire.operation.relay
        choice = RouteTarget(
            provider="p",
            adapter=adapter,
            target=where,
            whole_target=where,
            relays=frozenset({relay}) if relays else frozenset(),
        )
        exchange = Exchange(
            request_id=uuid7_text(),
            principal=Principal(key_id=UUID(int=1), organization_id=UUID(int=2)),
            operation=client.wire.operation,
            route=Route(name="m", label="m", targets=(choice,), owned_by="p"),
            body=_encode(client.document),
            document=client.document,
            started_ns=self._clock.monotonic_ns(),
            asked=client.wire.read(client.document, client.call),
        )
        attempt = self._dispatch.begin(exchange, choice, self._health.lane(where.provider, where.model))
        return await self._dispatch.open(exchange, attempt)


def main() -> int:
    """Print both tables; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--chunks", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--gate", action="store_true", help="exit 1 if a gate fails")
    chosen = parser.parse_args()
    bench, clients = Bench(chunks=chosen.chunks, rounds=chosen.rounds), _clients()
    print(f"relayed, µs of CPU a chunk (gate {RELAYED_US:g})")
    worst_relayed = worst_translated = 0.0
    for name in [name for name in clients if name in SOURCES]:
        spent = bench.cost_us(SOURCES[name], clients[name], relays=True)
        worst_relayed = max(worst_relayed, spent)
        print(f"  {name:20} {spent:7.2f}")
    print(f"translated, µs of CPU a chunk (gate {TRANSLATED_US:g}); a row is a provider's wire")
    print(" " * 22 + "".join(f"{name:>20}" for name in clients))
    for name, source in SOURCES.items():
        if name == "openai.responses":
            continue  # canonical requests go to chat completions unless the operator says otherwise
        row = [bench.cost_us(source, client, relays=False) for client in clients.values()]
        worst_translated = max(worst_translated, *row)
        print(f"  {name:20}" + "".join(f"{spent:20.2f}" for spent in row))
    is_good = worst_relayed <= RELAYED_US and worst_translated <= TRANSLATED_US
    return 1 if chosen.gate and not is_good else 0


if __name__ == "__main__":
    sys.exit(main())
