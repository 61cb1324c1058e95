import os
import signal
import socket
import time

import psutil

ONE = [["gateway", "admin"]]
TWO = [["gateway"], ["gateway"]]
QUICK = {"retry_s": 0.05, "retry_max_s": 0.2}


def is_refused(port):
    with socket.socket() as sock:
        sock.settimeout(5)
        return sock.connect_ex(("127.0.0.1", port)) != 0


def test_one_worker_serves_both_planes(start):
    gateway = start(roles=ONE).wait_until_ready()
    answers = [gateway.get("/pid", plane=plane)[2] for plane in ("gateway", "admin")]
    assert [answer["plane"] for answer in answers] == ["gateway", "admin"]
    assert answers[0]["pid"] == answers[1]["pid"]
    assert answers[0]["parent"] == gateway.process.pid


def test_workers_share_a_port_and_admin_has_its_own_process(start):
    gateway = start(roles=[*TWO, ["admin"]]).wait_until_ready()
    of_gateway, of_admin = gateway.pids(), gateway.pids(plane="admin", requests=5)
    assert len(of_gateway) == 2
    assert len(of_admin) == 1
    assert of_gateway | of_admin == {worker.pid for worker in gateway.workers()}


def test_the_parent_has_one_thread_and_a_worker_holds_only_its_own_port(start):
    gateway = start(roles=[["gateway"], ["admin"]]).wait_until_ready()
    assert psutil.Process(gateway.process.pid).num_threads() == 1
    for plane, port in gateway.ports.items():
        (pid,) = gateway.pids(plane=plane, requests=1)
        held = {entry.laddr.port for entry in psutil.Process(pid).net_connections("inet") if entry.laddr}
        assert held == {port}


def test_a_killed_worker_is_replaced_and_no_request_fails(start):
    gateway = start(roles=TWO).wait_until_ready()
    victim = min(gateway.pids())
    os.kill(victim, signal.SIGKILL)
    killed_at = time.monotonic()
    for _ in range(60):
        assert gateway.get("/pid")[0] == 200
    gateway.wait_for(lambda: len(gateway.workers()) == 2 and victim not in {w.pid for w in gateway.workers()})
    assert time.monotonic() - killed_at < 5
    gateway.wait_for(lambda: gateway.output.count("is ready") == 3)
    assert "ended (SIGKILL)" in gateway.output
    assert len(gateway.pids()) == 2


def test_a_worker_that_is_terminated_drains_alone(start):
    gateway = start(roles=TWO).wait_until_ready()
    victim = gateway.get("/pid")[2]["pid"]
    streams = [gateway.open_stream(chunks=15) for _ in range(6)]
    os.kill(victim, signal.SIGTERM)
    assert all(stream.read().endswith(b"[DONE]\n\n") for stream in streams)
    gateway.wait_for(lambda: gateway.output.count("is ready") == 3)
    assert "w0 ended; the next" in gateway.output or "w1 ended; the next" in gateway.output
    assert victim not in gateway.pids()


def test_sigterm_lets_streams_finish_and_refuses_new_connections(start):
    gateway = start(roles=TWO).wait_until_ready()
    port = gateway.ports["gateway"]
    streams = [gateway.open_stream(chunks=12) for _ in range(20)]
    gateway.signal(signal.SIGTERM)
    began_at = time.monotonic()
    gateway.wait_for(lambda: is_refused(port))
    assert time.monotonic() - began_at < 1 + 1  # a second to refuse, another for a busy machine
    assert gateway.process.poll() is None
    for stream in streams:
        body = stream.read()
        assert body.endswith(b"data: 11\n\ndata: [DONE]\n\n")
    assert gateway.wait() == 0
    assert gateway.output.count("closed w") == 2


def test_readiness_fails_before_connections_are_refused(start):
    gateway = start(roles=ONE, times={"lead_s": 1.5}).wait_until_ready()
    assert gateway.get("/readyz")[0] == 200
    gateway.signal(signal.SIGTERM)
    gateway.wait_for(lambda: gateway.get("/readyz")[0] == 503)
    status, headers, _ = gateway.get("/pid")
    assert (status, headers["connection"]) == (200, "close")
    assert gateway.wait() == 0


def test_an_idle_keep_alive_connection_does_not_hold_the_drain(start):
    gateway = start(roles=ONE).wait_until_ready()
    with socket.create_connection(("127.0.0.1", gateway.ports["gateway"])) as sock:
        sock.sendall(b"GET /pid HTTP/1.1\r\nhost: x\r\n\r\n")
        assert sock.recv(65536).startswith(b"HTTP/1.1 200")
        began_at = time.monotonic()
        gateway.signal(signal.SIGTERM)
        assert gateway.wait() == 0
        assert time.monotonic() - began_at < 10


def test_a_stream_longer_than_the_drain_is_ended_by_the_application(start):
    gateway = start(roles=ONE, drain_s=1).wait_until_ready()
    stream = gateway.open_stream(chunks=600)
    began_at = time.monotonic()
    gateway.signal(signal.SIGTERM)
    assert stream.read().endswith(b"event: error\n\ndata: [DONE]\n\n")
    assert gateway.wait() == 0
    assert time.monotonic() - began_at < 1 + 10


def test_a_second_interrupt_ends_everything_at_once(start):
    gateway = start(roles=TWO).wait_until_ready()
    workers = gateway.workers()
    gateway.open_stream(chunks=600)
    gateway.signal(signal.SIGINT)
    gateway.wait_for(lambda: "draining" in gateway.output)
    gateway.signal(signal.SIGINT)
    assert gateway.wait(seconds=10) == 130
    assert not any(worker.is_running() for worker in workers)


def test_a_worker_that_does_not_close_is_left_behind(start):
    gateway = start(roles=ONE, settings={"hang_close": True}, times={"close_s": 0.5}).wait_until_ready()
    gateway.signal(signal.SIGTERM)
    assert gateway.wait() == 0
    assert "did not close cleanly" in gateway.output


def test_a_worker_that_does_not_leave_is_killed_and_the_exit_code_says_so(start):
    gateway = start(roles=ONE, drain_s=0.5, patience={"stop_s": 0.5}).wait_until_ready()
    (worker,) = gateway.workers()
    worker.suspend()
    gateway.signal(signal.SIGTERM)
    assert gateway.wait() == 1
    assert "does not respond; killing it" in gateway.output


def test_reload_changes_the_settings_of_the_same_workers(start):
    gateway = start(roles=TWO).wait_until_ready()
    before = gateway.pids()
    gateway.write_settings(greeting="hi", port=9)
    gateway.signal(signal.SIGHUP)
    gateway.wait_for(lambda: gateway.output.count("new settings are in force") == 2)
    answers = [gateway.get("/pid")[2] for _ in range(20)]
    assert {(answer["greeting"], answer["port"]) for answer in answers} == {("hi", 1)}
    assert gateway.pids() == before
    assert "reload: port needs a restart and keeps its value" in gateway.output


def test_a_worker_forked_after_a_reload_has_the_new_settings(start):
    gateway = start(roles=ONE, patience=QUICK).wait_until_ready()
    gateway.write_settings(greeting="hi")
    gateway.signal(signal.SIGHUP)
    gateway.wait_for(lambda: "new settings are in force" in gateway.output)
    gateway.write_settings(greeting=7)
    gateway.workers()[0].kill()
    gateway.wait_for(lambda: gateway.output.count("is ready") == 2)
    assert gateway.get("/pid")[2]["greeting"] == "hi"


def test_a_bad_file_changes_nothing(start):
    gateway = start(roles=ONE).wait_until_ready()
    gateway.write_settings(greeting=7)
    gateway.signal(signal.SIGHUP)
    gateway.wait_for(lambda: "reload refused: settings: Expected `str`" in gateway.output)
    assert gateway.get("/pid")[2]["greeting"] == "hello"
    assert "in force" not in gateway.output


def test_settings_that_the_application_refuses_change_nothing(start):
    gateway = start(roles=ONE).wait_until_ready()
    gateway.write_settings(greeting="hi", refuse_reload=True)
    gateway.signal(signal.SIGHUP)
    gateway.wait_for(lambda: "the old settings stay in force: the application says no" in gateway.output)
    assert gateway.get("/pid")[2]["greeting"] == "hello"


def test_a_worker_that_cannot_start_ends_the_command_with_its_message(start):
    gateway = start(roles=ONE, settings={"fail_start": "no such database"}, patience=QUICK)
    assert gateway.wait() == 1
    assert gateway.output.count("could not start: no such database") == 5
    assert gateway.lines[-1] == "failed: no such database"


def test_a_role_that_never_started_ends_also_those_that_did(start):
    settings = {"fail_start": "no", "fail_role": "1"}
    gateway = start(roles=TWO, settings=settings, patience={**QUICK, "attempts": 2})
    assert gateway.wait() == 1
    assert gateway.output.count("w1 could not start: no") == 2
    assert gateway.lines[-2:] == ["closed w0", "failed: no"]


def test_a_worker_that_cannot_come_back_does_not_take_the_others_with_it(start, tmp_path):
    marker = tmp_path / "marker"
    settings = {"fail_marker": str(marker)}
    gateway = start(roles=TWO, settings=settings, patience={**QUICK, "attempts": 2}).wait_until_ready()
    victim, other = sorted(gateway.pids())
    marker.touch()
    os.kill(victim, signal.SIGKILL)
    gateway.wait_for(lambda: gateway.output.count("could not start: the marker is there") >= 4)
    assert gateway.pids(requests=20) == {other}
    marker.unlink()
    gateway.wait_for(lambda: len(gateway.pids(requests=10)) == 2)


def test_workers_die_with_a_killed_parent_and_free_the_ports(start):
    gateway = start(roles=TWO, times={"orphan_s": 1}).wait_until_ready()
    workers, ports = gateway.workers(), gateway.ports
    stream = gateway.open_stream(chunks=600)
    gateway.signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(workers, timeout=15)
    assert alive == []
    assert stream.read().endswith(b"event: error\n\ndata: [DONE]\n\n")
    again = start(roles=TWO, ports=ports).wait_until_ready()
    assert again.ports == ports


def test_a_worker_that_stands_still_is_killed_and_replaced(start):
    gateway = start(roles=ONE, patience={**QUICK, "hung_s": 1.5}).wait_until_ready()
    (worker,) = gateway.workers()
    worker.suspend()
    gateway.wait_for(lambda: gateway.output.count("is ready") == 2)
    assert not worker.is_running()
    assert gateway.get("/pid")[0] == 200


def test_a_pause_of_everything_is_forgiven(start):
    gateway = start(roles=TWO, patience={"hung_s": 2}).wait_until_ready()
    workers, parent = gateway.workers(), psutil.Process(gateway.process.pid)
    stream = gateway.open_stream(chunks=40)
    for process in (parent, *workers):
        process.suspend()
    time.sleep(3.5)
    parent.resume()
    time.sleep(0.2)
    for worker in workers:
        worker.resume()
    assert stream.read().endswith(b"[DONE]\n\n")
    assert gateway.workers() == workers
    assert "does not respond" not in gateway.output


def test_a_stuck_loop_leaves_its_stack_in_the_log(start):
    gateway = start(roles=ONE, patience={**QUICK, "hung_s": 2.5}, times={"stuck_s": 1.5}).wait_until_ready()
    with socket.create_connection(("127.0.0.1", gateway.ports["gateway"])) as sock:
        sock.sendall(b"GET /block?60 HTTP/1.1\r\nhost: x\r\n\r\n")
        gateway.wait_for(lambda: gateway.output.count("is ready") == 2)
    assert "in answer" in gateway.output


def test_a_port_in_use_is_refused_before_anything_starts(start):
    first = start(roles=TWO).wait_until_ready()
    second = start(roles=ONE, ports=first.ports)
    assert second.wait() == 1
    expected = f"unavailable: 127.0.0.1:{first.ports['gateway']} is in use by another process; stop it, or set"
    assert expected in second.output
    assert "GATEWAY_GATEWAY__PORT" in second.output
