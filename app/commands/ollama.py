"""Finds an Ollama on its usual port. Law: a start never waits for it longer than a blink.

Source: https://docs.ollama.com/api/introduction (port 11434; `GET /api/version`), read 2026-11.
"""

import socket

# Not the adapter `ollama`: requests of OpenAI clients, which are most, reach the compatible API in the bytes that they
# came in, and it takes what Ollama's own has no words for, such as a tool choice.
OLLAMA_ADAPTER = "ollama-openai"

_ADDRESS = ("127.0.0.1", 11434)
_PATIENCE_S = 0.2
_REQUEST = b"GET /api/version HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n"


def answers(address: tuple[str, int] = _ADDRESS) -> bool:
    """Tell whether an Ollama answers at `address`, and not some other program."""
    try:
        with socket.create_connection(address, timeout=_PATIENCE_S) as connection:
            connection.sendall(_REQUEST)
            head = _read(connection)
    except OSError:
        return False
    return head.startswith(b"HTTP/1.") and b" 200 " in head[:16] and b'"version"' in head


def _read(connection: socket.socket) -> bytes:
    """Return the start of the answer, up to its end or 4 KiB."""
    received = b""
    while len(received) < 4096:  # noqa: PLR2004 - far more than a version
        data = connection.recv(4096)
        if not data:
            break
        received += data
    return received
