"""A gateway, three models that are told what to do, and one that judges or fuses; and a client that hears when.

Law: every model has a provider of its own, so that it is seen what each was asked and when it was left.
"""

import asyncio
import contextlib
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import uuid4

import httpx
from faults.dialects.asking import Said, read
from faults.routing.stage import Stage, model, staged
from outside.caller import CHAT, Caller, data_frames, user
from outside.ledger import Ledger
from outside.wire import request
from servers.gateway import GatewayProcess

from providers.testing import Entry, Script

LLM = "/v1/llm/chat"
LEGS = ("a", "b", "c")
LAST = "last"
CLOSED_WITHIN_S = 1.0
_WITHIN_S = 25.0
_NS_PER_MS = 1_000_000
ONCE: dict[str, Any] = {"retries": 0, "breaker": False}
VERDICT = '{"ranking": ["%s"], "scores": {}}'


class Told(NamedTuple):
    """What a client heard, and when (monotonic seconds): its first content, and the end."""

    said: Said
    began_s: float
    first_s: float
    ended_s: float

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.said.status

    @property
    def headers(self) -> dict[str, str]:
        """The headers, by their lower-case names."""
        return self.said.headers

    @property
    def text(self) -> str:
        """The body."""
        return self.said.body.decode()

    @property
    def frames(self) -> list[dict[str, Any]]:
        """The objects of a stream."""
        return data_frames(self.text)

    @property
    def answer(self) -> dict[str, Any]:
        """The whole answer: of a stream, its last event."""
        is_stream = "event-stream" in self.headers.get("content-type", "")
        found: dict[str, Any] = self.frames[-1] if is_stream else json.loads(self.said.body)
        return found

    @property
    def error(self) -> dict[str, Any]:
        """The error that was said."""
        found: dict[str, Any] = self.answer["error"]
        return found

    @property
    def content(self) -> str:
        """What was answered."""
        found: str = self.answer["output"]["content"]
        return found

    @property
    def fanout(self) -> str:
        """What the answer says of its models."""
        return self.headers.get("x-gateway-fanout", "")


class Client:
    """One client on a socket of its own."""

    def __init__(self, gateway: GatewayProcess, key: str, body: Mapping[str, Any], *, path: str = LLM, **headers: str):
        """Make one; header names are written with underscores."""
        pairs = [("authorization", f"Bearer {key}"), ("content-type", "application/json"), ("connection", "close")]
        pairs += [(name.replace("_", "-"), value) for name, value in headers.items()]
        self._data = request("POST", path, pairs, json.dumps(body).encode())
        self._port = gateway.port
        self.raw = b""
        self.began_s = self.first_s = 0.0

    async def send(self) -> "Client":
        """Ask."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        self.began_s = time.monotonic()
        self._writer.write(self._data)
        return self

    async def hear(self, part: bytes) -> None:
        """Read until something has come."""
        async with asyncio.timeout(_WITHIN_S):
            while part not in self.raw:
                piece = await self._reader.read(1 << 16)
                assert piece, f"the gateway left first: {self.raw!r}"
                self._take(piece)

    async def listen(self) -> Told:
        """Read to the end."""
        try:
            async with asyncio.timeout(_WITHIN_S):
                with contextlib.suppress(ConnectionError):
                    while piece := await self._reader.read(1 << 16):
                        self._take(piece)
        finally:
            self._writer.close()
        return Told(read(self.raw), self.began_s, self.first_s, time.monotonic())

    def leave(self) -> float:
        """Hang up; return when."""
        self._writer.transport.abort()
        return time.monotonic()

    def _take(self, piece: bytes) -> None:
        self.raw += piece
        if not self.first_s and (b'"type":"text"' in self.raw or b'"delta":{"' in self.raw):
            self.first_s = time.monotonic()


class Panel(NamedTuple):
    """The gateway and its models; `key` is of a caller without limits."""

    stage: Stage
    caller: Caller

    @property
    def gateway(self) -> GatewayProcess:
        """The gateway."""
        return self.stage.gateway

    def tell(self, *scripts: Script | None, last: Script | None = None) -> str:
        """Tell the models what to do, in their order, when a prompt has the name that is returned.

        Whoever is told nothing fails if it is asked.
        """
        name = f"s{uuid4().hex}"
        for model_name, script in zip((*LEGS, LAST), (*_filled(scripts), last), strict=True):
            self.stage.providers[model_name].script(script or Script(status=500), model=name)
        return name

    def calls(self, model_name: str, script: str) -> list[Entry]:
        """Return what a model was asked under the name of a script."""
        return self.stage.providers[model_name].journal.for_script(script)

    def client(self, fanout: Mapping[str, Any] | None, script: str, **more: Any) -> Client:
        """Return a client that asks several models, or the ensemble that `more` names.

        `key`, `path` and `headers` are the request's, the rest of `more` goes into the body.
        """
        key, path, headers = more.pop("key", self.caller.key), more.pop("path", LLM), more.pop("headers", {})
        body = (
            more
            if path not in {CHAT, LLM}
            else {"messages": user(f"[[script {script}]] say it"), "max_tokens": 300} | more
        )
        return Client(self.gateway, key, body if fanout is None else body | {"fanout": fanout}, path=path, **headers)

    async def ask(self, fanout: Mapping[str, Any] | None, script: str, **more: Any) -> Told:
        """Ask and listen."""
        return await (await self.client(fanout, script, **more).send()).listen()

    async def called(self, model_name: str, script: str) -> None:
        """Wait until a model has been asked."""
        async with asyncio.timeout(_WITHIN_S):
            while not self.calls(model_name, script):  # noqa: ASYNC110 - it happens in another thread
                await asyncio.sleep(0.005)

    def rows(self, told: Told, count: int) -> dict[str, list[dict[str, Any]]]:
        """Return the ledger's rows of a request by model: so many, of which one is final; their sum is the cost."""
        rows = Ledger(self.gateway).wait(count, within_s=20, request_id=told.said.request_id)
        assert len(rows) == count, [(row["model"], row["outcome"]) for row in rows]
        assert sum(bool(row["is_final"]) for row in rows) == 1
        assert {row["attempt"] for row in rows} == set(range(1, count + 1))
        if '"attempts":' in told.text:
            assert round(float(told.answer["cost"]) * 10**9) == sum(row["cost_nusd"] for row in rows)
        found: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            found.setdefault(row["model"], []).append(row)
        return found

    async def left(self, name: str, script: str, *, by_s: float) -> None:
        """Check that the gateway has left a model's call soon after a moment (monotonic seconds)."""
        entry = self.calls(name, script)[-1]
        deadline = by_s + CLOSED_WITHIN_S
        while entry.peer_closed_after_ms is None:
            assert time.monotonic() < deadline + 0.5, f"the call of {name} is still open"
            await asyncio.sleep(0.01)
        closed_s = (entry.received_ns + entry.peer_closed_after_ms * _NS_PER_MS) / 10**9
        assert closed_s <= deadline, f"the call of {name} was closed {closed_s - by_s:.3f} s later"

    async def rest(self, key_id: str | None = None) -> None:
        """Wait until nothing is in flight, held or called any more."""
        deadline = time.monotonic() + 15
        while not self._is_at_rest(key_id or self.caller.key_id):
            assert time.monotonic() < deadline, "something is held, called or in flight for good"
            await asyncio.sleep(0.05)

    def _is_at_rest(self, key_id: str) -> bool:
        held = sum(float(use["held"]) for use in self.gateway.admin("GET", f"/budgets/key/{key_id}")["use"])
        metrics = httpx.get(f"{self.gateway.base_url}/metrics").text
        inflight = re.search(r'^gateway_inflight\{plane="gateway"\} (\S+)$', metrics, re.MULTILINE)
        is_over = all(entry.finished_after_ms is not None for name in (*LEGS, LAST) for entry in self.stage.calls(name))
        return held == 0 and inflight is not None and float(inflight[1]) == 0 and is_over


def _filled(scripts: Sequence[Script | None]) -> list[Script | None]:
    return [*scripts, *[None] * (len(LEGS) - len(scripts))]


@contextlib.contextmanager
def panel(models: Mapping[str, Any] | None = None, **more: Any) -> Iterator[Panel]:
    """Put up the gateway and its models; `models` are further ones of the file, `more` is added to it."""
    known = {name: model(name, **ONCE) for name in (*LEGS, LAST)}
    with (
        staged(known | dict(models or {}), **more) as stage,
        Caller(stage.gateway, budget={"amount": "100", "period": "total"}) as caller,
    ):
        yield Panel(stage, caller)


__all__ = ["CHAT", "LAST", "LEGS", "LLM", "Client", "Panel", "Told", "panel"]
