"""Responses that go to a vendor as the client sent them: the edits of the body, and who watches the answer."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from providers.answers import fields
from providers.errors import RequestRefused
from providers.framing.members import splice
from providers.openai.responses.inspect import ResponseStreamInspector, WholeResponse
from providers.openai.responses.seals import is_foreign
from providers.openai.responses.wire import PATH, RESPONSE_DELETE, RESPONSE_GET, RESPONSES
from providers.protocol import Inspector
from providers.signatures import holds_seal
from providers.types import RelayRequest

CAP = "max_output_tokens"
STORED = frozenset({RESPONSE_GET, RESPONSE_DELETE})
OPERATIONS = frozenset({RESPONSES, *STORED})
_METHODS = {RESPONSE_GET: "GET", RESPONSE_DELETE: "DELETE"}


def place_of(request: RelayRequest) -> tuple[str, str]:
    """Return the method and the path of a request. Raises `RequestRefused` where no stored response is named."""
    if request.operation == RESPONSES:
        return "POST", PATH
    if not request.subject:
        raise RequestRefused("no stored response is named", status=404)
    return _METHODS[request.operation], f"{PATH}/{quote(request.subject, safe='')}"


def edited(request: RelayRequest, *, model: str, keeps: bool) -> bytes:
    """Return the body with the upstream model's name, within the cap, and without what only the gateway understands.

    `keeps` is whether the vendor stores responses: one that does not may refuse to be asked for it.
    """
    if request.operation != RESPONSES:
        return b""
    document = request.document
    put, drop = dict(request.edits.put), request.edits.drop
    if document.get("model") != model:
        put["model"] = msgspec.json.encode(model)
    if request.output_cap is not None and not 0 < (document.get(CAP) or 0) <= request.output_cap:
        put[CAP] = b"%d" % request.output_cap
    if document.get("store") and "store" not in put and not keeps:
        drop |= {"store"}
    if holds_seal(request.body) and "input" not in put:
        put |= _without_foreign_reasoning(document)
    if not (put or drop or request.edits.rename):
        return request.body
    return splice(request.body, put=put, drop=drop, rename=request.edits.rename)


def _without_foreign_reasoning(document: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the input without reasoning that another vendor signed: to this one it would be forged."""
    items = document.get("input")
    if not isinstance(items, list):
        return {}
    kept = [item for item in items if not is_foreign(fields(item).get("encrypted_content"))]
    return {} if len(kept) == len(items) else {"input": msgspec.json.encode(kept)}


def response_inspector(request: RelayRequest) -> Inspector:
    """Return an inspector for the answer to `request`."""
    if request.operation in STORED:
        return WholeResponse(is_billed=False)
    return ResponseStreamInspector() if request.stream else WholeResponse()
