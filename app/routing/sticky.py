"""What keeps to one target: a session, or the beginning of a prompt. Law: pure, of one organisation, and bounded.

Vendors keep what they computed of a prompt's beginning for a while, and ask less for it, but only at the account where
it was. The key is made of what they see first, as any of the clients' dialects says it: the instructions, the tools and
the user's first message. All of it stays as it is while a conversation grows.
"""

from collections.abc import Mapping
from hashlib import blake2b
from itertools import islice
from typing import Any
from uuid import UUID

_KEY_BYTES = 16
_MOST_CHARS = 4_096
"""How much of the instructions, and of the user's first message, counts."""
_MOST_MESSAGES = 32
"""Within how many messages the user's first is looked for."""
_MOST_TOOLS = 64
_MOST_NAME_CHARS = 64
_MOST_VALUES = 64
"""How many parts, or values inside them, are looked at."""
_INSTRUCTIONS = ("instructions", "system", "systemInstruction", "system_instruction")
_SYSTEM_ROLES = ("system", "developer")  # a client may send what has no hash
_MOVES = "cache_control"
"""A mark that clients of Anthropic move on as a conversation grows."""


def sticky_key(sticky: str, *, organization_id: UUID, session: str | None, document: Mapping[str, Any]) -> bytes | None:
    """Return the key of what keeps to one target; nothing where nothing does.

    `sticky` is a route's setting, `session` what the client calls its session, `document` its decoded body. For
    `prefix`, a client that names its own `prompt_cache_key` (OpenAI) knows best.
    """
    if sticky == "session":
        return _key(organization_id, "session", session) if session else None
    if sticky != "prefix":
        return None
    named = document.get("prompt_cache_key")
    if named and isinstance(named, str):
        return _key(organization_id, "prompt_cache_key", named)
    beginning = _beginning(document)
    return _key(organization_id, "prefix", *beginning) if any(beginning) else None


def _key(organization_id: UUID, *parts: str) -> bytes:
    text = "\0".join(parts)
    return blake2b(organization_id.bytes + text.encode(errors="surrogatepass"), digest_size=_KEY_BYTES).digest()


def _beginning(document: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return the instructions, the tools and the user's first message, each cut."""
    said, first = _opening(document.get("messages") or document.get("input") or document.get("contents"))
    said = [document[name] for name in _INSTRUCTIONS if name in document] + said
    return _text(said), _names(document.get("tools")), _text(first)


def _opening(messages: Any) -> tuple[list[Any], Any]:
    """Return the contents of the system's messages before the user's first, and that one's."""
    said: list[Any] = []
    if not isinstance(messages, list):
        return said, messages
    for message in messages[:_MOST_MESSAGES]:
        if not isinstance(message, dict):
            return said, message
        role = message.get("role")
        content = message.get("content", message.get("parts"))
        if role == "user" or (role is None and "type" not in message):
            return said, content
        if role in _SYSTEM_ROLES:
            said.append(content)
    return said, None


def _text(content: Any) -> str:
    """Return the beginning of what messages hold, however it is nested: a text is the same as a list of one part.

    What is no text, such as a picture, is told by all that it holds, in whatever order its members are.
    """
    kept: list[str] = []
    left = _MOST_CHARS
    waiting = [content]
    for _ in range(_MOST_VALUES):
        if not waiting or left <= 0:
            break
        value = waiting.pop()
        if isinstance(value, dict):
            value = value["text"] if isinstance(value.get("text"), str) else _members(value)
        if isinstance(value, str):
            kept.append(value[:left])
            left -= len(value)
        elif isinstance(value, list):
            waiting.extend(value[_MOST_VALUES - 1 :: -1])
    return "".join(kept)


def _members(part: dict[str, Any]) -> list[Any]:
    names = sorted(islice(part, _MOST_VALUES))
    return [part[name] for name in names if name != _MOVES]


def _names(tools: Any) -> str:
    """Return the names of tools, or their types; what else there is of them tells nobody apart."""
    named: list[Any] = []
    for tool in tools[:_MOST_TOOLS] if isinstance(tools, list) else ():
        declared = (
            tool.get("functionDeclarations") or tool.get("function_declarations") if isinstance(tool, dict) else None
        )
        if isinstance(declared, list):
            named += declared[:_MOST_TOOLS]
        else:
            named.append(tool)
    return "\n".join([_name(tool) for tool in named[:_MOST_TOOLS] if isinstance(tool, dict)])


def _name(tool: dict[str, Any]) -> str:
    function = tool.get("function")
    named = function if isinstance(function, dict) else tool
    name = named.get("name") or named.get("type")
    return name[:_MOST_NAME_CHARS] if isinstance(name, str) else ""
