"""A caller with a key of its own, and the ways in which callers leave."""

import json
import socket
import struct
import time
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import httpx
from servers.gateway import GatewayProcess

from outside.wire import request

CHAT = "/v1/chat/completions"
_RESET = struct.pack("ii", 1, 0)


def user(text: str | list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a conversation of one message."""
    return [{"role": "user", "content": text}]


class Caller:
    """One key of a gateway and a connection pool; `fields` are those of `POST /keys`."""

    def __init__(self, gateway: GatewayProcess, **fields: Any) -> None:
        self.gateway = gateway
        made = gateway.admin("POST", "/keys", json={"name": "a caller", **fields})
        self.key: str = made["secret"]
        self.key_id: str = made["id"]
        self.organization_id = UUID(made["organization_id"])
        self.http = httpx.Client(
            base_url=gateway.base_url, headers={"authorization": f"Bearer {self.key}"}, timeout=30, verify=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.http.close()

    def post(self, body: dict[str, Any], *, path: str = CHAT, **headers: str) -> httpx.Response:
        """Post a body; header names are written with underscores."""
        said = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.post(path, json=body, headers=said)

    def chat(self, model: str, text: str = "hello big world", **more: Any) -> httpx.Response:
        """Ask for a chat completion."""
        return self.post({"model": model, "messages": user(text), **more})

    def leave(
        self, body: dict[str, Any], *, path: str = CHAT, after_s: float, by_reset: bool = False, **headers: str
    ) -> tuple[bytes, float]:
        """Ask, wait and leave; return what had come by then, and the monotonic time of leaving."""
        pairs = [("Authorization", f"Bearer {self.key}"), ("Content-Type", "application/json")]
        pairs += [(name.replace("_", "-"), value) for name, value in headers.items()]
        connection = socket.create_connection(("127.0.0.1", self.gateway.port), timeout=30)
        with connection:
            connection.sendall(request("POST", path, pairs, _as_httpx_writes(body)))
            came = _read_for(connection, after_s)
            if by_reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            left_at = time.monotonic()
        return came, left_at


def _as_httpx_writes(body: dict[str, Any]) -> bytes:
    """Return the same bytes as `Caller.post` sends."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def _read_for(connection: socket.socket, seconds: float) -> bytes:
    came = b""
    deadline = time.monotonic() + seconds
    while (left_s := deadline - time.monotonic()) > 0:
        connection.settimeout(left_s)
        try:
            came += connection.recv(1 << 16)
        except TimeoutError:
            break
    return came


def data_frames(text: str) -> list[dict[str, Any]]:
    """Return the JSON objects of a stream's data frames."""
    frames = [frame.removeprefix("data: ") for frame in text.split("\n\n") if frame.startswith("data: ")]
    return [json.loads(frame) for frame in frames if frame != "[DONE]"]


def is_done(text: str) -> bool:
    """Whether a stream ended with its terminator."""
    return text.rstrip().endswith("data: [DONE]")
