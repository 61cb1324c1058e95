"""The contract's own example, the shipped files, defaults, and what one file may hold."""

from pathlib import Path

import msgspec
import pytest

from app.settings import SettingsError, load
from app.settings.model import Fallbacks, Hedge, OnAccountingDown
from providers.types import Secret, Timeouts

CONFIG = Path(__file__).parents[3] / "infra" / "config"

CONTRACT = """
database: sqlite+aiosqlite:///.gateway/gateway.db
state: memory://
gateway: {host: 127.0.0.1, port: 3020, workers: 1, metrics: true, allowed_hosts: ["*"],
          jwt: {issuer: "https://id.example.com", audience: gw, key_claim: key}}
admin:   {host: 127.0.0.1, port: 3040, gateway_url: "http://127.0.0.1:3020",
          jwt: {issuer: "https://id.example.com", audience: adm, role_claim: role}}
providers:
  openai:    {adapter: openai,    api_keys: ["env:OPENAI_API_KEY", "env:OPENAI_API_KEY_2"]}
  claude:    {adapter: anthropic, api_key: "env:ANTHROPIC_API_KEY", bills_after_disconnect: false}
  local:     {adapter: openai, base_url: "http://127.0.0.1:8000/v1/", api_key: null}
models:
  gpt-4o-mini:
    targets: [{provider: openai, model: gpt-4o-mini, weight: 3}, {provider: local, model: qwen, weight: 1}]
    balance: weighted
    sticky: none
    fallbacks: [claude-haiku]
    retries: 2
    breaker: true
    hedge: false
    timeouts: {connect_s: 5, first_token_s: 30, idle_s: 60, total_s: 600}
    transform: {default: {temperature: 0.2}, set: {}, drop: [logit_bias], rename: {}, system_prefix: null}
    price: {input: "0.15", output: "0.60", cache_read: "0.075", cache_write: "0.15"}
  claude-haiku:
    targets: [{provider: claude, model: claude-haiku}]
ensembles:
  careful: {strategy: best_of, members: [gpt-4o-mini, claude-haiku, claude-haiku], judge: gpt-4o-mini, deadline_s: 30}
limits:
  requests_per_minute: 600
  tokens_per_minute: 200000
  concurrency: 50
  max_output_tokens: 8192
  algorithm: sliding_window
  rules: [{dimension: output_tokens, limit: 1000, window_s: 10, model: gpt-4o-mini}]
budget:    {amount: "100.00", period: month, timezone: UTC, on_accounting_down: deny}
cache:     {mode: exact, ttl_s: 3600, threshold: null, scope: organization, url: null}
privacy:   {store_bodies: false, store_responses: true}
network:   {allowed_private_cidrs: []}
queue_s: 0
"""
KEYS = {"OPENAI_API_KEY_2": "sk-canary-two", "ANTHROPIC_API_KEY": "sk-ant-canary", "HF_TOKEN": "hf_canary"}


def test_the_contracts_example_loads_with_every_value(load_text):
    settings = load_text(CONTRACT, KEYS)
    assert settings.warnings == ()
    assert settings.database.reveal() == "sqlite+aiosqlite:///.gateway/gateway.db"
    assert settings.gateway.jwt.key_claim == "key"
    assert settings.admin.jwt.role_claim == "role"
    openai, claude, local = (settings.providers[name] for name in ("openai", "claude", "local"))
    assert [key.reveal() for key in openai.credentials] == ["sk-canary-0123456789", "sk-canary-two"]
    assert claude.credentials == (Secret("sk-ant-canary"),)
    assert claude.bills_after_disconnect is False
    assert (local.base_url, local.credentials) == ("http://127.0.0.1:8000/v1", ())
    model = settings.models["gpt-4o-mini"]
    assert [(target.provider, target.model, target.weight) for target in model.targets] == [
        ("openai", "gpt-4o-mini", 3),
        ("local", "qwen", 1),
    ]
    assert model.fallbacks == Fallbacks(any=("claude-haiku",))
    assert model.hedge is None
    assert model.transform.default == {"temperature": 0.2}
    assert model.transform.drop == ("logit_bias",)
    assert (model.price.input_nusd, model.price.output_nusd) == (150_000_000, 600_000_000)
    assert (model.price.cache_read_nusd, model.price.cache_write_nusd) == (75_000_000, 150_000_000)
    assert settings.ensembles["careful"].members == ("gpt-4o-mini", "claude-haiku", "claude-haiku")
    assert settings.limits.requests_per_minute == 600
    rule = settings.limits.rules[0]
    assert (rule.dimension, rule.limit, rule.window_s, rule.model) == ("output_tokens", 1000, 10, "gpt-4o-mini")
    assert settings.budget.amount_nusd == 100_000_000_000
    assert settings.budget.on_accounting_down == OnAccountingDown()
    assert settings.cache.mode == "exact"


def test_defaults_are_the_contracts(load_text):
    settings = load_text()
    assert (settings.gateway.host, settings.gateway.port, settings.gateway.workers) == ("127.0.0.1", 3020, 1)
    assert (settings.admin.host, settings.admin.port) == ("127.0.0.1", 3040)
    assert (settings.database.scheme, settings.state.reveal()) == ("sqlite+aiosqlite", "memory://")
    assert settings.has_sqlite
    assert not settings.has_shared_state
    limits = settings.limits
    assert (limits.requests_per_minute, limits.tokens_per_minute, limits.concurrency, limits.rules) == (
        None,
        None,
        None,
        (),
    )
    assert (settings.budget, settings.cache.mode, settings.cache.threshold, settings.queue_s) == (None, "off", None, 0)
    assert (settings.transport, settings.log_level, settings.drain_s) == ("own", "info", 30)
    assert (settings.inflight, settings.body_limit_bytes) == (400, 20 * 1024 * 1024)
    assert (settings.master_secret, settings.admin_key, settings.adapter_token) == (None, None, None)


def test_a_models_defaults_are_the_contracts(load_text):
    settings = load_text("providers: {openai:}\nmodels: {m: {targets: [{provider: openai, model: x}]}}")
    model = settings.models["m"]
    assert (model.balance, model.sticky, model.retries, model.breaker) == ("weighted", "none", 2, True)
    assert (model.hedge, model.fallbacks, model.price, model.targets[0].weight) == (None, Fallbacks(), None, 1)
    assert settings.timeouts_for(model="m", provider="openai") == Timeouts(
        connect_s=5, first_token_s=30, idle_s=60, total_s=600
    )


def test_timeouts_come_from_the_model_then_the_provider_then_the_defaults(load_text):
    settings = load_text(
        "providers: {openai: {timeouts: {connect_s: 1, idle_s: 7}}}\n"
        "models: {m: {targets: [{provider: openai, model: x}], timeouts: {idle_s: 9}}}"
    )
    assert settings.timeouts_for(model="m", provider="openai") == Timeouts(connect_s=1, idle_s=9)
    assert settings.timeouts_for(provider="openai") == Timeouts(connect_s=1, idle_s=7)
    assert settings.timeouts_for(model="unknown", provider="unknown") == Timeouts()


@pytest.mark.parametrize("name", ["gateway.minimal.yaml", "gateway.full.yaml"])
def test_the_shipped_examples_load_without_a_warning(name, load_text):
    names = ["DATABASE_URL", "OPENAI_API_KEY", "OPENAI_API_KEY_2", "AZURE_OPENAI_API_KEY", "PROXY_KEY"]
    env = {
        **dict.fromkeys(names, "canary"),
        "OPENAI_API_KEY": "k1",
        "DATABASE_URL": "postgresql+asyncpg://u:canary@db/g",
    }
    assert load_text((CONFIG / name).read_text(), env).warnings == ()


def test_forms_that_stand_for_objects(load_text):
    settings = load_text(
        "providers: {openai:}\n"
        "models:\n"
        "  a: {targets: [{provider: openai, model: x}], hedge: {after_s: 0.8, budget: 0.05}, fallbacks: {any: [b]}}\n"
        "  b: {targets: [{provider: openai, model: y}], hedge: {}, fallbacks: {context_length: [c]}}\n"
        "  c: {targets: [{provider: openai, model: z}], hedge: null, fallbacks: []}\n"
        'budget: {amount: "5", on_accounting_down: {allow: "0.50"}}\n'
        'limits: {rules: [{dimension: cost, limit: "2.50", window_s: 60}]}\n'
    )
    assert settings.models["a"].hedge == Hedge(after_s=0.8, budget=0.05)
    assert settings.models["b"].hedge == Hedge(after_s=None, budget=0.05)
    assert settings.models["b"].fallbacks == Fallbacks(context_length=("c",))
    assert settings.models["c"].hedge is None
    assert settings.budget.on_accounting_down.allow_nusd == 500_000_000
    assert settings.limits.rules[0].limit == 2_500_000_000


def test_unquoted_words_and_dates_are_text_where_text_is_wanted(load_text):
    settings = load_text(
        "providers: {a: {adapter: azure, base_url: http://h, api_version: 2024-10-21, organization: 007}}\n"
        "cache: {mode: off}\n"
        "models: {4: {targets: [{provider: a, model: 4.10}]}, no: {targets: [{provider: a, model: on}]}}\n"
    )
    assert settings.providers["a"].api_version == "2024-10-21"
    assert settings.providers["a"].organization == "007"
    assert settings.cache.mode == "off"
    assert settings.models["4"].targets[0].model == "4.10"
    assert settings.models["no"].targets[0].model == "on"


def test_a_section_without_lines_is_as_if_absent(load_text):
    settings = load_text("providers:\nmodels:\nlimits:\ngateway:\nbudget:\ncache:\n  # mode: exact\n")
    assert msgspec.structs.replace(settings, origins={}) == msgspec.structs.replace(load_text(), origins={})


def test_the_gateway_url_follows_a_gateway_that_was_moved(load_text):
    assert load_text("gateway: {port: 9000}").admin.gateway_url == "http://127.0.0.1:9000"
    assert load_text("gateway: {host: 0.0.0.0}").admin.gateway_url == "http://127.0.0.1:3020"
    assert load_text('gateway: {host: "::"}').admin.gateway_url == "http://[::1]:3020"
    assert load_text('gateway: {host: "fd00::1"}').admin.gateway_url == "http://[fd00::1]:3020"
    moved = load_text("gateway: {port: 9000}\nadmin: {gateway_url: 'https://llm.example.com'}")
    assert moved.admin.gateway_url == "https://llm.example.com"


def test_the_tree_is_frozen(load_text):
    settings = load_text()
    with pytest.raises(AttributeError):
        settings.queue_s = 3
    with pytest.raises(AttributeError):
        settings.gateway.port = 1


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"\xff\xfe\x00", "not UTF-8"), (b"# " + b"x" * (1024 * 1024), "larger than 1 MiB")],
)
def test_a_file_that_is_no_text_of_fair_size_is_refused(content, said, faults_of):
    assert said in faults_of(content)[""].message


def test_a_byte_order_mark_is_no_fault(load_text):
    assert load_text(b"\xef\xbb\xbfqueue_s: 3\n").queue_s == 3


@pytest.mark.parametrize("name", ["absent.yaml", "."])
def test_a_file_that_is_not_there_is_a_fault_that_names_it(name, tmp_path):
    path = tmp_path / name
    with pytest.raises(SettingsError) as caught:
        load(path, environ={}, adapter_options=lambda _: None)
    assert str(path) in caught.value.faults[0].message
    assert "cannot be read" in caught.value.faults[0].message


def test_an_adapters_options_are_read_and_checked_with_the_provider(load_text, faults_of):
    settings = load_text(
        "providers: {c: {adapter: cloud, region: eu-west-1, secret_key: 'env:CLOUD', api_version: v2}}",
        {"CLOUD": "canary-cloud"},
    )
    options = settings.providers["c"].options
    assert (options.region, options.retries_on_throttle, options.api_version) == ("eu-west-1", 3, "v2")
    assert options.secret_key == Secret("canary-cloud")
    assert settings.providers["c"].api_version == "v2"
    assert options.serves is None
    faults = faults_of(
        "providers:\n  c: {adapter: cloud, regoin: x}\n  d: {adapter: cloud, region: [], retries_on_throttle: many}\n"
        "  e: {adapter: cloud, secret_key: canary-literal}\n"
    )
    assert faults["providers.c.regoin"].suggestion == "did you mean `region`?"
    assert "providers.c.region" not in faults
    assert {"providers.d.region", "providers.d.retries_on_throttle"} <= faults.keys()
    assert faults["providers.e.region"].message == "is required"
    assert "secret is not written here" in faults["providers.e.secret_key"].message


def test_an_option_may_be_kept_as_a_set(load_text, faults_of):
    text = "providers: {c: {adapter: cloud, region: eu, serves: [b, a, b]}}"
    assert load_text(text).providers["c"].options.serves == {"a", "b"}
    in_environment = {"GATEWAY_PROVIDERS__C__SERVES": '["z"]'}
    assert load_text(text, in_environment).providers["c"].options.serves == {"z"}
    faults = faults_of(
        "providers: {c: {adapter: cloud, region: eu, serves: [A]}, d: {adapter: cloud, region: eu, serves: a}}"
    )
    assert "must match" in faults["providers.c.serves[0]"].message
    assert "must be a list" in faults["providers.d.serves"].message


def test_an_adapter_is_the_providers_own_name_unless_given(load_text, faults_of):
    assert load_text("providers: {groq: {}}").providers["groq"].adapter == "groq"
    faults = faults_of(
        "providers: {mine: {api_key: null}, opneai: {}, x: {adapter: opnai, api_kye: 'env:X'}, y: {Adapter: openai},"
        " z: {adapter: sk-canary-pasted-here}}"
    )
    assert faults["providers.mine.adapter"].suggestion == "such as `adapter: openai`"
    assert faults["providers.opneai.adapter"].suggestion == "did you mean `openai`?"
    assert faults["providers.x.adapter"].suggestion == "did you mean `openai`?"
    assert faults["providers.x.api_kye"].suggestion == "did you mean `api_key`?"
    assert faults["providers.y.Adapter"].suggestion == "did you mean `adapter`?"
    assert "`anthropic`" in faults["providers.z.adapter"].suggestion
    assert faults["providers.x.adapter"].line == 1
