import multiprocessing
import os
import time
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from app.kernel.ids import attempt_id, uuid7, uuid7_text


def test_an_id_has_the_form_of_version_7():
    made = uuid7()
    assert made.version == 7
    assert made.variant == "specified in RFC 4122"
    assert str(made) == str(UUID(str(made)))


@given(st.integers(min_value=0, max_value=(1 << 48) - 1))
def test_an_id_begins_with_its_milliseconds(milliseconds):
    text = uuid7_text(milliseconds * 1_000_000 + 999_999)
    assert UUID(text).int >> 80 == milliseconds
    assert UUID(text).version == 7
    assert text == str(UUID(text))


def test_ids_sort_by_time():
    texts = [uuid7_text(at * 1_000_000) for at in range(1, 500)]
    assert texts == sorted(texts)


def test_an_id_without_a_time_has_the_time_of_its_making():
    before = time.time_ns() // 1_000_000
    assert before <= uuid7().int >> 80 <= time.time_ns() // 1_000_000


def test_ids_do_not_repeat_even_within_a_millisecond():
    assert len({uuid7_text(1) for _ in range(5_000)}) == 5_000


def _send_ids(pipe):
    pipe.send([uuid7_text(1) for _ in range(600)])


def test_forked_processes_share_no_ids():
    context = multiprocessing.get_context("fork")
    uuid7()
    pipes, processes = [], []
    for _ in range(3):
        mine, theirs = context.Pipe()
        process = context.Process(target=_send_ids, args=(theirs,))
        process.start()
        pipes.append(mine)
        processes.append(process)
    lists = [[uuid7_text(1) for _ in range(600)], *(pipe.recv() for pipe in pipes)]
    for process in processes:
        process.join(30)
    assert os.getpid() not in {process.pid for process in processes}
    assert len({each for ids in lists for each in ids}) == 4 * 600


def test_the_id_of_an_attempt_is_derived():
    request = uuid4()
    assert attempt_id(request, 1) == attempt_id(request, 1)
    assert attempt_id(request, 1).version == 5
    assert len({attempt_id(request, number) for number in range(50)}) == 50
    assert attempt_id(uuid4(), 1) != attempt_id(request, 1)
