"""The admin plane answers as its document says, whatever is asked of it: requests made from the document itself.

Law: no request is a defect of ours, and no status, media type, header or body comes that the document does not promise.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.specs.openapi import checks
from servers import postgres
from servers.gateway import ADMIN_KEY, MASTER_SECRET, GatewayProcess

DOCUMENT = json.loads((Path(__file__).parents[2] / "infra/openapi/admin.json").read_text())
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
NOT_ASKED = [
    # Credentials are the matter of the walk over all routes and roles; those of the case are replaced here.
    checks.ignored_auth,
    # No schema can say which ids, cursors and names there are.
    checks.positive_data_acceptance,
]
EXAMPLES, LONG_EXAMPLES = 3, 200
MADE: dict[str, dict[str, Any]] = {
    "organizations": {"name": "o"},
    "teams": {"name": "t"},
    "keys": {"name": "k"},
    "admin-keys": {"name": "a", "role": "viewer"},
    "grants": {"matches": "subject", "value": "ada", "role": "viewer"},
    "providers": {"name": "stored", "adapter": "echo"},
    "models": {"name": "stored", "targets": [{"provider": "stored", "model": "echo"}]},
    "prices": {"model": "m", "input": "1"},
    "ensembles": {"name": "e", "strategy": "race", "members": ["echo"]},
}
KINDS = {"organization": "organizations", "team": "teams", "key": "keys"}


def bounded(examples: int) -> Callable[[Any], Any]:
    """Make the same requests at every run."""
    return settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


@dataclass
class Fuzzed:
    """A served plane with one object of each kind, and a caller for each of the names."""

    gateway: GatewayProcess
    ids: dict[str, str]
    callers: dict[str, requests.Session]

    def hold(self, case: Any) -> None:
        """Send a request as either caller and hold the answers to the document.

        Every second id is that of an object that is there.
        """
        self._place(case)
        for session in self.callers.values():
            case.call_and_validate(
                base_url=self.gateway.admin_url, session=session, excluded_checks=NOT_ASKED, timeout=20
            )

    def _place(self, case: Any) -> None:
        given = dict(case.path_parameters or {})
        resource = case.operation.path.split("/")[3]
        for name, value in given.items():
            kind = KINDS.get(given.get("scope_kind", ""), resource)
            if name.endswith("_id") and kind in self.ids and sum(map(ord, str(value))) % 2:
                case.path_parameters = {**case.path_parameters, name: self.ids[kind]}


def fuzzed(tree: dict[str, Any], *, migrates: bool = False) -> Iterator[Fuzzed]:
    tree |= {
        "providers": {"echo": {"adapter": "echo"}},
        "models": {"echo": {"targets": [{"provider": "echo", "model": "echo"}]}},
    }
    secrets = {"GATEWAY_ADMIN_KEY": ADMIN_KEY, "GATEWAY_MASTER_SECRET": MASTER_SECRET}
    with closing(GatewayProcess.launch(tree, environ=secrets, migrates=migrates)) as gateway:
        ids = {resource: gateway.admin("POST", f"/{resource}", json=spec)["id"] for resource, spec in MADE.items()}
        scoped = {"name": "v", "role": "viewer", "organization_id": ids["organizations"]}
        keys = {"viewer": gateway.admin("POST", "/admin-keys", json=scoped)["secret"], "owner": ADMIN_KEY}
        callers = {name: requests.Session() for name in keys}
        for name, session in callers.items():
            session.headers["authorization"] = f"Bearer {keys[name]}"
        yield Fuzzed(gateway, ids, callers)
        assert gateway.admin("GET", "/health")["status"] == "ok"
        assert "Traceback" not in (gateway.folder / "gateway.log").read_text()


@pytest.fixture(scope="module")
def small() -> Iterator[Fuzzed]:
    yield from fuzzed({})


@pytest.fixture(scope="module")
def scaled(postgres_server: postgres.Postgres) -> Iterator[Fuzzed]:
    yield from fuzzed({"database": postgres_server.new_database()}, migrates=True)


@SCHEMA.parametrize()
@bounded(EXAMPLES)
def test_every_answer_is_as_the_document_says(case: Any, small: Fuzzed) -> None:
    small.hold(case)


@pytest.mark.long
@pytest.mark.timeout(1800)
@SCHEMA.parametrize()
@bounded(LONG_EXAMPLES)
def test_every_answer_of_many_is_as_the_document_says(case: Any, scaled: Fuzzed) -> None:
    """On PostgreSQL."""
    scaled.hold(case)
