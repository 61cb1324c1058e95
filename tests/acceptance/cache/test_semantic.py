"""Like questions through a running gateway, with the embedder that ships with it."""

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from faults.routing.stage import Stage, model, staged
from outside.caller import Caller, user
from servers.process import wait_until

from providers.testing import Script

ASKED, LIKE, UNLIKE = (
    "How do I reset my password?",
    "how can I reset my password",
    "How do I reset my username?",
)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with staged({"m": model("one"), "n": model("one")}) as found:
        yield found


@pytest.fixture
def provider(stage: Stage) -> Any:
    found = stage.providers["one"]
    found.reset()
    return found


def ask(caller: Caller, text: str, **more: Any) -> tuple[str, str | None]:
    headers = more.pop("headers", {})
    answer = caller.post({"model": "m", "messages": user(text), **more}, **headers)
    assert answer.status_code == 200, answer.text
    return answer.headers["x-gateway-cache"], answer.headers.get("x-gateway-cache-similarity")


def kept(caller: Caller, text: str, **more: Any) -> None:
    """Ask what is not there yet, and wait until it is."""
    assert ask(caller, text, **more)[0] == "miss"
    assert wait_until(lambda: ask(caller, text, **more)[0] == "exact", within_s=15)


def test_a_like_question_is_answered_from_the_cache_in_every_form(stage: Stage, provider: Any):
    with Caller(stage.gateway, cache={"mode": "semantic"}) as caller:
        provider.script(Script(text="Use the link on the sign-in page."))
        kept(caller, ASKED)
        status, similarity = ask(caller, LIKE)
        assert (status, 0.8 <= float(similarity or 0) <= 1) == ("semantic", True)
        assert ask(caller, UNLIKE)[0] == "miss"
        streamed = caller.post({"model": "m", "messages": user("Please, how can I reset my password?"), "stream": True})
        assert streamed.headers["x-gateway-cache"] == "semantic"
        assert "sign-in page" in streamed.text
        assert streamed.text.rstrip().endswith("[DONE]")
        own = caller.post({"model": "m", "messages": user(LIKE)}, path="/v1/llm/chat").json()
        assert own["cache"]["status"] == "semantic"
        assert own["cache"]["similarity"] == pytest.approx(float(similarity or 0), abs=0.01)
        assert own["output"]["content"] == "Use the link on the sign-in page."
        assert own["cost"] == "0.000000000"


@pytest.mark.parametrize(
    "other",
    [
        {"temperature": 0.5},
        {"max_tokens": 17},
        {"seed": 3},
        {"response_format": {"type": "json_object"}},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]},
    ],
)
def test_all_but_the_words_of_the_last_turn_must_be_the_same(stage: Stage, provider: Any, other: dict[str, Any]):
    provider.script(Script(text="an answer"))
    with Caller(stage.gateway, cache={"mode": "semantic", "scope": "key"}) as caller:
        kept(caller, ASKED)
        assert ask(caller, LIKE, **other)[0] == "miss"
        assert ask(caller, LIKE)[0] == "semantic"


def test_the_turns_before_must_be_the_same(stage: Stage, provider: Any):
    provider.script(Script(text="an answer"))

    def asked(system: str, text: str) -> str:
        messages = [{"role": "system", "content": system}, *user(text)]
        return caller.post({"model": "m", "messages": messages}).headers["x-gateway-cache"]

    with Caller(stage.gateway, cache={"mode": "semantic", "scope": "key"}) as caller:
        assert asked("You are a pirate.", ASKED) == "miss"
        assert wait_until(lambda: asked("You are a pirate.", LIKE) == "semantic", within_s=15)
        assert asked("You are a lawyer.", LIKE) == "miss"


def test_nobody_finds_what_is_not_shared_with_him(stage: Stage, provider: Any):
    provider.script(Script(text="an answer"))
    with (
        Caller(stage.gateway, cache={"mode": "semantic", "scope": "key"}) as one,
        Caller(stage.gateway, cache={"mode": "semantic", "scope": "key"}) as other,
    ):
        kept(one, ASKED)
        assert ask(one, LIKE)[0] == "semantic"
        assert ask(other, LIKE)[0] == "miss"


def test_nobody_gets_more_than_his_setting_allows(stage: Stage, provider: Any):
    provider.script(Script(text="an answer"))
    with Caller(stage.gateway, cache={"mode": "exact", "scope": "key"}) as caller:
        kept(caller, ASKED)
        assert ask(caller, LIKE, headers={"x_gateway_cache": "semantic"})[0] == "miss"
    with Caller(stage.gateway, cache={"mode": "semantic", "scope": "key"}) as caller:
        kept(caller, ASKED)
        assert ask(caller, LIKE, headers={"x_gateway_cache": "exact"})[0] == "miss"
        assert ask(caller, LIKE)[0] == "exact"


def test_whoever_wants_more_likeness_gets_fewer_hits(stage: Stage, provider: Any):
    provider.script(Script(text="an answer"))
    with Caller(stage.gateway, cache={"mode": "semantic", "scope": "key"}) as caller:
        kept(caller, ASKED)
        strict = {"model": "m", "messages": user(LIKE), "cache": {"threshold": 0.9999}}
        assert caller.post(strict, path="/v1/llm/chat").headers["x-gateway-cache"] == "miss"


def compared(caller: Caller) -> Counter[str]:
    """Return how many comparisons the gateway has made, by their outcome."""
    text = caller.http.get("/metrics").text
    found = [line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("gateway_cache_shadow_total")]
    return Counter({name.partition('verdict="')[2].partition('"')[0]: int(float(count)) for name, count in found})


def test_the_shadow_only_compares(stage: Stage, provider: Any):
    with Caller(stage.gateway, cache={"mode": "shadow", "scope": "key"}) as caller:
        before = compared(caller)
        provider.script(Script(text="Use the link on the sign-in page."))
        kept(caller, ASKED)
        provider.reset()
        provider.script(Script(text="Use the link on the sign-in page!"))
        assert ask(caller, LIKE)[0] == "miss"
        provider.reset()
        provider.script(Script(text="Bake it for 20 minutes at 180 degrees."))
        assert ask(caller, "How could I reset my password?")[0] == "miss"

        def made() -> bool:
            return compared(caller) - before == {"agree": 1, "differ": 1}

        assert wait_until(made, within_s=15), (before, compared(caller))


def test_an_answer_leaves_the_layer_with_its_time(stage: Stage, provider: Any):
    provider.script(Script(text="an answer"))
    with Caller(stage.gateway, cache={"mode": "semantic", "scope": "key", "ttl_s": 2}) as caller:
        kept(caller, ASKED)
        assert ask(caller, LIKE)[0] == "semantic"
        time.sleep(2.1)
        assert ask(caller, LIKE)[0] == "miss"
