"""Canonical requests in the words of generateContent, and its answers read back.

Source: https://ai.google.dev/api/generate-content, read 2026-11.
"""

from typing import Any

from providers.answers import objects, read_object
from providers.carry import SUMMARY, carry, unsaid_names
from providers.errors import BadAnswer, StreamInterrupted
from providers.framing import sse
from providers.framing.decoder import FrameDecoder
from providers.gemini.candidates import AnswerReader
from providers.gemini.config import PREFIX, may_not_rest, thinks, write_config
from providers.gemini.errors import error_in_stream, error_object
from providers.gemini.tools import CONFIG, write_choice, write_tools
from providers.gemini.turns import write_turns
from providers.gemini.wire import DIALECT
from providers.stream import collect
from providers.types import ChatEvent, ChatRequest, Completion, ImagePart

_CANNOT = frozenset({"logit_bias", "parallel_tool_calls", "user", "metadata"})
_SAFETY = {"safetySettings": "safetySettings", "safety_settings": "safetySettings"}

_BETWEEN = b",\r\n{"
"""What stands between two elements of a streamed array, with the beginning of the second."""


def write_generate(request: ChatRequest, *, model: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the body, and the names of what is left out. Raises `RequestRefused` (`providers.carry`)."""
    cannot = _CANNOT if thinks(model) else _CANNOT | {"reasoning_effort"}
    reads = {*_SAFETY, *((SUMMARY,) if thinks(model) else ())}
    dropped = carry(request, dialect=DIALECT, cannot=cannot, reads=reads)
    instruction, contents = write_turns(request, model=model)
    tools, hosted = write_tools(request)
    body: dict[str, Any] = {
        "systemInstruction": instruction,
        "contents": contents,
        "tools": tools or None,
        CONFIG: write_choice(request),
        "generationConfig": write_config(request, model=model) or None,
        **_extras(request),
    }
    details = ("detail",) if _has_details(request) else ()
    restless = ("reasoning_effort",) if may_not_rest(request, model=model) else ()
    unsaid = (*details, *restless, *unsaid_names(request.messages))
    return {name: value for name, value in body.items() if value is not None}, (*dropped, *hosted, *unsaid)


def _extras(request: ChatRequest) -> dict[str, Any]:
    """Return the fields beside those that are said canonically."""
    if request.dialect != DIALECT:
        return {_SAFETY[name]: value for name, value in request.extras.items() if name in _SAFETY}
    return {name: value for name, value in request.extras.items() if name != CONFIG and not name.startswith(PREFIX)}


def _has_details(request: ChatRequest) -> bool:
    """Whether the request says how closely an image is to be looked at, which this wire cannot."""
    images = (part for message in request.messages for part in message.content if isinstance(part, ImagePart))
    return any(image.detail not in (None, "auto") for image in images)


def read_completion(body: bytes) -> Completion:
    """Read an answer that was not streamed.

    Raises `BadAnswer`, `ContentBlocked` if the prompt was refused, and what an error in its place reports.
    """
    answer = read_object(body)
    if answer.get("error"):
        raise error_in_stream(answer["error"])
    reader = AnswerReader()
    events = reader.read(answer)
    if not objects(answer.get("candidates")):
        raise BadAnswer("the provider's answer has no candidates")
    return collect([*events, *reader.close(is_whole=True)])


class ElementDecoder:
    """Reads a streamed answer that stands in a JSON array, as clients get it who ask for no events."""

    def __init__(self) -> None:
        self._chunks = ChunkDecoder()

    @property
    def is_finished(self) -> bool:
        """Whether an error has been read."""
        return self._chunks.is_finished

    def feed(self, data: bytes) -> list[ChatEvent]:
        """Take the next elements, whole ones; return the events that they say."""
        elements = data.strip().removeprefix(b"[").removeprefix(b",").removesuffix(b"]").strip()
        frames = [sse.encode(b"{" + each if at else each) for at, each in enumerate(elements.split(_BETWEEN)) if each]
        return self._chunks.feed(b"".join(frames))

    def finish(self) -> list[ChatEvent]:
        """Return the ends of the candidates. Raises `StreamInterrupted`."""
        return self._chunks.finish()


class ChunkDecoder(FrameDecoder[bytes]):
    """Reads a streamed answer into events.

    The wire has no terminator: an answer is complete when the body ends and every candidate has said why it ended. An
    error in the stream is raised when what came before it is taken.
    """

    __slots__ = ("_reader",)

    def __init__(self) -> None:
        super().__init__(sse.FrameSplitter())
        self._reader = AnswerReader()

    def end(self) -> list[ChatEvent]:
        """Return the ends of the candidates. Raises `StreamInterrupted`, or an error that stands in no frame."""
        if rest := self.frames.rest.strip():
            # An error may stand in the body as it is, without a frame around it.
            error = error_object(rest)
            raise error_in_stream(error) if error else StreamInterrupted
        events = self._reader.close()
        self.is_done = True
        return events

    def read_frame(self, frame: bytes) -> list[ChatEvent]:
        """Return what a chunk says."""
        data = sse.data_of(frame)
        if not data:
            return []
        chunk = read_object(data)
        if chunk.get("error") is not None:
            raise error_in_stream(chunk["error"])
        return self._reader.read(chunk)
