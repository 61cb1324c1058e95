"""The description of the admin plane says what the plane does."""

from typing import Any

import pytest

from app.api.admin.app import Desks, admin_router
from app.api.admin.description import admin_document
from app.domain.audit.principal import COMMAND_LINE, Principal
from app.gateway.vitals import InstallationHealth


async def nobody(_token: bytes) -> Principal:
    return COMMAND_LINE


async def healthy() -> InstallationHealth:
    raise AssertionError("nothing is called")


@pytest.fixture(scope="module")
def description() -> dict[str, Any]:
    desks = Desks(examine=healthy, cache=None, traces=None, config=None, try_provider=None, door=None)  # type: ignore[arg-type] # nothing is called
    router = admin_router(None, authenticate=nobody, desks=desks, site=None)  # type: ignore[arg-type] # as above
    return admin_document(router, version="1.0")


def operations(description: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method, path, operation) for path, item in description["paths"].items() for method, operation in item.items()
    ]


def test_every_operation_is_described(description: dict[str, Any]) -> None:
    found = operations(description)
    assert len(found) == 75
    for method, path, operation in found:
        assert path.startswith("/admin/v1/")
        assert operation["summary"]
        assert operation["description"]
        assert len(operation["tags"]) == 1
        is_open = operation["operationId"] in {"sign_in", "start_oidc", "finish_oidc"}
        assert operation["security"] == [{"adminKey": []}, {"session": []}, *([{}] if is_open else [])]
        problems = {status for status in operation["responses"] if int(status) >= 400}
        assert {"400", "401", "403", "404", "503"} <= problems
        for status in problems:
            assert list(operation["responses"][status]["content"]) == ["application/problem+json"]
        headers = {parameter["name"] for parameter in operation.get("parameters", []) if parameter["in"] == "header"}
        is_write = method != "get" and path != "/admin/v1/session" and not path.endswith(("/validate", "/test"))
        assert headers == ({"Idempotency-Key", "If-Match"} if is_write else set())


def test_operation_ids_are_plain_and_unique(description: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(description)]
    assert len(set(ids)) == len(ids)
    assert {
        "create_key",
        "list_keys",
        "rotate_admin_key",
        "list_entries",
        "put_limits",
        "read_budget",
        "create_price",
        "patch_ensemble",
        "report_fanouts",
        "create_provider",
        "patch_model",
        "test_provider",
        "read_health",
        "read_cache",
        "purge_cache",
    } <= set(ids)


def test_schemas_are_named_plainly(description: dict[str, Any]) -> None:
    schemas = description["components"]["schemas"]
    assert all(name.isidentifier() and "_" not in name for name in schemas), sorted(schemas)
    assert "secret" in schemas["ApiKeyWithSecret"]["properties"]
    assert "secret" not in schemas["ApiKey"]["properties"]
    assert schemas["CreateKey"]["required"] == ["name"]
    assert schemas["PatchKey"].get("required", []) == []
    assert description["components"]["securitySchemes"]["adminKey"]["scheme"] == "bearer"


def test_bodies_are_json(description: dict[str, Any]) -> None:
    for method, path, operation in operations(description):
        takes_body = method in {"post", "patch", "put"} and not path.endswith(("/revoke", "/test", "/reload"))
        assert ("requestBody" in operation) == takes_body
        if takes_body:
            kinds = ["application/json"] if "validate" not in path else ["application/yaml", "application/json"]
            assert list(operation["requestBody"]["content"]) == kinds


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_a_path_says_all_its_methods(root) -> None:
    answer = await root.options("/teams/00000000-0000-7000-8000-000000000009")
    assert (answer.status_code, answer.headers["allow"]) == (204, "DELETE, GET, OPTIONS, PATCH")


def test_bodies_are_described_to_the_last_item(description: dict[str, Any]) -> None:
    schemas = description["components"]["schemas"]
    made = schemas["CreateKey"]
    assert made["additionalProperties"] is False
    assert made["properties"]["models"]["anyOf"][0]["items"]["maxLength"] == 200
    assert schemas["CacheRules"]["additionalProperties"] is False
    assert "additionalProperties" not in schemas["CreateProvider"], "adapters have options of their own"
    ended = description["paths"]["/admin/v1/teams/{team_id}"]["delete"]["responses"]["204"]
    assert "content" not in ended


def test_a_body_is_wanted_unless_all_of_it_has_defaults(description: dict[str, Any]) -> None:
    bodies = {
        operation["operationId"]: operation["requestBody"]["required"]
        for _, _, operation in operations(description)
        if "requestBody" in operation
    }
    assert {name for name, required in bodies.items() if not required} == {"rotate_key", "rotate_admin_key"}
