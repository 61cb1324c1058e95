"""Answers that pass through from their own vendors are kept too, and given again to clients of every other dialect."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from matrix.test_read_again import READABLE, completion, exchange_of, rendered
from outside.caller import Caller
from outside.forms import FORMS, Form
from servers.caching import Stand, caching
from servers.configs import PRICE

from providers.testing import Script
from providers.types import TextPart, ThinkingPart, Usage

VENDORS = {
    "openai.responses": {
        "adapter": "openai",
        "base_url": "/v1",
        "chat_api": "responses",
        "serves": ["responses"],
    },
    "anthropic.messages": {"adapter": "anthropic", "base_url": ""},
    "gemini.generate": {"adapter": "gemini", "base_url": "/v1beta"},
}
NAMES = {"openai.responses": "responses", "anthropic.messages": "messages", "gemini.generate": "gemini"}
TEXT = "Grüezi 🌍, " + "words that are said again " * 20
SAID = completion(TextPart(text=TEXT), usage=Usage(input_tokens=11, output_tokens=7))
THOUGHT = completion(ThinkingPart(text="hm, well"), TextPart(text=TEXT), usage=Usage(input_tokens=11, output_tokens=7))


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    models = {
        name: {"targets": [{"provider": name, "model": "up"}], "price": dict(PRICE), "retries": 0, "breaker": False}
        for name in NAMES.values()
    }
    vendors = {NAMES[relay]: settings for relay, settings in VENDORS.items()}
    with caching(models=models, vendors=vendors) as running:
        yield running


@pytest.fixture(scope="module")
def caller(stand: Stand) -> Iterator[Caller]:
    with Caller(stand.gateway) as fresh:
        yield fresh


def own_forms() -> Iterator[tuple[str, Form]]:
    """Yield each vendor's own forms."""
    for relay, name in NAMES.items():
        for form in FORMS:
            if form.name == name or (form.name, name) == ("gemini array", "gemini"):
                yield relay, form


@pytest.mark.parametrize("thinks", [False, True])
@pytest.mark.parametrize(("relay", "form"), list(own_forms()), ids=str)
def test_what_passed_through_is_given_again_in_every_form(
    stand: Stand, caller: Caller, *, relay: str, form: Form, thinks: bool
) -> None:
    answer, model = THOUGHT if thinks else SAID, NAMES[relay]
    frames = [part.decode() for part in rendered(relay, answer, "sse") if part]
    operation = READABLE[relay]
    assert operation.renderer is not None
    body = operation.renderer.whole(exchange_of(operation, stream=False), answer).decode()
    script = Script(frames=frames) if form.is_streamed else Script(body=body)
    for again in FORMS[-2:] if thinks else FORMS:
        prompt = f"[[script s{uuid4().hex}]]"
        stand.provider.reset()
        stand.provider.script(script, model=prompt[9:-2])
        made = caller.post(form.body(model, prompt), path=form.path(model))
        kept = caller.post(again.body(model, prompt), path=again.path(model))
        assert (made.status_code, made.headers["x-gateway-cache"]) == (200, "miss"), made.text
        assert (kept.status_code, kept.headers["x-gateway-cache"], stand.calls()) == (200, "exact", 1), str(again)
        if thinks:
            # Each dialect has words of its own for thoughts, if any; the forms read answers only.
            assert "said again" in kept.text
        else:
            assert again.read(kept.text) == (TEXT, (11, 7), "stop")
