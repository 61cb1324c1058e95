"""A worker has everybody read the settings again, and hears from each how it went."""

import os
import signal
import threading

THREE = [["gateway"], ["gateway"], ["admin"]]


def victim_of(gateway):
    """Return the pid of a worker of the gateway plane."""
    (pid,) = gateway.pids(plane="admin", requests=1)
    return next(worker.pid for worker in gateway.workers() if worker.pid != pid)


def test_every_worker_confirms(start):
    gateway = start(roles=THREE).wait_until_ready()
    pids = {worker.pid for worker in gateway.workers()}
    gateway.write_settings(greeting="hi", port=9)
    told = gateway.get("/reload", plane="admin")[2]
    assert {worker["pid"] for worker in told["workers"]} == pids
    assert [worker["worker"] for worker in told["workers"]] == ["w0", "w1", "w2"]
    assert [worker["error"] for worker in told["workers"]] == [None, None, None]
    assert (told["ignored"], told["refused"]) == (["port"], [])
    answers = [gateway.get("/pid")[2] for _ in range(20)] + [gateway.get("/pid", plane="admin")[2]]
    assert {(answer["greeting"], answer["port"]) for answer in answers} == {("hi", 1)}


def test_it_is_in_force_when_the_answer_comes(start):
    gateway = start(roles=THREE).wait_until_ready()
    for number in range(8):
        gateway.write_settings(greeting=f"greeting {number}")
        assert gateway.get("/reload", plane="admin")[2]["refused"] == []
        assert {gateway.get("/pid")[2]["greeting"] for _ in range(6)} == {f"greeting {number}"}


def test_a_bad_file_reaches_nobody(start):
    gateway = start(roles=THREE).wait_until_ready()
    gateway.write_settings(greeting=7)
    told = gateway.get("/reload", plane="admin")[2]
    assert told["workers"] == []
    assert told["refused"][0].startswith("settings: Expected `str`")
    assert {gateway.get("/pid")[2]["greeting"] for _ in range(6)} == {"hello"}
    assert "in force" not in gateway.output


def test_the_one_that_keeps_the_old_settings_is_named(start):
    gateway = start(roles=THREE).wait_until_ready()
    gateway.write_settings(greeting="hi", refuse_reload=True, refuse_role="1")
    told = gateway.get("/reload", plane="admin")[2]
    errors = {worker["worker"]: worker["error"] for worker in told["workers"]}
    assert errors == {"w0": None, "w1": "the application says no", "w2": None}


def test_one_that_says_nothing_is_named_in_time(start):
    gateway = start(roles=THREE, patience={"reload_s": 1.5}).wait_until_ready()
    victim = victim_of(gateway)
    os.kill(victim, signal.SIGSTOP)
    gateway.write_settings(greeting="hi")
    told = gateway.get("/reload", plane="admin")[2]
    os.kill(victim, signal.SIGCONT)
    errors = {worker["pid"]: worker["error"] for worker in told["workers"]}
    assert errors.pop(victim) == "it did not say within 1.5 s how it went"
    assert list(errors.values()) == [None, None]
    gateway.wait_for(lambda: gateway.output.count("new settings are in force") == 3)


def test_one_that_dies_in_it_is_named_and_its_successor_has_the_new(start):
    gateway = start(roles=THREE).wait_until_ready()
    victim = victim_of(gateway)
    os.kill(victim, signal.SIGSTOP)
    gateway.write_settings(greeting="hi")
    timer = threading.Timer(1, os.kill, (victim, signal.SIGKILL))
    timer.start()
    told = gateway.get("/reload", plane="admin")[2]
    timer.join()
    errors = {worker["pid"]: worker["error"] for worker in told["workers"]}
    assert errors.pop(victim) == "it ended; the next one begins with the new settings"
    assert list(errors.values()) == [None, None]
    gateway.wait_for(lambda: gateway.output.count("is ready") == 4)
    assert {gateway.get("/pid")[2]["greeting"] for _ in range(20)} == {"hi"}


def test_many_at_once_are_each_answered(start):
    gateway = start(roles=THREE).wait_until_ready()
    gateway.write_settings(greeting="hi")
    told = []
    asking = [threading.Thread(target=lambda: told.append(gateway.get("/reload", plane="admin")[2])) for _ in range(8)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert [len(answer["workers"]) for answer in told] == [3] * 8
    assert len({answer["question"] for answer in told}) == 8


def test_one_process_reloads_itself(start):
    gateway = start(roles=[["gateway", "admin"]]).wait_until_ready()
    gateway.write_settings(greeting="hi")
    told = gateway.get("/reload", plane="admin")[2]
    assert [(worker["worker"], worker["error"]) for worker in told["workers"]] == [("w0", None)]
    assert gateway.get("/pid")[2]["greeting"] == "hi"
