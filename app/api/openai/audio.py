"""`POST /v1/audio/speech`, `/transcriptions` and `/translations`: text as sound, and sound as text."""

from collections.abc import Mapping
from typing import Any

from app.api.addresses import check_media_url
from app.api.body import FORM_TYPE
from app.api.errors import openai_body
from app.api.openai.paths import late_error
from app.api.openai.relayed import check_needed, relayed_operation
from app.api.openai.shapes import NUMBER, TEXT, Rule, check_common, wrong
from app.api.understanding import Call, Wire
from app.kernel.errors import InvalidRequest
from app.pipeline.operation import Asked
from providers.openai.wire import SPEECH, TRANSCRIPTIONS, TRANSLATIONS

_SPEECH_RULES: dict[str, Rule] = {
    **dict.fromkeys(("input", "instructions", "response_format", "stream_format"), TEXT),
    "speed": NUMBER,
    "voice": Rule(lambda value: isinstance(value, str | dict), "the name of a voice, or an object"),
}
_TRUE = frozenset({"true", "1"})
_READ_BY_US = frozenset({"model", "stream", "file", "url", "gateway"})


def _read_speech(document: Mapping[str, Any], call: Call) -> Asked:
    del call
    model = check_common(document)
    check_needed(document, _SPEECH_RULES, ("input",))
    return Asked(model=model, stream=True, framing="sse" if document.get("stream_format") == "sse" else "raw")


def _read_form(document: Mapping[str, Any], call: Call) -> Asked:
    """Check a form with a recording: a file, or a URL where a provider takes one. All other fields are text."""
    del call
    model = check_common(document)
    for name, value in document.items():
        if name.partition("[")[0].casefold() in _READ_BY_US and name not in _READ_BY_US:
            # A server that reads `model[]` or `model[0]` as a list would take it for `model`.
            raise InvalidRequest(f"{name} is not accepted here", code="unknown_parameter", param=name)
        if isinstance(value, dict) and name in _READ_BY_US - {"file", "gateway"}:
            raise wrong(name, "text, not a file")
    if isinstance(url := document.get("url"), str):
        check_media_url(url, "url")
    elif not isinstance(document.get("file"), dict):
        raise wrong("file", "a file")
    return Asked(model=model, stream=str(document.get("stream", "")).lower() in _TRUE)


SPEECH_WIRE = Wire(
    operation=relayed_operation("speech", relay=SPEECH, endpoint="/v1/audio/speech", generates=True),
    read=_read_speech,
    say_error=openai_body,
    say_late_error=late_error,
)
# A model that cannot stream a transcript sends it whole, and no comment may stand before that.
TRANSCRIPTIONS_WIRE, TRANSLATIONS_WIRE = (
    Wire(
        operation=relayed_operation(name, relay=relay, endpoint=f"/v1/audio/{name}", generates=True),
        read=_read_form,
        say_error=openai_body,
        say_late_error=late_error,
        media_type=FORM_TYPE,
        keeps_alive=False,
    )
    for name, relay in (("transcriptions", TRANSCRIPTIONS), ("translations", TRANSLATIONS))
)
