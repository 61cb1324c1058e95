"""Redis and PostgreSQL die together in mid-stream: who is being answered is answered, and his usage survives."""

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import pytest
from faults.money.books import eventually, tag_in
from faults.money.crowd import Question, Told, new_tag
from faults.money.stand import Stand
from outside.caller import Caller

IN_FLIGHT = 30
REFUSED_WITHIN_MS = 50


@contextmanager
def without_stores(stand: Stand) -> Iterator[None]:
    stand.redis.kill()
    stand.postgres.stop(immediate=True)
    try:
        yield
    finally:
        stand.postgres.start()
        stand.redis.start()


def in_flight(caller: Caller) -> list[Question]:
    """Return streams that last a second and a half to three, at twenty tokens a second."""
    return [
        Question(caller.key, new_tag(), model="slow", words=30 + at, stream=True, max_tokens=100)
        for at in range(IN_FLIGHT)
    ]


def all_refused(stand: Stand, caller: Caller) -> list[Told] | None:
    """Ask for something new; return what was told if every worker refuses."""
    told = stand.crowd.ask(*(Question(caller.key, new_tag()) for _ in range(8)))
    return told if {each.status for each in told} == {503} else None


def check_refused(stand: Stand, caller: Caller) -> None:
    """Nothing new is begun that could not be written down, and that is said at once."""
    eventually(lambda: all_refused(stand, caller) is not None, within_s=6)
    told = [each for _ in range(20) for each in stand.crowd.ask(Question(caller.key, new_tag()))]
    for each in told:
        assert each.reply is not None
        # A worker that has not met the key yet cannot look it up either.
        assert each.status == 503
        assert each.error["code"] in {"accounting_unavailable", "database_unavailable"}
        assert each.reply.header("retry-after") == "1"
    # The clients, the provider and what else this machine does take their turns on the same cores.
    took_ms = sorted(each.took_ms for each in told)
    assert took_ms[len(took_ms) * 9 // 10] <= REFUSED_WITHIN_MS, took_ms


def begin(stand: Stand, *callers: Caller) -> Future[list[Told]]:
    """Begin streams of each caller and wait until the provider answers them all."""
    asked = [question for caller in callers for question in in_flight(caller)]
    asking = stand.crowd.begin(stand.crowd.ask_all(asked))
    tags = {question.tag for question in asked}

    def are_under_way() -> bool:
        if asking.done():
            assert [each for each in asking.result() if each.status != 200] == []
        return tags <= {tag_in(entry) for entry in stand.provider.journal.for_model("slow") if entry.frames_sent > 2}

    eventually(are_under_way, within_s=10)
    return asking


def test_streams_end_well_and_settle_to_the_disk(stand: Stand):
    with stand.caller(budget={"amount": "50", "period": "total"}) as paying, stand.caller() as plain:
        asking = begin(stand, paying, plain)
        with without_stores(stand):
            check_refused(stand, plain)
            check_refused(stand, paying)
            told = asking.result(timeout=60)
            assert all(each.is_whole for each in told)
        for caller in (paying, plain):
            mine = [each for each in told if each.question.key == caller.key]
            stand.books.wait_for(mine, key_id=caller.key_id)
        stand.books.assert_balanced(paying.key_id, within_s=45)


def test_what_a_gateway_leaves_on_the_disk_is_taken_up_by_the_next(stand: Stand):
    """The gateway is killed while both are down and everything that it has is on its disk."""
    with stand.caller(budget={"amount": "50", "period": "total"}) as paying, stand.caller() as plain:
        asking = begin(stand, paying, plain)
        with without_stores(stand):
            told = asking.result(timeout=60)
            assert all(each.is_whole for each in told)
            stand.gateway.kill()
            eventually(lambda: not stand.pids(), within_s=10)
        stand.gateway.start()
        stand.wait_for_workers()
        for caller in (paying, plain):
            mine = [each for each in told if each.question.key == caller.key]
            events = stand.books.wait_for(mine, key_id=caller.key_id)
            assert {event["outcome"] for event in events} == {"ok"}
        # What the dead held is released when its lease ends, and must not be charged a second time.
        stand.books.assert_balanced(paying.key_id, within_s=45)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("turn", range(10))
def test_again_and_again(stand: Stand, turn: int):
    del turn
    test_streams_end_well_and_settle_to_the_disk(stand)
    test_what_a_gateway_leaves_on_the_disk_is_taken_up_by_the_next(stand)
