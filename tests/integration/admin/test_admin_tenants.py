import httpx
import pytest

from app.domain.tenants.schemas import DEFAULT_ORGANIZATION

POLICIES = {
    "models": ["echo"],
    "limits": {"requests_per_minute": 5},
    "budget": {"amount": "100.00", "period": "day", "timezone": "Europe/Zurich"},
    "cache": {"mode": "forbidden"},
}


async def test_the_default_organization_is_there(root: httpx.AsyncClient) -> None:
    items = (await root.get("/organizations")).json()["items"]
    assert [(item["id"], item["name"]) for item in items] == [(str(DEFAULT_ORGANIZATION), "default")]
    refused = await root.delete(f"/organizations/{DEFAULT_ORGANIZATION}")
    assert (refused.status_code, refused.json()["code"]) == (409, "default_organization")


@pytest.mark.parametrize("resource", ["organizations", "teams"])
async def test_create_read_patch_delete(root: httpx.AsyncClient, resource: str) -> None:
    made = await root.post(f"/{resource}", json={"name": "n"} | POLICIES)
    assert (made.status_code, made.headers["etag"]) == (201, '"1"')
    path = f"/{resource}/{made.json()['id']}"
    assert (await root.get(path)).json() == made.json()
    assert made.json()["limits"]["requests_per_minute"] == 5
    patched = await root.patch(path, json={"status": "suspended", "limits": None})
    assert (patched.json()["status"], patched.json()["limits"]) == ("suspended", None)
    assert patched.json()["budget"] == made.json()["budget"]
    assert (await root.delete(path)).status_code == 204
    assert (await root.get(path)).status_code == 404
    assert (await root.delete(path)).status_code == 404


async def test_a_team_without_an_organization_joins_the_default_one(root: httpx.AsyncClient) -> None:
    made = (await root.post("/teams", json={"name": "t"})).json()
    assert made["organization_id"] == str(DEFAULT_ORGANIZATION)


async def test_what_holds_usable_keys_cannot_be_deleted(root: httpx.AsyncClient, world) -> None:
    ours = world.ours
    organization, team = f"/organizations/{ours['organizations']['id']}", f"/teams/{ours['teams']['id']}"
    for path in (organization, team):
        answer = await root.delete(path)
        assert (answer.status_code, answer.json()["code"]) == (409, "not_empty")
    await root.post(f"/keys/{ours['keys']['id']}/revoke")
    assert (await root.delete(team)).status_code == 204
    assert (await root.get(f"/keys/{ours['keys']['id']}")).status_code == 404
    refused = (await root.delete(organization)).json()
    assert (refused["code"], "admin keys" in refused["detail"]) == ("not_empty", True)
    admins = (await root.get("/admin-keys", params={"organization_id": ours["organizations"]["id"]})).json()["items"]
    for admin in admins:
        await root.post(f"/admin-keys/{admin['id']}/revoke")
    assert (await root.delete(organization)).status_code == 204


async def test_lists_filter_by_organization(root: httpx.AsyncClient, world) -> None:
    params = {"organization_id": world.theirs["organizations"]["id"]}
    assert [team["id"] for team in (await root.get("/teams", params=params)).json()["items"]] == [
        world.theirs["teams"]["id"]
    ]
