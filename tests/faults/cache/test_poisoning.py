"""Tricks of headers and bodies: two questions that differ never share an answer, whatever makes them look alike."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from outside.caller import CHAT, Caller, user
from servers.caching import Stand, caching
from servers.configs import PRICE

MODEL = "fake-model"
TWO = [{"provider": "fake", "model": "fake-model"}, {"provider": "local", "model": "fake-local"}]
MODELS = {"either": {"targets": TWO, "price": dict(PRICE)}, "same": {"targets": TWO[:1], "price": dict(PRICE)}}


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    with caching(models=MODELS) as running:
        yield running


@pytest.fixture(scope="module")
def caller(stand: Stand) -> Iterator[Caller]:
    with Caller(stand.gateway) as fresh:
        yield fresh


@pytest.fixture
def text() -> str:
    return str(uuid4())


def post(caller: Caller, body: bytes | dict[str, Any], **headers: str) -> httpx.Response:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    said = {name.replace("_", "-"): value for name, value in headers.items()}
    return caller.http.post(CHAT, content=data, headers={"content-type": "application/json", **said})


def are_told_apart(stand: Stand, caller: Caller, *bodies: bytes | dict[str, Any], **headers: str) -> bool:
    """Ask everything twice: the second time each gets what it got at first, from the cache."""
    before = stand.calls()
    first = [post(caller, body, **headers) for body in bodies]
    again = [post(caller, body, **headers) for body in bodies]
    assert {answer.status_code for answer in first} == {200}, [answer.text for answer in first]
    assert [answer.headers["x-gateway-cache"] for answer in again] == ["exact"] * len(bodies)
    assert [answer.text for answer in first] == [answer.text for answer in again]
    return stand.calls() - before == len(bodies)


def chat(text: str, **more: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": user(text), **more}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("caf\u00e9", "cafe\u0301"),
        ("\u212b", "\u00c5"),
        ("file", "\ufb01le"),
        ("a\u200bb", "ab"),
        ("A", "\u0410"),
        ("a", "A"),
        ("a\u00a0b", "a b"),
        ("a  b", "a b"),
        ("a", "a "),
        ("a\r\nb", "a\nb"),
        ("a\x00", "a"),
        ("\u202ea", "a"),
        ("\u0661", "1"),
    ],
)
def test_words_that_look_alike(stand: Stand, caller: Caller, text: str, *, one: str, other: str) -> None:
    bodies = [chat(f"{text} {each}") for each in (one, other)]
    assert are_told_apart(stand, caller, *bodies)
    said = [post(caller, body).json()["choices"][0]["message"]["content"] for body in bodies]
    assert said == [f"{text} {each}" for each in (one, other)]


@pytest.mark.parametrize(
    "variants",
    [
        [{"seed": 10**22 + 1}, {"seed": 10**22 + 2}, {"seed": 10**22}],
        [
            {"novelty": 1},
            {"novelty": 1.5},
            {"novelty": True},
            {"novelty": "1"},
            {"novelty": None},
            {"novelty": [1]},
            {},
        ],
        [{"temperature": 0}, {"temperature": 1e-9}, {}],
        [{"top_p": 0.1}, {"top_p": 0.10000000000000002}],
        [{"messages": user("a"), "Messages_": user("b")}, {"messages": user("a"), "Messages_": user("c")}],
        [{"stop": ["a", "b"]}, {"stop": ["a b"]}, {"stop": ["ab"]}, {"stop": "a"}],
        [{"extra_body": {"seed": 1}}, {"extra_body": {"seed": 2}}],
        [{"logit_bias": {"1": 2}}, {"logit_bias": {"12": 2}}, {"logit_bias": {"1": 22}}],
        [{"tools": []}, {"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "none"}],
        [
            {"tools": [{"type": "function", "function": {"name": "f", "novelty": at}}], "tool_choice": "none"}
            for at in range(3)
        ],
        [{"max_tokens": 5_000}, {"max_completion_tokens": 5_001}, {"max_output_tokens_": 5_000}],
        [{"service_tier": "flex"}, {"service_tier": "default"}, {"service_tier": ["flex"]}],
    ],
    ids=lambda variants: str(next(iter(variants[0]))),
)
def test_members_that_nearly_say_the_same(
    stand: Stand, caller: Caller, text: str, variants: list[dict[str, Any]]
) -> None:
    if "messages" in variants[0]:
        variants = [{**each, "messages": user(text)} for each in variants]
    assert are_told_apart(stand, caller, *({**chat(text), **each} for each in variants))


def test_where_a_turn_ends_and_who_says_it(stand: Stand, caller: Caller, text: str) -> None:
    def says(*turns: tuple[str, Any]) -> dict[str, Any]:
        return {"model": MODEL, "messages": [{"role": role, "content": said} for role, said in turns]}

    parts = [{"type": "text", "text": text}, {"type": "text", "text": "b"}]
    assert are_told_apart(
        stand,
        caller,
        says(("user", f"{text}b")),
        says(("user", parts)),
        says(("user", parts[::-1])),
        says(("user", text), ("user", "b")),
        says(("system", text), ("user", "b")),
        says(("developer", text), ("user", "b")),
        says(("user", text), ("assistant", "b"), ("user", "b")),
        says(("user", f'{text}"}},{{"role":"user","content":"b')),
    )


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"fake-model","messages":[{"role":"user","content":"evil"}],"messages":[{"role":"user","content":"good"}]}',
        b'{"model":"fake-model","messages":[{"role":"user","content":"evil","content":"good"}]}',
        b'{"model":"fake-model","messages":[{"role":"user","content":"evil","cont\\u0065nt":"good"}]}',
        b'{"model":"fake-model","messages":[{"role":"user","content":"good"}],"seed":1, "seed" : 2}',
        b'{"model":"fake-model","messages":[{"role":"user","content":"good"}],"seed":NaN}',
        b'{"model":"fake-model","messages":[{"role":"user","content":"good"}],"seed":Infinity}',
        b'{"model":"fake-model","messages":[{"role":"user","content":"good"}],"temperature":1e999}',
        b'{"model":"fake-model","messages":[{"role":"user","content":"\\ud800"}]}',
        b'{"model":"fake-model","messages":[{"role":"user","content":"\xff"}]}',
        b'{"model":"fake-model","Messages":[{"role":"user","content":"evil"}],"messages":[{"role":"user","content":"good"}]}',
        b'{"model":"fake-model","messages":[{"role":"user","content":"good"}]} {"model":"x"}',
    ],
)
def test_what_two_readers_would_read_as_two_things_is_refused(stand: Stand, caller: Caller, body: bytes) -> None:
    before = stand.calls()
    assert post(caller, body).status_code == 400
    assert stand.calls() == before


def test_how_a_body_is_written_makes_no_difference(stand: Stand, caller: Caller, text: str) -> None:
    before = stand.calls()
    body = chat(f"{text} é/")
    written = [
        json.dumps(body).encode(),
        json.dumps(body, ensure_ascii=False, indent=3).encode(),
        json.dumps(dict(reversed(body.items()))).replace("/", "\\/").encode(),
        json.dumps({**body, "stream": False, "user": "somebody", "metadata": {"a": "b"}, "store": False}).encode(),
        json.dumps({**body, "gateway": {"tags": {"a": "b"}, "timeout_s": 9}}).encode(),
    ]
    told = [post(caller, one).headers["x-gateway-cache"] for one in written]
    told.append(post(caller, body, X_GATEWAY_CACHE="exact", X_Gateway_Tags="a=b").headers["x-gateway-cache"])
    assert (told, stand.calls() - before) == (["miss", *["exact"] * len(written)], 1)


def test_where_it_goes_is_part_of_the_question(stand: Stand, text: str) -> None:
    with Caller(stand.gateway, may_route=True) as own:
        before = stand.calls()
        asked = [
            post(own, chat(text, model="either")),
            post(own, chat(text, model="either"), x_gateway_route="fake/fake-model"),
            post(own, chat(text, model="either"), x_gateway_route="local/fake-local"),
            post(own, chat(text, model="same")),
            post(own, chat(text)),
        ]
        assert {answer.headers["x-gateway-cache"] for answer in asked} == {"miss"}
        assert stand.calls() - before == len(asked)


def test_an_id_that_a_client_sends_opens_nothing(caller: Caller, text: str) -> None:
    kept = post(caller, chat(text)).headers
    again = post(caller, chat(text)).headers["x-gateway-cache-id"]
    other = post(caller, chat(f"{text}?"), x_gateway_cache_id=again, x_gateway_cache_key=again, if_none_match=again)
    assert (kept["x-gateway-cache"], other.headers["x-gateway-cache"]) == ("miss", "miss")
    assert other.json()["choices"][0]["message"]["content"] == f"{text}?"


def test_tags_and_sessions_choose_no_answer(stand: Stand, caller: Caller, text: str) -> None:
    before = stand.calls()
    told = [
        post(caller, chat(text), x_gateway_tags=f"scope=organization:{at}", x_gateway_session=str(at)).headers
        for at in range(3)
    ]
    assert [one["x-gateway-cache"] for one in told] == ["miss", "exact", "exact"]
    assert stand.calls() - before == 1
