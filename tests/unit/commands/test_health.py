import http.server
import threading

import pytest
from click.testing import CliRunner

from app.cli import cli
from app.commands.failure import CommandFailed
from app.commands.health import run


class Probe(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        is_ready = self.path == "/readyz"
        body = b'{"status":"ready"}' if is_ready else b"draining"
        self.send_response(200 if is_ready else 503)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments):
        pass


@pytest.fixture
def address():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Probe) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_ready_gateway_is_healthy(address, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert run(f"{address}/readyz") == '{"status":"ready"}'


def test_a_gateway_that_drains_is_not(address):
    with pytest.raises(CommandFailed, match="answers 503: draining"):
        run(f"{address}/")


def test_silence_is_a_failure_that_names_the_address():
    with pytest.raises(CommandFailed, match=r"http://127\.0\.0\.1:1/readyz does not answer: .*refused"):
        run("http://127.0.0.1:1/readyz")


@pytest.mark.parametrize("url", ["https://127.0.0.1/readyz", "127.0.0.1:3020", "http://", "http://127.0.0.1:port/"])
def test_only_an_address_of_this_kind_is_asked(url):
    with pytest.raises(CommandFailed, match=r"is not a URL to ask|does not answer|port"):
        run(url)


def test_what_is_asked_by_default_is_where_a_container_is_told_to_listen(address, monkeypatch):
    monkeypatch.setenv("GATEWAY_GATEWAY__PORT", address.rpartition(":")[2])
    result = CliRunner().invoke(cli, ["health"])
    assert (result.exit_code, result.output) == (0, '{"status":"ready"}\n')
