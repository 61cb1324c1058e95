"""Legacy text completions, for providers that do not serve them: a prompt becomes a chat of one user message.

Source: https://developers.openai.com/api/reference/resources/completions, read 2026-11.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from providers.answers import fields, objects
from providers.carry import refuse
from providers.framing import sse
from providers.openai.downstream import parse_response_format
from providers.openai.wire import write_usage
from providers.types import (
    ChatEvent,
    ChatRequest,
    Choice,
    Completion,
    Finished,
    FinishReason,
    Message,
    RefusalPart,
    Sampling,
    Started,
    TextDelta,
    TextPart,
    Usage,
    UsageReported,
)

DIALECT = "completions"
_SAMPLING = ("temperature", "top_p", "top_k", "frequency_penalty", "presence_penalty", "logit_bias", "seed")
_READ = frozenset(
    {
        *_SAMPLING,
        "model",
        "prompt",
        "suffix",
        "best_of",
        "echo",
        "logprobs",
        "max_tokens",
        "n",
        "response_format",
        "stop",
        "stream",
        "stream_options",
        "user",
    }
)
_REASONS: dict[FinishReason, str] = {
    "length": "length",
    "content_filter": "content_filter",
    "refusal": "content_filter",
}


def parse_completion(body: Mapping[str, Any]) -> ChatRequest:
    """Return the chat that asks for what the body of `POST /completions` asks for.

    Without `max_tokens` the answer is not capped: the 16 tokens of OpenAI's legacy models would cut the thoughts of
    today's. An `echo` is the renderer's to say. Raises `RequestRefused` for what no chat can do: several prompts,
    tokens, a suffix, the best of several answers, log-probabilities of the prompt.
    """
    n = body.get("n") or 1
    if body.get("suffix"):
        raise refuse("suffix")
    if (body.get("best_of") or 1) > n:
        raise refuse("best_of")
    logprobs = body.get("logprobs")
    asks_logprobs = logprobs is not None and logprobs is not False
    if body.get("echo") and asks_logprobs:
        raise refuse("echo", what="echo with logprobs")
    stop = body.get("stop")
    form = parse_response_format(body.get("response_format"))
    extras = {name: value for name, value in body.items() if name not in _READ}
    if form is None and body.get("response_format") is not None:
        extras["response_format"] = body["response_format"]
    return ChatRequest(
        model=body["model"],
        messages=[Message(role="user", content=[TextPart(text=prompt_of(body))])],
        dialect=DIALECT,
        response_format=form,
        sampling=Sampling(
            **{name: body[name] for name in _SAMPLING if body.get(name) is not None},
            logprobs=True if asks_logprobs else None,
            top_logprobs=logprobs if asks_logprobs and logprobs is not True else None,
            stop=[stop] if isinstance(stop, str) else stop or [],
        ),
        max_output_tokens=body.get("max_tokens"),
        n=n,
        stream=bool(body.get("stream")),
        user=body.get("user"),
        extras=extras,
    )


def prompt_of(body: Mapping[str, Any]) -> str:
    """Return the one prompt. Raises `RequestRefused` for several, for tokens and for none."""
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if isinstance(prompt, str):
        return prompt
    if not prompt:
        raise refuse("prompt", what="a completion without a prompt")
    is_text = isinstance(prompt, list) and isinstance(prompt[0], str)
    raise refuse("prompt", what="more than one prompt" if is_text else "a prompt of tokens")


def echo_of(body: Mapping[str, Any]) -> str:
    """Return what every answer begins with: the prompt, if its echo is asked for."""
    return prompt_of(body) if body.get("echo") else ""


def render_text_completion(completion: Completion, *, model: str, echo: str = "") -> dict[str, Any]:
    """Return the body of a text completion; `model` is the name that the client asked for."""
    body: dict[str, Any] = {
        "id": completion.id,
        "object": "text_completion",
        "created": completion.created,
        "model": model,
        "choices": [_render_choice(choice, echo=echo) for choice in completion.choices],
    }
    return body if completion.usage is None else body | {"usage": write_usage(completion.usage)}


def _render_choice(choice: Choice, *, echo: str) -> dict[str, Any]:
    said = [part.text for part in choice.content if isinstance(part, TextPart | RefusalPart)]
    return {
        "text": echo + "".join(said),
        "index": choice.index,
        "logprobs": write_logprobs(choice.logprobs, offset=len(echo)),
        "finish_reason": _REASONS.get(choice.finish_reason, "stop"),
    }


def write_logprobs(logprobs: Any, *, offset: int) -> dict[str, Any] | None:
    """Return log-probabilities of chat completions in the form of text completions.

    `offset` is where the first token begins, in characters of the choice's text.
    """
    tokens = objects(fields(logprobs).get("content"))
    if not tokens:
        return None
    written: dict[str, Any] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
    for token in tokens:
        word = str(token.get("token") or "")
        written["tokens"].append(word)
        written["token_logprobs"].append(token.get("logprob"))
        best = objects(token.get("top_logprobs")) or [token]
        written["top_logprobs"].append({str(other.get("token") or ""): other.get("logprob") for other in best})
        written["text_offset"].append(offset)
        offset += len(word)
    return written


class TextRenderer:
    """Renders the events of one answer as text completion chunks, each a server-sent event.

    `include_usage` is whether the client asked for the usage chunk; `echo` is what every choice begins with. The
    terminator is not written here: whoever settles the call writes it.
    """

    __slots__ = ("_echo", "_head", "_include_usage", "_offsets", "usage")

    def __init__(self, *, model: str, include_usage: bool, echo: str = "") -> None:
        self._head: dict[str, Any] = {"id": "", "object": "text_completion", "created": 0, "model": model}
        self._include_usage = include_usage
        self._echo = echo
        self._offsets: dict[int, int] = {}
        self.usage: Usage | None = None

    def feed(self, event: ChatEvent) -> bytes:
        """Return the frames that say `event`: none for what is no text, such as reasoning."""
        match event:
            case Started():
                self._head["id"] = event.id
                self._head["created"] = event.created
            case UsageReported():
                self.usage = event.usage
            case TextDelta() if event.text or event.logprobs is not None:
                return self._frame(event.choice, event.text, logprobs=event.logprobs)
            case Finished():
                return self._frame(event.choice, "", reason=_REASONS.get(event.reason, "stop"))
        return b""

    def finish(self) -> bytes:
        """Return the usage chunk if the client asked for it."""
        if not self._include_usage or self.usage is None:
            return b""
        return _encode({**self._head, "choices": [], "usage": write_usage(self.usage)})

    def _frame(self, choice: int, text: str, *, reason: str | None = None, logprobs: Any = None) -> bytes:
        offset = self._offsets.get(choice)
        if offset is None:
            offset = len(self._echo)
            text = self._echo + text
            self._offsets[choice] = len(text)
        else:
            self._offsets[choice] = offset + len(text)
        said = {
            "text": text,
            "index": choice,
            "logprobs": write_logprobs(logprobs, offset=offset),
            "finish_reason": reason,
        }
        chunk = {**self._head, "choices": [said]}
        if self._include_usage:
            chunk["usage"] = None
        return _encode(chunk)


def _encode(chunk: dict[str, Any]) -> bytes:
    return sse.encode(msgspec.json.encode(chunk))
