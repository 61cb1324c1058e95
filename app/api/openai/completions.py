"""`POST /v1/completions`: legacy text completions, relayed where they are served and otherwise said as chats."""

from collections.abc import Mapping
from typing import Any

import msgspec

from app.api.errors import openai_body
from app.api.openai.paths import late_error, wants_usage
from app.api.openai.shapes import (
    FLAG,
    NUMBER,
    OBJECT,
    STOP,
    STREAM_OPTIONS,
    TEXT,
    WHOLE,
    Rule,
    are_inputs,
    check_common,
    check_fields,
)
from app.api.understanding import Call, Wire
from app.pipeline.exchange import Exchange
from app.pipeline.operation import Asked, Operation, Reader, StreamRenderer
from app.routing.vocabulary import Vocabulary
from providers.openai import completions, render
from providers.openai.text_answers import TextDecoder, read_text_completion
from providers.openai.wire import COMPLETIONS
from providers.types import ChatEvent, ChatRequest, Completion

_encode = msgspec.json.encode


def _is_prompt(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and bool(value) and are_inputs(value))


_RULES: dict[str, Rule] = {
    **dict.fromkeys(("temperature", "top_p", "frequency_penalty", "presence_penalty"), NUMBER),
    **dict.fromkeys(("n", "best_of", "max_tokens", "seed", "top_k"), WHOLE),
    **dict.fromkeys(("stream", "echo"), FLAG),
    "logprobs": Rule(lambda value: isinstance(value, int), "a whole number"),
    "prompt": Rule(_is_prompt, "text, a list of texts, or lists of token ids"),
    "suffix": TEXT,
    "logit_bias": OBJECT,
    "stop": STOP,
    "stream_options": STREAM_OPTIONS,
}


class _Words(Vocabulary, frozen=True, kw_only=True):
    """The words of text completions, where every prompt has its own answers, and the best of several costs them all."""

    def asked_choices(self, document: Mapping[str, Any]) -> int:
        """Return how many answers the provider makes."""
        prompt = document.get("prompt")
        prompts = len(prompt) if isinstance(prompt, list) and not isinstance(prompt[0], int) else 1
        return prompts * super().asked_choices(document)


def _prefix_prompt(document: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Begin every prompt of text with the operator's instructions; one of tokens has no place for them."""
    prompt = document.get("prompt")
    if isinstance(prompt, list):
        return {"prompt": [_prefixed(each, prefix) for each in prompt]}
    return {"prompt": _prefixed(prompt, prefix)}


def _prefixed(prompt: Any, prefix: str) -> Any:
    return f"{prefix}\n\n{prompt}" if isinstance(prompt, str) else prompt


class _TextStream:
    """A stream of text completion chunks, terminator included."""

    __slots__ = ("_chunks",)

    def __init__(self, exchange: Exchange) -> None:
        self._chunks = completions.TextRenderer(
            model=exchange.route.name,
            include_usage=exchange.asked.keep_usage,
            echo=completions.echo_of(exchange.document),
        )

    def feed(self, event: ChatEvent) -> bytes:
        """Return the chunks that say `event`."""
        return self._chunks.feed(event)

    def finish(self) -> bytes:
        """Return the usage chunk, if asked for, and `[DONE]`."""
        return self._chunks.finish() + render.DONE


class TextRenderer:
    """Says canonical answers as text completions."""

    def whole(self, exchange: Exchange, answer: Completion) -> bytes:
        """Return the body of an answer."""
        echo = completions.echo_of(exchange.document)
        return _encode(completions.render_text_completion(answer, model=exchange.route.name, echo=echo))

    def stream(self, exchange: Exchange) -> StreamRenderer:
        """Return a renderer for one stream."""
        return _TextStream(exchange)


def _read(document: Mapping[str, Any], call: Call) -> Asked:
    del call
    model = check_common(document)
    check_fields(document, _RULES)
    return Asked(model=model, stream=bool(document.get("stream")), keep_usage=wants_usage(document))


def _parse(document: Mapping[str, Any], asked: Asked) -> ChatRequest:
    del asked
    return completions.parse_completion(document)


COMPLETIONS_WIRE = Wire(
    operation=Operation(
        name="completions",
        relay=COMPLETIONS,
        endpoint="/v1/completions",
        parse=_parse,
        renderer=TextRenderer(),
        reader=Reader(whole=read_text_completion, decoder=lambda _: TextDecoder()),
        has_choices=True,
        vocabulary=_Words(
            paths={"max_completion_tokens": "max_tokens", "top_logprobs": "logprobs"},
            lacks=frozenset({"parallel_tool_calls", "reasoning_effort", "tool_choice", "tools"}),
            caps=("max_tokens",),
            choices=("n", "best_of"),
            rivals=("n_predict",),
            system_prefix=_prefix_prompt,
        ),
    ),
    read=_read,
    say_error=openai_body,
    say_late_error=late_error,
)
