"""`POST /v1/moderations`: whether texts and pictures are harmful."""

from collections.abc import Mapping
from typing import Any

from app.api.errors import openai_body
from app.api.openai.paths import late_error
from app.api.openai.relayed import relayed_operation
from app.api.openai.shapes import check_common, check_part, wrong
from app.api.understanding import Call, Wire
from app.pipeline.operation import Asked
from providers.openai.wire import MODERATIONS

DEFAULT_MODEL = "omni-moderation-latest"
"""What is asked where no model is named. Source: openai 3.57, `types.moderation_create_params`."""


def _read(document: Mapping[str, Any], call: Call) -> Asked:
    del call
    model = check_common(document if document.get("model") is not None else {**document, "model": DEFAULT_MODEL})
    _check_input(document.get("input"))
    return Asked(model=model)


def _check_input(given: Any) -> None:
    if isinstance(given, str):
        return
    if not isinstance(given, list) or not given:
        raise wrong("input", "text, a list of texts, or a list of parts")
    for position, part in enumerate(given):
        if not isinstance(part, str):
            check_part(part, f"input[{position}]")


MODERATIONS_WIRE = Wire(
    operation=relayed_operation("moderations", relay=MODERATIONS, endpoint="/v1/moderations", generates=False),
    read=_read,
    say_error=openai_body,
    say_late_error=late_error,
)
