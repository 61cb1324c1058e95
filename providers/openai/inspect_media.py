"""Inspectors of relayed answers that are no chat: pictures, sounds, transcripts, verdicts, rankings.

None of their streams says `[DONE]` of itself: each kind has an event that ends it.
Source: https://developers.openai.com/api/reference/resources/audio, read 2026-11.
"""

import re
from typing import Any

import msgspec

from providers.answers import count, fields, shares, without
from providers.errors import BadAnswer, StreamInterrupted
from providers.framing import sse
from providers.framing.inspector import Watch
from providers.openai import media
from providers.openai.errors import error_in_stream
from providers.openai.wire import IMAGES, SPEECH
from providers.types import RelayRequest, Usage

_MAX_EVENT_BYTES = 32 * 1024 * 1024
_DONE = b"[DONE]"
_FINAL = frozenset({"image_generation.completed", "speech.audio.done", "transcript.text.done"})
_CONTENT = re.compile(r"\.(partial_image|delta|segment)\Z")
_TELLING = (b'"usage"', b"error", b'.done"', b'.completed"', _DONE)
"""What stands in every event that is more than content."""
_HEARD = b'"delta":'
"""What stands once in every event with a piece of a transcript, which is about a token."""
_EVENTS_BEGIN = re.compile(rb"(?:\xef\xbb\xbf)?[\r\n]*(?:data:|event:|id:|retry:|:)")
_TOLD_BYTES = 8
"""How many bytes tell events from another body."""
_TEXTS = ("text", "srt", "vtt")
_MAX_JSON_BYTES = 4 * 1024 * 1024


class _Answer(msgspec.Struct):
    """What is read of an answer or an event, whatever its types are."""

    type: Any = None
    text: Any = None
    usage: Any = None
    svg_usage: Any = None
    meta: Any = None
    error: Any = None
    choices: Any = None
    data: msgspec.Raw = msgspec.Raw()


_COUNTS = [field.name for field in msgspec.structs.fields(Usage) if field.type is int]
_decode = msgspec.json.Decoder(_Answer).decode


def media_inspector(request: RelayRequest) -> "WholeMediaInspector | SoundInspector | EventInspector":
    """Return an inspector for the answer to `request`."""
    operation = request.operation
    if operation == SPEECH and not (request.stream and media.wants_events(request.document)):
        return SoundInspector(request, is_whole=not request.stream)
    if request.stream:
        pictures = count(request.document.get("n")) if operation == IMAGES else None
        return EventInspector(request, finals=pictures or 1)
    return WholeMediaInspector(request, is_text=request.document.get("response_format") in _TEXTS)


def read_media_usage(answer: _Answer, operation: str) -> Usage | None:
    """Return the tokens of an answer in any of the forms that they are told in; `None` where they are not told.

    A duration is no count of tokens. Drawing as SVG is written by a model of its own, whose tokens come on top. An
    output of which no details are told was what the operation makes: pictures or sound.
    Source: https://docs.cohere.com/reference/rerank, https://jina.ai/reranker, read 2026-11.
    """
    told = fields(answer.usage) or fields(fields(answer.meta).get("tokens"))
    given, written = _first(told, "input_tokens", "prompt_tokens"), _first(told, "output_tokens", "completion_tokens")
    total = count(told.get("total_tokens"))
    if given is None and written is None and total is None:
        return None
    if given is None:
        given = max(0, (total or 0) - (written or 0))
    details = _details(told, "input_tokens_details", "prompt_tokens_details", "input_token_details")
    cached = min(count(details.get("cached_tokens")) or 0, given)
    kept = fields(details.get("cached_tokens_details"))
    audio_in, image_in = shares(
        given - cached,
        without(details.get("audio_tokens"), kept.get("audio_tokens")),
        without(details.get("image_tokens"), kept.get("image_tokens")),
    )
    drawn = fields(answer.svg_usage)
    drawn_output = count(drawn.get("output_tokens")) or 0
    made = _details(told, "output_tokens_details", "completion_tokens_details") or _makes(operation, written or 0)
    audio_out, image_out = shares(written or 0, made.get("audio_tokens"), made.get("image_tokens"))
    return Usage(
        input_tokens=given - cached + (count(drawn.get("input_tokens")) or 0),
        output_tokens=(written or 0) + drawn_output,
        cache_read_tokens=cached,
        reasoning_tokens=min(count(drawn.get("reasoning_tokens")) or 0, drawn_output),
        audio_input_tokens=audio_in,
        image_input_tokens=image_in,
        audio_output_tokens=audio_out,
        image_output_tokens=image_out,
    )


def _details(told: dict[str, Any], *names: str) -> dict[str, Any]:
    return next((found for name in names if (found := fields(told.get(name)))), {})


def _makes(operation: str, tokens: int) -> dict[str, Any]:
    """Return the details of an output that are known without being told."""
    if operation == IMAGES:
        return {"image_tokens": tokens}
    return {"audio_tokens": tokens} if operation == SPEECH else {}


def _pictures(answer: _Answer) -> int:
    """Return how many pictures a whole answer holds; they are not decoded."""
    try:
        return len(msgspec.json.decode(answer.data, type=list[msgspec.Raw]))
    except (msgspec.DecodeError, RecursionError):
        return 0


def _first(told: dict[str, Any], *names: str) -> int | None:
    return next((found for name in names if (found := count(told.get(name))) is not None), None)


class _MediaInspector(Watch):
    """What all have in common: the usage is estimated until it is told; pictures are counted in any case."""

    __slots__ = ("_estimate", "_operation", "_spoken_tokens")

    def __init__(self, request: RelayRequest) -> None:
        super().__init__()
        self._operation = request.operation
        self._spoken_tokens = media.spoken_tokens(request) if request.operation == SPEECH else 0
        self.usage = self._estimate = media.estimate(request)

    def guess(self, *, images: int = 0, text_bytes: int = 0) -> Usage:
        """Return what the request comes to with an answer of so many pictures, or with so much text."""
        drawn, spoken = media.drawn_tokens(images), self._spoken_tokens
        said = media.text_tokens(text_bytes) if self._operation in media.HEARD else 0
        return msgspec.structs.replace(
            self._estimate,
            output_tokens=drawn + spoken + said,
            image_output_tokens=drawn,
            audio_output_tokens=spoken,
            images=images,
        )

    def read_whole(self, answer: _Answer) -> None:
        """Take over what a whole answer tells of its usage."""
        usage = read_media_usage(answer, self._operation)
        images = _pictures(answer) if self._operation == IMAGES else 0
        if usage is None:
            self.usage = self.guess(images=images, text_bytes=_text_bytes(answer))
        else:
            self.usage = msgspec.structs.replace(usage, images=images) if images else usage


class WholeMediaInspector(_MediaInspector):
    """Reads the usage of an answer that is not streamed: a JSON object, or a transcript as text."""

    __slots__ = ("_is_text",)

    def __init__(self, request: RelayRequest, *, is_text: bool = False) -> None:
        """Make an inspector; `is_text` is whether the answer may be something else than JSON."""
        super().__init__(request)
        self._is_text = is_text

    def feed(self, data: bytes) -> bytes:
        """Take the whole body. Raises `BadAnswer` if it is not of the form that was asked for."""
        answer = _answer_or_none(data)
        if answer is not None:
            self.read_whole(answer)
        elif self._is_text:
            self.usage = self.guess(text_bytes=len(data))
        else:
            raise BadAnswer("the provider's answer is not a JSON object")
        self.has_content = self.is_finished = True
        return data


class SoundInspector(_MediaInspector):
    """Lets a body of bytes pass. It is complete where the transport says that it ends."""

    __slots__ = ("_is_whole",)

    def __init__(self, request: RelayRequest, *, is_whole: bool) -> None:
        """Make an inspector; `is_whole` is whether the body comes at once."""
        super().__init__(request)
        self._is_whole = is_whole

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes. Raises `BadAnswer` if there are none where all should be."""
        if self._is_whole and not data:
            raise BadAnswer("the provider's answer is empty")
        if data and not self.has_content:
            self.has_content = True
            self.usage = self.guess()
        self.is_finished = self._is_whole
        return data

    def end(self) -> bytes:
        """Take the end of the body."""
        self.is_finished = True
        return b""


class EventInspector(_MediaInspector):
    """Watches events: content, usage, errors and the event that ends them, of which pictures have one each.

    A body that turns out to be no events passes as it comes: models that cannot stream a transcript send it whole.
    """

    __slots__ = ("_begun", "_finals", "_frames", "_gathered", "_is_events", "_told")

    def __init__(self, request: RelayRequest, *, finals: int = 1) -> None:
        """Make an inspector of a stream that ends with `finals` final events, or with `[DONE]`."""
        super().__init__(request)
        self._frames = sse.LongFrameSplitter(_MAX_EVENT_BYTES)
        self._finals = finals
        self._begun: bytes | None = b""
        self._is_events = False
        self._gathered = bytearray()
        self._told: Usage | None = None

    def feed(self, data: bytes) -> bytes:
        """Take bytes in any cut; return complete frames."""
        if self._begun is not None:
            data = self._begun + data
            if len(data.lstrip(b"\r\n")) < _TOLD_BYTES:
                self._begun = data
                return b""
            self._begun = None
            self._is_events = _EVENTS_BEGIN.match(data) is not None
        return self._feed_events(data) if self._is_events else self._feed_other(data)

    def end(self) -> bytes:
        """Take the end of a body that has not said its last event: it must be no events, or one picture complete.

        Raises `StreamInterrupted` if it was cut.
        """
        rest = b""
        if self._begun is not None:
            self._is_events = _EVENTS_BEGIN.match(self._begun) is not None
            rest = self._feed_other(self._begun)
        if self._is_events and (self._told is None or self.error is not None or self._frames.rest.strip()):
            raise StreamInterrupted
        if (answer := _answer_or_none(bytes(self._gathered))) is not None:
            self.read_whole(answer)
        elif self._gathered and self._operation == IMAGES:
            # Pictures that came whole, and too long to be read: as many as were asked for.
            self.usage = self.guess(images=self._finals)
        elif not self._is_events:
            self.usage = self.guess(text_bytes=len(self._gathered))
        self.is_finished = True
        return rest

    def _feed_other(self, data: bytes) -> bytes:
        if len(self._gathered) < _MAX_JSON_BYTES:
            self._gathered += data
        self.has_content = self.has_content or bool(data)
        return data

    def _feed_events(self, data: bytes) -> bytes:
        if self.is_finished or self.error is not None:
            return b""
        try:
            complete = self._frames.take(data)
        except sse.FrameTooLarge:
            raise BadAnswer("the provider sent an event of more than 32 MiB", code="upstream_too_large") from None
        if self.has_content and not any(word in complete for word in _TELLING):
            self.output_tokens_seen += complete.count(_HEARD)
            return complete
        return b"".join([frame for frame in sse.split_frames(complete) if self._passes(frame)])

    def _passes(self, frame: bytes) -> bool:
        """Look at one frame; return whether the client gets it."""
        if self.is_finished or self.error is not None:
            return False
        data = sse.data_of(frame)
        if not data:
            return True
        if data.strip() == _DONE:
            self.is_finished = True
            return True
        event = _answer_or_none(data)
        if event is None:
            raise BadAnswer("the provider sent an event that is not a JSON object")
        if event.error is not None or event.type == "error" or sse.event_of(frame) == b"error":
            self.error = error_in_stream(event.error)
            return False
        self.output_tokens_seen += frame.count(_HEARD)
        self._note(event)
        return True

    def _note(self, event: _Answer) -> None:
        kind = event.type if isinstance(event.type, str) else ""
        if not self.has_content and (kind in _FINAL or _CONTENT.search(kind) or event.choices):
            self.has_content = True
            self.usage = self.guess() if self.usage is self._estimate else self.usage
        usage = read_media_usage(event, self._operation)
        if kind in _FINAL:
            self._finals -= 1
            images = 1 if self._operation == IMAGES else 0
            final = msgspec.structs.replace(usage or Usage(estimated=True), images=images)
            self._told = _sum(self._told, final)
            self.usage = self._untold(event, self._told.images) if self._told.estimated else self._told
            self.is_finished = self._finals <= 0
        elif usage is not None:
            self.usage = usage

    def _untold(self, event: _Answer, images: int) -> Usage:
        """Return what a final event that does not say it leaves to be known: what an event before it told, if any."""
        before = self.usage
        if before is None or before.estimated:
            return self.guess(images=images, text_bytes=_text_bytes(event))
        return msgspec.structs.replace(before, images=images)


def _text_bytes(answer: _Answer) -> int:
    """Return how long the text of a transcript is."""
    return len(answer.text.encode()) if isinstance(answer.text, str) else 0


def _sum(before: Usage | None, more: Usage) -> Usage:
    if before is None:
        return more
    counts = {name: getattr(before, name) + getattr(more, name) for name in _COUNTS}
    return Usage(**counts, estimated=before.estimated or more.estimated)


def _answer_or_none(data: bytes) -> _Answer | None:
    try:
        return _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
