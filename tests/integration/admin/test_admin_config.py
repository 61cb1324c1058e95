"""`/config`: what is in force and from where, what another file would do, and taking the file again."""

import asyncio
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from app.commands.reloading import adopt, examiner
from app.commands.sources import Sources
from app.server.control import ReloadDone, WorkerReload
from app.settings.differences import differences

FILE = """\
log_level: info
providers:
  echo: {}
  vendor: {adapter: openai, api_key: env:VENDOR_KEY, base_url: "https://vendor.example/v1"}
models:
  m: {targets: [{provider: echo, model: echo}, {provider: vendor, model: gpt-4o}]}
"""
MASTER_SECRET = "a master secret that nobody may see!!"
ENVIRON = {"VENDOR_KEY": "sk-very-secret", "GATEWAY_MASTER_SECRET": MASTER_SECRET, "GATEWAY_QUEUE_S": "2"}


@dataclass
class Processes:
    """Stands for the parent and its workers: reads the real file, and adopts as a worker would."""

    plane: Any
    sources: Sources
    silent: bool = False
    errors: dict[str, str] = field(default_factory=dict)
    threads: set[int] = field(default_factory=set)
    rounds: int = 0
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    holds: asyncio.Event | None = None

    def write(self, text: str) -> None:
        assert self.sources.path is not None
        self.sources.path.write_text(text)

    def examine(self, document: bytes | None) -> Any:
        self.threads.add(threading.get_ident())
        return examiner(self.sources)(self.plane.settings, document)

    async def reload(self) -> ReloadDone:
        self.rounds += 1
        self.begun.set()
        if self.silent:
            raise TimeoutError
        await asyncio.sleep(0)
        if self.holds is not None:
            await self.holds.wait()
        self.plane.settings, ignored = adopt(self.plane.settings, self.sources.read())
        workers = [
            WorkerReload(worker=name, pid=7, error=self.errors.get(name))
            for name in ("admin", "gateway-1", "gateway-2")
        ]
        return ReloadDone(question=1, ignored=ignored, workers=workers)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.yaml"
    path.write_text(FILE)
    return path


@pytest.fixture
def environ() -> dict[str, str]:
    return dict(ENVIRON)


@pytest.fixture
def processes(plane, file: Path, environ: dict[str, str]) -> Processes:
    made = Processes(plane, Sources(path=file, environ=environ))
    plane.settings, plane.steering = made.sources.read(), made
    return made


async def check(root: httpx.AsyncClient, document: str | bytes, media_type: str = "application/yaml") -> dict[str, Any]:
    answer = await root.post("/config/validate", content=document, headers={"content-type": media_type})
    assert answer.status_code == 200, answer.text
    result: dict[str, Any] = answer.json()
    return result


class TestView:
    async def test_every_value_has_its_origin(self, processes, root: httpx.AsyncClient) -> None:
        answer = await root.get("/config")
        assert answer.headers["cache-control"] == "no-store"
        values = {value["path"]: value for value in answer.json()["values"]}
        assert (values["log_level"]["value"], values["log_level"]["origin"]) == ("info", "gateway.yaml:1")
        assert (values["queue_s"]["value"], values["queue_s"]["origin"]) == (2.0, "env GATEWAY_QUEUE_S")
        assert (values["inflight"]["value"], values["inflight"]["origin"]) == (400, "default")
        assert values["models.m.targets[0].provider"]["origin"] == "gateway.yaml:6"
        assert values["providers.vendor.api_key"] == {
            "path": "providers.vendor.api_key",
            "value": {"set": True},
            "origin": "gateway.yaml:4",
            "needs_restart": False,
        }
        assert values["master_secret"]["value"] == {"set": True}
        assert values["master_secret"]["origin"] == "env GATEWAY_MASTER_SECRET"
        assert values["admin_key"]["origin"] == "default"
        assert {path for path, value in values.items() if value["needs_restart"]} >= {"database", "gateway.port"}

    async def test_no_secret_is_in_any_answer(self, processes, root: httpx.AsyncClient) -> None:
        texts = [
            (await root.get("/config")).text,
            str(await check(root, FILE)),
            str(await check(root, "database: postgresql+asyncpg://u:pa55word@db/g\nlog_level: loud")),
            str(await check(root, "database: postgresql+asyncpg://u:pa55word@db/g")),
            (await root.post("/config/reload")).text,
            (await root.get("/audit")).text,
        ]
        for text in texts:
            assert not any(secret in text for secret in ("sk-very-secret", MASTER_SECRET, "pa55word"))


class TestValidate:
    async def test_the_same_document_changes_nothing(self, processes, root: httpx.AsyncClient) -> None:
        assert await check(root, FILE) == {"valid": True, "findings": [], "changes": []}

    async def test_every_finding_at_once_with_path_line_and_suggestion(self, processes, root) -> None:
        told = await check(root, "gatway: {}\nqueue_s: soon\nlog_level: debgu\n")
        assert (told["valid"], told["changes"]) == (False, [])
        found = {finding["path"]: finding for finding in told["findings"]}
        assert (found["gatway"]["line"], "gateway" in found["gatway"]["suggestion"]) == (1, True)
        assert (found["log_level"]["line"], found["log_level"]["origin"]) == (3, "document:3")
        assert {finding["severity"] for finding in told["findings"]} == {"error"}

    async def test_what_would_change_and_what_waits_for_a_restart(self, processes, plane, root) -> None:
        before = plane.settings
        told = await check(root, FILE.replace("info", "debug") + "drain_s: 5\ninflight: 9\n")
        assert told["valid"] is True
        changes = {change.pop("path"): change for change in told["changes"]}
        assert changes == {
            "log_level": {"before": "info", "after": "debug", "secret": False, "needs_restart": False},
            "inflight": {"before": 400, "after": 9, "secret": False, "needs_restart": False},
            "drain_s": {"before": 30.0, "after": 5.0, "secret": False, "needs_restart": True},
        }
        assert plane.settings is before
        assert processes.rounds == 0

    async def test_what_comes_and_goes_is_a_change(self, processes, root) -> None:
        told = await check(root, FILE.replace("  m: {", "  n: {"))
        paths = {change["path"]: (change["before"], change["after"]) for change in told["changes"]}
        assert paths["models.n.targets[0].provider"] == (None, "echo")
        assert paths["models.m.targets[0].provider"] == ("echo", None)

    async def test_another_secret_is_a_change_that_shows_neither(self, processes, root, environ) -> None:
        environ["VENDOR_KEY"] = "sk-another"
        (change,) = (await check(root, FILE))["changes"]
        assert change == {
            "path": "providers.vendor.api_key",
            "before": {"set": True},
            "after": {"set": True},
            "secret": True,
            "needs_restart": False,
        }

    async def test_json_is_taken_too(self, processes, root) -> None:
        told = await check(root, '{"queue_s": "x",\n "inflight": 0}', "application/json")
        assert [(finding["path"], finding["line"]) for finding in told["findings"]] == [("inflight", 2)]

    @pytest.mark.parametrize("document", [b"\xff\xfe", b"a: [", b"\x00", b"- 1", b"a: &a [*a]", b"x: " + b"[" * 200])
    async def test_no_document_is_a_defect(self, processes, root, document: bytes) -> None:
        told = await check(root, document)
        assert told["valid"] is False
        assert told["findings"]

    @pytest.mark.parametrize(
        ("content", "media_type", "status"),
        [(b"", "application/yaml", 400), (b" \n", "application/yaml", 400), (b"a: 1", "image/png", 415)],
    )
    async def test_no_document_at_all_is_refused(self, processes, root, content, media_type, status) -> None:
        answer = await root.post("/config/validate", content=content, headers={"content-type": media_type})
        assert answer.status_code == status

    async def test_too_much_is_refused(self, processes, root) -> None:
        answer = await root.post("/config/validate", content=b"#" * ((1 << 20) + 1))
        assert answer.status_code == 413

    async def test_it_is_read_beside_the_loop_and_makes_no_file(self, processes, root, tmp_path, environ) -> None:
        del environ["GATEWAY_MASTER_SECRET"]
        folder = tmp_path / "elsewhere"
        told = await check(root, f"database: sqlite+aiosqlite:///{folder}/gateway.db")
        assert told["valid"] is True
        assert not folder.exists()
        assert threading.get_ident() not in processes.threads


class TestReload:
    async def test_what_the_file_says_now_is_taken_and_audited(self, processes, plane, root) -> None:
        processes.write(FILE.replace("info", "debug") + "drain_s: 5\n")
        answer = await root.post("/config/reload")
        told = answer.json()
        assert (answer.status_code, told["applied"]) == (200, True)
        assert [(worker["worker"], worker["applied"]) for worker in told["workers"]] == [
            ("admin", True),
            ("gateway-1", True),
            ("gateway-2", True),
        ]
        assert [(change["path"], change["needs_restart"]) for change in told["changes"]] == [
            ("log_level", False),
            ("drain_s", True),
        ]
        assert (plane.settings.log_level, plane.settings.drain_s) == ("debug", 30.0)
        (entry,) = (await root.get("/audit", params={"object_kind": "config"})).json()["items"]
        assert (entry["action"], entry["organization_id"]) == ("reload", None)
        assert entry["before"] == {"settings": {"log_level": "info", "drain_s": 30.0}}
        assert entry["after"] == {"settings": {"log_level": "debug", "drain_s": 5.0}}
        assert (await plane.services.auditor.verify()).broken is None

    async def test_a_bad_file_changes_nothing_and_names_every_fault(self, processes, plane, root) -> None:
        before = plane.settings
        processes.write("log_level: loud\ninflight: 0\n")
        answer = await root.post("/config/reload")
        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (409, "settings_refused")
        assert [error["path"] for error in problem["errors"]] == ["log_level", "inflight"]
        assert "gateway.yaml:2" in problem["errors"][1]["message"]
        assert (plane.settings, processes.rounds) == (before, 0)
        assert (await root.get("/audit", params={"object_kind": "config"})).json()["items"] == []

    async def test_a_worker_that_keeps_the_old_is_named(self, processes, root) -> None:
        processes.errors["gateway-2"] = "no such provider"
        told = (await root.post("/config/reload")).json()
        assert told["applied"] is False
        assert [worker["error"] for worker in told["workers"]] == [None, None, "no such provider"]

    async def test_a_silent_parent_is_a_503(self, processes, root) -> None:
        processes.silent = True
        answer = await root.post("/config/reload")
        assert (answer.status_code, answer.json()["code"]) == (503, "reload_unanswered")

    async def test_a_retry_under_one_key_reloads_once(self, processes, root) -> None:
        headers = {"idempotency-key": "k"}
        first, second = [await root.post("/config/reload", headers=headers) for _ in range(2)]
        assert first.json() == second.json()
        assert (second.headers["idempotent-replayed"], processes.rounds) == ("true", 1)

    async def test_nobody_waits_for_the_round(self, processes, root) -> None:
        processes.holds = asyncio.Event()
        reloading = asyncio.create_task(root.post("/config/reload", headers={"idempotency-key": "k"}))
        await processes.begun.wait()
        async with asyncio.timeout(5):
            made = await root.post("/teams", json={"name": "meanwhile"})
        assert (made.status_code, reloading.done()) == (201, False)
        processes.holds.set()
        assert (await reloading).status_code == 200
        kinds = [item["object_kind"] for item in (await root.get("/audit")).json()["items"]]
        assert kinds[:2] == ["config", "team"]

    async def test_two_at_once_under_one_key_are_one_entry(self, processes, root) -> None:
        answers = await asyncio.gather(
            *(root.post("/config/reload", headers={"idempotency-key": "k"}) for _ in range(2))
        )
        assert [answer.status_code for answer in answers] == [200, 200]
        assert answers[0].json() == answers[1].json()
        assert len((await root.get("/audit", params={"object_kind": "config"})).json()["items"]) == 1

    async def test_without_a_parent_it_cannot_be_done(self, plane, root) -> None:
        plane.steering = None
        assert (await root.post("/config/reload")).json()["code"] == "reload_unavailable"
        assert (await root.get("/config")).status_code == 200


async def test_only_owners_of_the_installation(processes, world) -> None:
    for name, client in world.callers.items():
        # The file names no issuer: nobody's token is taken.
        is_unknown = name == "nobody" or name.endswith("token")
        wanted = 401 if is_unknown else 200 if name.startswith("installation owner") else 403
        answers = [
            await client.get("/config"),
            await client.post("/config/validate", content=b"{}"),
            await client.post("/config/reload"),
        ]
        assert [answer.status_code for answer in answers] == [wanted] * 3, name


def test_differences_of_equal_trees_are_none(file: Path, environ: dict[str, str]) -> None:
    settings = Sources(path=file, environ=environ).read()
    assert differences(settings, settings) == []
    assert differences(settings, msgspec.structs.replace(settings, origins={}, warnings=())) == []
