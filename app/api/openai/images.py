"""`POST /v1/images/generations`: pictures of what a prompt describes, whole or as they become clearer."""

from collections.abc import Mapping
from typing import Any

from app.api.errors import openai_body
from app.api.openai.paths import late_error
from app.api.openai.relayed import check_needed, relayed_operation
from app.api.openai.shapes import FLAG, TEXT, WHOLE, Rule, check_common
from app.api.understanding import Call, Wire
from app.pipeline.operation import Asked
from providers.openai.wire import IMAGES

_RULES: dict[str, Rule] = {
    **dict.fromkeys(("n", "partial_images", "output_compression"), WHOLE),
    **dict.fromkeys(("prompt", "size", "quality", "background", "output_format", "response_format"), TEXT),
    "stream": FLAG,
}


def _read(document: Mapping[str, Any], call: Call) -> Asked:
    del call
    model = check_common(document)
    check_needed(document, _RULES, ("prompt",))
    return Asked(model=model, stream=bool(document.get("stream")))


IMAGES_WIRE = Wire(
    operation=relayed_operation("images", relay=IMAGES, endpoint="/v1/images/generations", generates=True),
    read=_read,
    say_error=openai_body,
    say_late_error=late_error,
)
