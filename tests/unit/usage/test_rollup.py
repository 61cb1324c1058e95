"""Rolling up in memory: the order and the batches of events make no difference."""

import random
from collections import Counter

from accounting.events import counts_of, make_event, make_events
from hypothesis import given
from hypothesis import strategies as st

from app.domain.usage.rollup import RollUp, hash_tags, roll_up, tags_text


def added(parts: list[RollUp]) -> tuple[dict, dict]:
    hourly, balances = Counter(), Counter()
    for part in parts:
        for sums, rows in ((hourly, part.hourly), (balances, part.balances)):
            for key, amounts in rows.items():
                for position, amount in enumerate(amounts):
                    sums[key, position] += amount
    return dict(hourly), dict(balances)


@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(0, 60))
def test_batches_add_up_to_the_whole(seed, size, count):
    events = make_events(count, seed=seed, hours=2)
    whole = added([roll_up(events)])
    shuffled = random.Random(seed).sample(events, count)
    assert added([roll_up(shuffled[start : start + size]) for start in range(0, count, size)]) == whole


def test_the_whole_is_what_a_report_says():
    events = make_events(200)
    hourly = roll_up(events).hourly.values()
    requests, _attempts, *rest = (sum(column) for column in zip(*hourly, strict=True))
    assert [requests, *rest] == list(counts_of(events).values())


def test_each_scope_has_its_balance():
    event = make_event(team_id=None, cost_nusd=None)
    assert sorted(kind for kind, _, _ in roll_up([event]).balances) == ["key", "organization"]
    assert list(roll_up([event]).balances.values()) == [[0, 1], [0, 1]]


def test_a_hash_stands_for_tags_in_any_order():
    one, other = tags_text({"a": "1", "b": "2"}), tags_text({"b": "2", "a": "1"})
    assert hash_tags(one) == hash_tags(other)
    assert len({hash_tags(tags_text(tags)) for tags in ({}, {"a": "1"}, {"a": "2"}, {"b": "1"})}) == 4
    assert len(hash_tags(one)) == 16
