"""The environment over the file: any setting, any depth; nothing unknown passes."""

import os

import pytest

from app.settings import load

PROVIDER = "providers: {openai:, my-cloud.eu: {adapter: cloud, region: eu}}\n"
MODEL = """
models:
  gpt-4o-mini: {targets: [{provider: openai, model: x}], fallbacks: [b]}
  b: {targets: [{provider: openai, model: y}]}
"""


@pytest.mark.parametrize(
    ("env", "path", "value"),
    [
        ({"GATEWAY_GATEWAY__PORT": "9000"}, "gateway.port", 9000),
        ({"gateway_gateway__port": "9000"}, "gateway.port", 9000),
        ({"Gateway_Gateway__Port": "9000"}, "gateway.port", 9000),
        ({"GATEWAY_GATEWAY__METRICS": "false"}, "gateway.metrics", False),
        ({"GATEWAY_GATEWAY__METRICS": "off"}, "gateway.metrics", False),
        ({"GATEWAY_GATEWAY__METRICS": "1"}, "gateway.metrics", True),
        ({"GATEWAY_QUEUE_S": "2.5"}, "queue_s", 2.5),
        ({"GATEWAY_LOG_LEVEL": "debug"}, "log_level", "debug"),
        ({"GATEWAY_GATEWAY__ALLOWED_HOSTS": '["a.example.com"]'}, "gateway.allowed_hosts", ("a.example.com",)),
        ({"GATEWAY_LIMITS": '{"concurrency": 5}'}, "limits.concurrency", 5),
        ({"GATEWAY_LIMITS": '{"concurrency": 5}', "GATEWAY_LIMITS__CONCURRENCY": "6"}, "limits.concurrency", 6),
        ({"GATEWAY_LIMITS__CONCURRENCY": "null"}, "limits.concurrency", None),
        ({"GATEWAY_BUDGET__AMOUNT": "0.5"}, "budget.amount_nusd", 500_000_000),
        ({"GATEWAY_BUDGET": '{"amount": "7", "on_accounting_down": "deny"}'}, "budget.amount_nusd", 7_000_000_000),
        ({"GATEWAY_CACHE__MODE": "exact"}, "cache.mode", "exact"),
        (
            {"GATEWAY_ADMIN__JWT": '{"issuer":"https://i.example.com","audience":"a","role_claim":"r"}'},
            "admin.jwt.audience",
            "a",
        ),
    ],
)
def test_a_variable_sets_any_setting(env, path, value, load_text):
    found = load_text(None, env)
    for name in path.split("."):
        found = getattr(found, name)
    assert found == value
    assert type(found) is type(value)


def test_the_environment_wins_over_the_file_and_both_are_told_apart(load_text):
    settings = load_text(
        "gateway: {port: 1000, workers: 1}\nadmin:\n  port: 1001\n",
        {"GATEWAY_GATEWAY__PORT": "2000"},
        overrides={"admin.port": "3000"},
    )
    assert (settings.gateway.port, settings.admin.port) == (2000, 3000)
    assert settings.origin("gateway.port") == "env GATEWAY_GATEWAY__PORT"
    assert settings.origin("gateway.workers") == "gateway.yaml:1"
    assert settings.origin("admin.port") == "command line"
    assert settings.origin("queue_s") == "default"


def test_a_segment_fits_names_that_a_variable_cannot_have(load_text):
    settings = load_text(
        PROVIDER + MODEL,
        {
            "GATEWAY_MODELS__GPT_4O_MINI__RETRIES": "5",
            "GATEWAY_MODELS__GPT_4O_MINI__HEDGE__AFTER_S": "0.5",
            "GATEWAY_MODELS__GPT_4O_MINI__TRANSFORM__DEFAULT__TEMPERATURE": "0.2",
            "GATEWAY_MODELS__GPT_4O_MINI__TRANSFORM__DEFAULT__USER": "me",
            "GATEWAY_MODELS__B__TARGETS": '[{"provider": "my-cloud.eu", "model": "z", "weight": 2}]',
            "GATEWAY_PROVIDERS__MY_CLOUD_EU__RETRIES_ON_THROTTLE": "9",
            "GATEWAY_PROVIDERS__GROQ__API_KEY": "env:OPENAI_API_KEY",
            "GATEWAY_PROVIDERS__OPENAI__HEADERS__X-Team": "blue",
        },
    )
    model = settings.models["gpt-4o-mini"]
    assert (model.retries, model.hedge.after_s, model.fallbacks.any) == (5, 0.5, ("b",))
    assert model.transform.default == {"temperature": 0.2, "user": "me"}
    assert settings.models["b"].targets[0].weight == 2
    assert settings.providers["my-cloud.eu"].options.retries_on_throttle == 9
    assert settings.providers["groq"].api_key.reveal() == "sk-canary-0123456789"
    assert settings.providers["openai"].headers["x-team"].reveal() == "blue"


@pytest.mark.parametrize(
    ("env", "suggestion"),
    [
        ({"GATEWAY_PORT": "9000"}, "GATEWAY_GATEWAY__PORT"),
        ({"GATEWAY_GATEWAY_PORT": "9000"}, "GATEWAY_GATEWAY__PORT"),
        ({"GATEWAY_GATEWAY__PROT": "9000"}, "GATEWAY_GATEWAY__PORT"),
        ({"GATEWAY_DATABSE": "x"}, "GATEWAY_DATABASE"),
        ({"GATEWAY_LOGLEVEL": "info"}, "GATEWAY_LOG_LEVEL"),
        ({"GATEWAY_WORKERS": "4"}, "GATEWAY_GATEWAY__WORKERS"),
        ({"GATEWAY_ADMIN_PORT": "4"}, "GATEWAY_ADMIN__PORT"),
        ({"GATEWAY_MASTER_SECRT": "4"}, "GATEWAY_MASTER_SECRET"),
    ],
)
def test_an_unknown_variable_is_a_fault_that_names_the_likely_one(env, suggestion, faults_of):
    faults = faults_of(None, env)
    (name,) = env
    assert faults[name].suggestion == f"did you mean {suggestion}?"
    assert faults[name].origin == f"env {name}"


@pytest.mark.parametrize(
    ("env", "path", "said"),
    [
        ({"GATEWAY_GATEWAY__PORT": "many"}, "gateway.port", "must be a whole number"),
        ({"GATEWAY_GATEWAY__PORT": "0"}, "gateway.port", "at least 1"),
        ({"GATEWAY_GATEWAY__PORT": ""}, "gateway.port", "must be a whole number"),
        ({"GATEWAY_GATEWAY__METRICS": "maybe"}, "gateway.metrics", "true or false"),
        (
            {"GATEWAY_GATEWAY__ALLOWED_HOSTS": "a,b"},
            "GATEWAY_GATEWAY__ALLOWED_HOSTS",
            "must be a list, written as JSON",
        ),
        ({"GATEWAY_GATEWAY__ALLOWED_HOSTS": '["a"'}, "GATEWAY_GATEWAY__ALLOWED_HOSTS", "is not JSON"),
        ({"GATEWAY_LIMITS": "{" * 2000}, "GATEWAY_LIMITS", "is not JSON"),
        ({"GATEWAY_LIMITS": '{"a":' * 100 + "1" + "}" * 100}, "GATEWAY_LIMITS", "nested deeper"),
        ({"GATEWAY_BUDGET": '{"amount": 0.1}'}, "budget.amount", "in quotes"),
        ({"GATEWAY_GATEWAY__PORT__NUMBER": "1"}, "GATEWAY_GATEWAY__PORT__NUMBER", "deeper"),
        ({"GATEWAY___PORT": "1"}, "GATEWAY___PORT", "not the name"),
        ({"GATEWAY_": "1"}, "GATEWAY_", "not the name"),
        ({"GATEWAY_LIMITS": "5"}, "limits", "must be an object"),
        ({"GATEWAY_LOG_LEVEL": "loud"}, "log_level", "must be `debug`"),
        ({"GATEWAY_LOG_LEVEL": "\udcff"}, "GATEWAY_LOG_LEVEL", "not UTF-8"),
        ({"GATEWAY_GATEWAY__PORT": "1", "gateway_gateway__port": "2"}, "gateway.port", "is set by"),
        ({"GATEWAY_PROVIDERS__OPENAI__API_KYE": "env:X"}, "providers.openai.api_kye", "no setting"),
        ({"GATEWAY_MODELS__M__TARGETS__0__PROVIDER": "x"}, "GATEWAY_MODELS__M__TARGETS__0__PROVIDER", "deeper"),
    ],
)
def test_a_variable_that_says_nothing_valid_is_a_fault(env, path, said, faults_of):
    assert said in faults_of(None, env)[path].message


def test_a_list_of_the_file_is_not_set_by_parts(faults_of):
    faults = faults_of(PROVIDER + MODEL, {"GATEWAY_MODELS__GPT_4O_MINI__FALLBACKS__ANY": '["b"]'})
    assert "JSON" in faults["GATEWAY_MODELS__GPT_4O_MINI__FALLBACKS__ANY"].suggestion


def test_a_segment_that_fits_two_names_is_a_fault(faults_of):
    text = "providers: {a-b: {adapter: openai}, a.b: {adapter: openai}}"
    assert (
        "a-b or a.b"
        in faults_of(text, {"GATEWAY_PROVIDERS__A_B__BASE_URL": "http://h/v1"})[
            "GATEWAY_PROVIDERS__A_B__BASE_URL"
        ].message
    )


def test_what_kubernetes_adds_for_a_service_named_gateway_is_no_setting(load_text):
    load_text(
        None,
        {
            "GATEWAY_SERVICE_HOST": "10.0.0.1",
            "GATEWAY_SERVICE_PORT": "3020",
            "GATEWAY_SERVICE_PORT_HTTP": "3020",
            "GATEWAY_PORT": "tcp://10.0.0.1:3020",
            "GATEWAY_PORT_3020_TCP": "tcp://10.0.0.1:3020",
            "GATEWAY_PORT_3020_TCP_ADDR": "10.0.0.1",
            "GATEWAY_PORT_3020_TCP_PORT": "3020",
            "GATEWAY_PORT_3020_TCP_PROTO": "tcp",
            "GATEWAY_ADMIN_SERVICE_HOST": "10.0.0.2",
            "GATEWAY_ADMIN_PORT": "tcp://10.0.0.2:3040",
        },
    )


def test_names_that_are_no_settings_and_variables_that_secrets_refer_to_pass(load_text):
    settings = load_text(
        "providers: {openai: {api_key: 'env:GATEWAY_OPENAI_KEY'}}",
        {
            "GATEWAY_CONFIG": "somewhere.yaml",
            "GATEWAY_DEBUG": "1",
            "GATEWAY_OPENAI_KEY": "canary",
            "GATEWAY_DATABASE": "env:GATEWAY_DB",
            "GATEWAY_DB": "postgresql+asyncpg://u:canary@h/d",
        },
    )
    assert settings.providers["openai"].api_key.reveal() == "canary"
    assert settings.database.reveal() == "postgresql+asyncpg://u:canary@h/d"


def test_the_process_environment_itself_may_be_given(monkeypatch):
    for name in [name for name in os.environ if name.upper().startswith("GATEWAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GATEWAY_INFLIGHT", "7")
    assert load(None, environ=os.environ, adapter_options=lambda _: None).inflight == 7
