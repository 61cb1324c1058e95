"""The names of the canonical fields: as many as the vocabulary has, and each can be asked for."""

import msgspec

from providers.carry import CANONICAL, HARMLESS, canonical
from providers.types import ChatRequest, Sampling

RENAMED = {"max_output_tokens": "max_tokens", "reasoning": "reasoning_effort"}
NO_OPTIONS = {"model", "messages", "dialect", "sampling", "stream", "extras", "wire"}


def test_all_fields_of_a_request_have_a_name():
    own = {field.name for field in msgspec.structs.fields(ChatRequest)} - NO_OPTIONS
    sampling = {field.name for field in msgspec.structs.fields(Sampling)}
    assert {RENAMED.get(name, name) for name in own | sampling} == CANONICAL
    assert HARMLESS < CANONICAL


def test_each_can_be_asked_for():
    request = ChatRequest(model="m", messages=[], dialect="openai")
    asked = {name: canonical(request, name) for name in CANONICAL}
    assert {name for name, value in asked.items() if value is not None} == {"n", "tools", "metadata", "stop"}
