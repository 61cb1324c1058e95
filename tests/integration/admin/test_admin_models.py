"""Models made through the API: checked as those of the file are, beside those of the file."""

from typing import Any
from uuid import UUID

import httpx
import pytest

from app.domain.upstream.overlay import UpstreamDirectory
from app.domain.upstream.repository import UpstreamRepository
from app.settings.model import ModelSettings, ProviderSettings, Settings, TargetSettings

ECHO = ProviderSettings(adapter="echo")
FILE = Settings(
    providers={"echo": ECHO},
    models={"small": ModelSettings(targets=(TargetSettings(provider="echo", model="echo"),))},
    origins={"models.small.targets[0].provider": "gateway.yaml:4"},
)
MODEL = {"name": "big", "targets": [{"provider": "echo", "model": "echo"}]}


@pytest.fixture(autouse=True)
def _of_file(plane) -> None:
    plane.settings = FILE


async def make(root: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    answer = await root.post("/models", json=MODEL | fields)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def problem(answer: httpx.Response) -> tuple[int, str, str | None]:
    body = answer.json()
    return answer.status_code, body["code"], (body.get("errors") or [{"path": None}])[0]["path"]


async def test_a_model_is_made_read_changed_and_deleted(plane, root: httpx.AsyncClient) -> None:
    answer = await root.post("/models", json=MODEL | {"fallbacks": ["small"], "price": {"input": "1", "output": "2"}})
    made = answer.json()
    assert (answer.status_code, answer.headers["etag"]) == (201, '"1"')
    assert UUID(made["id"]).version == 7
    assert made["fallbacks"] == {"any": ["small"], "context_length": [], "content_policy": []}
    assert (made["price"]["output"], made["hedge"], made["retries"]) == ("2.000000000", False, 2)
    path = f"/models/{made['id']}"
    assert (await root.get(path)).json() == made

    changed = await root.patch(path, json={"retries": 0, "fallbacks": None, "hedge": {"after_s": 1}})
    assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
    assert (changed.json()["retries"], changed.json()["fallbacks"]["any"]) == (0, [])
    assert changed.json()["hedge"] == {"after_s": 1.0, "budget": 0.05}
    stale = await root.patch(path, json={"retries": 1}, headers={"if-match": '"1"'})
    assert stale.status_code == 412

    directory = UpstreamDirectory(UpstreamRepository(plane.database).read_all, reader=plane.services.upstream_reader)
    await directory.refresh()
    merged = directory.current.under(FILE)
    assert [*merged.models] == ["small", "big"]
    assert merged.models["big"].retries == 0
    gone = directory.current.under(Settings())
    assert gone.models == {}
    assert (await root.delete(path)).status_code == 204
    assert (await root.get(path)).status_code == 404
    audit = (await root.get("/audit")).json()["items"]
    assert [entry["action"] for entry in audit] == ["delete", "update", "create"]


@pytest.mark.parametrize(
    ("change", "code", "path"),
    [
        ({"targets": [{"provider": "ech", "model": "x"}]}, "invalid_request", "targets[0].provider"),
        ({"targets": [{"provider": "echo", "modl": "x"}]}, "unknown_parameter", "targets[0].modl"),
        ({"targets": []}, "invalid_request", "targets"),
        ({"targets": None}, "invalid_request", "targets"),
        ({"targets": [MODEL["targets"][0], MODEL["targets"][0]]}, "invalid_request", "targets[1]"),
        ({"targets": [{"provider": "echo", "model": "x", "weight": 0}]}, "invalid_request", "targets"),
        ({"targets": [{"provider": "echo", "model": "x", "weight": -1}]}, "invalid_request", "targets[0].weight"),
        ({"fallbacks": ["smal"]}, "invalid_request", "fallbacks[0]"),
        ({"fallbacks": {"any": ["big"]}}, "invalid_request", "fallbacks.any[0]"),
        ({"balance": "fastest"}, "invalid_request", "balance"),
        ({"retries": 11}, "invalid_request", "retries"),
        ({"retries": "2"}, "invalid_request", "retries"),
        ({"price": {"input": 1}}, "invalid_request", "price.input"),
        ({"price": {}}, "invalid_request", "price"),
        ({"transform": {"set": {"model": "x"}}}, "invalid_request", "transform.set"),
        ({"retrys": 1}, "unknown_parameter", "retrys"),
        ({"name": " x "}, "invalid_request", ""),
        ({"name": "x" * 257}, "invalid_request", "name"),
    ],
)
async def test_a_body_is_as_strict_as_the_file(
    root: httpx.AsyncClient, change: dict[str, Any], code: str, path: str
) -> None:
    answer = await root.post("/models", json=MODEL | change)
    assert problem(answer) == (400, code, path or None), answer.text


async def test_a_circle_of_fallbacks_is_refused(root: httpx.AsyncClient) -> None:
    first = await make(root, name="first", fallbacks=["small"])
    await make(root, name="second", fallbacks=["first"])
    answer = await root.patch(f"/models/{first['id']}", json={"fallbacks": ["second"]})
    assert problem(answer) == (400, "invalid_request", "fallbacks")
    assert "first → second → first" in answer.json()["detail"]


async def test_a_model_that_others_fall_back_to_stays(root: httpx.AsyncClient) -> None:
    first = await make(root, name="first")
    second = await make(root, name="second", fallbacks=["first"])
    assert problem(await root.delete(f"/models/{first['id']}"))[:2] == (409, "model_in_use")
    await root.delete(f"/models/{second['id']}")
    assert (await root.delete(f"/models/{first['id']}")).status_code == 204


async def test_the_file_wins_and_is_read_only(root: httpx.AsyncClient) -> None:
    assert problem(await root.post("/models", json=MODEL | {"name": "small"}))[:2] == (409, "config_owned")
    await make(root)
    assert problem(await root.post("/models", json=MODEL))[:2] == (409, "duplicate_model")
    items = (await root.get("/models")).json()["items"]
    assert [(item["name"], item["source"], item["origin"]) for item in items] == [
        ("big", "api", None),
        ("small", "config", "gateway.yaml:4"),
    ]
    path = f"/models/{items[1]['id']}"
    assert (await root.get(path)).json() == items[1]
    assert problem(await root.patch(path, json={"retries": 1}))[:2] == (409, "config_owned")
    assert problem(await root.delete(path))[:2] == (409, "config_owned")


async def test_without_models_in_the_file_a_fallback_may_be_of_the_catalogue(plane, root: httpx.AsyncClient) -> None:
    plane.settings = Settings(providers={"echo": ECHO, "openai": ProviderSettings(adapter="openai")})
    made = await make(root, fallbacks=["gpt-4o-mini", "openai/gpt-4o"])
    assert made["fallbacks"]["any"] == ["gpt-4o-mini", "openai/gpt-4o"]


async def test_a_model_whose_provider_has_gone_says_so(plane, root: httpx.AsyncClient) -> None:
    made = await make(root)
    plane.settings = Settings()
    assert "'echo'" in (await root.get(f"/models/{made['id']}")).json()["problem"]
