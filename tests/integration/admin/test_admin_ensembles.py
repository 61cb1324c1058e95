"""Ensembles: made here as they would stand in the file, and never those of the file."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest

from app.domain.ensembles.directory import EnsembleDirectory
from app.domain.ensembles.repository import EnsembleRepository
from app.settings.model import LimitSettings, ModelSettings, ProviderSettings, Settings, TargetSettings
from app.settings.policy import EnsembleSettings

RACE = {"name": "fast", "strategy": "race", "members": ["a", "b"]}
BARE = {
    **dict.fromkeys(
        ("judge", "fuser", "rubric", "check", "quorum", "after_s", "min_logprob", "scorer", "deadline_s", "max_cost")
    ),
    "normalize": "text",
    "min_success": 1,
    "return_candidates": False,
    "problem": None,
}
FULL = {
    "name": "careful",
    "strategy": "best_of",
    "members": ["a", "b", "a"],
    "judge": "c",
    "rubric": "be brief\nand right",
    "quorum": 2,
    "min_success": 2,
    "deadline_s": 12.5,
    "max_cost": "0.05",
    "return_candidates": True,
}
CHECK = {"json_schema": {"type": "object", "required": ["größe"], "properties": {"größe": {"maximum": 1.5}}}}
before_the_database = pytest.mark.parametrize("url", ["sqlite"], indirect=True)


def settings(**ensembles: EnsembleSettings) -> Settings:
    """Return a file with the models a, b and c, and these ensembles."""
    models = {name: ModelSettings(targets=(TargetSettings(provider="p", model=name),)) for name in "abc"}
    return Settings(providers={"p": ProviderSettings(adapter="echo")}, models=models, ensembles=ensembles)


@pytest.fixture(autouse=True)
def the_file(plane: Any) -> None:
    plane.settings = settings()


async def make(root: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    answer = await root.post("/ensembles", json=RACE | fields)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def test_an_ensemble_is_made_read_changed_and_deleted(root: httpx.AsyncClient) -> None:
    answer = await root.post("/ensembles", json=FULL)
    made = answer.json()
    assert (answer.status_code, answer.headers["etag"]) == (201, '"1"')
    said = BARE | FULL | {"max_cost": "0.050000000", "version": 1, "source": "api"}
    assert made == said | {name: made[name] for name in ("id", "created_at", "updated_at")}
    assert UUID(made["id"]).version == 7
    assert (await root.get(f"/ensembles/{made['id']}")).json() == made
    assert (await root.get("/ensembles")).json() == {"items": [made], "cursor": None}

    patch = {"strategy": "first_valid", "check": CHECK, "judge": None, "rubric": None, "quorum": None, "name": "valid"}
    refused = await root.patch(f"/ensembles/{made['id']}", json=patch)
    assert (refused.status_code, refused.json()["errors"][0]["path"]) == (400, "min_success")
    patch["min_success"] = 1
    changed = await root.patch(f"/ensembles/{made['id']}", json=patch)
    assert changed.headers["etag"] == '"2"'
    assert changed.json() == made | patch | {"version": 2, "updated_at": changed.json()["updated_at"]}
    assert (await root.get(f"/ensembles/{made['id']}")).json() == changed.json()
    same = await root.patch(f"/ensembles/{made['id']}", json={"max_cost": "0.0500"})
    assert same.json()["version"] == 2

    assert (await root.delete(f"/ensembles/{made['id']}")).status_code == 204
    assert (await root.get(f"/ensembles/{made['id']}")).status_code == 404
    assert (await root.get("/ensembles")).json() == {"items": [], "cursor": None}


@pytest.mark.parametrize(
    "fields",
    [
        {"strategy": "hedge", "after_s": 0.25},
        {"strategy": "first_valid", "check": {"regex": "^[0-9]+$"}},
        {"strategy": "first_valid", "check": {"tool": "look", "json_schema": {"type": "object"}}},
        {"strategy": "quorum", "quorum": 2, "normalize": "number"},
        {"strategy": "best_of", "judge": "c", "rubric": "short"},
        {"strategy": "mixture", "fuser": "c"},
        {"strategy": "cascade", "check": CHECK, "min_logprob": -0.5},
        {"strategy": "compare", "min_success": 2, "deadline_s": 3},
    ],
)
async def test_the_data_plane_reads_every_strategy_as_it_was_made(
    plane: Any, root: httpx.AsyncClient, fields: dict[str, Any]
) -> None:
    await make(root, **fields)
    directory = EnsembleDirectory(EnsembleRepository(plane.database))
    await directory.refresh()
    assert directory.current == {"fast": EnsembleSettings(members=("a", "b"), **fields)}


@before_the_database
@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"name": ""}, "name"),
        ({"name": " fast"}, "name"),
        ({"name": "a\u200bb"}, "name"),
        ({"name": "n" * 201}, "name"),
        ({"strategy": "rase"}, "strategy"),
        ({"members": []}, "members"),
        ({"members": ["a"] * 9}, "members"),
        ({"members": ["a"] * 4}, "members"),
        ({"members": ["a", "x"]}, "members[1]"),
        ({"members": "a"}, "members"),
        ({"members": [None]}, "members[0]"),
        ({"members": ["taken"]}, "members[0]"),
        ({"members": ["of the file"]}, "members[0]"),
        ({"judge": "x"}, "judge"),
        ({"judge": "taken"}, "judge"),
        ({"fuser": "x"}, "fuser"),
        ({"strategy": "best_of"}, "judge"),
        ({"strategy": "mixture"}, "fuser"),
        ({"strategy": "quorum"}, "quorum"),
        ({"strategy": "first_valid"}, "check"),
        ({"scorer": "nobody's"}, "scorer"),
        ({"quorum": 3}, "quorum"),
        ({"min_success": 3}, "min_success"),
        ({"min_success": 2}, "min_success"),
        ({"min_success": 0}, "min_success"),
        ({"check": []}, "check"),
        ({"check": {}}, "check"),
        ({"check": {"shape": {}}}, "check.shape"),
        ({"check": {"regex": "("}}, "check.regex"),
        ({"check": {"json_schema": {"type": "no such"}}}, "check.json_schema"),
        ({"check": {"json_schema": {"const": "a\u0000"}}}, "check"),
        ({"check": {"json_schema": {"properties": {"a\u0000": {}}}}}, "check"),
        ({"rubric": "a\u0000"}, "rubric"),
        ({"rubric": "r" * 16_385}, "rubric"),
        ({"normalize": "words"}, "normalize"),
        ({"after_s": 0}, "after_s"),
        ({"deadline_s": -1}, "deadline_s"),
        ({"min_logprob": 0.1}, "min_logprob"),
        ({"max_cost": "-1"}, "max_cost"),
        ({"max_cost": "9000000.000000001"}, "max_cost"),
        ({"return_candidates": 1}, "return_candidates"),
        ({"weight": 1}, "weight"),
        ({"version": 2}, "version"),
    ],
)
async def test_a_wrong_field_is_named(plane: Any, root: httpx.AsyncClient, fields: dict[str, Any], path: str) -> None:
    held = settings(**{"of the file": EnsembleSettings(strategy="race", members=("a",))})
    plane.settings = Settings(
        providers=held.providers, models=held.models, ensembles=held.ensembles, limits=LimitSettings(fanout_width=3)
    )
    made, taken = await make(root), await make(root, name="taken")
    for answer in (
        await root.post("/ensembles", json=RACE | {"name": "other"} | fields),
        await root.patch(f"/ensembles/{made['id']}", json=fields),
    ):
        assert (answer.status_code, answer.json()["errors"][0]["path"]) == (400, path), answer.text
        assert "ensemble." not in answer.json()["detail"]
        assert "regex '" not in answer.text
    items = (await root.get("/ensembles")).json()["items"]
    kept = sorted((item for item in items if item["source"] == "api"), key=lambda item: item["name"])
    assert kept == [made, taken]


async def test_what_json_can_say_and_a_database_cannot_is_refused(root: httpx.AsyncClient) -> None:
    body = '{"name": "x", "strategy": "first_valid", "members": ["a"], "check": {"json_schema": {"maximum": 1e999}}}'
    answer = await root.post("/ensembles", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400


@pytest.mark.parametrize("name", ["a", "p/anything"])
async def test_a_name_that_a_model_has_is_taken(plane: Any, root: httpx.AsyncClient, name: str) -> None:
    if "/" in name:
        local = ProviderSettings(adapter="openai", base_url="http://127.0.0.1:1/v1")
        plane.settings = Settings(providers={"p": local, "echo": ProviderSettings(adapter="echo")})
    made = await make(root, name="free", members=["echo"] if "/" in name else ["b"])
    for answer in (
        await root.post("/ensembles", json=RACE | {"name": name, "members": made["members"]}),
        await root.patch(f"/ensembles/{made['id']}", json={"name": name}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "duplicate_model")


async def test_members_may_be_the_catalogues(plane: Any, root: httpx.AsyncClient) -> None:
    plane.settings = Settings(providers={"openai": ProviderSettings(adapter="openai")})
    await make(root, members=["gpt-4o-mini", "openai/gpt-4o"])
    answer = await root.post("/ensembles", json=RACE | {"name": "x", "members": ["gpt-4o-mimi"]})
    assert (answer.status_code, answer.json()["code"]) == (400, "unknown_model")


async def test_there_is_one_ensemble_of_a_name(root: httpx.AsyncClient) -> None:
    made, other = await make(root), await make(root, name="other")
    again = await root.post("/ensembles", json=RACE)
    renamed = await root.patch(f"/ensembles/{other['id']}", json={"name": "fast"})
    for answer in (again, renamed):
        assert (answer.status_code, answer.json()["code"]) == (409, "duplicate_ensemble")
    assert (await root.patch(f"/ensembles/{made['id']}", json={"name": "fast"})).json() == made


async def test_of_concurrent_duplicates_one_wins(root: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(root.post("/ensembles", json=RACE) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]


async def test_writes_are_audited_signalled_conditional_and_idempotent(plane: Any, root: httpx.AsyncClient) -> None:
    once = {"idempotency-key": "make"}
    first = await root.post("/ensembles", json=RACE, headers=once)
    again = await root.post("/ensembles", json=RACE, headers=once)
    assert (again.status_code, again.content) == (201, first.content)
    made = first.json()
    stale = await root.patch(f"/ensembles/{made['id']}", json={"members": ["a"]}, headers={"if-match": '"9"'})
    assert stale.status_code == 412
    fresh = await root.patch(f"/ensembles/{made['id']}", json={"members": ["a"]}, headers={"if-match": '"1"'})
    assert fresh.status_code == 200
    await root.delete(f"/ensembles/{made['id']}")
    entries = (await root.get("/audit", params={"object_kind": "ensemble"})).json()["items"]
    assert [entry["action"] for entry in entries] == ["delete", "update", "create"]
    assert (entries[1]["before"], entries[1]["after"]) == ({"members": ["a", "b"]}, {"members": ["a"]})
    assert {entry["organization_id"] for entry in entries} == {None}
    assert plane.told == [("ensemble", UUID(made["id"]))] * 3
    assert [change.kind for change in await plane.services.auditor.changes_since(0)] == ["ensemble"] * 3


class TestEnsemblesOfTheFile:
    SETTINGS = settings(
        judged=EnsembleSettings(strategy="best_of", members=("a", "b"), judge="c", max_cost_nusd=50_000_000),
        careful=EnsembleSettings(strategy="compare", members=("a",)),
    )

    async def test_they_are_listed_read_only(self, plane: Any, root: httpx.AsyncClient) -> None:
        plane.settings = self.SETTINGS
        made = await make(root)
        items = (await root.get("/ensembles")).json()["items"]
        assert [(item["name"], item["source"]) for item in items] == [
            ("fast", "api"),
            ("careful", "config"),
            ("judged", "config"),
        ]
        judged = items[2]
        assert (judged["members"], judged["judge"], judged["max_cost"]) == (["a", "b"], "c", "0.050000000")
        assert [judged[name] for name in ("created_at", "updated_at", "version")] == [None] * 3
        found = await root.get(f"/ensembles/{judged['id']}")
        assert found.json() == judged
        assert "etag" not in found.headers
        for answer in (
            await root.patch(f"/ensembles/{judged['id']}", json={"members": ["a"]}),
            await root.delete(f"/ensembles/{judged['id']}"),
            await root.post("/ensembles", json=RACE | {"name": "judged"}),
            await root.patch(f"/ensembles/{made['id']}", json={"name": "judged"}),
        ):
            assert (answer.status_code, answer.json()["code"]) == (409, "config_owned")

    @pytest.mark.parametrize("limit", [1, 2, 3, 4, 50])
    async def test_pages_hold_each_once(self, plane: Any, root: httpx.AsyncClient, limit: int) -> None:
        plane.settings = self.SETTINGS
        for number in range(2):
            plane.clock.advance(1)
            await make(root, name=f"m{number}")
        seen: list[str] = []
        cursor: str | None = None
        for _ in range(9):
            query = {"limit": limit} | ({} if cursor is None else {"cursor": cursor})
            page = (await root.get("/ensembles", params=query)).json()
            assert len(page["items"]) <= limit
            seen += [item["name"] for item in page["items"]]
            cursor = page["cursor"]
            if cursor is None:
                break
        assert seen == ["m1", "m0", "careful", "judged"]


@before_the_database
async def test_no_such_ensemble(root: httpx.AsyncClient) -> None:
    for answer in (
        await root.get(f"/ensembles/{uuid4()}"),
        await root.patch(f"/ensembles/{uuid4()}", json={"members": ["a"]}),
        await root.delete(f"/ensembles/{uuid4()}"),
        await root.get("/ensembles/fast"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_what_is_no_longer_served_says_why(plane: Any, root: httpx.AsyncClient) -> None:
    made = await make(root, strategy="best_of", judge="c")
    plane.settings = settings(own=EnsembleSettings(strategy="race", members=("a", "c")))
    plane.settings = msgspec.structs.replace(
        plane.settings, models={name: model for name, model in plane.settings.models.items() if name != "c"}
    )
    problems = {each["name"]: each["problem"] for each in (await root.get("/ensembles")).json()["items"]}
    assert problems == {"fast": "there is no model 'c'", "own": "there is no model 'c'"}
    assert (await root.get(f"/ensembles/{made['id']}")).json()["problem"] == "there is no model 'c'"
    plane.settings = settings(fast=EnsembleSettings(strategy="race", members=("a", "b")))
    (stored, of_file) = (await root.get("/ensembles")).json()["items"]
    assert stored["problem"] == "the configuration file has an ensemble of this name, which wins"
    assert of_file["problem"] is None


async def test_what_a_provider_has_to_be_asked_for_is_no_problem(plane: Any, root: httpx.AsyncClient) -> None:
    """This process asks nobody, so that it cannot tell."""
    provider = ProviderSettings(adapter="openai", base_url="http://127.0.0.1:1/v1")
    ensemble = EnsembleSettings(strategy="race", members=("whatever", "p/it"))
    plane.settings = Settings(providers={"p": provider}, ensembles={"own": ensemble})
    (own,) = (await root.get("/ensembles")).json()["items"]
    assert own["problem"] is None


@pytest.mark.parametrize("place", [{"members": ["a", "d"]}, {"strategy": "best_of", "judge": "d"}])
async def test_a_model_that_an_ensemble_asks_cannot_be_deleted(
    plane: Any, root: httpx.AsyncClient, place: dict[str, Any]
) -> None:
    of_file = plane.settings
    plane.settings = msgspec.structs.replace(of_file, models=dict(of_file.models) | {"d": of_file.models["a"]})
    made = await make(root, **place)
    plane.settings = of_file
    model = (await root.post("/models", json={"name": "d", "targets": [{"provider": "p", "model": "d"}]})).json()
    refused = await root.delete(f"/models/{model['id']}")
    assert (refused.status_code, refused.json()["code"]) == (409, "model_in_use")
    assert "'fast'" in refused.json()["detail"]
    assert (await root.delete(f"/ensembles/{made['id']}")).status_code == 204
    assert (await root.delete(f"/models/{model['id']}")).status_code == 204
