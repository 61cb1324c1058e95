"""Clients that leave in the middle pay for what was produced for them, once, and the provider is let go at once."""

import random
from collections import Counter

import pytest
from faults.money.books import tag_in, tag_of, truths
from faults.money.crowd import Question, Told, new_tag
from faults.money.stand import Stand
from outside.ledger import cost_nusd

CLOSED_WITHIN_MS = 1_000
SETTLED_WITHIN_S = 10
CHUNK_BYTES = 200
ESTIMATED = {"provider", "estimated"}


def check(stand: Stand, *, clients: int, seed: int) -> None:
    """Let clients drop at a random chunk: after the head, in the middle, or just before the end."""
    draw = random.Random(seed)
    with stand.caller(budget={"amount": "50", "period": "total"}) as caller:
        asked = [
            Question(
                caller.key,
                new_tag(),
                model="slow",
                words=100,
                stream=True,
                max_tokens=60,
                leaves_after_bytes=draw.randint(0, 40 * CHUNK_BYTES),
            )
            for _ in range(clients)
        ]
        told = stand.crowd.ask(*asked)
        left = {each.question.tag: each for each in told}
        events = stand.books.wait_for((), key_id=caller.key_id, also=left, within_s=SETTLED_WITHIN_S)
        assert Counter(map(tag_of, events)) == dict.fromkeys(left, 1)
        check_let_go(stand, left)
        served = truths(stand.provider)
        for event in events:
            truth, came = served[tag_of(event)], left[tag_of(event)].partial
            # The first chunk has no token; each other that the client got has one.
            got = max(0, came.count(b'"content":') - 1)
            assert event["usage_source"] in ESTIMATED
            assert event["outcome"] == "cancelled"
            assert got <= event["output_tokens"] <= truth.tokens_served + 1
            assert event["cost_nusd"] >= cost_nusd(0, got)
        assert sum(event["cost_nusd"] > 0 for event in events) == len(events)
        stand.books.assert_balanced(caller.key_id, within_s=20)


def check_let_go(stand: Stand, left: dict[str, Told]) -> None:
    """The provider was let go soon after each client was gone; both told the time by the same clock."""
    for entry in stand.provider.journal.for_model("slow"):
        told = left.get(tag_in(entry))
        if told is not None:
            assert entry.peer_closed_after_ms is not None
            closed_ms = entry.received_ns / 1e6 + entry.peer_closed_after_ms
            assert closed_ms - told.ended_s * 1000 <= CLOSED_WITHIN_MS


def test_whoever_leaves_pays_for_what_came(stand: Stand):
    check(stand, clients=200, seed=1)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(2, 12))
def test_again_and_again(stand: Stand, seed: int):
    check(stand, clients=200, seed=seed)
