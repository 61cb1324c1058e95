"""Messages as Converse's `system` and `messages`. Law: turns of user and assistant alternate, and none is empty.

Source: https://docs.aws.amazon.com/bedrock/latest/userguide/conversation-inference-call.html,
https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html, read 2026-11.
"""

from itertools import takewhile
from typing import Any

from providers.bedrock.blocks import BlockWriter, call_id
from providers.carry import as_user_text
from providers.claude import with_distinct_ids
from providers.types import ChatRequest, Message, Part, RefusalPart, TextPart, ThinkingPart, ToolResultPart

CACHE_CONTROL = "cache_control"
_LIVES = ("5m", "1h")
_INSTRUCTING = frozenset({"system", "developer"})

Blocks = list[dict[str, Any]]


def cache_point(extras: dict[str, Any]) -> Blocks:
    """Return the cache point that stands behind what is marked by `cache_control`; nothing for what is not."""
    mark = extras.get(CACHE_CONTROL)
    if not isinstance(mark, dict):
        return []
    life = {"ttl": mark["ttl"]} if mark.get("ttl") in _LIVES else {}
    return [{"cachePoint": {"type": "default", **life}}]


class ConversationWriter:
    """Writes the messages of one request; `caches` is whether the model takes cache points."""

    def __init__(self, blocks: BlockWriter, *, caches: bool) -> None:
        self._blocks = blocks
        self._caches = caches

    def write(self, request: ChatRequest) -> tuple[Blocks, Blocks]:
        """Return the system blocks and the turns.

        System messages at the beginning are the former, later ones stay where they are, as text of the user. Where
        there is nothing else, the last of them is the user's turn.
        """
        messages = request.messages
        leading = list(takewhile(lambda message: message.role in _INSTRUCTING, messages))
        if leading and len(leading) == len(messages):
            leading = leading[:-1]
        rest = messages[len(leading) :]
        if self._blocks.keeps_calls:
            rest = with_distinct_ids(rest, fit=call_id)
        system = [block for message in leading for block in self._message(message)]
        turns: Blocks = []
        for message in rest:
            _append(turns, "assistant" if message.role == "assistant" else "user", self._turn(message))
        if self._caches and turns:
            turns[-1]["content"] += cache_point(request.extras)
        return system, [_with_text(turn) for turn in _ended(turns)]

    def _turn(self, message: Message) -> Blocks:
        if message.role not in _INSTRUCTING:
            return self._message(message)
        text = "".join(part.text for part in message.content if isinstance(part, TextPart | RefusalPart))
        marks = self._marks(message)
        return [{"text": as_user_text(text)}, *marks[:1]] if text.strip() else []

    def _message(self, message: Message) -> Blocks:
        """Return the blocks of a message, with a cache point behind each that is marked."""
        blocks: Blocks = []
        for part in _without_last_thoughts(message):
            written = self._blocks.write(part)
            inner = part.content if isinstance(part, ToolResultPart) else []
            marks = [point for owner in (part, *inner) for point in cache_point(owner.extras)]
            blocks += written
            if written and self._caches:
                blocks += marks[:1]
        own = cache_point(message.extras) if self._caches and blocks and "cachePoint" not in blocks[-1] else []
        return blocks + own

    def _marks(self, message: Message) -> Blocks:
        owners = (*message.content, message)
        return [point for owner in owners for point in cache_point(owner.extras)] if self._caches else []


def _without_last_thoughts(message: Message) -> list[Part]:
    """Return the parts of a message but for the thoughts at its end, which no turn may end in."""
    end = len(message.content)
    while end and isinstance(message.content[end - 1], ThinkingPart):
        end -= 1
    return message.content[:end]


def _ended(turns: Blocks) -> Blocks:
    """Return turns of which the last, if it begins the assistant's answer, ends in no blank."""
    last = turns[-1] if turns else {}
    if last.get("role") == "assistant" and last["content"][-1].keys() == {"text"}:
        last["content"][-1] = {"text": last["content"][-1]["text"].rstrip()}
    return turns


def _append(turns: Blocks, role: str, blocks: Blocks) -> None:
    """Add a turn, or go on with the last one if it is of the same role. Results of tools stand first in their turn."""
    if not blocks:
        return
    if turns and turns[-1]["role"] == role:
        turns[-1]["content"] = _results_first([*turns[-1]["content"], *blocks])
    else:
        turns.append({"role": role, "content": blocks})


def _results_first(blocks: Blocks) -> Blocks:
    """Return the blocks with results of tools, and the cache points behind them, before all others."""
    results: Blocks = []
    others: Blocks = []
    last = others
    for block in blocks:
        if "cachePoint" not in block:
            last = results if "toolResult" in block else others
        last.append(block)
    return results + others


def _with_text(turn: dict[str, Any]) -> dict[str, Any]:
    """Return a turn whose documents have the text beside them that Converse demands."""
    content = turn["content"]
    names = [block["document"].get("name") for block in content if "document" in block]
    if not names or any("text" in block for block in content):
        return turn
    return {**turn, "content": [*content, {"text": f"Attached: {', '.join(map(str, names))}"}]}


__all__ = ["CACHE_CONTROL", "ConversationWriter", "cache_point"]
