"""The answers of Text Generation Inference, read: a text, or an event for each token of it.

Source: https://huggingface.github.io/text-generation-inference, read 2026-11; huggingface_hub 2.4,
`TextGenerationOutput`, `TextGenerationStreamOutput`.
"""

import hashlib
from typing import Any

from providers.answers import count, fields, read_object
from providers.errors import BadAnswer
from providers.framing import sse
from providers.framing.decoder import FrameDecoder
from providers.huggingface.errors import error_in_answer
from providers.types import (
    ChatEvent,
    Choice,
    Completion,
    Finished,
    FinishReason,
    Started,
    TextDelta,
    TextPart,
    Usage,
    UsageReported,
)

_FINISH_REASONS: dict[str, FinishReason] = {"length": "length", "eos_token": "stop", "stop_sequence": "stop"}


def read_completion(body: bytes) -> Completion:
    """Read an answer, which names neither itself nor its model. Raises `BadAnswer`.

    A server of version 3 counts the prompt's tokens of a whole answer only if it was started with
    `--enable-prefill-logprobs`. Source: https://huggingface.co/docs/text-generation-inference/conceptual/chunking,
    read 2026-11.
    """
    answer = read_object(body)
    if answer.get("error") is not None:
        raise error_in_answer(answer)
    said = answer.get("generated_text")
    if not isinstance(said, str):
        raise BadAnswer("the provider's answer has no generated text")
    details = fields(answer.get("details"))
    prefill = details.get("prefill")
    choice = Choice(index=0, content=[TextPart(text=said)] if said else [], finish_reason=_reason(details))
    return Completion(
        id=f"gen_{_digest(body)}",
        model="",
        created=0,
        choices=[choice],
        usage=_usage(len(prefill) if isinstance(prefill, list) and prefill else None, details),
    )


def _reason(details: dict[str, Any]) -> FinishReason:
    return _FINISH_REASONS.get(str(details.get("finish_reason")), "other")


def _usage(prompt: int | None, details: dict[str, Any]) -> Usage | None:
    output = count(details.get("generated_tokens"))
    return None if prompt is None or output is None else Usage(input_tokens=prompt, output_tokens=output)


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=12).hexdigest()


class TokenDecoder(FrameDecoder[bytes]):
    """Reads a streamed answer into events; the one with the details is the last."""

    __slots__ = ("_opened",)

    def __init__(self) -> None:
        super().__init__(sse.FrameSplitter())
        self._opened = False

    def read_frame(self, frame: bytes) -> list[ChatEvent]:
        """Return what an event says: a token, which is no text if it is a control token."""
        data = sse.data_of(frame)
        if not data or data.strip() == b"[DONE]":
            return []
        event = read_object(data)
        if event.get("error") is not None:
            raise error_in_answer(event)
        token = event.get("token")
        if not isinstance(token, dict):
            raise BadAnswer("the provider sent an event without a token")
        events: list[ChatEvent] = []
        if not self._opened:
            self._opened = True
            events.append(Started(id=f"gen_{_digest(data)}", model="", created=0))
        said = token.get("text")
        if isinstance(said, str) and said and token.get("special") is not True:
            events.append(TextDelta(text=said))
        return events + self._close(event) if isinstance(event.get("generated_text"), str) else events

    def _close(self, event: dict[str, Any]) -> list[ChatEvent]:
        self.is_done = True
        details = fields(event.get("details"))
        finished = Finished(reason=_reason(details))
        usage = _usage(count(details.get("input_length")), details)
        return [finished] if usage is None else [finished, UsageReported(usage=usage)]


def read_models(body: bytes) -> list[str]:
    """Read the name of the one model that the server has. Raises `BadAnswer`."""
    model = read_object(body).get("model_id")
    if not isinstance(model, str):
        raise BadAnswer("the provider's answer names no model")
    return [model]


__all__ = ["TokenDecoder", "read_completion", "read_models"]
