"""The JSON schema that editors read: current, complete, documented."""

import json
import subprocess
import sys
from pathlib import Path

import msgspec

from app.settings import json_schema
from app.settings.schema import text
from providers.types import Secret

SHIPPED = Path(__file__).parents[3] / "infra" / "config" / "gateway.schema.json"


def properties(schema):
    for name, definition in {"": schema, **schema["$defs"]}.items():
        for key, value in definition["properties"].items():
            yield f"{name}.{key}", value


def test_the_shipped_schema_is_current():
    how = "run `python -m app.settings > infra/config/gateway.schema.json`"
    assert SHIPPED.read_text() == text(), how


def test_the_module_prints_it():
    command = [sys.executable, "-m", "app.settings"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=SHIPPED.parents[2])
    assert (printed.stdout, printed.stderr) == (text(), "")


def test_every_setting_is_described_in_one_sentence():
    undescribed = [name for name, value in properties(json_schema()) if not value.get("description", "").endswith(".")]
    assert undescribed == []


def test_every_reference_leads_somewhere():
    schema = json_schema()
    written = json.dumps(schema)
    names = {part.partition('"')[0] for part in written.split("#/$defs/")[1:]}
    assert names == schema["$defs"].keys()


def test_forms_are_accepted_as_the_loader_accepts_them():
    schema = json_schema()
    model = schema["$defs"]["ModelSettings"]["properties"]
    assert {"const": False} in model["hedge"]["anyOf"]
    assert {"type": "array", "items": {"type": "string"}} in model["fallbacks"]["anyOf"]
    assert model["hedge"]["default"] is False
    budget = schema["$defs"]["BudgetSettings"]
    assert {"const": "deny"} in budget["properties"]["on_accounting_down"]["anyOf"]
    assert budget["properties"]["amount"]["type"] == "string"
    assert budget["required"] == ["amount"]
    assert schema["$defs"]["GatewayPlane"]["properties"]["port"] | {"description": ""} == {
        "type": "integer",
        "minimum": 1,
        "maximum": 65535,
        "default": 3020,
        "description": "",
    }
    assert schema["$defs"]["LimitRule"]["properties"]["limit"]["type"] == ["integer", "string"]
    assert schema["$defs"]["ProviderSettings"]["properties"]["api_key"]["anyOf"][0]["pattern"].startswith("^(env:")
    assert schema["additionalProperties"] is False
    assert "master_secret" not in schema["properties"]


def test_adapters_options_may_be_added_to_what_a_provider_may_have():
    class Cloud(msgspec.Struct, frozen=True, kw_only=True):
        """Options of a cloud."""

        region: str
        secret_key: Secret | None = None
        serves: frozenset[str] = frozenset()

    provider = json_schema([Cloud])["$defs"]["ProviderSettings"]
    assert provider["properties"]["region"] == {"type": "string"}
    assert provider["properties"]["secret_key"]["default"] is None
    assert provider["properties"]["serves"] == {"type": "array", "items": {"type": "string"}, "default": []}
    assert provider["additionalProperties"] is False
    assert json_schema()["$defs"]["ProviderSettings"]["additionalProperties"] is True
