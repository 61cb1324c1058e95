from types import SimpleNamespace

import pytest

from app.commands import openapi
from app.commands.failure import CommandFailed


class Described:
    """An application that describes its one plane, or does not."""

    status = 200

    def __init__(self, settings, role):
        assert settings.master_secret is not None
        self.planes = [SimpleNamespace(name=name, app=self.answer) for name in role.planes]
        self.is_closed = False
        Described.made = self

    async def answer(self, scope, receive, send):
        assert (scope["method"], scope["path"]) == ("GET", "/openapi.json")
        assert (await receive())["body"] == b""
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        for part in (b'{"openapi":', b'"3.1.0"}'):
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body"})

    async def aclose(self):
        self.is_closed = True


@pytest.fixture(autouse=True)
def described(monkeypatch):
    monkeypatch.setattr(openapi, "build_application", Described)


def test_the_document_is_what_the_plane_serves():
    assert openapi.run("admin") == '{\n  "openapi": "3.1.0"\n}'
    assert [plane.name for plane in Described.made.planes] == ["admin"]
    assert Described.made.is_closed


def test_a_plane_without_a_document_is_a_failure(monkeypatch):
    monkeypatch.setattr(Described, "status", 404)
    with pytest.raises(CommandFailed, match=r"the gateway plane has no /openapi\.json"):
        openapi.run("gateway")
    assert Described.made.is_closed
