"""The ASGI application around one adapter: it takes calls on the native wire, and says what the adapter answers."""

import logging
from collections.abc import Mapping, MutableMapping
from typing import Any

import msgspec

from providers.errors import ProviderError, ProviderOverloaded, RequestRefused
from providers.native import wire
from providers.protocol import Adapter, Inspector, RelayStream
from providers.serve.inbound import (
    ClientGone,
    Receive,
    check_caller,
    check_type,
    read_body,
    understood,
    unless_gone,
)
from providers.serve.reply import Reply, Send
from providers.stream import Collector
from providers.types import EmbeddingRequest, Secret, Target, Timeouts

_log = logging.getLogger(__name__)
_PIECE_BYTES = 1 << 20
_READS, _WRITES = frozenset({"GET", "HEAD"}), frozenset({"POST"})


class AdapterService:
    """Serves one adapter. Make it anywhere; it holds no loop, no task and no connection of its own.

    `name` is the adapter's, `target` how its provider is addressed: callers choose the model and the clocks only. With
    a `token` every call needs it as a bearer token; without one only callers that name this machine are answered, and
    it must not be served beyond it.
    """

    def __init__(self, name: str, *, adapter: Adapter, target: Target, token: Secret | None = None) -> None:
        self._name = name
        self._adapter = adapter
        self._target = target
        self._token = token
        self.inflight = 0
        self.is_draining = False

    def adopt(self, adapter: Adapter, target: Target) -> None:
        """Serve another adapter and target from the next request on."""
        self._adapter, self._target = adapter, target

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        self.inflight += 1
        reply = Reply(send, is_last=self.is_draining)
        try:
            await self._serve(scope, receive, reply)
        except ProviderError as error:
            await reply.refuse(error)
        except ClientGone:
            pass
        except Exception:  # noqa: BLE001 - an adapter's defect is said, and does not end the service
            _log.exception("the adapter %s failed", self._name)
            await reply.refuse(ProviderOverloaded("the adapter failed", status=500))
        finally:
            self.inflight -= 1

    async def _serve(self, scope: MutableMapping[str, Any], receive: Receive, reply: Reply) -> None:
        path, method = scope["path"], scope["method"]
        if path == "/healthz":
            await self._say_health(reply)
            return
        headers: Mapping[bytes, bytes] = dict(scope["headers"])
        check_caller(headers, token=self._token)
        if method not in _methods(path):
            known = "there is no such path" if not _methods(path) else f"{path} takes no {method}"
            raise RequestRefused(known, status=405 if _methods(path) else 404)
        if method in _READS:
            await unless_gone(self._tell(path, reply), receive)
            return
        check_type(headers, wanted=wire.RELAY_TYPE if path.startswith(wire.RELAY) else wire.JSON_TYPE)
        body = await read_body(receive, headers)
        await unless_gone(self._call(path, body, reply), receive)

    async def _say_health(self, reply: Reply) -> None:
        status, word = (503, "draining") if self.is_draining else (200, "ok")
        await reply.whole({"status": word}, status=status)

    async def _tell(self, path: str, reply: Reply) -> None:
        """Answer what is asked without a body."""
        if path == wire.MODELS:
            await reply.whole(wire.Models(models=await self._adapter.models(self._target)))
            return
        relays = sorted(self._adapter.relays(self._target))
        await reply.whole(wire.Introduction(protocol=wire.PROTOCOL, adapter=self._name, relays=relays))

    async def _call(self, path: str, body: bytes, reply: Reply) -> None:
        if path == wire.CHAT:
            await self._chat(understood(wire.read_chat, body), reply)
        elif path == wire.EMBEDDINGS:
            await self._embed(understood(wire.read_embeddings, body), reply)
        else:
            await self._relay(path.removeprefix(wire.RELAY), understood(wire.read_relay, body), reply)

    async def _chat(self, ask: wire.ChatAsk, reply: Reply) -> None:
        stream = await self._adapter.chat(ask.request, self._towards(ask.model, ask.timeouts))
        try:
            told = wire.write_told(stream.headers, dropped=stream.dropped)
            if ask.request.stream:
                await reply.begin(told=told)
                async for event in stream:
                    await reply.line(event)
                await reply.end()
                return
            collector = Collector()
            async for event in stream:
                collector.feed(event)
            await reply.whole(collector.completion(), told=told)
        finally:
            stream.close()

    async def _embed(self, asked: tuple[wire.EmbeddingAsk, EmbeddingRequest], reply: Reply) -> None:
        ask, request = asked
        await reply.whole(await self._adapter.embed(request, self._towards(ask.model, ask.timeouts)))

    async def _relay(self, operation: str, ask: wire.RelayAsk, reply: Reply) -> None:
        if ask.request.operation != operation:
            raise RequestRefused("the path names another operation", status=400, param="request.operation")
        target = self._towards(ask.model, ask.timeouts)
        if operation not in self._adapter.relays(target):
            # The operator's mistake, so another target may still serve the caller.
            said = f"the adapter {self._name} does not relay {operation}: take it out of the provider's `relays`"
            raise ProviderOverloaded(said, status=501)
        stream = await self._adapter.relay(ask.request, target)
        try:
            told = wire.write_told(stream.headers, dropped=())
            if ask.request.stream:
                await reply.begin(status=stream.status, told=told)
                await _pass_on(stream, reply)
                return
            data = await stream.read_all()
            await reply.whole(_seen(stream.inspector, data), status=stream.status, told=told)
        finally:
            stream.close()

    def _towards(self, model: str, timeouts: Timeouts) -> Target:
        return msgspec.structs.replace(self._target, model=model, timeouts=timeouts)


def _methods(path: str) -> frozenset[str]:
    """Return what may be done with a path; nothing if there is no such path."""
    if path in {wire.CHAT, wire.EMBEDDINGS} or path.startswith(wire.RELAY):
        return _WRITES
    return _READS if path in {wire.ROOT, wire.ROOT.removesuffix("/"), wire.MODELS} else frozenset()


async def _pass_on(stream: RelayStream, reply: Reply) -> None:
    """Write a relayed stream; what the inspector knows goes with the bytes that it knows it from."""
    inspector = stream.inspector
    try:
        while data := await stream.read():
            for start in range(0, len(data) - _PIECE_BYTES, _PIECE_BYTES):
                piece = _seen(inspector, data[start : start + _PIECE_BYTES])
                await reply.line(msgspec.structs.replace(piece, is_finished=False))
            last = (len(data) - 1) // _PIECE_BYTES * _PIECE_BYTES
            await reply.line(_seen(inspector, data[last:]))
            if inspector.is_finished:
                break
        else:
            await reply.line(_seen(inspector))
    except ProviderError:
        await reply.line(_seen(inspector))
        raise
    await reply.end()


def _seen(inspector: Inspector, data: bytes = b"") -> wire.Relayed:
    return wire.Relayed(
        data=data,
        usage=inspector.usage,
        has_content=inspector.has_content,
        is_finished=inspector.is_finished,
        output_tokens_seen=inspector.output_tokens_seen,
        issued=inspector.issued,
    )


__all__ = ["AdapterService"]
