import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import closing

import httpx
import psutil
import pytest
import yaml
from servers import configs
from servers.gateway import GatewayProcess
from servers.process import ServerFailed

# A program that looks to `GatewayProcess` as the gateway does: two ports, two children, keys, signals.
STAND_IN = """
import json, os, signal, subprocess, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

if sys.argv[1] == "fail":
    sys.exit(3)
if sys.argv[1] != "serve":
    print(json.dumps({"argv": sys.argv[1:], "secret": os.environ.get("OPENAI_API_KEY")}))
    sys.exit(0)
if os.environ.get("STAND_IN") == "broken":
    print("no database", flush=True)
    sys.exit(1)

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/readyz" else 404)
        self.end_headers()
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        ok = self.headers["authorization"] == "Bearer sk-gw-admin-ABCDEFGHIJ-secret_x"
        self.send_response(201 if ok and self.path == "/admin/v1/keys" else 403)
        self.end_headers()
        self.wfile.write(json.dumps({"secret": "sk-gw-" + body["name"]}).encode())
    def log_message(self, *_):
        pass

workers = [subprocess.Popen(["cat"], stdin=subprocess.PIPE) for _ in range(2)]
signal.signal(signal.SIGHUP, lambda *_: print("reloaded", flush=True))
def end(*_):
    for worker in workers:
        worker.kill()
    os._exit(int(os.environ.get("STAND_IN_CODE", "0")))
signal.signal(signal.SIGTERM, end)
for port in ("GATEWAY_GATEWAY__PORT", "GATEWAY_ADMIN__PORT"):
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ[port])), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
# What is printed may come later than readiness.
time.sleep(0.2)
print("admin key sk-gw-admin-ABCDEFGHIJ-secret_x")
if os.environ.get("STAND_IN") == "first":
    print("inference key sk-gw-0123456789-se-cret_0 .")
print(json.dumps({"event": "started"}), flush=True)
while True:
    signal.pause()
"""


@pytest.fixture
def command(tmp_path):
    program = tmp_path / "stand_in.py"
    program.write_text(STAND_IN)
    return [sys.executable, str(program)]


@pytest.fixture
def running(command) -> Iterator[GatewayProcess]:
    gateway = GatewayProcess.launch(command=command)
    yield gateway
    gateway.close()


def test_it_waits_for_both_planes_and_ends_on_sigterm(running):
    for url in (running.base_url, running.admin_url):
        assert httpx.get(f"{url}/readyz").status_code == 200
    assert len(running.workers()) == 2
    workers = running.workers()
    running.stop()
    assert running.exit_code == 0
    assert not psutil.wait_procs(workers, timeout=10)[1]


def test_it_starts_again_at_the_same_address(running):
    address = running.base_url
    running.stop()
    running.start()
    assert httpx.get(f"{address}/readyz").status_code == 200


def test_a_bad_exit_is_a_failure(command):
    running = closing(GatewayProcess.launch(command=command, environ={"STAND_IN_CODE": "7"}))
    with running as gateway, pytest.raises(ServerFailed, match="exit code 7"):
        gateway.stop()


def test_a_start_that_fails_shows_the_output(command):
    with pytest.raises(ServerFailed, match=r"ended with exit code 1(.|\n)*no database"):
        GatewayProcess.launch(command=command, environ={"STAND_IN": "broken"})


def test_printed_keys_are_found(command):
    with closing(GatewayProcess.launch(command=command, environ={"STAND_IN": "first"})) as gateway:
        assert gateway.key == "sk-gw-0123456789-se-cret_0"
        assert gateway.admin_key == "sk-gw-admin-ABCDEFGHIJ-secret_x"


def test_without_a_printed_key_one_is_made(command):
    environ = {"GATEWAY_ADMIN_KEY": "sk-gw-admin-ABCDEFGHIJ-secret_x"}
    with closing(GatewayProcess.launch(command=command, environ=environ)) as gateway:
        assert gateway.key == "sk-gw-made for a test"
        assert gateway.printed_key is None
        with pytest.raises(ServerFailed, match="403"):
            gateway.admin("POST", "/teams", json={"name": "x"})


def test_the_log_is_followed(running):
    assert running.wait_for_line("started") == '{"event": "started"}'
    assert running.log_records() == [{"event": "started"}]
    running.reload()
    assert running.wait_for_line("^reloaded$") == "reloaded"
    with pytest.raises(ServerFailed, match="No line"):
        running.wait_for_line("never", within_s=0.1)


def test_a_killed_parent_is_gone(running):
    workers = running.workers()
    running.kill()
    assert not running.is_alive
    assert running.exit_code == -signal.SIGKILL
    assert not any(worker.is_running() for worker in workers)


def test_other_commands_run_in_a_bare_environment(command, monkeypatch):
    monkeypatch.setitem(os.environ, "OPENAI_API_KEY", "sk-of-the-developer")
    with closing(GatewayProcess.prepare({"gateway": {"workers": 1}}, command=command)) as gateway:
        said = json.loads(gateway.run("keys", "list").stdout)
        assert said == {"argv": ["keys", "list", "--config", str(gateway.config)], "secret": None}
        with pytest.raises(ServerFailed, match="ended with 3"):
            gateway.run("fail")


def test_the_file_is_written_and_replaced(command):
    tree = configs.config(fake_url="http://127.0.0.1:1/v1", database="sqlite+aiosqlite:///x.db", state="memory://")
    with closing(GatewayProcess.prepare(tree, command=command)) as gateway:
        assert yaml.safe_load(gateway.config.read_text()) == tree
        gateway.write_config({"queue_s": 1})
        assert yaml.safe_load(gateway.config.read_text()) == {"queue_s": 1}
