"""Sessions of browsers: what the cookie stands for, what it never does alone, and when it ends."""

import re
from contextlib import aclosing
from datetime import timedelta

import httpx
import pytest

ENVIRONMENT_KEY = "an environment key of forty characters!!"
HALF_AN_HOUR = 1_800


def cookie_of(answer: httpx.Response) -> str:
    return next(value for value in answer.headers.get_list("set-cookie") if "sid=" in value)


def token_of(answer: httpx.Response) -> str:
    found = re.match(r"__Host-sid=([\w-]{43});", cookie_of(answer))
    assert found
    return found[1]


@pytest.fixture
async def owner(plane):
    async with aclosing(await plane.signed_in(ENVIRONMENT_KEY)) as browser:
        yield browser


async def make_admin(root, **spec) -> dict:
    return (await root.post("/admin-keys", json={"name": "x", "role": "owner"} | spec)).json()


class TestSigningIn:
    async def test_by_the_environments_key(self, plane) -> None:
        async with plane.browser() as browser:
            made = await browser.post("/session", json={"key": ENVIRONMENT_KEY})
            assert made.status_code == 201
            said = (await browser.get("/session")).json()
        assert said == made.json()
        assert (said["kind"], said["role"], said["organization_id"]) == ("environment", "owner", None)
        assert said["is_recent"]
        assert ENVIRONMENT_KEY not in made.text + str(made.headers)

    async def test_the_cookie_is_the_hosts_and_no_scripts(self, plane) -> None:
        async with plane.browser() as browser:
            made = await browser.post("/session", json={"key": ENVIRONMENT_KEY})
        parts = {part.strip().lower() for part in cookie_of(made).split(";")[1:]}
        assert parts == {"path=/", "max-age=43200", "httponly", "secure", "samesite=strict"}
        assert made.headers["cache-control"] == "no-store"
        assert token_of(made) not in made.text

    @pytest.mark.parametrize("host", ["127.0.0.1:3040", "localhost:3040", "[::1]:3040", "127.9.9.9"])
    async def test_on_a_loopback_address_it_is_a_plain_one(self, plane, host) -> None:
        async with plane.browser(origin=f"http://{host}", host=host) as browser:
            made = await browser.post("/session", json={"key": ENVIRONMENT_KEY})
        parts = {part.strip().lower() for part in cookie_of(made).split(";")[1:]}
        assert cookie_of(made).startswith("sid=")
        assert parts == {"path=/", "max-age=43200", "httponly", "samesite=strict"}

    @pytest.mark.parametrize("host", ["127.0.0.1.evil.example", "localhost.evil.example", "admin.example.com"])
    async def test_a_name_that_looks_like_one_is_none(self, plane, host) -> None:
        async with plane.browser(origin=f"https://{host}", host=host) as browser:
            made = await browser.post("/session", json={"key": ENVIRONMENT_KEY})
        assert "Secure" in cookie_of(made)

    async def test_a_session_has_the_role_and_scope_of_its_key(self, plane, world) -> None:
        for scope, role in (("ours", "viewer"), ("installation", "admin")):
            said = (await world.callers[f"{scope} {role} session"].get("/session")).json()
            organization = world.ours["organizations"]["id"] if scope == "ours" else None
            assert (said["kind"], said["role"], said["organization_id"]) == ("admin_key", role, organization)

    @pytest.mark.parametrize(
        "key", ["x", "sk-gw-admin-0123456789-" + "a" * 49, "environment key", "ey.ey.ey", ENVIRONMENT_KEY + "!"]
    )
    async def test_a_wrong_key_makes_none(self, plane, key) -> None:
        async with plane.browser() as browser:
            refused = await browser.post("/session", json={"key": key})
        assert refused.status_code == 401
        assert "set-cookie" not in refused.headers

    async def test_an_inference_key_makes_none(self, plane, world) -> None:
        key = (await world.root.post("/keys", json={"name": "x"})).json()["secret"]
        async with plane.browser() as browser:
            refused = await browser.post("/session", json={"key": key})
        assert (refused.status_code, refused.json()["code"]) == (403, "wrong_credential_type")

    async def test_a_cookie_of_somebody_elses_choice_is_not_taken_up(self, plane, owner) -> None:
        """Fixation: the token after a sign-in is never the one before."""
        chosen = "A" * 43
        async with plane.browser() as browser:
            made = await browser.post(
                "/session", json={"key": ENVIRONMENT_KEY}, headers={"cookie": f"__Host-sid={chosen}"}
            )
            assert token_of(made) != chosen
        before = owner.cookies["__Host-sid"]
        del owner.headers["x-csrf-token"]  # the page of the sign-in has none
        again = await owner.post("/session", json={"key": ENVIRONMENT_KEY})
        assert token_of(again) != before
        async with plane.browser(cookie=f"__Host-sid={before}") as thief:
            assert (await thief.get("/session")).status_code == 401

    @pytest.mark.parametrize("origin", [{"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}])
    async def test_another_site_cannot_sign_anybody_in(self, plane, origin) -> None:
        async with plane.browser(**origin) as browser:
            refused = await browser.post("/session", json={"key": ENVIRONMENT_KEY})
            form = await browser.post("/session", content=b'{"key": "x"}', headers={"content-type": "text/plain"})
        assert (refused.status_code, refused.json()["code"]) == (403, "cross_site")
        assert form.status_code in {403, 415}

    async def test_attempts_are_throttled_by_address(self, plane) -> None:
        async with plane.browser() as browser:
            for _ in range(10):
                assert (await browser.post("/session", json={"key": "x"})).status_code == 401
            refused = await browser.post("/session", json={"key": ENVIRONMENT_KEY})
            assert (refused.status_code, refused.json()["code"]) == (429, "sign_in_throttled")
            assert 0 < int(refused.headers["retry-after"]) <= 60
            plane.clock.advance(61)
            assert (await browser.post("/session", json={"key": ENVIRONMENT_KEY})).status_code == 201

    async def test_it_is_in_the_audit_without_its_token(self, plane, owner, root) -> None:
        await owner.delete("/session")
        entries = (await root.get("/audit", params={"object_kind": "session"})).json()["items"]
        assert [entry["action"] for entry in entries] == ["sign_out", "sign_in"]
        assert set(entries[1]["after"]) & {"mac", "key_mac", "key_public_id", "claim_values"} == set()
        assert [told[0] for told in plane.told if told[0] == "session"] == ["session", "session"]

    async def test_the_database_has_no_token(self, plane, owner) -> None:
        token = owner.cookies["__Host-sid"]
        async with plane.database.reading() as connection:
            row = (await connection.exec_driver_sql("SELECT * FROM sessions")).one()
        assert token not in str(row)
        assert token.encode() not in b"".join(value for value in row if isinstance(value, bytes))


class TestOtherSites:
    """Cross-site request forgery: the cookie alone changes nothing."""

    @pytest.mark.parametrize(
        ("without", "headers", "code"),
        [
            (["x-csrf-token"], {}, "csrf_token"),
            ([], {"x-csrf-token": "0" * 64}, "csrf_token"),
            ([], {"x-csrf-token": ""}, "csrf_token"),
            ([], {"origin": "https://evil.example"}, "cross_site"),
            ([], {"origin": "http://admin"}, "cross_site"),
            ([], {"origin": "https://admin:444"}, "cross_site"),
            ([], {"origin": "https://admin.evil.example"}, "cross_site"),
            ([], {"origin": "null"}, "cross_site"),
            ([], {"sec-fetch-site": "cross-site"}, "cross_site"),
            ([], {"sec-fetch-site": "same-site"}, "cross_site"),
            ([], {"sec-fetch-site": "none"}, "cross_site"),
            (["origin"], {"sec-fetch-site": "cross-site"}, "cross_site"),
            (["sec-fetch-site"], {"origin": "https://evil.example"}, "cross_site"),
            (["origin", "sec-fetch-site"], {}, "cross_site"),
            ([], {"content-type": "text/plain"}, "cross_site"),
            ([], {"content-type": "application/x-www-form-urlencoded"}, "cross_site"),
            ([], {"content-type": "multipart/form-data; boundary=x"}, "cross_site"),
        ],
    )
    @pytest.mark.parametrize("route", [("POST", "/organizations"), ("DELETE", "/session")])
    async def test_are_refused(self, owner, root, *, route, without, headers, code) -> None:
        method, path = route
        for name in without:
            del owner.headers[name]
        said = {"content-type": "application/json"} | headers
        refused = await owner.request(method, path, content=b'{"name": "forged"}', headers=said)
        assert (refused.status_code, refused.json()["code"]) == (403, code)
        names = [item["name"] for item in (await root.get("/organizations")).json()["items"]]
        assert "forged" not in names
        assert (await owner.get("/session")).status_code == 200

    @pytest.mark.parametrize("without", [["origin"], ["sec-fetch-site"], []])
    async def test_one_of_the_two_headers_is_enough(self, owner, without) -> None:
        for name in without:
            del owner.headers[name]
        assert (await owner.post("/organizations", json={"name": "ours"})).status_code == 201

    async def test_the_token_is_of_one_session(self, plane, owner) -> None:
        async with aclosing(await plane.signed_in(ENVIRONMENT_KEY)) as other:
            owner.headers["x-csrf-token"] = other.headers["x-csrf-token"]
            assert (await owner.post("/organizations", json={"name": "x"})).json()["code"] == "csrf_token"

    async def test_a_credential_in_a_header_needs_none_of_it(self, plane, owner) -> None:
        headers = {
            "authorization": f"Bearer {ENVIRONMENT_KEY}",
            "origin": "https://elsewhere.example",
            "x-csrf-token": "",
        }
        assert (await owner.post("/organizations", json={"name": "x"}, headers=headers)).status_code == 201

    async def test_a_wrong_credential_does_not_fall_back_on_the_cookie(self, owner) -> None:
        headers = {"authorization": "Bearer wrong"}
        assert (await owner.get("/organizations", headers=headers)).status_code == 401

    async def test_reading_needs_the_cookie_only(self, owner) -> None:
        for name in ("x-csrf-token", "origin", "sec-fetch-site"):
            del owner.headers[name]
        assert (await owner.get("/organizations")).status_code == 200

    async def test_two_cookies_are_none(self, plane, owner) -> None:
        token = owner.cookies["__Host-sid"]
        async with plane.browser(cookie=f"__Host-sid={token}; __Host-sid={token}") as browser:
            assert (await browser.get("/session")).status_code == 401

    async def test_a_cookie_without_the_prefix_is_none(self, plane, owner) -> None:
        async with plane.browser(cookie=f"sid={owner.cookies['__Host-sid']}") as browser:
            assert (await browser.get("/session")).status_code == 401


class TestEnding:
    async def test_after_sign_out_the_token_is_worth_nothing(self, plane, owner) -> None:
        stolen = owner.cookies["__Host-sid"]
        ended = await owner.delete("/session")
        assert ended.status_code == 204
        assert "Max-Age=0" in cookie_of(ended)
        async with plane.browser(cookie=f"__Host-sid={stolen}") as thief:
            refused = await thief.get("/organizations")
        assert (refused.status_code, refused.json()["code"]) == (401, "invalid_session")

    async def test_after_half_an_hour_of_silence(self, plane, owner) -> None:
        plane.clock.advance(HALF_AN_HOUR - 1)
        assert (await owner.get("/session")).status_code == 200
        plane.clock.advance(HALF_AN_HOUR - 1)
        assert (await owner.get("/session")).status_code == 200
        plane.clock.advance(HALF_AN_HOUR)
        assert (await owner.get("/session")).status_code == 401

    async def test_after_twelve_hours_however_busy(self, plane, owner) -> None:
        for _ in range(47):
            plane.clock.advance(900)
            assert (await owner.get("/session")).status_code == 200
        plane.clock.advance(900)
        assert (await owner.get("/session")).status_code == 401

    async def test_with_its_key(self, plane, root) -> None:
        for end in ("revoke", "rotate", "suspend", "expire"):
            key = await make_admin(root)
            async with aclosing(await plane.signed_in(key["secret"])) as browser:
                assert (await browser.get("/organizations")).status_code == 200
                if end in {"revoke", "rotate"}:
                    body = {"json": {}} if end == "rotate" else {}
                    assert (await root.post(f"/admin-keys/{key['id']}/{end}", **body)).status_code == 200
                elif end == "suspend":
                    await root.patch(f"/admin-keys/{key['id']}", json={"status": "suspended"})
                else:
                    moment = (plane.clock.now() + timedelta(seconds=60)).isoformat()
                    await root.patch(f"/admin-keys/{key['id']}", json={"expires_at": moment})
                    plane.clock.advance(61)
                assert (await browser.get("/organizations")).status_code == 401, end

    async def test_it_follows_its_keys_role(self, plane, root) -> None:
        key = await make_admin(root)
        async with aclosing(await plane.signed_in(key["secret"])) as browser:
            await root.patch(f"/admin-keys/{key['id']}", json={"role": "viewer"})
            assert (await browser.get("/session")).json()["role"] == "viewer"
            assert (await browser.post("/organizations", json={"name": "x"})).status_code == 403

    async def test_an_owner_sees_and_ends_those_of_the_scope(self, plane, world) -> None:
        ours = (await world.callers["ours owner"].get("/sessions")).json()["items"]
        assert {item["organization_id"] for item in ours} == {world.ours["organizations"]["id"]}
        viewer = next(item for item in ours if item["name"] == "ours viewer")
        assert (await world.callers["ours viewer session"].get("/session")).status_code == 200
        assert (await world.callers["ours owner"].delete(f"/sessions/{viewer['id']}")).status_code == 204
        assert (await world.callers["ours viewer session"].get("/session")).status_code == 401
        assert (await world.callers["ours owner"].delete(f"/sessions/{viewer['id']}")).status_code == 404

    async def test_a_caller_without_one_has_none_to_end(self, root) -> None:
        assert (await root.delete("/session")).json()["code"] == "no_session"
        said = (await root.get("/session")).json()
        assert (said["session_id"], said["csrf_token"], said["is_recent"]) == (None, None, True)

    async def test_pages_of_sessions(self, plane, root) -> None:
        ids = []
        for _ in range(3):
            plane.clock.advance(1)
            ids.append((await root.post("/session", json={"key": ENVIRONMENT_KEY})).json()["session_id"])
        first = (await root.get("/sessions", params={"limit": 2})).json()
        rest = (await root.get("/sessions", params={"limit": 2, "cursor": first["cursor"]})).json()
        assert [item["id"] for item in first["items"] + rest["items"]] == ids[::-1]
        assert rest["cursor"] is None


class TestStepUp:
    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("POST", "/admin-keys", {"name": "x", "role": "viewer"}),
            ("POST", "/grants", {"matches": "subject", "value": "x", "role": "viewer"}),
            ("GET", "/usage/export.csv", None),
        ],
    )
    async def test_what_matters_most_needs_a_recent_sign_in(self, plane, owner, *, root, method, path, body) -> None:
        plane.clock.advance(599)
        assert (await owner.request(method, path, json=body)).status_code in {200, 201}
        plane.clock.advance(1)
        body = body and body | ({"value": "y"} if path == "/grants" else {})
        refused = await owner.request(method, path, json=body)
        assert (refused.status_code, refused.json()["code"]) == (403, "sign_in_again")
        assert not (await owner.get("/session")).json()["is_recent"]
        assert (await owner.post("/organizations", json={"name": "x"})).status_code == 201
        assert (await root.request(method, path, json=body)).status_code in {200, 201}
        again = await owner.post("/session", json={"key": ENVIRONMENT_KEY})
        owner.headers["x-csrf-token"] = again.json()["csrf_token"]
        body = body and body | ({"value": "z"} if path == "/grants" else {})
        assert (await owner.request(method, path, json=body)).status_code in {200, 201}

    async def test_reading_roles_does_not(self, plane, owner) -> None:
        plane.clock.advance(900)
        assert (await owner.get("/grants")).status_code == 200
        assert (await owner.get("/admin-keys")).status_code == 200
