"""Canonical answers, said to a client in OpenAI's dialect.

Source: https://platform.openai.com/docs/api-reference/chat, read 2026-11.
"""

import base64
import sys
from array import array
from collections.abc import Collection, Iterable
from typing import Any

import msgspec

from providers.custom_tools import CUSTOM, unwrap
from providers.framing import sse
from providers.openai import thoughts
from providers.openai.parts import write_tool_call
from providers.openai.wire import write_usage
from providers.stream import ANNOTATIONS, CLOSES_PART
from providers.types import (
    ChatEvent,
    Choice,
    Completion,
    Embeddings,
    Finished,
    FinishReason,
    RefusalPart,
    Started,
    TextDelta,
    TextPart,
    ThinkingDelta,
    ThinkingPart,
    ToolCallDelta,
    ToolCallPart,
    ToolCallStarted,
    Usage,
    UsageReported,
)

DONE = sse.encode(b"[DONE]")
_REASONS: dict[FinishReason, str] = {"refusal": "stop", "other": "stop"}


def write_reason(reason: FinishReason) -> str:
    """Return OpenAI's word for why an answer ended."""
    return _REASONS.get(reason, reason)


def render_completion(
    completion: Completion, *, model: str, custom_names: Collection[str] = frozenset()
) -> dict[str, Any]:
    """Return the body of a chat completion; `model` is the name that the client asked for.

    `custom_names` are the client's custom tools: a call of a function that stands for one is said as a call of it.
    """
    body: dict[str, Any] = {
        "id": completion.id,
        "object": "chat.completion",
        "created": completion.created,
        "model": model,
        "choices": [_render_choice(choice, custom_names) for choice in completion.choices],
    }
    if completion.usage is not None:
        body["usage"] = write_usage(completion.usage)
    return body


def _render_choice(choice: Choice, custom_names: Collection[str]) -> dict[str, Any]:
    return {
        "index": choice.index,
        "message": render_message(choice, custom_names),
        "logprobs": choice.logprobs,
        "finish_reason": write_reason(choice.finish_reason),
    }


def render_message(choice: Choice, custom_names: Collection[str] = frozenset()) -> dict[str, Any]:
    """Return the assistant's message of one choice."""
    texts = [part for part in choice.content if isinstance(part, TextPart)]
    calls = [_render_call(part, custom_names) for part in choice.content if isinstance(part, ToolCallPart)]
    blocks = [part for part in choice.content if isinstance(part, ThinkingPart)]
    refusals = [part.text for part in choice.content if isinstance(part, RefusalPart)]
    signature = next((part.signature for part in reversed(texts) if part.signature), None)
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(part.text for part in texts) if texts else None,
        "refusal": "".join(refusals) if refusals else None,
    }
    fields = {
        "reasoning_content": "".join(block.text for block in blocks),
        thoughts.DETAILS: thoughts.seal_details(blocks),
        "tool_calls": calls,
        "annotations": _citations(note for part in texts for note in part.annotations),
        thoughts.EXTRA: _sealed(signature),
    }
    return message | {name: value for name, value in fields.items() if value}


def _citations(notes: Iterable[Any]) -> list[Any]:
    """Return the citations of pages: the only kind that this wire has."""
    return [note for note in notes if isinstance(note, dict) and isinstance(note.get("url_citation"), dict)]


def _render_call(part: ToolCallPart, custom_names: Collection[str]) -> dict[str, Any]:
    is_custom, arguments = part.extras.get("type") == "custom", part.arguments
    if not is_custom and part.name in custom_names:
        is_custom, arguments = True, unwrap(arguments)
    extras = CUSTOM if is_custom else {}
    call = write_tool_call(ToolCallPart(id=part.id, name=part.name, arguments=arguments, extras=extras))
    return call | ({thoughts.EXTRA: _sealed(part.signature)} if part.signature else {})


def _sealed(signature: str | None) -> dict[str, Any] | None:
    """Return the `extra_content` in which a client keeps a signature."""
    return thoughts.write_thought_signature(thoughts.seal_for_client(signature)) if signature else None


class ChunkRenderer:
    """Renders the events of one answer as chat completion chunks, each a server-sent event.

    `include_usage` is whether the client asked for the usage chunk. `custom_names` are the client's custom tools: the
    input of one comes whole, once the function that stands for it has been called. The terminator is not written
    here: whoever settles the call writes `DONE` behind it.
    """

    __slots__ = ("_begun", "_calls", "_custom_names", "_head", "_include_usage", "_signed", "_thoughts", "usage")

    def __init__(
        self, *, model: str, include_usage: bool, custom_names: Collection[str] = frozenset(), answer_id: str = ""
    ) -> None:
        """Make one; `answer_id` is for an answer to which its provider gives none."""
        self._head: dict[str, Any] = {"id": answer_id, "object": "chat.completion.chunk", "created": 0, "model": model}
        self._include_usage = include_usage
        self._custom_names = custom_names
        self._begun: set[int] = set()
        self._calls: dict[tuple[int, int], _Call] = {}
        self._thoughts: dict[int, list[str]] = {}
        self._signed: dict[int, int] = {}
        self.usage: Usage | None = None

    def feed(self, event: ChatEvent) -> bytes:
        """Return the frames that say `event`: perhaps none."""
        match event:
            case Started() | UsageReported():
                self._note(event)
                return b""
            case Finished():
                held = self._say_held(event.choice)
                return held + self._frame(event.choice, {}, reason=write_reason(event.reason))
            case TextDelta():
                return self._frame(event.choice, _text_delta(event), logprobs=event.logprobs)
            case ThinkingDelta():
                return self._say_delta(event.choice, self._thinking(event))
            case ToolCallStarted():
                return self._say_delta(event.choice, self._begin_call(event))
            case ToolCallDelta():
                call = self._calls.get((event.choice, event.index))
                return self._say_delta(event.choice, call.read(event.arguments) if call else {})

    def _note(self, event: Started | UsageReported) -> None:
        if isinstance(event, UsageReported):
            self.usage = event.usage
        else:
            self._head |= {"id": event.id or self._head["id"], "created": event.created}

    def _say_delta(self, choice: int, delta: dict[str, Any]) -> bytes:
        return self._frame(choice, delta) if delta else b""

    def _thinking(self, event: ThinkingDelta) -> dict[str, Any]:
        """Return more reasoning; a signature comes with the whole block that it signs."""
        said = self._thoughts.setdefault(event.choice, [])
        said.append(event.text)
        delta: dict[str, Any] = {"reasoning_content": event.text} if event.text else {}
        if event.signature:
            text, index = "".join(said), self._signed.get(event.choice, 0)
            block = ThinkingPart(text=text, signature=event.signature, redacted=event.redacted, extras=event.extras)
            delta[thoughts.DETAILS] = [thoughts.seal_detail(block, index=index)]
            self._signed[event.choice] = index + 1
        if event.signature or CLOSES_PART in event.extras:
            said.clear()
        return delta

    def _begin_call(self, event: ToolCallStarted) -> dict[str, Any]:
        is_custom = event.extras.get("type") == "custom"
        is_function_for_one = not is_custom and event.name in self._custom_names
        call = _Call(event.index, is_custom=is_custom or is_function_for_one, is_held=is_function_for_one)
        self._calls[(event.choice, event.index)] = call
        return call.begin(event)

    def _say_held(self, choice: int) -> bytes:
        """Return the frames of the inputs that were held back until they were whole."""
        return b"".join(
            [self._say_delta(choice, call.release()) for (owner, _), call in self._calls.items() if owner == choice]
        )

    def finish(self) -> bytes:
        """Return the usage chunk if the client asked for it."""
        if not self._include_usage or self.usage is None:
            return b""
        return self._encode({**self._head, "choices": [], "usage": write_usage(self.usage)})

    def _frame(self, choice: int, delta: dict[str, Any], *, reason: str | None = None, logprobs: Any = None) -> bytes:
        if choice not in self._begun:
            self._begun.add(choice)
            delta = {"role": "assistant", **({"content": ""} if "content" not in delta else {}), **delta}
        chunk = {
            **self._head,
            "choices": [{"index": choice, "delta": delta, "logprobs": logprobs, "finish_reason": reason}],
        }
        if self._include_usage:
            chunk["usage"] = None
        return self._encode(chunk)

    @staticmethod
    def _encode(chunk: dict[str, Any]) -> bytes:
        return sse.encode(msgspec.json.encode(chunk))


class _Call:
    """A call on its way to the client; `is_held` if its input is known only once the whole of it is there."""

    __slots__ = ("_held", "_index", "_is_custom")

    def __init__(self, index: int, *, is_custom: bool, is_held: bool) -> None:
        self._index = index
        self._is_custom = is_custom
        self._held: list[str] | None = [] if is_held else None

    def begin(self, event: ToolCallStarted) -> dict[str, Any]:
        """Return the delta that begins the call."""
        kind, argument = ("custom", "input") if self._is_custom else ("function", "arguments")
        call = {"index": self._index, "id": event.id, "type": kind, kind: {"name": event.name, argument: ""}}
        return {"tool_calls": [call | ({thoughts.EXTRA: _sealed(event.signature)} if event.signature else {})]}

    def read(self, arguments: str) -> dict[str, Any]:
        """Return the delta that says more of the arguments; nothing while they are held."""
        if self._held is not None:
            self._held.append(arguments)
            return {}
        return self._delta(arguments)

    def release(self) -> dict[str, Any]:
        """Return the delta that says what was held; nothing if nothing was."""
        if not self._held:
            return {}
        arguments, self._held = unwrap("".join(self._held)), None
        return self._delta(arguments)

    def _delta(self, arguments: str) -> dict[str, Any]:
        said = {"custom": {"input": arguments}} if self._is_custom else {"function": {"arguments": arguments}}
        return {"tool_calls": [{"index": self._index, **said}]}


def _text_delta(event: TextDelta) -> dict[str, Any]:
    delta: dict[str, Any] = {"refusal" if event.refusal else "content": event.text}
    if notes := _citations(event.extras.get(ANNOTATIONS, ())):
        delta["annotations"] = notes
    return delta | ({thoughts.EXTRA: _sealed(event.signature)} if event.signature else {})


def render_embeddings(embeddings: Embeddings, *, model: str, encoding: str) -> dict[str, Any]:
    """Return the body of an embeddings answer; vectors as floats, or base64 of little-endian 32-bit floats."""
    usage = embeddings.usage or Usage()
    data = [
        {"object": "embedding", "index": index, "embedding": vector if encoding == "float" else _pack(vector)}
        for index, vector in enumerate(embeddings.vectors)
    ]
    counts = {"prompt_tokens": usage.prompt_tokens, "total_tokens": usage.prompt_tokens}
    return {"object": "list", "data": data, "model": model, "usage": counts}


def _pack(vector: list[float]) -> str:
    packed = array("f", vector)  # which makes infinite what is past 32 bits, where `struct` would fail
    if sys.byteorder == "big":
        packed.byteswap()
    return base64.b64encode(packed).decode()
