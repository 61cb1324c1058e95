"""Grants, the tokens of people, and sign-in at the issuer."""

import base64
import hashlib
import hmac
import json
from urllib.parse import parse_qsl, urlsplit

import httpx
import msgspec
import pytest

from app.settings.model import AdminPlane, Settings

NOW_S = 1_800_000_000
START, CALLBACK = "/session/oidc/start", "/session/oidc/callback"


async def grant(root: httpx.AsyncClient, **spec) -> dict:
    made = await root.post("/grants", json={"matches": "subject", "value": "ada", "role": "owner"} | spec)
    assert made.status_code == 201, made.text
    return made.json()


class TestGrants:
    async def test_create_read_patch_delete(self, plane, root) -> None:
        made = await grant(root, role="viewer")
        path = f"/grants/{made['id']}"
        assert (await root.get(path)).json() == made
        patched = await root.patch(path, json={"role": "admin"}, headers={"if-match": '"1"'})
        assert (patched.json()["role"], patched.headers["etag"]) == ("admin", '"2"')
        assert (await root.patch(path, json={"role": "owner"}, headers={"if-match": '"1"'})).status_code == 412
        assert [item["id"] for item in (await root.get("/grants", params={"role": "admin"})).json()["items"]] == [
            made["id"]
        ]
        assert (await root.get("/grants", params={"matches": "claim"})).json()["items"] == []
        assert (await root.delete(path)).status_code == 204
        assert (await root.get(path)).status_code == 404
        entries = (await root.get("/audit", params={"object_kind": "grant"})).json()["items"]
        assert [entry["action"] for entry in entries] == ["delete", "update", "create"]
        assert (entries[1]["before"], entries[1]["after"]) == ({"role": "viewer"}, {"role": "admin"})
        assert [kind for kind, _ in plane.told] == ["grant"] * 3

    @pytest.mark.parametrize(
        ("changed", "field"),
        [
            ({"matches": "everybody"}, "matches"),
            ({"value": ""}, "value"),
            ({"value": "\u0000"}, "value"),
            ({"value": "a" * 256}, "value"),
            ({"role": "root"}, "role"),
            ({"is_superuser": True}, "is_superuser"),
            ({"organization_id": "1"}, "organization_id"),
            ({"organization_id": "00000000-0000-7000-8000-00000000dead"}, "organization_id"),
        ],
    )
    async def test_a_wrong_field_is_named(self, root, changed, field) -> None:
        refused = await root.post("/grants", json={"matches": "subject", "value": "x", "role": "viewer"} | changed)
        assert refused.status_code == 400
        assert refused.json()["errors"][0]["path"] == field

    async def test_there_is_one_for_a_value_in_a_place(self, root, world) -> None:
        await grant(root, value="twice")
        again = await root.post("/grants", json={"matches": "subject", "value": "twice", "role": "viewer"})
        assert (again.status_code, again.json()["code"]) == (409, "grant_exists")
        await grant(root, value="twice", organization_id=world.ours["organizations"]["id"])
        await grant(root, value="twice", matches="claim")

    async def test_an_organizations_owner_gives_roles_there_only(self, root, world) -> None:
        owner = world.callers["ours owner"]
        made = await owner.post("/grants", json={"matches": "subject", "value": "ada", "role": "owner"})
        assert made.json()["organization_id"] == world.ours["organizations"]["id"]
        body = {"matches": "subject", "value": "bob", "role": "viewer"}
        theirs = body | {"organization_id": world.theirs["organizations"]["id"]}
        assert (await owner.post("/grants", json=theirs)).status_code == 400
        wide = await grant(root, value="carol")
        assert (await owner.get(f"/grants/{wide['id']}")).status_code == 404
        assert (await owner.patch(f"/grants/{wide['id']}", json={"role": "viewer"})).status_code == 404
        assert (await owner.patch(f"/grants/{made.json()['id']}", json={"organization_id": None})).status_code == 400

    async def test_they_go_with_their_organization(self, plane, root) -> None:
        organization = (await root.post("/organizations", json={"name": "gone"})).json()["id"]
        made = await grant(root, organization_id=organization)
        ada = plane.client(plane.issuer.token())
        assert (await ada.get("/teams")).status_code == 200
        assert (await root.delete(f"/organizations/{organization}")).status_code == 204
        assert (await root.get(f"/grants/{made['id']}")).status_code == 404
        assert (await ada.get("/teams")).json()["code"] == "no_role"
        await ada.aclose()


class TestTheLastOwner:
    @pytest.fixture(autouse=True)
    def _without_environment_key(self, plane) -> None:
        plane.settings = msgspec.structs.replace(plane.settings, admin_key=None)

    @pytest.mark.parametrize("change", ["delete", "demote"])
    async def test_by_grant_cannot_be_taken_away(self, root, change) -> None:
        made = await grant(root)
        path = f"/grants/{made['id']}"

        async def take_away() -> httpx.Response:
            return await (root.delete(path) if change == "delete" else root.patch(path, json={"role": "admin"}))

        refused = await take_away()
        assert (refused.status_code, refused.json()["code"]) == (409, "last_owner")
        assert (await root.get(path)).json() == made
        await grant(root, value="another")
        assert (await take_away()).status_code in {200, 204}

    @pytest.mark.parametrize("change", ["revoke", "suspend", "demote", "expire"])
    async def test_by_key_cannot_be_taken_away(self, root, change) -> None:
        key = (await root.post("/admin-keys", json={"name": "x", "role": "owner"})).json()
        path = f"/admin-keys/{key['id']}"
        patches = {
            "suspend": {"status": "suspended"},
            "demote": {"role": "admin"},
            "expire": {"expires_at": "2999-01-01T00:00:00Z"},
        }

        async def take_away() -> httpx.Response:
            return await (root.post(f"{path}/revoke") if change == "revoke" else root.patch(path, json=patches[change]))

        refused = await take_away()
        assert (refused.status_code, refused.json()["code"]) == (409, "last_owner")
        assert (await root.patch(path, json={"name": "y"})).status_code == 200
        await root.post("/admin-keys", json={"name": "expired", "role": "owner", "expires_at": "2027-01-15T08:00:01Z"})
        await grant(root)
        assert (await take_away()).status_code == 200

    async def test_grants_count_only_where_there_is_an_issuer(self, plane, root) -> None:
        key = (await root.post("/admin-keys", json={"name": "x", "role": "owner"})).json()
        await grant(root)
        plane.settings = Settings(admin=AdminPlane())
        refused = await root.post(f"/admin-keys/{key['id']}/revoke")
        assert refused.json()["code"] == "last_owner"


class TestTokens:
    async def ask(self, plane, token: str) -> httpx.Response:
        async with plane.client(token) as client:
            return await client.get("/session")

    @pytest.mark.parametrize(
        ("grants", "claims", "expected"),
        [
            ([{"role": "viewer"}], {}, ("viewer", None)),
            (
                [{"role": "viewer"}, {"matches": "claim", "value": "ops", "role": "admin"}],
                {"roles": ["ops"]},
                ("admin", None),
            ),
            ([{"matches": "claim", "value": "ops", "role": "admin"}], {"roles": "ops"}, ("admin", None)),
            ([], {"roles": ["idp-auditors"]}, ("viewer", None)),
            ([{"role": "admin"}], {"roles": ["idp-auditors"]}, ("admin", None)),
            ([{"role": "admin", "organization_id": "ours"}], {"roles": ["idp-auditors"]}, ("admin", "ours")),
            ([{"role": "viewer", "organization_id": "ours"}], {"roles": ["idp-auditors"]}, ("viewer", None)),
        ],
    )
    async def test_give_the_highest_role_in_its_place(self, plane, root, grants, claims, expected) -> None:
        organization = (await root.post("/organizations", json={"name": "ours"})).json()["id"]
        for spec in grants:
            place = {"organization_id": organization} if "organization_id" in spec else {}
            await grant(root, **spec | place)
        said = (await self.ask(plane, plane.issuer.token(name="Ada L.", **claims))).json()
        role, place = expected
        assert (said["kind"], said["name"], said["role"]) == ("person", "Ada L.", role)
        assert said["organization_id"] == (organization if place else None)

    @pytest.mark.parametrize(
        "claims", [{}, {"roles": ["other"]}, {"roles": [["idp-auditors"]]}, {"roles": {"idp-auditors": 1}}]
    )
    async def test_nobody_without_a_grant_has_a_role(self, plane, claims) -> None:
        refused = await self.ask(plane, plane.issuer.token(**claims))
        assert (refused.status_code, refused.json()["code"]) == (403, "no_role")

    async def test_a_value_of_the_claim_is_no_subject(self, plane, root) -> None:
        await grant(root, value="ada")
        await grant(root, matches="claim", value="bob")
        assert (await self.ask(plane, plane.issuer.token(sub="eve", roles=["ada"]))).status_code == 403
        assert (await self.ask(plane, plane.issuer.token(sub="bob"))).status_code == 403

    async def test_end_with_the_grant(self, plane, root) -> None:
        made = await grant(root)
        token = plane.issuer.token()
        assert (await self.ask(plane, token)).json()["role"] == "owner"
        await root.patch(f"/grants/{made['id']}", json={"role": "viewer"})
        assert (await self.ask(plane, token)).json()["role"] == "viewer"
        await root.delete(f"/grants/{made['id']}")
        assert (await self.ask(plane, token)).status_code == 403

    @pytest.mark.parametrize(
        "claims",
        [
            {"aud": "llm-gateway"},
            {"aud": "gateway"},
            {"aud": ["llm-gateway"]},
            {"aud": ...},
            {"iss": "https://evil.example"},
            {"iss": ...},
            {"exp": NOW_S - 61},
            {"exp": ...},
            {"nbf": NOW_S + 61},
            {"sub": ...},
            {"sub": ""},
            {"sub": 7},
            {"sub": "a" * 256},
            {"sub": "ada\n"},
        ],
        ids=str,
    )
    async def test_with_a_wrong_claim_are_refused(self, plane, root, claims) -> None:
        await grant(root)
        refused = await self.ask(plane, plane.issuer.token(**claims))
        assert (refused.status_code, refused.json()["code"]) == (401, "invalid_api_key")

    @pytest.mark.parametrize(
        "header", [{"kid": "another"}, {"alg": "none"}, {"alg": "HS256"}, {"jku": "https://evil.example"}], ids=str
    )
    async def test_forged_ones_are_refused(self, plane, root, header) -> None:
        await grant(root)
        issuer = plane.issuer
        good = issuer.token()
        _, body, _ = good.split(".")
        head = (
            base64.urlsafe_b64encode(json.dumps({"alg": "RS256", "kid": "k"} | header).encode()).rstrip(b"=").decode()
        )
        digest = hmac.new(issuer.key.as_pem(private=False), f"{head}.{body}".encode(), hashlib.sha256).digest()
        mac = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        for forged in (
            f"{head}.{body}.",
            f"{head}.{body}.{mac}",
            issuer.token(key=issuer.stranger, header={"jku": "https://evil.example"}),
        ):
            assert (await self.ask(plane, forged)).status_code == 401
        assert (await self.ask(plane, good)).status_code == 200
        assert not [url for url in issuer.fetched if "evil" in url]

    async def test_cannot_take_anothers_name_in_the_audit(self, plane, root) -> None:
        await grant(root, value="GATEWAY_ADMIN_KEY")
        async with plane.client(plane.issuer.token(sub="GATEWAY_ADMIN_KEY")) as client:
            await client.post("/organizations", json={"name": "x"}, headers={"idempotency-key": "k"})
        entry = (await root.get("/audit")).json()["items"][0]
        assert (entry["principal_kind"], entry["principal_id"]) == ("person", "oidc:GATEWAY_ADMIN_KEY")
        own = await root.post("/organizations", json={"name": "y"}, headers={"idempotency-key": "k"})
        assert own.json()["name"] == "y"

    async def test_a_long_subject_fits_the_audit(self, plane, root) -> None:
        await grant(root, value="a" * 255)
        async with plane.client(plane.issuer.token(sub="a" * 255, name="b" * 300)) as client:
            assert (await client.post("/organizations", json={"name": "x"})).status_code == 201


class TestSigningIn:
    """At the issuer, by browser."""

    async def begin(self, browser: httpx.AsyncClient, **params) -> str:
        begun = await browser.get(START, params=params)
        assert begun.status_code == 302, begun.text
        return begun.headers["location"]

    async def test_a_person_comes_back_signed_in(self, plane, root) -> None:
        await grant(root, role="admin")
        async with plane.browser() as browser:
            url = await self.begin(browser, return_to="/keys?a=1&b=2")
            asked = dict(parse_qsl(urlsplit(url).query))
            assert asked["redirect_uri"] == "https://admin/admin/v1/session/oidc/callback"
            assert asked["scope"] == "openid profile email"
            done = await browser.get(CALLBACK, params=plane.issuer.log_in(url))
            assert done.status_code == 200, done.text
            assert 'content="0;url=/keys?a=1&amp;b=2"' in done.text
            assert "default-src 'none'" in done.headers["content-security-policy"]
            said = (await browser.get("/session")).json()
            assert (said["kind"], said["role"], said["is_recent"]) == ("session", "admin", True)
            headers = {"x-csrf-token": said["csrf_token"]}
            assert (await browser.post("/organizations", json={"name": "x"}, headers=headers)).status_code == 201
        cookies = "".join(done.headers.get_list("set-cookie"))
        assert "SameSite=strict" in cookies
        for hidden in ("eyJ", "never shown"):
            assert hidden not in done.text + cookies
        assert set(plane.issuer.asked[0][1]) == {"grant_type", "code", "redirect_uri", "code_verifier", "client_id"}

    async def test_state_and_verifier_are_not_the_browsers_to_know(self, plane) -> None:
        async with plane.browser() as browser:
            url = await self.begin(browser)
            cookie = browser.cookies["__Host-sign-in"]
        asked = dict(parse_qsl(urlsplit(url).query))
        assert len({asked["state"], asked["nonce"], asked["code_challenge"], cookie}) == 4
        async with plane.database.reading() as connection:
            row = str((await connection.exec_driver_sql("SELECT * FROM sign_ins")).one())
        assert asked["state"] not in row
        assert cookie not in row

    @pytest.mark.parametrize(
        "return_to",
        [
            "https://evil.example",
            "//evil.example",
            "/\\evil.example",
            "\\\\evil",
            "javascript:alert(1)",
            "",
            "keys",
            "/\t/evil",
            "/a\nb",
            "/" + "a" * 512,
            '/"><script>',
            "/é",
        ],
    )
    async def test_nobody_is_sent_elsewhere(self, plane, return_to) -> None:
        async with plane.browser() as browser:
            refused = await browser.get(START, params={"return_to": return_to})
        assert refused.status_code == 400
        assert refused.json()["errors"][0]["path"] == "return_to"

    async def refused(self, browser: httpx.AsyncClient, params: dict[str, str]) -> None:
        answer = await browser.get(CALLBACK, params=params)
        assert answer.status_code == 401, answer.text
        assert "sid=" not in str(answer.headers)

    async def test_a_state_works_once(self, plane, root) -> None:
        await grant(root)
        async with plane.browser() as browser:
            url = await self.begin(browser)
            kept = dict(browser.cookies)
            params = plane.issuer.log_in(url)
            assert (await browser.get(CALLBACK, params=params)).status_code == 200
            browser.cookies.update(kept)
            await self.refused(browser, params | {"code": plane.issuer.log_in(url)["code"]})

    async def test_a_state_is_of_one_browser(self, plane, root) -> None:
        """Somebody who is sent another's answer is not signed in as the other."""
        await grant(root)
        async with plane.browser() as attacker, plane.browser() as victim, plane.browser() as third:
            params = plane.issuer.log_in(await self.begin(attacker))
            await self.begin(victim)
            await self.refused(victim, params)
            await self.refused(attacker, params)
            await self.refused(third, plane.issuer.log_in(await self.begin(attacker)))

    async def test_a_state_ends(self, plane, root) -> None:
        await grant(root)
        async with plane.browser() as browser:
            params = plane.issuer.log_in(await self.begin(browser))
            plane.clock.advance(600)
            await self.refused(browser, params)

    @pytest.mark.parametrize(
        "changed",
        [{"state": "A" * 43}, {"state": ""}, {"code": ""}, {"iss": "https://evil.example"}, {"error": "access_denied"}],
        ids=str,
    )
    async def test_a_wrong_parameter_is_refused(self, plane, root, changed) -> None:
        await grant(root)
        async with plane.browser() as browser:
            await self.refused(browser, plane.issuer.log_in(await self.begin(browser)) | changed)

    @pytest.mark.parametrize(
        "claims",
        [
            {"nonce": "another"},
            {"nonce": ...},
            {"nonce": 7},
            {"aud": "llm-admin"},
            {"aud": ["gateway", "x"], "azp": "x"},
            {"iss": "https://evil.example"},
            {"exp": NOW_S - 61},
            {"sub": ...},
            {"key": "stranger"},
        ],
        ids=str,
    )
    async def test_a_wrong_identity_token_is_refused(self, plane, root, claims) -> None:
        await grant(root)
        plane.issuer.changed = claims if "key" not in claims else {"key": plane.issuer.stranger}
        async with plane.browser() as browser:
            await self.refused(browser, plane.issuer.log_in(await self.begin(browser)))

    async def test_nobody_without_a_role_gets_a_session(self, plane) -> None:
        async with plane.browser() as browser:
            answer = await browser.get(CALLBACK, params=plane.issuer.log_in(await self.begin(browser)))
        assert (answer.status_code, answer.json()["code"]) == (403, "no_role")
        assert "sid=" not in str(answer.headers)

    async def test_the_session_ends_with_the_last_grant(self, plane, root) -> None:
        made = await grant(root)
        async with plane.browser() as browser:
            await browser.get(CALLBACK, params=plane.issuer.log_in(await self.begin(browser)))
            assert (await browser.get("/organizations")).status_code == 200
            await root.delete(f"/grants/{made['id']}")
            assert (await browser.get("/organizations")).status_code == 403

    async def test_a_sign_in_of_long_ago_is_not_recent(self, plane, root) -> None:
        await grant(root)
        async with plane.browser() as browser:
            for claims, is_recent in (({"auth_time": NOW_S - 600}, False), ({"auth_time": ...}, False), ({}, True)):
                plane.issuer.changed = claims
                await browser.get(CALLBACK, params=plane.issuer.log_in(await self.begin(browser)))
                assert (await browser.get("/session")).json()["is_recent"] == is_recent
            plane.issuer.changed = {"auth_time": NOW_S - 600}
            url = await self.begin(browser, fresh="true")
            assert {"prompt=login", "max_age=0"} <= set(urlsplit(url).query.split("&"))
            await self.refused(browser, plane.issuer.log_in(url))

    async def test_beginning_is_throttled_by_address(self, plane) -> None:
        async with plane.browser() as browser:
            for _ in range(60):
                await self.begin(browser)
            assert (await browser.get(START)).status_code == 429
