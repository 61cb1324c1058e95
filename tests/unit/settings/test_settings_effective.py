"""What is in force, and where each value came from."""

import msgspec

from app.settings import effective
from app.settings.effective import leaf_paths

TEXT = """
providers:
  openai: {}
  c: {adapter: cloud, region: eu, serves: [b, c, a]}
models:
  m:
    targets: [{provider: openai, model: x}, {provider: c, model: y, weight: 2}]
    fallbacks: [n]
    hedge: {after_s: 1}
    price: {input: "0.15"}
  n:
    targets: [{provider: c, model: z}]
budget: {amount: "100"}
limits: {rules: [{dimension: cost, limit: "2.5", window_s: 60}, {dimension: tokens, limit: 5, window_s: 60}]}
"""


def test_it_is_written_as_the_file_is(load_text):
    shown = effective(load_text(TEXT))
    assert shown["budget"] == {
        "amount": "100.000000000",
        "period": "month",
        "timezone": "UTC",
        "on_accounting_down": "deny",
    }
    assert [rule["limit"] for rule in shown["limits"]["rules"]] == ["2.500000000", 5]
    model = shown["models"]["m"]
    assert model["price"]["input"] == "0.150000000"
    assert model["price"]["output"] is None
    assert model["hedge"] == {"after_s": 1.0, "budget": 0.05}
    assert shown["models"]["n"]["hedge"] is False
    assert model["fallbacks"] == {"any": ["n"], "context_length": [], "content_policy": []}
    assert shown["providers"]["c"]["region"] == "eu"
    assert shown["providers"]["c"]["serves"] == ["a", "b", "c"]
    assert shown["providers"]["openai"]["api_key"] == {"set": False}
    assert "origins" not in shown
    assert "warnings" not in shown


def test_it_loads_again_as_the_same_settings(load_text):
    first = load_text(TEXT)
    shown = effective(first)
    for name in ("master_secret", "admin_key", "adapter_token"):
        del shown[name]
    for provider in shown["providers"].values():
        del provider["api_key"]
        provider.pop("secret_key", None)
    again = load_text(msgspec.json.encode(shown).decode())
    assert effective(again) == effective(first)


def test_every_value_has_an_origin(load_text):
    settings = load_text(TEXT, {"GATEWAY_MODELS__M__RETRIES": "1", "GATEWAY_CACHE": '{"mode": "exact"}'})
    assert settings.origins.keys() == {*leaf_paths(settings)}
    expected = {
        "models.m.targets[1].weight": "gateway.yaml:7",
        "models.m.targets[0].weight": "default",
        "models.m.fallbacks.any[0]": "gateway.yaml:8",
        "models.m.fallbacks.context_length": "default",
        "models.m.hedge.after_s": "gateway.yaml:9",
        "models.m.hedge.budget": "default",
        "models.m.retries": "env GATEWAY_MODELS__M__RETRIES",
        "models.m.price.input": "gateway.yaml:10",
        "providers.c.region": "gateway.yaml:4",
        "providers.c.retries_on_throttle": "default",
        "cache.mode": "env GATEWAY_CACHE",
        "cache.ttl_s": "default",
        "budget.on_accounting_down": "default",
        "limits.rules[0].limit": "gateway.yaml:14",
        "gateway.port": "default",
    }
    assert {path: settings.origin(path) for path in expected} == expected
