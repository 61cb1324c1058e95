"""The scripted fake provider: an OpenAI-compatible server over real TCP that misbehaves on demand.

Law: it must pass for the real thing. It speaks HTTP/1.1 on a socket, in this loop, in a thread of its own
(`serve_in_thread`) or in a process of its own (`python -m providers.testing`), and keeps a journal of what happened.
"""

import asyncio
import contextlib
import re
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Self

import msgspec

from providers.testing.chat import CREATED, chat_reply
from providers.testing.connection import Connection, Request
from providers.testing.embeddings import embeddings_reply
from providers.testing.journal import Entry, Journal
from providers.testing.media import form_of, media_reply
from providers.testing.reply import Frame, Reply, error_body, error_reply, json_reply
from providers.testing.script import PRESETS, Script
from providers.testing.tokens import text_of

SCRIPT_HEADER = "x-fake-script"
DEFAULT_MODELS = ("fake-model", "fake-embedding")
_IN_PROMPT = re.compile(r"\[\[script (\{.*?\})\]\]", re.DOTALL)
_NAMED = re.compile(rb"\[\[script ([\w.-]+)\]\]")
_EVENTS = "text/event-stream; charset=utf-8"
_PLAIN = Script()
_FIRST_ERROR = 400


class FakeProvider:
    """A provider that does as it is told.

    A script is looked for in the request's `x-fake-script` header, in its last message (`[[script {"status": 429}]]`),
    among those registered under a name that stands anywhere in its body (`[[script NAME]]`), for its model and then for
    any model, and among `PRESETS` by the model's name.
    `GET` and `DELETE /__journal`, `PUT /__scripts/{model}` (`*` for any) and `DELETE /__scripts` do from outside what
    the methods do. With `api_key`, requests without it are refused.
    """

    def __init__(self, *, api_key: str | None = None, models: Sequence[str] = DEFAULT_MODELS) -> None:
        self.journal = Journal()
        self._api_key = api_key
        self._models = tuple(models)
        self._scripts: dict[str, deque[Script]] = {}
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        self._address = ("", 0)

    # --- Life

    async def start(self, *, host: str = "127.0.0.1", port: int = 0) -> Self:
        """Listen; on a free port by default. Made and closed in the same loop."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._connect, host, port, backlog=1024)
        self._address = self._server.sockets[0].getsockname()[:2]
        return self

    async def aclose(self) -> None:
        """Stop listening and abort every connection."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            await connection.aclose()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *exception: object) -> None:
        await self.aclose()

    def _connect(self) -> Connection:
        return Connection(self._decide, self._connections)

    @property
    def origin(self) -> str:
        """Where it listens, without a path."""
        return f"http://{self._address[0]}:{self._address[1]}"

    @property
    def url(self) -> str:
        """Its `base_url`, which ends in `/v1`."""
        return f"{self.origin}/v1"

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    # --- Direction

    def script(self, *scripts: Script, model: str = "*") -> None:
        """Answer the next requests for `model` so: each script serves `times` requests, or all if it has none.

        In place of a model it may be a name that requests of any wire call their script by: `[[script NAME]]`.
        """
        self._scripts[model] = deque(scripts)

    def reset(self) -> None:
        """Forget all scripts and the journal."""
        self._scripts.clear()
        self.journal.clear()

    # --- Answers

    def _decide(self, request: Request) -> tuple[Entry, Reply, Script]:
        if request.path.startswith("/__"):
            entry = Entry(number=0, received_ns=0, method=request.method, path=request.path, headers={})
            return entry, self._control(request), _PLAIN
        entry = self.journal.open(method=request.method, path=request.path, headers=request.headers)
        entry.body = request.body
        entry.bytes_received = request.wire_bytes
        body = entry.json or form_of(request.body, request.headers.get("content-type", ""))
        entry.model = str(body.get("model") or "")
        named = _NAMED.search(request.body)
        entry.script = "" if named is None else named[1].decode()
        try:
            script = self._script_for(request, body=body, named=entry.script)
        except msgspec.MsgspecError as error:
            return entry, error_reply(400, f"The script cannot be read: {error}"), _PLAIN
        reply = self._reply(request, body=body, script=script, number=entry.number)
        entry.is_stream = reply.is_stream
        entry.prompt_tokens = reply.prompt_tokens
        entry.usage = reply.usage
        return entry, reply, script

    def _script_for(self, request: Request, *, body: dict[str, Any], named: str) -> Script:
        told = request.headers.get(SCRIPT_HEADER) or _told_in_prompt(body)
        if told is not None:
            return msgspec.json.decode(told, type=Script)
        model = str(body.get("model") or "")
        for name in (named, model, "*"):
            script = self._take(name)
            if script is not None:
                return script
        return PRESETS.get(model, _PLAIN)

    def _take(self, name: str) -> Script | None:
        """Return the script now in force under `name`, and count its use."""
        queue = self._scripts.get(name)
        if not queue:
            return None
        script = queue[0]
        if script.times is not None:
            queue.popleft()
            if script.times > 1:
                queue.appendleft(msgspec.structs.replace(script, times=script.times - 1))
        return script

    def _reply(self, request: Request, *, body: dict[str, Any], script: Script, number: int) -> Reply:
        if self._api_key is not None and not self._is_authorised(request):
            return error_reply(401, "Incorrect API key provided.")
        if script.body is not None or script.status >= _FIRST_ERROR:
            return _verbatim(script)
        reply = self._route(request, body=body, script=script, number=number)
        return reply if script.status == _PLAIN.status else msgspec.structs.replace(reply, status=script.status)

    def _is_authorised(self, request: Request) -> bool:
        return request.headers.get("authorization") == f"Bearer {self._api_key}" or (
            request.headers.get("api-key") == self._api_key
        )

    def _route(self, request: Request, *, body: dict[str, Any], script: Script, number: int) -> Reply:
        """Choose by the end of the path, so that any prefix (`/v1`, Azure's deployments) is fine."""
        path = request.path.partition("?")[0]
        if request.method == "GET":
            return self._models_reply(path)
        if path.endswith("/chat/completions"):
            return chat_reply(body, script=script, number=number)
        verbatim = script.verbatim_frames
        if verbatim is not None:
            return Reply(content_type=_EVENTS, frames=map(Frame, verbatim), is_stream=True)
        if path.endswith("/embeddings"):
            return embeddings_reply(body)
        other = media_reply(path, body, script=script, number=number)
        return other or error_reply(404, f"Unknown request URL: {request.method} {path}.")

    def _models_reply(self, path: str) -> Reply:
        cards = {name: {"id": name, "object": "model", "created": CREATED, "owned_by": "fake"} for name in self._models}
        if path.endswith("/models"):
            return json_reply({"object": "list", "data": list(cards.values())})
        name = path.rsplit("/", 1)[-1]
        return json_reply(cards[name]) if name in cards else error_reply(404, f"The model '{name}' does not exist.")

    # --- Control from outside

    def _control(self, request: Request) -> Reply:
        path = request.path
        if path == "/__journal" and request.method == "GET":
            return json_reply(self.journal.entries)
        if path == "/__journal" and request.method == "DELETE":
            self.journal.clear()
            return json_reply({})
        if path == "/__scripts" and request.method == "DELETE":
            self._scripts.clear()
            return json_reply({})
        if path.startswith("/__scripts/") and request.method == "PUT":
            return self._register(request)
        return error_reply(404, "There is no such control.")

    def _register(self, request: Request) -> Reply:
        try:
            scripts = msgspec.json.decode(request.body, type=list[Script] | Script)
        except msgspec.MsgspecError as error:
            return error_reply(400, f"The script cannot be read: {error}")
        model = request.path.removeprefix("/__scripts/")
        self.script(*(scripts if isinstance(scripts, list) else [scripts]), model=model)
        return json_reply({})


def _told_in_prompt(body: dict[str, Any]) -> str | None:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not isinstance(messages[-1], dict):
        return None
    found = _IN_PROMPT.search(text_of(messages[-1].get("content")))
    return None if found is None else found[1]


def _verbatim(script: Script) -> Reply:
    """Return the script's own body, or an error body made up for its status."""
    if script.body is None:
        body = msgspec.json.encode(error_body(script.status, f"Scripted failure with status {script.status}."))
        return Reply(status=script.status, frames=(Frame(body),))
    kind = script.content_type or "application/json"
    return Reply(status=script.status, content_type=kind, frames=(Frame(script.body.encode()),))


@contextlib.contextmanager
def serve_in_thread(*, api_key: str | None = None, models: Sequence[str] = DEFAULT_MODELS) -> Iterator[FakeProvider]:
    """Run a fake provider on a loop of its own; its methods and journal may be used from the calling thread."""
    provider = FakeProvider(api_key=api_key, models=models)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="fake-provider", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(provider.start(), loop).result(timeout=10)
        yield provider
    finally:
        asyncio.run_coroutine_threadsafe(provider.aclose(), loop).result(timeout=10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=10)
        loop.close()
