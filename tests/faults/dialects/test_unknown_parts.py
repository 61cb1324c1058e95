"""A part that only its own vendor knows is refused by its kind and place, whoever should have answered."""

from typing import Any, NamedTuple

import pytest
from faults.dialects.every_wire import WIRES
from faults.dialects.hall import Hall
from faults.dialects.wires import Wire

WEIRD = {"type": "weird", "x": 1}
HOSTILE = "<b>\x07\u202e" + "k" * 500


class Asking(NamedTuple):
    """A body with a part that nobody knows: how it is asked, where the part stands, and whose dialect it is."""

    path: str
    place: str
    relays: str

    def body(self, part: dict[str, Any]) -> dict[str, Any]:
        text = {"type": "text", "text": "hi"}
        match self.relays:
            case "responses" if self.place == "input[1]":
                return {"input": [{"role": "user", "content": "hi"}, part]}
            case "responses":
                content = [{"type": "input_text", "text": "hi"}, part]
                return {"input": [{"role": "user", "content": content}], "store": False}
            case "gemini":
                return {"contents": [{"role": "user", "parts": [{"text": "hi"}, {part["type"]: part}]}]}
            case "messages" if self.place.startswith("messages[2]"):
                call = {"type": "tool_use", "id": "t1", "name": "f", "input": {}}
                result = {"type": "tool_result", "tool_use_id": "t1", "content": [text, part]}
                turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": [call]}]
                return {"messages": [*turns, {"role": "user", "content": [result]}], "system": "Be.", "max_tokens": 9}
            case "messages":
                return {"messages": [{"role": "user", "content": [text, part]}], "system": "Be brief.", "max_tokens": 9}
            case _:
                system = {"role": "system", "content": "Be brief."}
                return {"messages": [system, {"role": "user", "content": [text, part]}]}


ASKINGS = [
    Asking("/v1/chat/completions", "messages[1].content[1]", "chat"),
    Asking("/v1/messages", "messages[0].content[1]", "messages"),
    Asking("/v1/messages", "messages[2].content[0].content[1]", "messages"),
    Asking("/v1/responses", "input[0].content[1]", "responses"),
    Asking("/v1/responses", "input[1]", "responses"),
    Asking("/v1beta/models/{model}:generateContent", "contents[0].parts[1]", "gemini"),
]
FOREIGN = [
    pytest.param(wire, asking, id=f"{wire.name}-{asking.relays}-{asking.place}")
    for wire in WIRES
    if wire.name != "native"
    for asking in ASKINGS
    if not (wire.name == "tgi" and asking.place.startswith("messages[2]"))  # it has no calls at all
    if asking.relays not in {*wire.relays, *wire.unasked} and not ("chat" in wire.relays and asking.relays == "chat")
]


def told(hall: Hall, wire: Wire, asking: Asking, part: dict[str, Any]) -> dict[str, Any]:
    path = asking.path.replace("{model}", wire.name)
    answer = hall.caller.post({"model": wire.name, **asking.body(part)}, path=path)
    assert answer.status_code == 400, answer.text
    error: dict[str, Any] = answer.json()["error"]
    if asking.relays in {"chat", "responses"}:
        assert error["param"] == asking.place
    return error


@pytest.mark.parametrize(("wire", "asking"), FOREIGN)
def test_its_kind_and_place_are_named(hall: Hall, wire: Wire, asking: Asking):
    message = told(hall, wire, asking, WEIRD)["message"]
    assert message == f"{asking.place}: a part of the kind 'weird' cannot be sent to this provider"


@pytest.mark.parametrize("asking", [asking for asking in ASKINGS if asking.relays != "gemini"], ids=str)
def test_a_hostile_kind_is_cut_short_and_made_printable(hall: Hall, asking: Asking):
    wire = next(wire for wire in WIRES if wire.name == "cohere")
    message = told(hall, wire, asking, {"type": HOSTILE})["message"]
    assert f"'<b>??{'k' * 59}'" in message
    assert message.isprintable()


def test_instructions_in_the_middle_lose_nothing_in_silence(hall: Hall):
    """Anthropic's wire has no place for them, so that the user says them; what is no text cannot be said so."""
    system = {"role": "system", "content": [{"type": "text", "text": "Be brief."}, WEIRD]}
    turns = [{"role": "user", "content": "a"}, system, {"role": "user", "content": "b"}]
    answer = hall.caller.post({"model": "anthropic", "messages": turns})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "messages[1].content[1]")
