"""Prices: made here, versioned, and never those of the file."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from app.domain.prices.overlay import PriceDirectory
from app.domain.prices.repository import PriceRepository
from app.domain.prices.schemas import AMOUNTS
from app.settings.model import ModelSettings, PriceSettings, Settings, TargetSettings

PRICE = {"provider": "openai", "model": "gpt-x", "input": "2.50", "output": "10"}


def of_file(**prices: PriceSettings | None) -> Settings:
    targets = (TargetSettings(provider="p", model="m"),)
    return Settings(models={name: ModelSettings(targets=targets, price=price) for name, price in prices.items()})


async def make(root: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    answer = await root.post("/prices", json=PRICE | fields)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def test_a_price_is_made_read_changed_and_deleted(root: httpx.AsyncClient) -> None:
    answer = await root.post("/prices", json=PRICE)
    made = answer.json()
    assert (answer.status_code, answer.headers["etag"]) == (201, '"1"')
    amounts = dict.fromkeys(AMOUNTS) | {"input": "2.500000000", "output": "10.000000000"}
    named = {"provider": "openai", "model": "gpt-x", "version": 1, "source": "api"}
    assert made == amounts | named | {name: made[name] for name in ("id", "created_at", "updated_at")}
    assert UUID(made["id"]).version == 7
    assert (await root.get(f"/prices/{made['id']}")).json() == made

    patch = {"input": None, "image": "0.04", "reasoning": "12"}
    changed = await root.patch(f"/prices/{made['id']}", json=patch)
    assert changed.headers["etag"] == '"2"'
    expected = made | {"input": None, "image": "0.040000000", "reasoning": "12.000000000", "version": 2}
    assert changed.json() == expected | {"updated_at": changed.json()["updated_at"]}
    same = await root.patch(f"/prices/{made['id']}", json={"reasoning": "12.0"})
    assert same.json()["version"] == 2

    assert (await root.delete(f"/prices/{made['id']}")).status_code == 204
    assert (await root.get(f"/prices/{made['id']}")).status_code == 404
    assert (await root.get("/prices")).json() == {"items": [], "cursor": None}


async def test_every_amount_is_kept_exactly(root: httpx.AsyncClient) -> None:
    most = "9000000.000000000"
    made = await make(root, **(dict.fromkeys(AMOUNTS, "9000000") | {"output": "0.000000001", "image": "0"}))
    assert [made[name] for name in AMOUNTS] == [
        most, "0.000000001", most, most, most, "0.000000000", most, most,
    ]  # fmt: skip


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("fields", "path"),
    [
        *(({name: "-1"}, name) for name in AMOUNTS),
        *(({name: "9000000.000000001"}, name) for name in AMOUNTS),
        ({"input": "0.0000000001"}, "input"),
        ({"input": 1}, "input"),
        ({"input": "1e3"}, "input"),
        ({"input": ""}, "input"),
        ({"input": "NaN"}, "input"),
        ({"input": None, "output": None}, "input"),
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"model": "a\u0000"}, "model"),
        ({"model": "a" * 201}, "model"),
        ({"provider": " "}, "provider"),
        ({"provider": 5}, "provider"),
        ({"per_request": "1"}, "per_request"),
        ({"version": 3}, "version"),
        ({"source": "config"}, "source"),
    ],
)
async def test_a_wrong_field_is_named(root: httpx.AsyncClient, fields: dict[str, Any], path: str) -> None:
    made = await make(root)
    for answer in (
        await root.post("/prices", json=PRICE | {"model": "other"} | fields),
        await root.patch(f"/prices/{made['id']}", json=fields),
    ):
        assert (answer.status_code, answer.json()["errors"][0]["path"]) == (400, path), answer.text
        assert "regex" not in answer.text
    assert (await root.get("/prices")).json()["items"] == [made]


@pytest.mark.parametrize("provider", ["openai", None])
async def test_there_is_one_price_for_a_provider_and_model(root: httpx.AsyncClient, provider: str | None) -> None:
    made = await make(root, provider=provider)
    others = [await make(root, provider="azure"), await make(root, provider=provider, model="other")]
    again = await root.post("/prices", json=PRICE | {"provider": provider})
    moved = await root.patch(f"/prices/{others[0]['id']}", json={"provider": provider})
    renamed = await root.patch(f"/prices/{others[1]['id']}", json={"model": "gpt-x"})
    for answer in (again, moved, renamed):
        assert (answer.status_code, answer.json()["code"]) == (409, "duplicate_price")
    assert (await root.patch(f"/prices/{made['id']}", json={"model": "gpt-x"})).json() == made


async def test_of_concurrent_duplicates_one_wins(root: httpx.AsyncClient) -> None:
    bodies = [PRICE, PRICE, PRICE | {"provider": None}, PRICE | {"provider": None}]
    answers = await asyncio.gather(*(root.post("/prices", json=body) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [201, 201, 409, 409]


async def test_writes_are_audited_signalled_and_conditional(plane, root: httpx.AsyncClient) -> None:
    made = await make(root)
    stale = await root.patch(f"/prices/{made['id']}", json={"input": "3"}, headers={"if-match": '"9"'})
    assert stale.status_code == 412
    once = {"idempotency-key": "k", "if-match": '"1"'}
    first = await root.patch(f"/prices/{made['id']}", json={"input": "3"}, headers=once)
    again = await root.patch(f"/prices/{made['id']}", json={"input": "3"}, headers=once)
    assert again.content == first.content
    await root.delete(f"/prices/{made['id']}")
    entries = (await root.get("/audit", params={"object_kind": "price"})).json()["items"]
    assert [entry["action"] for entry in entries] == ["delete", "update", "create"]
    assert (entries[1]["before"], entries[1]["after"]) == ({"input": "2.500000000"}, {"input": "3.000000000"})
    assert {entry["organization_id"] for entry in entries} == {None}
    assert plane.told == [("price", UUID(made["id"]))] * 3
    assert [change.kind for change in await plane.services.auditor.changes_since(0)] == ["price"] * 3


async def test_an_organizations_people_see_no_audit_of_prices(world) -> None:
    entries = (await world.callers["ours owner"].get("/audit", params={"object_kind": "price"})).json()["items"]
    assert entries == []


class TestPricesOfTheFile:
    SETTINGS = of_file(
        small=PriceSettings(input_nusd=150_000_000, output_nusd=600_000_000),
        free=PriceSettings(input_nusd=0),
        bare=None,
    )

    async def test_they_are_listed_read_only(self, plane, root: httpx.AsyncClient) -> None:
        plane.settings = self.SETTINGS
        made = await make(root)
        items = (await root.get("/prices")).json()["items"]
        assert [(item["model"], item["source"]) for item in items] == [
            ("gpt-x", "api"),
            ("free", "config"),
            ("small", "config"),
        ]
        small = items[2]
        assert (small["input"], small["output"], small["image"]) == ("0.150000000", "0.600000000", None)
        assert [small[name] for name in ("provider", "created_at", "updated_at", "version")] == [None] * 4
        found = await root.get(f"/prices/{small['id']}")
        assert found.json() == small
        assert "etag" not in found.headers
        for answer in (
            await root.patch(f"/prices/{small['id']}", json={"input": "1"}),
            await root.delete(f"/prices/{small['id']}"),
            await root.post("/prices", json={"model": "small", "input": "1"}),
            await root.patch(f"/prices/{made['id']}", json={"provider": None, "model": "small"}),
        ):
            assert (answer.status_code, answer.json()["code"]) == (409, "config_owned")
        assert (await root.get("/audit", params={"action": "create"})).json()["items"][0]["object_id"] == made["id"]

    async def test_a_model_of_the_file_without_a_price_may_get_one_here(self, plane, root: httpx.AsyncClient) -> None:
        plane.settings = self.SETTINGS
        assert (await make(root, provider=None, model="bare"))["source"] == "api"

    @pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 6, 50])
    async def test_pages_hold_each_price_once(self, plane, root: httpx.AsyncClient, limit: int) -> None:
        plane.settings = self.SETTINGS
        for number in range(3):
            plane.clock.advance(1)
            await make(root, model=f"m{number}")
        seen: list[str] = []
        cursor: str | None = None
        for _ in range(9):
            query = {"limit": limit} | ({} if cursor is None else {"cursor": cursor})
            page = (await root.get("/prices", params=query)).json()
            assert len(page["items"]) <= limit
            seen += [item["model"] for item in page["items"]]
            cursor = page["cursor"]
            if cursor is None:
                break
        assert seen == ["m2", "m1", "m0", "free", "small"]
        damaged = await root.get("/prices", params={"cursor": "AAAAAAAAAAAA"})
        assert (damaged.status_code, damaged.json()["code"]) == (400, "invalid_cursor")


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_no_such_price(root: httpx.AsyncClient) -> None:
    for answer in (
        await root.get(f"/prices/{uuid4()}"),
        await root.patch(f"/prices/{uuid4()}", json={"input": "1"}),
        await root.delete(f"/prices/{uuid4()}"),
        await root.get("/prices/gpt-x"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_the_data_plane_reads_what_was_made(plane, root: httpx.AsyncClient) -> None:
    made = await make(root, reasoning="20")
    directory = PriceDirectory(PriceRepository(plane.database).read_all)
    await directory.refresh()
    price = directory.current.find(provider="openai", upstream="gpt-x", public="any")
    assert price is not None
    assert price.version == f"api:{made['id'][-8:]}@1"
    assert (price.rates.input_nusd, price.rates.output_nusd) == (2_500_000_000, 10_000_000_000)
    assert (price.rates.reasoning_nusd, price.rates.cache_read_nusd) == (20_000_000_000, 2_500_000_000)
