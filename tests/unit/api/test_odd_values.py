"""Whatever stands in any place of a body: it is refused by its path, or understood and said to every kind of vendor.

Law: nothing that a client sends is a defect of ours, so that no value of any type, wherever it stands, raises anything
but a refusal.
"""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from app.api.addresses import check_addresses
from app.api.understanding import Call, Wire
from app.api.wires import WIRES
from app.gateway.spans import asked_of
from app.kernel.errors import GatewayError
from app.limits.estimate import measure
from app.pipeline.hosted import find_hosted_tool
from app.pipeline.mentions import find_mentions
from app.pipeline.options import read_options
from app.pipeline.references import find_references
from app.routing.sticky import sticky_key
from providers.errors import ConnectFailed, ProviderError
from providers.protocol import Adapter
from providers.registry import Registry
from providers.testing.sender import ScriptedSender
from providers.types import ChatRequest, Secret, Target

RICH: dict[str, list[dict[str, Any]]] = json.loads(Path(__file__).with_name("rich_bodies.json").read_text())
TURNS = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "x"}]},
    "/v1/messages": {"max_tokens": 9, "messages": [{"role": "user", "content": "x"}]},
    "/v1/responses": {"input": "x"},
    "/v1beta/models/{rest:path}": {"contents": [{"role": "user", "parts": [{"text": "x"}]}]},
    "/v1/completions": {"prompt": "x"},
    "/v1/embeddings": {"input": "x"},
}
VALUES: list[Any] = [None, "", "x", 7, 10**30, True, [], {}, [[]], [{"type": {}}], {"type": []}, {"a": None}]
MODELS = {
    "openai": "gpt-5",
    "openrouter": "x/y",
    "anthropic": "claude-sonnet-4-5",
    "gemini": "gemini-3-pro",
    "bedrock": "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    "cohere": "command-a",
    "mistral": "mistral-large",
    "ollama": "llama3",
    "tgi": "m",
    "native": "m",
}
WIRE = {wire.route: wire for wire in WIRES}
Place = tuple[str | int, ...]


def vendor(name: str) -> tuple[Adapter, Target]:
    """Return a vendor that nobody can connect to."""
    plugin = Registry().find(name)
    options = {"bedrock": {"region": "us-east-1"}, "tgi": {"chat_template": "chatml"}}.get(name, {})
    where = Target(provider=name, model=MODELS[name], base_url=plugin.base_url or "http://x", credential=Secret("sk-1"))
    return plugin.open(ScriptedSender(ConnectFailed()), plugin.options(**options)), where


VENDORS = [vendor(name) for name in MODELS]


def places(value: Any, place: Place = ()) -> Iterator[Place]:
    """Yield every place in a value but its own."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in inner:
        yield (*place, name)
        yield from places(each, (*place, name))


def alone(body: dict[str, Any], place: Place, *, route: str) -> tuple[dict[str, Any], Place]:
    """Return a body with one field beside its turn, of whose lists only what leads to a place is left."""
    value = node = copy.deepcopy(body[str(place[0])])
    path: list[str | int] = [place[0]]
    for name in place[1:]:
        kept = node[name]
        if isinstance(node, list):
            node[:] = [kept]
        path.append(0 if isinstance(node, list) else name)
        node = kept
    return {**TURNS[route], str(place[0]): value}, tuple(path)


def with_value(body: dict[str, Any], place: Place, value: Any) -> dict[str, Any]:
    """Return a body that has a value in a place."""
    changed = node = copy.deepcopy(body)
    for name in place[:-1]:
        node = node[name]  # type: ignore[index]  # a name of a dict, or a position in a list
    node[place[-1]] = value  # type: ignore[index]  # as above
    return changed


def tell(adapter: Adapter, request: Any, target: Target) -> None:
    """Say a request to a vendor, up to where it would be connected to."""
    call = adapter.chat(request, target) if isinstance(request, ChatRequest) else adapter.embed(request, target)
    with pytest.raises(ProviderError):
        call.send(None)  # type: ignore[attr-defined]  # an adapter's methods are coroutines


def understand(wire: Wire, body: dict[str, Any]) -> None:
    """Do all that is done with a body before anybody is called; raises what refuses it."""
    document = {"model": "m", **body} if "{" not in wire.route else body
    asked = wire.read(document, Call("m:generateContent", "") if "{" in wire.route else Call("", ""))
    measure(document, size_bytes=len(msgspec.json.encode(document)))
    mentions = find_mentions(document)
    find_references(document, mentions)
    find_hosted_tool(document)
    sticky_key("prefix", organization_id=UUID(int=1), session=None, document=document)
    asked_of(document)
    vocabulary = wire.operation.vocabulary
    for ask in (vocabulary.asked_cap, vocabulary.odd_cap, vocabulary.rival_cap, vocabulary.asked_choices):
        ask(document)
    vocabulary.system_prefix(document, "Be kind.")
    check_addresses(mentions)
    read_options({}, document.get("gateway"))
    if wire.operation.parse is None:
        return
    request = wire.operation.parse(document, asked)
    for adapter, target in VENDORS:
        tell(adapter, request, target)


@pytest.mark.parametrize("route", RICH)
def test_no_value_in_any_place_is_a_defect(route):
    wire, defects, understood = WIRE[route], {}, 0
    for body in RICH[route]:
        for place in list(places(body)):
            least, where = alone(body, place, route=route)
            for value in VALUES:
                try:
                    understand(wire, with_value(least, where, value))
                except (GatewayError, ProviderError):
                    pass
                except Exception as error:  # noqa: BLE001 - whatever it is, it is a defect
                    defects[place, repr(value)[:30]] = repr(error)
                else:
                    understood += 1
    assert defects == {}
    assert understood > 50
