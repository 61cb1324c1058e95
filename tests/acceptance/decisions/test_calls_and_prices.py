"""The calls that a request made, why each was made, and what it cost, as the ledger has it."""

from decimal import Decimal

from outside.caller import Caller, user
from outside.ledger import Ledger
from outside.told import listed, of
from servers.gateway import GatewayProcess

from providers.testing import FakeProvider, Script

_NANO = Decimal("0.000000001")


# -- calls -------------------------------------------------------------------------------------------------------------


def test_a_retry_and_a_fallback_say_why_they_were_made(caller: Caller):
    answer = caller.chat("falls")
    assert answer.status_code == 200
    told = of(caller, answer)
    first, retry, fallback = told["attempts"]
    assert (first["reason"], first["status"], first["outcome"]) == ("first", 500, "error")
    assert (retry["reason"], retry["after"]) == ("retry", first["error_code"])
    assert retry["waited_ms"] > 0
    assert (fallback["reason"], fallback["model"], fallback["after"]) == ("fallback", "fake-model", retry["error_code"])
    assert (told["route"]["name"], [route["name"] for route in told["other_routes"]]) == ("falls", ["fake-model"])
    assert told["route"]["fallbacks"]["any"][0]["model"] == "fake-model"


def test_a_hedge_says_that_it_is_one(caller: Caller):
    told = of(caller, caller.chat("hedged", stream=True))
    slow, quick = told["attempts"]
    assert (slow["reason"], slow["outcome"], slow["target"]) == ("first", "cancelled", "fake/fake-slow-head")
    assert (quick["reason"], quick["outcome"], quick["target"]) == ("hedge", "ok", "local/fake-local")
    assert quick["at_ms"] >= slow["at_ms"] + 90


def test_a_fan_out_says_who_was_asked_and_who_won(caller: Caller):
    body = {
        "messages": user("hello big world"),
        "fanout": {"strategy": "first_valid", "models": ["fake-model", "echo"], "check": {"regex": "^hello"}},
    }
    told = of(caller, caller.post(body, path="/v1/llm/chat"))
    assert (told["fanout"]["strategy"], told["route"]["source"]) == ("first_valid", "fanout")
    assert {(leg["model"], leg["outcome"]) for leg in told["fanout"]["legs"]} == {
        ("fake-model", "lost"),
        ("echo", "won"),
    }
    assert {(attempt["model"], attempt["leg"]) for attempt in told["attempts"]} == {
        ("fake-model", "lost"),
        ("echo", "won"),
    }
    assert {told["route"]["name"], *(route["name"] for route in told["other_routes"])} == {"fake-model", "echo"}


def test_a_credential_that_is_out_is_a_reason_to_be_last(caller: Caller):
    for _ in range(8):
        assert caller.chat("locked").status_code == 200
    told = [each for each in listed(caller, 8) if len(each["attempts"]) == 1]
    assert told, "each worker has found out by now"
    for each in told:
        first, last = each["route"]["targets"]
        assert (first["target"], first["breaker"], first["left_alone_s"]) == ("fake/fake-model", "closed", 0.0)
        assert last["target"] == "strict/fake-401"
        assert last["reason"].startswith("left alone for")
        assert last["left_alone_s"] > 0


def test_a_stream_that_breaks_and_a_client_that_leaves_are_told_with_what_they_cost(
    caller: Caller, gateway: GatewayProcess
):
    broken = caller.post({"model": "fake-cut", "messages": user("a b c d e f"), "stream": True})
    told = of(caller, broken)
    assert (told["outcome"], told["attempts"][0]["outcome"]) == ("failed", "interrupted")
    caller.leave({"model": "fake-slow-chunks", "messages": user("a b c d e f g h"), "stream": True}, after_s=0.3)
    (left,) = listed(caller, 1, status="499")
    assert (left["outcome"], left["attempts"][0]["outcome"]) == ("left", "cancelled")
    rows = {str(row["request_id"]): row for row in Ledger(gateway).wait(2, key_id=caller.key_id)}
    for each in (told, left):
        assert _nano(each["cost"]) == rows[each["id"]]["cost_nusd"] > 0


# -- prices ------------------------------------------------------------------------------------------------------------


def test_the_sum_of_the_charges_is_what_the_ledger_says(
    caller: Caller, gateway: GatewayProcess, session_provider: FakeProvider
):
    session_provider.script(Script(cached_tokens=2), model="fake-model")
    try:
        answers = [caller.chat("ordered", f"some {'more ' * n}words") for n in range(5)]
    finally:
        session_provider.reset()
    told = [of(caller, answer) for answer in answers]
    rows = {str(row["request_id"]): row for row in Ledger(gateway).wait(5, key_id=caller.key_id)}
    for each in told:
        (attempt,) = each["attempts"]
        exact = sum(Decimal(charge["amount"]) for charge in attempt["charges"])
        rounded = -(-exact // _NANO)
        row = rows[each["id"]]
        assert rounded == _nano(attempt["cost"]) == _nano(each["cost"]) == row["cost_nusd"]
        assert attempt["price_version"] == row["price_version"]
        assert attempt["price_source"] == "file"
        assert {charge["kind"] for charge in attempt["charges"]} == {"input", "cache_read", "output"}
        for charge in attempt["charges"]:
            assert Decimal(charge["amount"]) == Decimal(charge["price"]) * charge["number"] / 1_000_000


def _nano(usd: str) -> int:
    return int(Decimal(usd) / _NANO)
