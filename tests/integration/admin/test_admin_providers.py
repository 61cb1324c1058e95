"""Providers made through the API: as strict as the file, and no credential ever comes out."""

import logging
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from app.domain.audit.principal import COMMAND_LINE
from app.domain.upstream.overlay import UpstreamDirectory
from app.domain.upstream.repository import UpstreamRepository, find_envelope
from app.domain.upstream.vault import Unreadable
from app.settings.model import NetworkSettings, ProviderSettings, Settings
from providers.http import UrlRefused, place_of
from providers.registry import Registry
from providers.types import Secret

CANARY = "canary-3f9d2c71b0a84e65"
SECOND = "second-canary-0b1c2d3e4f"
PROVIDER = {"name": "acme", "adapter": "openai", "base_url": "https://api.acme.example/v1", "api_key": CANARY}
OPEN = Settings(network=NetworkSettings(allowed_private_cidrs=("10.0.0.0/8",)))


async def make(root: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    answer = await root.post("/providers", json=PROVIDER | fields)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def served(plane) -> UpstreamDirectory:
    """Return what a worker that starts now would serve."""
    directory = UpstreamDirectory(UpstreamRepository(plane.database).read_all, reader=plane.services.upstream_reader)
    await directory.refresh()
    return directory


def problem(answer: httpx.Response) -> tuple[int, str, str | None]:
    body = answer.json()
    return answer.status_code, body["code"], (body.get("errors") or [{"path": None}])[0]["path"]


async def test_a_provider_is_made_read_changed_and_deleted(plane, root: httpx.AsyncClient) -> None:
    answer = await root.post("/providers", json=PROVIDER | {"timeouts": {"connect_s": 2}, "headers": {"x-team": "a"}})
    made = answer.json()
    assert (answer.status_code, answer.headers["etag"]) == (201, '"1"')
    assert UUID(made["id"]).version == 7
    assert made["base_url"] == "https://api.acme.example/v1"
    assert (made["source"], made["origin"], made["problem"], made["api_key"]) == ("api", None, None, {"set": True})
    assert made["headers"] == {"x-team": {"set": True}}
    assert made["timeouts"]["connect_s"] == 2
    assert [sorted(mark) for mark in made["credentials"]] == [["created_at", "fingerprint"]]
    assert (await root.get(f"/providers/{made['id']}")).json() == made
    assert made in (await root.get("/providers")).json()["items"]

    changed = await root.patch(f"/providers/{made['id']}", json={"timeouts": {"total_s": 9}, "headers": None})
    assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
    assert (changed.json()["headers"], changed.json()["timeouts"]["connect_s"]) == ({}, None)
    assert changed.json()["credentials"] == made["credentials"]
    given = (await served(plane)).current.providers["acme"]
    assert (given.credentials, given.headers) == ((Secret(CANARY),), {})

    stale = await root.patch(f"/providers/{made['id']}", json={"timeouts": None}, headers={"if-match": '"1"'})
    assert stale.status_code == 412
    assert (await root.delete(f"/providers/{made['id']}")).status_code == 204
    assert (await root.get(f"/providers/{made['id']}")).status_code == 404
    assert (await served(plane)).current.providers == {}
    assert {kind for kind, _ in plane.told} == {"provider"}


async def test_a_credential_is_rotated_and_its_time_told(plane, root: httpx.AsyncClient) -> None:
    made = await make(root)
    plane.clock.advance(60)
    changed = (await root.patch(f"/providers/{made['id']}", json={"api_keys": [CANARY, SECOND]})).json()
    first, second = changed["credentials"]
    assert first == made["credentials"][0]
    assert second["created_at"] > first["created_at"]
    given = (await served(plane)).current.providers["acme"]
    assert given.credentials == (Secret(CANARY), Secret(SECOND))
    last = (await root.patch(f"/providers/{made['id']}", json={"api_key": SECOND})).json()
    assert last["credentials"] == [second]
    assert (await served(plane)).current.providers["acme"].credentials == (Secret(SECOND),)


async def test_no_credential_is_in_answers_audit_logs_or_tables(
    plane, root: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    made = await make(root, headers={"authorization": f"Basic {CANARY}"})
    path = f"/providers/{made['id']}"
    answers = [
        await root.get(path),
        await root.get("/providers"),
        await root.patch(path, json={"api_key": SECOND, "headers": {"x": SECOND}}),
        await root.post("/providers", json=PROVIDER),
        await root.post("/providers", json=PROVIDER | {"name": "b", "api_key": f"{CANARY}\n"}),
        await root.post("/providers", json=PROVIDER | {"name": "b", "api_key": [CANARY]}),
        await root.post("/providers", json=PROVIDER | {"name": "b", "api_keys": CANARY}),
        await root.post("/providers", json=PROVIDER | {"name": "b", CANARY: CANARY}),
        await root.post("/providers", json=PROVIDER | {"name": "b", "headers": {"x": [CANARY]}}),
        await root.post("/providers", json=PROVIDER | {"name": "b", "base_url": f"https://{CANARY}@x.example"}),
        await root.get("/audit"),
        await root.delete(path),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 409, *[400] * 6, 200, 204]
    shown = "".join(answer.text for answer in answers if "there is no setting" not in answer.text) + caplog.text
    async with plane.database.reading() as connection:
        for table in ("providers", "provider_credentials", "audit_entries", "change_log", "idempotency_keys"):
            shown += str((await connection.execute(text(f"SELECT * FROM {table}"))).all())
    for secret in (CANARY, SECOND):
        assert secret not in shown
    assert '"***"' in next(answer.text for answer in answers if "audit" in str(answer.url))


HOSTILE = [
    "http://api.acme.example/v1",
    "https://127.0.0.1/v1",
    "https://[::1]/v1",
    "https://169.254.169.254/latest",
    "https://2130706433/v1",
    "https://0x7f000001/",
    "https://localhost/v1",
    "https://metadata.google.internal/",
    "https://api.acme.example:8443/v1",
    "https://user:pass@api.acme.example/v1",
    "https://api.acme.example/v1#x",
    "https://api.acme.example/v1?x=1",
    "https://api.acme.example\\@evil.example/",
    "https://api.acme.example\t/v1",
    "ftp://api.acme.example/",
    "file:///etc/passwd",
    "gopher://api.acme.example/",
    "\u0000",
]


@pytest.mark.parametrize("address", HOSTILE)
async def test_a_hostile_base_url_is_refused_by_name(root: httpx.AsyncClient, address: str) -> None:
    answer = await root.post("/providers", json=PROVIDER | {"base_url": address})
    status, code, path = problem(answer)
    assert (status, path) == (400, "base_url"), answer.text
    assert code in {"base_url_refused", "invalid_request"}


@pytest.mark.parametrize("address", ["http://10.1.2.3:8000/v1", "https://10.1.2.3/v1", "http://vllm.internal:8000/v1"])
async def test_private_networks_are_for_owners_of_the_installation(plane, world, address: str) -> None:
    plane.settings = OPEN
    refused = await world.callers["installation admin"].post("/providers", json=PROVIDER | {"base_url": address})
    assert problem(refused) == (403, "insufficient_scope", "base_url")
    made = await world.callers["installation owner"].post("/providers", json=PROVIDER | {"base_url": address})
    assert (made.status_code, made.json()["base_url"]) == (201, address)
    assert (await served(plane)).current.reaches["acme"] == "private"


async def test_an_admins_provider_is_at_public_addresses_only(plane, world) -> None:
    plane.settings = OPEN
    await make(world.callers["installation admin"])
    assert (await served(plane)).current.reaches["acme"] == "public"
    outside = await world.callers["installation owner"].post(
        "/providers", json=PROVIDER | {"name": "b", "base_url": "http://192.168.0.1/v1"}
    )
    assert problem(outside) == (400, "base_url_refused", "base_url")


async def test_an_adapters_own_private_address_is_refused_too(root: httpx.AsyncClient) -> None:
    answer = await root.post("/providers", json={"name": "ollama"})
    assert problem(answer) == (400, "base_url_refused", "base_url")


@pytest.mark.parametrize(
    ("change", "code", "path"),
    [
        ({"adapter": "opena1"}, "invalid_request", "adapter"),
        ({"bse_url": "https://x.example"}, "unknown_parameter", "bse_url"),
        ({"api_key": "env:GATEWAY_MASTER_SECRET"}, "invalid_request", "api_key"),
        ({"api_key": "file:/etc/passwd"}, "invalid_request", "api_key"),
        ({"headers": {"x": "env:PATH"}}, "invalid_request", "headers.x"),
        ({"headers": {"host": "x"}}, "invalid_request", "headers.host"),
        ({"api_keys": ["a", "b"]}, "invalid_request", "api_keys"),
        ({"ca_file": "/etc/passwd"}, "invalid_request", "ca_file"),
        ({"timeouts": {"connect_s": 0}}, "invalid_request", "timeouts.connect_s"),
        ({"timeouts": {"conect_s": 1}}, "unknown_parameter", "timeouts.conect_s"),
        ({"name": "a/b"}, "invalid_request", "name"),
        ({"name": ""}, "invalid_request", "name"),
        ({"name": 5}, "invalid_request", "name"),
        ({"name": "a\u0000"}, "invalid_request", "name"),
        ({"organization": "a\u0000"}, "invalid_request", "organization"),
        ({"options": {}}, "unknown_parameter", "options"),
        ({"id": str(uuid4())}, "unknown_parameter", "id"),
    ],
)
async def test_a_body_is_as_strict_as_the_file(
    root: httpx.AsyncClient, change: dict[str, Any], code: str, path: str
) -> None:
    assert problem(await root.post("/providers", json=PROVIDER | change)) == (400, code, path)


async def test_a_misspelt_adapter_is_suggested(root: httpx.AsyncClient) -> None:
    answer = await root.post("/providers", json=PROVIDER | {"adapter": "opena1"})
    assert "did you mean `openai`?" in answer.json()["detail"]


async def test_options_of_the_adapter_stand_beside_the_rest(plane, root: httpx.AsyncClient) -> None:
    fields = {"name": "aws", "adapter": "bedrock", "region": "eu-central-1", "base_url": None, "api_key": None}
    secrets = {"access_key_id": "AKIA-canary", "secret_access_key": CANARY}
    made = await make(root, **fields, **secrets)
    assert (made["region"], made["secret_access_key"]) == ("eu-central-1", {"set": True})
    given = (await served(plane)).current.providers["aws"]
    assert given.options.secret_access_key == Secret(CANARY)
    moved = await root.patch(f"/providers/{made['id']}", json={"region": "us-east-1"})
    assert problem(moved) == (400, "credential_required", "access_key_id")
    moved = await root.patch(f"/providers/{made['id']}", json={"region": "us-east-1"} | secrets)
    assert (moved.status_code, moved.json()["region"]) == (200, "us-east-1")
    assert (await served(plane)).current.providers["aws"].options.region == "us-east-1"


async def test_another_base_url_needs_the_credential_anew(plane, root: httpx.AsyncClient) -> None:
    made = await make(root)
    path = f"/providers/{made['id']}"
    for url in ("https://evil.example/v1", "https://api.acme.example/v2", None):
        assert problem(await root.patch(path, json={"base_url": url})) == (400, "credential_required", "api_key")
    same = await root.patch(path, json={"base_url": "https://API.acme.example:443/v1/"})
    assert (same.status_code, same.json()["version"]) == (200, 1)
    moved = await root.patch(path, json={"base_url": "https://new.example/v1", "api_key": SECOND})
    assert moved.status_code == 200
    assert (await served(plane)).current.providers["acme"].credentials == (Secret(SECOND),)
    without = await root.patch(path, json={"base_url": "https://free.example/v1", "api_key": None})
    assert (without.status_code, without.json()["credentials"]) == (200, [])
    assert (await served(plane)).current.providers["acme"].credentials == ()


@pytest.mark.parametrize(
    "tampering",
    [
        """UPDATE providers SET spec = '{"adapter": "openai", "api_key": "***", "base_url": "https://evil.example"}'""",
        "UPDATE providers SET credential_version = 2",
        "DELETE FROM provider_credentials",
    ],
)
async def test_a_row_that_was_tampered_with_does_not_open(plane, root: httpx.AsyncClient, tampering: str) -> None:
    await make(root)
    async with plane.database.transaction() as connection:
        await connection.execute(text(tampering.replace(":", "\\:")))
    directory = await served(plane)
    assert directory.current.providers == {}
    shown = next(each for each in (await root.get("/providers")).json()["items"] if each["source"] == "api")
    assert "does not open" in shown["problem"]


async def test_an_envelope_of_another_provider_does_not_open(plane, root: httpx.AsyncClient) -> None:
    await make(root)
    other = await make(root, name="other", api_key=SECOND)
    async with plane.database.transaction() as connection:
        mine = await find_envelope(connection, UUID(other["id"]))
        await connection.execute(
            text("UPDATE provider_credentials SET kid = :kid, wrapped_key = :wrapped_key, sealed = :sealed"),
            mine._asdict(),
        )
    assert [*(await served(plane)).current.providers] == ["other"]


async def test_dedicating_a_provider_seals_its_credential_for_the_organization(plane, root: httpx.AsyncClient) -> None:
    made = await make(root)
    organization = str(uuid4())
    changed = await root.patch(f"/providers/{made['id']}", json={"dedicated_to": organization})
    assert (changed.status_code, changed.json()["dedicated_to"]) == (200, organization)
    stored = await UpstreamRepository(plane.database).read_all()
    assert plane.services.upstream_reader.binding(stored.providers[0])[::3] == (organization, 2)
    assert (await served(plane)).current.providers["acme"].credentials == (Secret(CANARY),)


async def test_what_cannot_be_opened_is_mended_by_sending_it_anew(plane, root: httpx.AsyncClient) -> None:
    made = await make(root)
    path = f"/providers/{made['id']}"
    async with plane.database.transaction() as connection:
        await connection.execute(text("UPDATE provider_credentials SET kid = 'another'"))
    assert problem(await root.patch(path, json={"timeouts": {"total_s": 1}})) == (
        400,
        "credential_required",
        "api_key",
    )
    with pytest.raises(Exception, match="does not open"):
        await plane.services.providers.open(COMMAND_LINE, UUID(made["id"]))
    assert (await root.patch(path, json={"api_key": SECOND})).status_code == 200
    assert (await served(plane)).current.providers["acme"].credentials == (Secret(SECOND),)


async def test_the_file_wins_and_is_read_only(plane, root: httpx.AsyncClient) -> None:
    mine = ProviderSettings(adapter="openai", api_key=Secret(CANARY))
    plane.settings = Settings(
        providers={"acme": mine, "zeta": mine}, origins={"providers.acme.adapter": "gateway.yaml:7"}
    )
    assert problem(await root.post("/providers", json=PROVIDER))[:2] == (409, "config_owned")
    await make(root, name="mid")
    pages = [(await root.get("/providers", params={"limit": 2})).json()]
    pages.append((await root.get("/providers", params={"limit": 2, "cursor": pages[0]["cursor"]})).json())
    items = [item for page in pages for item in page["items"]]
    assert [item["name"] for item in items] == ["mid", "acme", "zeta"]
    assert pages[1]["cursor"] is None
    acme = items[1]
    assert (acme["source"], acme["origin"], acme["version"]) == ("config", "gateway.yaml:7", None)
    assert CANARY not in str(pages)
    read = await root.get(f"/providers/{acme['id']}")
    assert read.json() == acme
    assert "etag" not in read.headers
    for answer in (
        await root.patch(f"/providers/{acme['id']}", json={"api_key": None}),
        await root.delete(f"/providers/{acme['id']}"),
    ):
        assert problem(answer)[:2] == (409, "config_owned")
    plane.settings = Settings(providers={"mid": mine})
    shadowed = (await root.get("/providers")).json()["items"][0]
    assert "which wins" in shadowed["problem"]
    merged = (await served(plane)).current.under(plane.settings)
    assert merged.providers == {"mid": mine}


async def test_a_provider_in_use_stays(root: httpx.AsyncClient) -> None:
    made = await make(root)
    model = {"name": "m", "targets": [{"provider": "acme", "model": "x"}]}
    named = (await root.post("/models", json=model)).json()
    assert problem(await root.delete(f"/providers/{made['id']}"))[:2] == (409, "provider_in_use")
    await root.delete(f"/models/{named['id']}")
    assert (await root.delete(f"/providers/{made['id']}")).status_code == 204


async def test_only_the_installation_sees_and_tests_providers(world) -> None:
    made = await make(world.root)
    path = f"/providers/{made['id']}"
    for caller in ("ours viewer", "ours admin", "ours owner"):
        client = world.callers[caller]
        answers = [
            await client.get("/providers"),
            await client.get(path),
            await client.post("/providers", json=PROVIDER | {"name": "b"}),
            await client.patch(path, json={"api_key": "x"}),
            await client.delete(path),
            await client.post(f"{path}/test"),
        ]
        assert {answer.status_code for answer in answers} == {403}
    assert (await world.callers["installation viewer"].get(path)).status_code == 200
    assert (await world.callers["installation viewer"].post(f"{path}/test")).status_code == 403
    tested = await world.callers["installation admin"].post(f"{path}/test")
    assert (tested.status_code, tested.json()["ok"], tested.json()["models"]) == (200, True, 3)
    absent = await world.callers["installation admin"].post(f"/providers/{uuid4()}/test")
    assert absent.status_code == 404


async def test_an_envelope_opens_for_its_own_binding_only(plane, root: httpx.AsyncClient) -> None:
    await make(root)
    stored = await UpstreamRepository(plane.database).read_all()
    (provider,) = stored.providers
    reader = plane.services.upstream_reader
    envelope, binding = stored.envelopes[provider.id], reader.binding(provider)
    assert binding.text() == f"installation|{provider.id}|https://api.acme.example:443|1".encode()
    assert reader.vault.open(envelope, binding=binding) == {"api_key": CANARY}
    for other in (
        binding._replace(organization="other"),
        binding._replace(provider_id=uuid4()),
        binding._replace(audience="https://api.acme.example:8443"),
        binding._replace(version=2),
    ):
        with pytest.raises(Unreadable):
            reader.vault.open(envelope, binding=other)
    dedicated = msgspec.structs.replace(provider, spec=provider.spec | {"dedicated_to": "x"})
    with pytest.raises(Unreadable):
        reader.opened(dedicated, envelope)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=10), children, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(
    [
        "name",
        "adapter",
        "base_url",
        "api_key",
        "api_keys",
        "headers",
        "timeouts",
        "organization",
        "dedicated_to",
        "api_version",
        "ca_file",
        "region",
        "bills_after_disconnect",
        "access_key_id",
        "chat_api",
        "serves",
        "targets",
        "fallbacks",
        "hedge",
        "transform",
        "price",
        "retries",
        "balance",
    ]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    resource=st.sampled_from(["providers", "models"]),
    adapter=st.sampled_from(["openai", "bedrock", "vertex", "azure", "ollama", "echo", "native", "anthropic"]),
    fields=st.dictionaries(NAMES, JSON, max_size=4),
)
async def test_no_body_is_a_defect_of_ours(
    root: httpx.AsyncClient, resource: str, adapter: str, fields: dict[str, Any]
) -> None:
    start = {"name": "x", "adapter": adapter} if resource == "providers" else {"name": "x", "targets": []}
    answer = await root.post(f"/{resource}", json=start | fields)
    assert answer.status_code < 500, answer.text
    if answer.status_code == 201:
        path = f"/{resource}/{answer.json()['id']}"
        assert (await root.get(path)).status_code == 200
        assert (await root.patch(path, json=fields)).status_code < 500
        assert (await root.delete(path)).status_code == 204


def test_every_vendor_of_the_catalogue_is_where_a_provider_may_be() -> None:
    registry = Registry()
    urls = {name: registry.find(name).base_url for name in registry.names()}
    refused = {name for name, url in urls.items() if url and not is_public(url)}
    assert refused <= {"ollama", "vllm", "lmstudio", "llamacpp", "sglang", "localai", "tgi", "ollama-openai"}


def is_public(url: str) -> bool:
    try:
        return not place_of(url).is_private
    except UrlRefused:
        return False
