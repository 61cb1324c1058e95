import multiprocessing
import os
import signal

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.observability import cells as module
from app.observability.cells import Cells, fold, fold_dead, read_all
from app.observability.metrics import (
    FAMILIES,
    INFLIGHT,
    LOOP_LAG,
    REQUEST_SECONDS,
    REQUESTS,
    STORE_UP,
    TOKENS,
    Metrics,
)

KINDS = frozenset({"gateway"})
FORK = multiprocessing.get_context("fork")


def samples(text):
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def value(text, name, **labels):
    return samples(text).get((name, tuple(sorted(labels.items()))))


def test_an_exposition_without_numbers_names_every_family():
    text = Metrics().exposition(KINDS).decode()
    for family in FAMILIES:
        assert f"# HELP {family.name} {family.help}" in text
        assert f"# TYPE {family.name} {family.kind}" in text


def test_a_histogram_is_cumulative_and_read_by_prometheus_own_parser():
    metrics = Metrics()
    histogram = metrics.histogram(REQUEST_SECONDS, "/v1/chat/completions")
    seen = [0.001, 0.005, 0.0051, 0.3, 59.9, 60.0, 601.0]
    for seconds in seen:
        histogram.observe(seconds)
    text = metrics.exposition(KINDS)
    for bound in (*REQUEST_SECONDS.buckets, float("inf")):
        label = "+Inf" if bound == float("inf") else str(bound)
        counted = value(text, "gateway_request_seconds_bucket", route="/v1/chat/completions", le=label)
        assert counted == sum(seconds <= bound for seconds in seen)
    assert value(text, "gateway_request_seconds_count", route="/v1/chat/completions") == len(seen)
    assert value(text, "gateway_request_seconds_sum", route="/v1/chat/completions") == pytest.approx(sum(seen))


def test_labels_are_escaped():
    metrics = Metrics()
    metrics.number(TOKENS, 'a"b\\c\nd', "input").add(3)
    assert value(metrics.exposition(KINDS), "gateway_tokens_total", model='a"b\\c\nd', kind="input") == 3


def test_the_same_labels_are_the_same_number():
    metrics = Metrics()
    assert metrics.number(STORE_UP, "state") is metrics.number(STORE_UP, "state")
    assert metrics.histogram(REQUEST_SECONDS, "a") is metrics.histogram(REQUEST_SECONDS, "a")


def _work(directory, pipe, kind, number):
    metrics = Metrics(directory, name=kind)
    metrics.number(REQUESTS, kind, "/v1", "m", "p", "200").add(number)
    metrics.number(INFLIGHT, kind).set(number)
    metrics.number(LOOP_LAG).set(number / 10)
    metrics.number(STORE_UP, "state").set(number > 1)
    metrics.histogram(REQUEST_SECONDS, "/v1").observe(number)
    pipe.send("ready")
    pipe.recv()


class Workers:
    """Real processes that count and then wait to be told, or killed."""

    def __init__(self, directory):
        self.directory = directory
        self.processes = []

    def start(self, number, kind="gateway"):
        mine, theirs = FORK.Pipe()
        process = FORK.Process(target=_work, args=(self.directory, theirs, kind, number), daemon=True)
        process.start()
        assert mine.recv() == "ready"
        self.processes.append((process, mine))
        return process

    def kill(self, process):
        os.kill(process.pid, signal.SIGKILL)
        process.join(30)

    def close(self):
        for process, _ in self.processes:
            if process.is_alive():
                self.kill(process)


@pytest.fixture
def workers(tmp_path):
    made = Workers(tmp_path)
    yield made
    made.close()


def counted(text):
    return (
        value(text, "gateway_requests_total", plane="gateway", route="/v1", model="m", provider="p", status="200"),
        value(text, "gateway_inflight", plane="gateway"),
        value(text, "gateway_loop_lag_seconds"),
        value(text, "gateway_store_up", store="state"),
        value(text, "gateway_request_seconds_count", route="/v1"),
    )


def test_the_numbers_of_several_processes_are_merged(tmp_path, workers):
    for number in (1, 2, 4):
        workers.start(number)
    workers.start(8, kind="admin")
    assert counted(Metrics(tmp_path, name="all").exposition(KINDS)) == (7, 7, 0.4, 0, 3)


def test_a_killed_process_leaves_its_counters_and_takes_its_gauges(tmp_path, workers):
    reader = Metrics(tmp_path, name="all")
    first = workers.start(1)
    workers.start(2)
    before = reader.exposition(KINDS)
    workers.kill(first)
    assert counted(before) == (3, 3, 0.2, 0, 2)
    for _ in range(3):
        assert counted(reader.exposition(KINDS)) == (3, 2, 0.2, 1, 2)
    assert not list(tmp_path.glob(f"*-{first.pid}-*"))
    workers.start(4)
    assert counted(reader.exposition(KINDS)) == (7, 6, 0.4, 1, 3)


def test_folding_twice_counts_once(tmp_path, workers):
    process = workers.start(5)
    workers.kill(process)
    for _ in range(2):
        fold(tmp_path, process.pid)
        fold_dead(tmp_path)
    assert counted(Metrics(tmp_path, name="all").exposition(KINDS))[0] == 5


def test_a_new_process_with_an_old_id_keeps_the_old_numbers(tmp_path):
    for _ in range(3):
        metrics = Metrics(tmp_path, name="gateway")
        metrics.number(STORE_UP, "state").set(1)
        metrics.number(TOKENS, "m", "input").add(2)
        metrics.close()
    text = metrics.exposition(KINDS)
    assert value(text, "gateway_tokens_total", model="m", kind="input") == 6
    assert value(text, "gateway_store_up", store="state") == 1


def _fold_again(directory, pid, pipe):
    for _ in range(50):
        fold(directory, pid)
    pipe.send("done")


def test_counters_never_go_back_while_somebody_folds(tmp_path, workers):
    reader = Metrics(tmp_path, name="all")
    folded = []
    for number in range(1, 6):
        process = workers.start(number)
        workers.kill(process)
        mine, theirs = FORK.Pipe()
        folder = FORK.Process(target=_fold_again, args=(tmp_path, process.pid, theirs), daemon=True)
        folder.start()
        folded.append(number)
        for _ in range(5):
            rows = read_all(tmp_path, KINDS)
            assert sum(each for _, key, each in rows if key[0] == REQUESTS.name) == sum(folded)
        assert mine.recv() == "done"
        folder.join(30)
    assert counted(reader.exposition(KINDS))[0] == sum(folded)


def _fold_until_killed(directory, pid, pipe):
    pipe.send("ready")
    fold(directory, pid)
    pipe.send("done")


@pytest.mark.parametrize("step", ["write", "replaced", "cells_gone"])
def test_whoever_folds_may_be_killed_at_any_step(tmp_path, workers, monkeypatch, step):
    """The kill is real: a process folds, and dies by SIGKILL right after the step."""
    reader = Metrics(tmp_path, name="all")
    process = workers.start(5)
    workers.kill(process)
    path_type, name = {
        "write": (module.Path, "write_bytes"),
        "replaced": (module.Path, "replace"),
        "cells_gone": (module.Path, "unlink"),
    }[step]
    real = getattr(path_type, name)

    def die_after(*args, **options):
        real(*args, **options)
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(path_type, name, die_after)
    mine, theirs = FORK.Pipe()
    folder = FORK.Process(target=_fold_until_killed, args=(tmp_path, process.pid, theirs), daemon=True)
    folder.start()
    assert mine.recv() == "ready"
    folder.join(30)
    assert folder.exitcode == -signal.SIGKILL
    monkeypatch.undo()
    assert sum(number for _, key, number in read_all(tmp_path, KINDS) if key[0] == REQUESTS.name) == 5
    for _ in range(2):
        assert counted(reader.exposition(KINDS))[0] == 5
    assert not list(tmp_path.glob(f"*-{process.pid}-*"))
    second = workers.start(2)
    workers.kill(second)
    assert counted(reader.exposition(KINDS))[0] == 7
    assert len(module._read_archive(tmp_path, "gateway").folded) == 1


def test_a_torn_line_of_names_is_not_read(tmp_path):
    metrics = Metrics(tmp_path, name="gateway")
    metrics.number(TOKENS, "m", "input").add(2)
    [names] = tmp_path.glob("*.names")
    names.write_bytes(names.read_bytes() + b'["gateway_tok')
    assert value(metrics.exposition(KINDS), "gateway_tokens_total", model="m", kind="input") == 2


def test_a_full_file_spoils_no_number(monkeypatch):
    monkeypatch.setattr(module, "_CAPACITY", 128)
    cells = Cells()
    keys = [(f"k{position}", (), "value") for position in range(200)]
    for position, key in enumerate(keys):
        at = cells.reserve([key])
        cells.values[at] += position + 1
        wide = cells.reserve((f"w{position}", (), f"le:{bound}") for bound in range(18))
        cells.values[wide] += 1
    read = dict(cells.read())
    assert 0 < len(read) <= 64
    for position, key in enumerate(keys):
        assert key not in read or read[key] == position + 1


def test_series_that_found_no_room_are_counted(monkeypatch):
    monkeypatch.setattr(module, "_CAPACITY", 128)
    metrics = Metrics()
    for number in range(100):
        metrics.number(TOKENS, f"m{number}", "input").add()
    shown = samples(metrics.exposition(KINDS))
    kept = sum(name == "gateway_tokens_total" for name, _ in shown)
    assert shown["gateway_series_dropped_total", ()] == 100 - kept > 0


def test_what_is_no_family_of_ours_is_not_shown(tmp_path):
    cells = Cells(tmp_path, name="gateway")
    cells.values[cells.reserve([("evil_total", (), "value")])] = 5
    assert b"evil" not in Metrics(tmp_path, name="all").exposition(KINDS)


def test_keys_survive_the_archive():
    key = (REQUESTS.name, ("gateway", "é", "", "", "200"), "value")
    assert msgspec.json.decode(msgspec.json.encode([(key, 0.1)]), type=list[tuple[module.Key, float]]) == [(key, 0.1)]
