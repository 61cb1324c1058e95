"""`llm-gateway top` against a running gateway: once for scripts, and as a screen in a terminal of its own."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from contextlib import closing, suppress

import httpx
import pytest
from outside.caller import Caller, user
from servers.gateway import ADMIN_KEY, REPOSITORY, GatewayProcess
from servers.process import free_port

ENVIRON = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), "TERM": "xterm-256color", "COLUMNS": "150"}


def command(gateway: GatewayProcess, *words: str) -> list[str]:
    where = ("--url", gateway.admin_url, "--gateway-url", gateway.base_url)
    return [sys.executable, "-m", "app", "top", *where, *words]


def run(words: list[str], **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, env={**ENVIRON, **environ}, cwd="/", capture_output=True, text=True, check=False, timeout=60
    )


def test_once_tells_what_happened_meanwhile(embedded_gateway: GatewayProcess):
    with Caller(embedded_gateway) as caller:
        for stream in (True, False):
            body = {"model": "fake-model", "messages": user("a b c"), "stream": stream}
            assert caller.post(body).status_code == 200
    done = run(command(embedded_gateway, "--once", "--json", "--interval", "1"), GATEWAY_ADMIN_KEY=ADMIN_KEY)
    assert done.returncode == 0, done.stderr
    view = json.loads(done.stdout)
    [model] = [each for each in view["models"] if each["model"] == "fake-model"]
    assert model["requests_total"] >= 2
    assert model["cost_total_usd"] > 0
    assert view["stores"] == {"state": True, "database": True}
    assert {"fake", "echo"} <= {each["provider"] for each in view["providers"]}
    assert view["streams"] == 0
    assert 1 <= view["seconds"] < 30


def test_traffic_shows_as_a_rate(embedded_gateway: GatewayProcess):
    words = command(embedded_gateway, "--once", "--json", "--interval", "6", "--key", "env:MINE")
    with (
        subprocess.Popen(words, env={**ENVIRON, "MINE": ADMIN_KEY}, cwd="/", stdout=subprocess.PIPE, text=True) as top,
        Caller(embedded_gateway) as caller,
    ):
        while top.poll() is None:
            assert caller.post({"model": "echo", "messages": user("x y z"), "stream": True}).status_code == 200
        view = json.loads(top.stdout.read())
    assert view["requests"] > 1
    assert view["output_tokens"] > 3
    assert view["latency"]["p95_ms"] > 0
    assert view["first_token"]["p50_ms"] > 0
    assert view["overhead"]["p50_ms"] > 0


def test_an_idle_gateway_has_nothing_in_flight_and_answers_by_the_name_that_it_is_served_under():
    tree = {"providers": {"echo": {"adapter": "echo"}}, "admin": {"allowed_hosts": ["*.example.com", "a.example.org"]}}
    with closing(GatewayProcess.launch(tree, environ={"GATEWAY_ADMIN_KEY": ADMIN_KEY})) as gateway:
        for _ in range(2):
            view = json.loads(gateway.run("top", "--once", "--json", "--interval", "0.3").stdout)
            assert view["in_flight"] == 0
        assert "in force" in gateway.run("config", "reload").stdout
        refused = httpx.get(f"{gateway.admin_url}/admin/v1/keys", headers={"authorization": f"Bearer {ADMIN_KEY}"})
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid_host")


def test_once_prints_a_table(embedded_gateway: GatewayProcess):
    done = run(command(embedded_gateway, "--once", "--interval", "0.3", "--key", ADMIN_KEY))
    assert done.returncode == 0, done.stderr
    assert re.search(r"^traffic +\d", done.stdout, flags=re.MULTILINE)
    assert "Providers" in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize(
    ("words", "environ", "says"),
    [
        (["--once"], {}, "GATEWAY_ADMIN_KEY is not set"),
        (["--once", "--key", "sk-gw-admin-wrong-0123456789012345678901"], {}, "refused (401"),
        (["--once", "--key", "env:NOBODY"], {}, "NOBODY, which is not set"),
        (["--json"], {}, "--json goes with --once"),
        (["--key", ADMIN_KEY], {}, "needs a terminal"),
    ],
)
def test_what_is_missing_is_said(embedded_gateway: GatewayProcess, words, environ, says):
    done = run(command(embedded_gateway, *words), **environ)
    assert done.returncode in {1, 2}
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert "sk-gw-admin-wrong" not in done.stderr


def test_where_nobody_answers_is_said(embedded_gateway: GatewayProcess):
    nowhere = f"http://127.0.0.1:{free_port()}"
    base = [sys.executable, "-m", "app", "top", "--once", "--key", ADMIN_KEY]
    done = run([*base, "--url", nowhere])
    assert (done.returncode, nowhere in done.stderr) == (1, True)
    done = run([*base, "--url", embedded_gateway.admin_url, "--gateway-url", nowhere])
    assert done.returncode == 1
    assert "--gateway-url says where it is" in done.stderr


def test_help_teaches():
    done = run([sys.executable, "-m", "app", "top", "--help"])
    assert done.returncode == 0
    for word in ("--once", "--gateway-url", "--key", "--interval", "llm-gateway top --once --json", "/metrics"):
        assert word in done.stdout


class Terminal:
    """A process in a terminal of its own, and all that it has written there."""

    def __init__(self, words: list[str], **environ: str) -> None:
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.chdir("/")
            # Whoever runs the tests in the background ignores interrupts, and that is inherited.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.execve(words[0], words, {**ENVIRON, **environ})
        self.text = ""

    def wait_for(self, pattern: str, *, within_s: float = 40) -> None:
        ends_at = time.monotonic() + within_s
        while not re.search(pattern, self.text):
            assert time.monotonic() < ends_at, f"{pattern!r} did not come:\n{self.text[-3000:]}"
            if select.select([self._fd], [], [], 0.2)[0]:
                with suppress(OSError):
                    self.text += os.read(self._fd, 1 << 16).decode(errors="replace")

    def interrupt(self) -> int:
        os.kill(self.pid, signal.SIGINT)
        ends_at = time.monotonic() + 20
        while time.monotonic() < ends_at:
            with suppress(OSError):
                while select.select([self._fd], [], [], 0.1)[0] and (part := os.read(self._fd, 1 << 16)):
                    self.text += part.decode(errors="replace")
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
        os.kill(self.pid, signal.SIGKILL)
        raise AssertionError("it did not end")


def test_the_screen_is_refreshed_in_place(embedded_gateway: GatewayProcess):
    terminal = Terminal(command(embedded_gateway, "--interval", "0.3"), GATEWAY_ADMIN_KEY=ADMIN_KEY)
    terminal.wait_for(r"traffic +\d")
    with Caller(embedded_gateway) as caller:
        for _ in range(3):
            assert caller.post({"model": "fake-local", "messages": user("x")}).status_code == 200
    terminal.wait_for("fake-local")
    assert terminal.interrupt() == 0
    assert "\x1b[?1049h" in terminal.text, "a screen of its own"
    assert "\x1b[?1049l" in terminal.text, "the terminal is given back"
    assert ADMIN_KEY not in terminal.text


def test_a_gateway_that_goes_away_is_waited_for(embedded_gateway: GatewayProcess, tcp_proxy):
    """The way to it breaks, not the gateway, which others use."""
    proxy = tcp_proxy(embedded_gateway.base_url)
    words = [sys.executable, "-m", "app", "top", "--interval", "0.3", "--url", embedded_gateway.admin_url]
    terminal = Terminal([*words, "--gateway-url", proxy.url(embedded_gateway.base_url)], GATEWAY_ADMIN_KEY=ADMIN_KEY)
    terminal.wait_for(r"traffic +\d")
    proxy.refuses = True
    terminal.wait_for("unreachable")
    seen = len(terminal.text)
    proxy.heal()
    terminal.wait_for(rf"(?s).{{{seen}}}.*traffic +\d")
    assert terminal.interrupt() == 0
    assert httpx.get(f"{embedded_gateway.base_url}/healthz").status_code == 200
