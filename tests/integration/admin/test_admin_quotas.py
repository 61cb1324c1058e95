"""Limits and budgets as objects of their own: what is set, what is used, and that both are the owner's fields."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest

from app.domain.quotas.use import Account, BudgetCharge, LimitsInUse, WindowUse
from app.domain.usage.repository import insert_events
from app.domain.usage.schemas import UsageEvent
from app.settings.model import BudgetSettings, LimitRule, LimitSettings, OnAccountingDown, Settings
from app.stores.errors import StoreUnavailable

OWNERS = {"organization": "organizations", "team": "teams", "key": "keys"}
BODIES: dict[str, dict[str, Any]] = {
    "limits": {"requests_per_minute": 60, "rules": [{"dimension": "cost", "limit": "2.50", "window_s": 10}]},
    "budgets": {"amount": "0.10", "period": "total"},
}
FIELDS = {"limits": "limits", "budgets": "budget"}

every_scope = pytest.mark.parametrize("scope", list(OWNERS))
both = pytest.mark.parametrize("resource", list(FIELDS))


@dataclass
class Counted:
    """What a store that counts would say."""

    used: int = 7
    asked: list[tuple[Account, list[Any]]] = field(default_factory=list)

    async def limits_in_use(self, account, windows):
        self.asked.append((account, list(windows)))
        return LimitsInUse(windows=[WindowUse(used=self.used, reset_s=1.5) for _ in windows], in_flight=3)

    async def budgets_in_use(self, account, budgets):
        self.asked.append((account, list(budgets)))
        return [BudgetCharge(used_nusd=30_000_000, held_nusd=20_000_000) for _ in budgets]


class Away:
    """A store that does not answer."""

    async def limits_in_use(self, account, windows):
        raise StoreUnavailable("away")

    async def budgets_in_use(self, account, budgets):
        raise StoreUnavailable("away")


@pytest.fixture
def counted(plane, monkeypatch) -> Counted:
    reader = Counted()
    monkeypatch.setattr(plane.services.quotas, "_use", reader)
    return reader


def event(world, *, cost_nusd: int | None, at: datetime, **fields: Any) -> UsageEvent:
    names = {"organization_id": "organizations", "team_id": "teams", "key_id": "keys"}
    ids = {name: UUID(world.ours[owner]["id"]) for name, owner in names.items()}
    return UsageEvent(
        **(ids | fields), event_id=uuid4(), request_id=uuid4(), attempt=1, occurred_at=at, operation="chat",
        dialect="openai", provider="p", model="m", upstream_model="u", outcome="ok", stream=False,
        usage_source="provider", cost_nusd=cost_nusd, duration_ms=1,
    )  # fmt: skip


async def spend(plane, *events: UsageEvent) -> None:
    async with plane.database.transaction() as connection:
        await insert_events(connection, events)


def place(world, resource: str, scope: str) -> tuple[str, str]:
    """Return the path of an object's limits or budget, and of the object itself."""
    identifier = world.ours[OWNERS[scope]]["id"]
    return f"/{resource}/{scope}/{identifier}", f"/{OWNERS[scope]}/{identifier}"


class TestWriting:
    @every_scope
    @both
    async def test_put_replaces_delete_removes_and_the_object_shows_it(self, root, world, resource, scope) -> None:
        path, owner = place(world, resource, scope)
        name = FIELDS[resource]
        put = await root.put(path, json=BODIES[resource])
        made = (await root.get(owner)).json()
        assert put.status_code == 200
        assert put.json() == {"scope": scope, "id": made["id"], name: made[name], "version": made["version"]}
        assert put.headers["etag"] == f'"{made["version"]}"'
        assert BODIES[resource].items() <= (made[name] | {"rules": BODIES[resource].get("rules")}).items()

        other = {"limits": {"concurrency": 2}, "budgets": {"amount": "5"}}[resource]
        await root.put(path, json=other)
        replaced = (await root.get(path)).json()[name]
        assert replaced.get("requests_per_minute") is None
        assert replaced.get("period", "month") == "month"

        removed = await root.delete(path)
        assert (removed.status_code, removed.content) == (204, b"")
        assert (await root.get(owner)).json()[name] is None
        assert (await root.get(path)).json()[name] is None
        assert (await root.delete(path)).status_code == 204

    @both
    async def test_patching_the_object_is_seen_here(self, root, world, resource) -> None:
        path, owner = place(world, resource, "team")
        await root.patch(owner, json={FIELDS[resource]: BODIES[resource]})
        found = await root.get(path)
        assert found.json()[FIELDS[resource]] is not None
        assert found.headers["etag"] == (await root.get(owner)).headers["etag"]

    @both
    async def test_it_is_audited_as_the_objects_change(self, plane, root, world, resource) -> None:
        path, owner = place(world, resource, "key")
        plane.told.clear()
        await root.put(path, json=BODIES[resource])
        (entry,) = (await root.get("/audit?limit=1")).json()["items"]
        assert (entry["object_kind"], f"/keys/{entry['object_id']}", entry["action"]) == ("key", owner, "update")
        assert entry["before"] == {FIELDS[resource]: None}
        assert list(entry["after"]) == [FIELDS[resource]]
        assert plane.told == [("key", UUID(entry["object_id"]))]

    @both
    async def test_if_match_is_honoured(self, root, world, resource) -> None:
        path, _ = place(world, resource, "key")
        etag = (await root.get(path)).headers["etag"]
        assert (await root.put(path, json=BODIES[resource], headers={"if-match": etag})).status_code == 200
        for answer in (
            await root.put(path, json=BODIES[resource], headers={"if-match": etag}),
            await root.delete(path, headers={"if-match": etag}),
        ):
            assert (answer.status_code, answer.json()["code"]) == (412, "precondition_failed")

    @both
    async def test_a_retry_is_answered_the_same(self, root, world, resource) -> None:
        path, _ = place(world, resource, "key")
        once = {"idempotency-key": "k"}
        first = await root.put(path, json=BODIES[resource], headers=once)
        again = await root.put(path, json=BODIES[resource], headers=once)
        assert again.content == first.content
        assert again.headers["idempotent-replayed"] == "true"
        other = await root.delete(path, headers=once)
        assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")

    @both
    async def test_a_revoked_key_stays_as_it_was(self, root, world, resource) -> None:
        path, owner = place(world, resource, "key")
        await root.post(f"{owner}/revoke")
        for answer in (await root.put(path, json=BODIES[resource]), await root.delete(path)):
            assert (answer.status_code, answer.json()["code"]) == (409, "key_revoked")
        assert (await root.get(path)).status_code == 200

    @pytest.mark.parametrize("url", ["sqlite"], indirect=True)
    @pytest.mark.parametrize(
        ("resource", "body", "path"),
        [
            ("limits", {"requests": 1}, "requests"),
            ("limits", {"concurrency": 0}, "concurrency"),
            ("limits", {"rules": [{"dimension": "tokens", "limit": 1, "window_s": 0}]}, "rules[0].window_s"),
            ("budgets", {}, "amount"),
            ("budgets", {"amount": 1}, "amount"),
            ("budgets", {"amount": "1", "period": "year"}, "period"),
            ("budgets", {"amount": "1", "scope": "key"}, "scope"),
        ],
    )
    async def test_a_wrong_field_is_named(self, root, world, resource, body, path) -> None:
        where, _ = place(world, resource, "team")
        answer = await root.put(where, json=body)
        assert (answer.status_code, answer.json()["errors"][0]["path"]) == (400, path)

    @pytest.mark.parametrize("url", ["sqlite"], indirect=True)
    @both
    async def test_an_unknown_scope_or_id(self, root, resource) -> None:
        odd = await root.get(f"/{resource}/user/{uuid4()}")
        assert (odd.status_code, odd.json()["errors"][0]["path"]) == (400, "scope_kind")
        for path in (f"/{resource}/key/{uuid4()}", f"/{resource}/key/x", f"/{resource}/key", f"/{resource}"):
            assert (await root.get(path)).status_code == 404
        assert (await root.post(f"/{resource}/key/{uuid4()}")).status_code == 405


class TestLimitsInUse:
    async def test_without_limits_nothing_is_in_use(self, root, world) -> None:
        path, owner = place(world, "limits", "key")
        identifier = owner.rpartition("/")[2]
        assert (await root.get(path)).json() == {
            "scope": "key", "id": identifier, "limits": None, "version": 1, "use": [], "concurrency": None,
        }  # fmt: skip

    async def test_each_limit_with_what_is_used(self, plane, root, world, counted) -> None:
        path, owner = place(world, "limits", "key")
        rules = [
            {"dimension": "cost", "limit": "0.000000009", "window_s": 10},
            {"dimension": "output_tokens", "limit": 5, "window_s": 3600, "model": "m"},
        ]
        limits = {"requests_per_minute": 60, "tokens_per_minute": 1000, "concurrency": 4, "algorithm": "token_bucket"}
        await root.put(path, json=limits | {"rules": rules})
        found = (await root.get(path)).json()
        shared = {"algorithm": "token_bucket", "reset_s": 1.5, "source": "api", "model": None}
        assert found["use"] == [
            shared | {"dimension": "requests", "window_s": 60, "limit": 60, "used": 7, "remaining": 53},
            shared | {"dimension": "tokens", "window_s": 60, "limit": 1000, "used": 7, "remaining": 993},
            shared
            | {
                "dimension": "cost",
                "window_s": 10,
                "limit": "0.000000009",
                "used": "0.000000007",
                "remaining": "0.000000002",
            },
            shared
            | {
                "dimension": "output_tokens",
                "window_s": 3600,
                "model": "m",
                "limit": 5,
                "used": 7,
                "remaining": 0,
            },
        ]
        assert found["concurrency"] == {"limit": 4, "held": 3}
        (account, _) = counted.asked[-1]
        organization_id = UUID(world.ours["organizations"]["id"])
        assert account == Account(scope="key", id=UUID(owner.rpartition("/")[2]), organization_id=organization_id)

    async def test_the_files_limits_bind_each_organization_and_no_other_scope(
        self, plane, root, world, counted
    ) -> None:
        rule = LimitRule(dimension="cost", limit=2_500_000_000, window_s=60)
        plane.settings = Settings(limits=LimitSettings(requests_per_minute=9, concurrency=5, rules=(rule,)))
        path, _ = place(world, "limits", "organization")
        await root.put(path, json={"tokens_per_minute": 8, "concurrency": 6})
        found = (await root.get(path)).json()
        seen = [(use["dimension"], use["limit"], use["source"]) for use in found["use"]]
        assert seen == [("tokens", 8, "api"), ("requests", 9, "config"), ("cost", "2.500000000", "config")]
        assert found["concurrency"] == {"limit": 5, "held": 3}
        await root.delete(path)
        found = (await root.get(path)).json()
        assert (found["limits"], [use["source"] for use in found["use"]]) == (None, ["config", "config"])
        assert (await root.get(place(world, "limits", "team")[0])).json()["use"] == []

    @pytest.mark.parametrize("is_away", [False, True])
    async def test_what_nobody_can_count_is_null(self, plane, root, world, monkeypatch, is_away: bool) -> None:
        if is_away:
            monkeypatch.setattr(plane.services.quotas, "_use", Away())
        path, _ = place(world, "limits", "key")
        await root.put(path, json={"requests_per_minute": 60, "concurrency": 2})
        found = await root.get(path)
        assert (found.status_code, found.json()["use"]) == (200, None)
        assert found.json()["concurrency"] == {"limit": 2, "held": None}


class TestBudgetsInUse:
    async def test_what_is_spent_and_held(self, plane, root, world, counted) -> None:
        path, _ = place(world, "budgets", "key")
        budget = {"amount": "0.10", "period": "day", "on_accounting_down": {"allow": "0.50"}}
        plane.settings = Settings(gateway=msgspec.structs.replace(Settings().gateway, workers=4))
        await root.put(path, json=budget)
        today = plane.clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
        (use,) = (await root.get(path)).json()["use"]
        assert use == {
            "amount": "0.100000000",
            "used": "0.030000000",
            "held": "0.020000000",
            "remaining": "0.050000000",
            "period": "day",
            "timezone": "UTC",
            "starts_at": today.isoformat().replace("+00:00", "Z"),
            "resets_at": (today + timedelta(days=1)).isoformat().replace("+00:00", "Z"),
            "source": "api",
            "on_accounting_down": {"allow": "0.50"},
            "overspend_bound": "2.000000000",
        }

    async def test_a_total_never_resets_and_nothing_is_left_of_what_is_overspent(self, root, world, counted) -> None:
        path, _ = place(world, "budgets", "key")
        await root.put(path, json={"amount": "0.04", "period": "total"})
        (use,) = (await root.get(path)).json()["use"]
        assert (use["starts_at"], use["resets_at"], use["remaining"]) == (None, None, "0.000000000")
        assert (use["on_accounting_down"], use["overspend_bound"]) == ("deny", "0.000000000")

    async def test_the_files_budget_binds_each_organization(self, plane, root, world, counted) -> None:
        down = OnAccountingDown(allow_nusd=500_000_000)
        plane.settings = Settings(budget=BudgetSettings(amount_nusd=100 * 10**9, on_accounting_down=down))
        path, _ = place(world, "budgets", "organization")
        await root.put(path, json={"amount": "1"})
        found = (await root.get(path)).json()
        assert [(use["amount"], use["source"]) for use in found["use"]] == [
            ("1.000000000", "api"),
            ("100.000000000", "config"),
        ]
        assert found["use"][1]["on_accounting_down"] == {"allow": "0.500000000"}
        assert (await root.get(place(world, "budgets", "key")[0])).json()["use"] == []

    @pytest.mark.parametrize("is_away", [False, True])
    async def test_without_a_store_the_ledger_tells(self, plane, root, world, monkeypatch, is_away: bool) -> None:
        if is_away:
            monkeypatch.setattr(plane.services.quotas, "_use", Away())
        now = plane.clock.now()
        long_ago = now - timedelta(days=40)
        stranger, other_key = {"organization_id": uuid4(), "team_id": None, "key_id": uuid4()}, {"key_id": uuid4()}
        await spend(
            plane,
            event(world, cost_nusd=1_000, at=now),
            event(world, cost_nusd=None, at=now),
            event(world, cost_nusd=20_000, at=long_ago),
            event(world, cost_nusd=300_000, at=now, **other_key),
            event(world, cost_nusd=4_000_000, at=now, team_id=None, **other_key),
            event(world, cost_nusd=50_000_000, at=now, **stranger),
        )
        spent = {}
        for scope in OWNERS:
            path, _ = place(world, "budgets", scope)
            for period in ("month", "total"):
                await root.put(path, json={"amount": "1", "period": period})
                answer = await root.get(path)
                assert answer.status_code == 200
                (use,) = answer.json()["use"]
                assert use["held"] is None
                spent[scope, period] = use["used"]
        assert spent == {
            ("key", "month"): "0.000001000",
            ("key", "total"): "0.000021000",
            ("team", "month"): "0.000301000",
            ("team", "total"): "0.000321000",
            ("organization", "month"): "0.004301000",
            ("organization", "total"): "0.004321000",
        }


async def test_a_viewer_of_the_organization_reads_both(world) -> None:
    viewer: httpx.AsyncClient = world.callers["ours viewer"]
    for resource in FIELDS:
        for scope in OWNERS:
            assert (await viewer.get(place(world, resource, scope)[0])).status_code == 200
