"""The echo: repeats the last user text, one word a chunk and a token.

It refuses what OpenAI would refuse, so that a client's error handling can be tried without a vendor. It hears text, and
nothing of how an answer is to be chosen: that is left out or refused by the rules for every vendor.
"""

import hashlib
import re
import time

import msgspec

from providers.carry import CANONICAL, carry, functions_only, unsaid_failures, unsaid_names
from providers.errors import RequestRefused
from providers.protocol import ChatStream, RelayStream
from providers.stream import ReplayStream
from providers.types import (
    ChatEvent,
    ChatRequest,
    EmbeddingRequest,
    Embeddings,
    Finished,
    FinishReason,
    Message,
    RelayRequest,
    Started,
    Target,
    TextDelta,
    TextPart,
    ToolCallDelta,
    ToolCallStarted,
    ToolResultPart,
    Usage,
    UsageReported,
)

_WORD = re.compile(r"\s*\S+")
_DIMENSIONS = 64
_MAX_DIMENSIONS = 4_096
_RANGES = {
    "temperature": (0.0, 2.0),
    "top_p": (0.0, 1.0),
    "frequency_penalty": (-2.0, 2.0),
    "presence_penalty": (-2.0, 2.0),
    "top_logprobs": (0.0, 20.0),
}
_MAX_CHOICES = 128
_DIALECT = "echo"
_CANNOT = CANONICAL - {"max_tokens", "n", "stop", "tool_choice", "tools"}


class EchoAdapter:
    """Answers without any I/O."""

    def relays(self, target: Target) -> frozenset[str]:
        """Return nothing: the echo has no wire of its own."""
        del target
        return frozenset()

    async def chat(self, request: ChatRequest, target: Target) -> ChatStream:
        """Repeat the last user text, or call the tool that the request demands with that text as `input`."""
        _refuse_what_openai_refuses(request)
        dropped = _left_out(request)
        return ReplayStream(_events(request, target.model), dropped=dropped)

    async def embed(self, request: EmbeddingRequest, target: Target) -> Embeddings:
        """Return a unit vector for each input, the same for the same input: no meaning is in it."""
        self.check_request(request, target)
        size = _DIMENSIONS if request.dimensions is None else request.dimensions
        vectors = [_vector(repr(item), size) for item in request.input]
        tokens = sum(len(item.split()) if isinstance(item, str) else len(item) for item in request.input)
        return Embeddings(model=target.model, vectors=vectors, usage=Usage(input_tokens=tokens))

    async def relay(self, request: RelayRequest, target: Target) -> RelayStream:
        """Refuse: the echo has no wire of its own."""
        raise _not_served(request, target)

    def check_request(self, request: ChatRequest | EmbeddingRequest | RelayRequest, target: Target) -> None:
        """Raise `RequestRefused` for what OpenAI would refuse, and for what the echo is deaf to."""
        if isinstance(request, RelayRequest):
            raise _not_served(request, target)
        if isinstance(request, ChatRequest):
            _refuse_what_openai_refuses(request)
            _left_out(request)
        elif request.dimensions is not None and not 1 <= request.dimensions <= _MAX_DIMENSIONS:
            raise RequestRefused(f"dimensions must be between 1 and {_MAX_DIMENSIONS}", status=400, param="dimensions")

    async def models(self, target: Target) -> list[str]:
        """Return the one model's name."""
        del target
        return ["echo"]


def _not_served(request: RelayRequest, target: Target) -> RequestRefused:
    return RequestRefused(f"{target.model} does not serve {request.operation}", status=400)


def words(text: str) -> list[str]:
    """Return the words of a text with the space before each, and after the last; joined they are the text."""
    found = _WORD.findall(text)
    rest = text[sum(map(len, found)) :]
    if not rest:
        return found
    return [*found[:-1], found[-1] + rest] if found else [rest]


def _refuse_what_openai_refuses(request: ChatRequest) -> None:
    for name, (low, high) in _RANGES.items():
        value = getattr(request.sampling, name)
        if value is not None and not low <= value <= high:
            raise RequestRefused(f"{name} must be between {low:g} and {high:g}", status=400, param=name)
    if not 1 <= request.n <= _MAX_CHOICES:
        raise RequestRefused(f"n must be between 1 and {_MAX_CHOICES}", status=400, param="n")
    if request.max_output_tokens is not None and request.max_output_tokens < 1:
        raise RequestRefused("max_tokens must be at least 1", status=400, param="max_tokens")
    _refuse_absent_tool(request)


def _refuse_absent_tool(request: ChatRequest) -> None:
    """Refuse a choice of tools that were not offered."""
    choice = request.tool_choice
    if choice is None or choice.mode not in {"required", "named"}:
        return
    if not request.tools:
        raise RequestRefused("tool_choice is only allowed when tools are offered", status=400, param="tool_choice")
    if choice.mode == "named" and choice.name not in {tool.name for tool in request.tools}:
        raise RequestRefused(f"the tool {choice.name} is not offered", status=400, param="tool_choice")


def _left_out(request: ChatRequest) -> tuple[str, ...]:
    """Return the names of what is left out; raises `RequestRefused` for what may not be."""
    dropped = carry(request, dialect=_DIALECT, cannot=_CANNOT)
    _, hosted = functions_only(request)
    unsaid = (*unsaid_names(request.messages), *unsaid_failures(request.messages))
    return (*dropped, *hosted, *unsaid, *request.wire.default, *request.wire.put)


def _until(text: str, stops: list[str]) -> str:
    """Return a text up to the first of the words that end it."""
    ends = [at for stop in stops if stop and (at := text.find(stop)) >= 0]
    return text[: min(ends)] if ends else text


def _events(request: ChatRequest, model: str) -> list[ChatEvent]:
    text = last_user_text(request.messages)
    spoken = words(_until(text, request.sampling.stop))
    limit = request.max_output_tokens
    reason: FinishReason = "length" if limit is not None and limit < len(spoken) else "stop"
    spoken = spoken if limit is None else spoken[:limit]
    tool = _demanded_tool(request)
    started = Started(id=f"chatcmpl-{_digest(text)}", model=model, created=int(time.time()))
    events: list[ChatEvent] = [started]
    for choice in range(request.n):
        if tool is None:
            events += [TextDelta(choice=choice, text=word) for word in spoken]
            events.append(Finished(choice=choice, reason=reason))
        else:
            events += _call(tool, text, choice)
    output = (len(spoken) if tool is None else max(1, len(words(text)))) * request.n
    usage = Usage(input_tokens=_count_words(request.messages), output_tokens=output)
    return [*events, UsageReported(usage=usage)]


def _call(tool: str, text: str, choice: int) -> list[ChatEvent]:
    arguments = msgspec.json.encode({"input": text}).decode()
    return [
        ToolCallStarted(choice=choice, index=0, id=f"call_{_digest(text)}", name=tool),
        ToolCallDelta(choice=choice, index=0, arguments=arguments),
        Finished(choice=choice, reason="tool_calls"),
    ]


def _demanded_tool(request: ChatRequest) -> str | None:
    choice = request.tool_choice
    if choice is None or choice.mode not in {"required", "named"}:
        return None
    if choice.mode == "named":
        return choice.name
    return request.tools[0].name if request.tools else None


def last_user_text(messages: list[Message]) -> str:
    """Return the text of the last user turn; empty if there is none."""
    for message in reversed(messages):
        if message.role == "user":
            return "".join(part.text for part in message.content if isinstance(part, TextPart))
    return ""


def _count_words(messages: list[Message]) -> int:
    return sum(len(text.split()) for message in messages for text in _texts(message))


def _texts(message: Message) -> list[str]:
    texts = [part.text for part in message.content if isinstance(part, TextPart)]
    results = [part for part in message.content if isinstance(part, ToolResultPart)]
    return texts + [inner.text for part in results for inner in part.content if isinstance(inner, TextPart)]


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def _vector(text: str, size: int) -> list[float]:
    raw = hashlib.shake_256(text.encode()).digest(size * 2)
    numbers = [int.from_bytes(raw[at : at + 2], "big") - 32_767.5 for at in range(0, size * 2, 2)]
    length = sum(number * number for number in numbers) ** 0.5
    return [number / length for number in numbers]
