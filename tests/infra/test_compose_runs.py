"""What `docker compose up` would start, started here: the same commands, settings and secret files, on real servers."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import yaml
from servers.process import free_port
from shipped import ROOT, script

READY_S = 60
LISTENING = ("adapter", "gateway", "admin")


class Stack:
    """The services of `compose.yaml` as processes of this machine."""

    def __init__(self, folder, *, database_url, redis_url):
        self.services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
        self.ports = {name: free_port() for name in LISTENING}
        self.secrets = folder / "secrets"
        script("infra/compose/make_secrets.py").make(self.secrets)
        for name, url in (("database_url", database_url), ("state_url", redis_url)):
            (self.secrets / "gateway" / name).unlink()
            (self.secrets / "gateway" / name).write_text(url)
        self.settings = folder / "gateway.yaml"
        self.settings.write_text(self.here((ROOT / "infra/compose/gateway.yaml").read_text()))
        self.folder = folder
        self.running = {}

    def here(self, text):
        """Put what is the container's in terms of this machine: folders, ports, addresses."""
        text = text.replace("/run/secrets", str(self.secrets / "gateway"))
        text = text.replace("http://adapter:", "http://127.0.0.1:").replace("0.0.0.0", "127.0.0.1")
        for name, port in zip(LISTENING, ("3050", "3020", "3040"), strict=True):
            text = text.replace(port, str(self.ports[name]))
        return text

    def environ(self, name):
        given = {key: self.here(value) for key, value in self.services[name]["environment"].items()}
        if "GATEWAY_CONFIG" in given:
            given["GATEWAY_CONFIG"] = str(self.settings)
        kept = {key: value for key, value in os.environ.items() if not key.startswith("GATEWAY_")}
        return {**kept, "PYTHONPATH": str(ROOT), **given}

    def command(self, name, arguments=None):
        arguments = self.services[name]["command"] if arguments is None else arguments
        return [sys.executable, "-m", "app", *(self.here(each) for each in arguments)]

    def run(self, name, arguments=None):
        """Run a service's command, or another in its container, to its end."""
        where = self.folder / name
        where.mkdir(exist_ok=True)
        return subprocess.run(
            self.command(name, arguments),
            env=self.environ(name),
            cwd=where,
            capture_output=True,
            text=True,
            check=False,
        )

    def start(self, name):
        """Start a service, and wait as Compose would: by its own health check."""
        where = self.folder / name
        where.mkdir(exist_ok=True)
        log = (where / "log").open("w")
        self.running[name] = subprocess.Popen(
            self.command(name), env=self.environ(name), cwd=where, stdout=log, stderr=subprocess.STDOUT
        )
        log.close()
        check = self.services[name]["healthcheck"]["test"][2:]
        deadline = time.monotonic() + READY_S
        while self.run(name, check).returncode != 0:
            assert self.running[name].poll() is None, (where / "log").read_text()
            assert time.monotonic() < deadline, (where / "log").read_text()

    def stop(self):
        """Stop everything as Compose would; return the exit codes."""
        for process in self.running.values():
            process.send_signal(signal.SIGTERM)
        return {name: process.wait(READY_S) for name, process in self.running.items()}

    def ask(self, name, path, *, key, body=None):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.ports[name], timeout=10)) as connection:
            headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
            connection.request("GET" if body is None else "POST", path, body and json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())


@pytest.fixture
def stack(tmp_path, database_url, redis_url):
    made = Stack(tmp_path, database_url=database_url, redis_url=redis_url)
    yield made
    for process in made.running.values():
        if process.poll() is None:
            process.kill()
            process.wait()


def test_the_first_start_of_compose_answers_through_the_adapter(stack):
    refused = stack.run("gateway")
    assert refused.returncode == 1
    assert "Run `llm-gateway migrate`" in refused.stderr
    migrated = stack.run("migrate")
    assert migrated.returncode == 0, migrated.stderr
    for name in LISTENING:
        stack.start(name)
    made = stack.run("gateway", ["keys", "create", "--name", "first", "--json"])
    assert made.returncode == 0, made.stderr
    key = json.loads(made.stdout)["secret"]
    question = {"model": "echo", "messages": [{"role": "user", "content": "through the adapter"}]}
    status, answer = stack.ask("gateway", "/v1/chat/completions", key=key, body=question)
    assert (status, answer["choices"][0]["message"]["content"]) == (200, "through the adapter")
    admin_key = (stack.secrets / "gateway/admin_key").read_text().strip()
    status, listed = stack.ask("admin", "/admin/v1/keys", key=admin_key)
    assert (status, [each["name"] for each in listed["items"]]) == (200, ["first"])
    assert stack.stop() == dict.fromkeys(LISTENING, 0)
