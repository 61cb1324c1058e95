"""Starts the stand-in application under the real supervisor, in a process of its own."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[3]
STANDIN = Path(__file__).with_name("standin.py")
PATIENCE_S = 30
"""How long a test waits for what must happen; far more than it takes, since the machine may be busy."""

SHORT = {"beat_s": 0.2, "lead_s": 0.1, "quiet_s": 0.2}


class Running:
    """One supervisor and its workers, seen from outside."""

    def __init__(self, folder, *, roles, settings=None, times=None, **options):
        self.folder = folder
        self.settings_path = folder / "settings.json"
        self.write_settings(**(settings or {}))
        plan = folder / "plan.json"
        options |= {"roles": roles, "settings_path": str(self.settings_path), "times": {**SHORT, **(times or {})}}
        plan.write_text(json.dumps(options))
        self.lines = []
        self.streams = []
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", str(STANDIN), str(plan)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        )
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    @property
    def output(self):
        return "\n".join(self.lines)

    @property
    def ports(self):
        self.wait_for(lambda: self.lines)
        return json.loads(self.lines[0])

    def write_settings(self, **settings):
        self.settings_path.write_text(json.dumps(settings))

    def wait_until_ready(self):
        self.wait_for(lambda: "ready" in self.lines)
        return self

    def wait_for(self, condition, *, seconds=PATIENCE_S):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := condition():
                return found
            time.sleep(0.02)
        raise AssertionError(f"waited {seconds} s in vain; the output so far:\n{self.output}")

    def get(self, path, *, plane="gateway", timeout=PATIENCE_S):
        """Return the status, headers and decoded body of a request on a new connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[plane], timeout=timeout)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
            return answer.status, dict(answer.getheaders()), json.loads(body)
        finally:
            connection.close()

    def pids(self, *, plane="gateway", requests=40):
        """Return the pids of the workers that answer, found by asking often enough."""
        return {self.get("/pid", plane=plane)[2]["pid"] for _ in range(requests)}

    def open_stream(self, *, chunks, plane="gateway"):
        """Return the answer to a stream whose first chunk has come."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[plane], timeout=PATIENCE_S)
        connection.request("GET", f"/stream?{chunks}")
        answer = connection.getresponse()
        self.streams += [answer, connection]
        first = answer.readline()
        assert first == b"data: 0\n"
        return answer

    def workers(self):
        return psutil.Process(self.process.pid).children()

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, *, seconds=PATIENCE_S):
        """Return the exit code, once the output is complete."""
        code = self.process.wait(seconds)
        self.reader.join(seconds)
        return code

    def end(self):
        """Leave nothing behind, whatever the test did."""
        for stream in self.streams:
            stream.close()
        left = [self.process.pid]
        if self.process.poll() is None:
            left += [child.pid for child in self.workers()]
        for pid in left:
            if psutil.pid_exists(pid):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.reader.join(PATIENCE_S)
        self.process.stdout.close()


@pytest.fixture
def start(tmp_path):
    """Return a function that starts a supervisor; everything it started is gone after the test."""
    running = []

    def begin(*, roles, **options):
        folder = tmp_path / str(len(running))
        folder.mkdir()
        running.append(Running(folder, roles=roles, **options))
        return running[-1]

    yield begin
    for one in running:
        one.end()
