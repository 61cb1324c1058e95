"""What types cannot say: one row per rule, each with the path and words of its fault."""

import pytest

from app.settings import SettingsError

BASE = "providers: {openai: {}, azure: {base_url: 'https://h'}}\n"
TARGET = "targets: [{provider: openai, model: x}]"
TWO = "targets: [{provider: openai, model: x}, {provider: azure, model: y}]"


def model(more="", targets=TWO):
    return f"{BASE}models: {{m: {{{targets}, {more}}}, n: {{{TARGET}}}}}\n"


ERRORS = [
    # planes
    ("gateway: {port: 0}", "gateway.port", "at least 1"),
    ("gateway: {port: 65536}", "gateway.port", "at most 65535"),
    ("gateway: {port: '3020'}", "gateway.port", "must be a whole number, not text"),
    ("gateway: {port: 3020.0}", "gateway.port", "must be a whole number"),
    ("gateway: {port: true}", "gateway.port", "must be a whole number, not true or false"),
    ("gateway: {metrics: yes}", "gateway.metrics", "must be true or false"),
    ("gateway: {host: ''}", "gateway.host", "must not be empty"),
    ("gateway: {host: null}", "gateway.host", "must be text, not nothing"),
    ("gateway: [1]", "gateway", "must be an object, not a list"),
    ("admin: {port: 3020}", "admin.port", "both planes would listen on port 3020"),
    ("gateway: {port: 3040, host: 0.0.0.0}", "gateway.port", "both planes would listen on port 3040"),
    ("gateway: {allowed_hosts: []}", "gateway.allowed_hosts", "nobody would be answered"),
    ("gateway: {allowed_hosts: '*'}", "gateway.allowed_hosts", "must be a list, not text"),
    ("admin: {allowed_hosts: ['http://a/']}", "admin.allowed_hosts[0]", "is not a host name"),
    ("admin: {gateway_url: 'ftp://h'}", "admin.gateway_url", "must be a URL"),
    ("gateway: {jwt: {issuer: 'https://i', audience: a}}", "gateway.jwt.key_claim", "is required"),
    ("gateway: {jwt: {issuer: i, audience: a, key_claim: k}}", "gateway.jwt.issuer", "must be a URL"),
    ("gateway: {jwt: {issuer: 'http://i.example.com', audience: a, key_claim: k}}", "gateway.jwt.issuer", "https"),
    ("admin: {jwt: {issuer: x, audience: a, role_claim: r, jwks_url: /x}}", "admin.jwt.jwks_url", "must be a URL"),
    ("admin: {url: admin.example.com}", "admin.url", "must be an origin"),
    ("admin: {url: 'https://admin.example.com/here'}", "admin.url", "must be an origin"),
    ("admin: {url: 'http://admin.example.com'}", "admin.url", "must be https"),
    ("admin: {jwt: {issuer: 'https://i', audience: a, role_claim: r, client_id: c}}", "admin.url", "is required"),
    (
        "admin: {url: 'https://a', jwt: {issuer: 'https://i', audience: a, role_claim: r, client_id: c, scopes: [x]}}",
        "admin.jwt.scopes",
        "must hold openid",
    ),
    (
        """{gateway: {jwt: {issuer: 'https://i', audience: a, key_claim: k}},
        admin: {jwt: {issuer: 'https://i', audience: a, role_claim: r}}}""",
        "admin.jwt.audience",
        "tokens of the inference API",
    ),
    ("admin: {jwt: {issuer: 'https://i', audience: a, role_claim: r, roles: {x: root}}}", "admin.jwt.roles.x", ""),
    (
        "admin: {jwt: {issuer: 'https://i', audience: a, role_claim: r, client_secret: x}}",
        "admin.jwt.client_secret",
        "",
    ),
    # tracing
    ("tracing: {endpoint: 'h:4318'}", "tracing.endpoint", "must be a URL"),
    ("tracing: {endpoint: 'http://u:p@h'}", "tracing.endpoint", "without credentials"),
    ("tracing: {sample: 1.5}", "tracing.sample", "at most 1"),
    ("tracing: {headers: {authorization: x}}", "tracing.headers.authorization", "a secret is not written here"),
    ("tracing: {headers: {content-type: x}}", "tracing.headers.content-type", "writes itself"),
    ("tracing: {content: [acme]}", "tracing.content[0]", "is not the id of"),
    # stores
    ("database: mysql://h/d", "database", "no store answers to"),
    ("database: postgres://h/d", "database", "no store answers to"),
    ("database: null", "database", "must be text"),
    ("database: 'postgresql+asyncpg://h:many/d'", "database", "not a URL that can be read"),
    ("database: 'postgresql+asyncpg://[h/d'", "database", "not a URL that can be read"),
    ("state: h:6379", "state", "no store answers to"),
    ("state: redis://", "state", "names no host"),
    ("state: redis://h/zero", "state", "not the number of a database"),
    ("state: redis://h:99999/0", "state", "not a URL that can be read"),
    ("state: redis+cluster://h1,h2/1", "state", "a cluster has one alone"),
    ("state: redis+sentinel://h1,h2", "state", "names no service"),
    ("state: redis+sentinel://h1,h2/main/x", "state", "not the number of a database"),
    ("cache: {mode: exact, url: 'memory://'}", "cache.url", "no store answers to"),
    ("gateway: {workers: 2}", "gateway.workers", "cannot share state that is in one process"),
    ("state: redis://h\ngateway: {workers: 2}", "gateway.workers", "which SQLite is not"),
    ("gateway: {workers: 0}", "gateway.workers", "at least 1"),
    # providers
    ("providers: [openai]", "providers", "must be an object"),
    ("providers: {openai: text}", "providers.openai", "must be an object"),
    ("providers: {'a/b': {adapter: openai}}", "providers.a/b", "without spaces and slashes"),
    ("providers: {'': {adapter: openai}}", "providers.", "1 to 64 characters"),
    ("providers: {openai: {base_url: h}}", "providers.openai.base_url", "must be a URL"),
    ("providers: {openai: {base_url: 'http://u:p@h/v1'}}", "providers.openai.base_url", "without credentials"),
    ("providers: {openai: {base_url: 'http://h:99999/v1'}}", "providers.openai.base_url", "must be a URL"),
    ("providers: {openai: {base_url: 'http://h/v1?x=1'}}", "providers.openai.base_url", "query"),
    ("providers: {openai: {base_url: 'http://h/v1/chat/completions'}}", "providers.openai.base_url", "one operation"),
    ("providers: {openai: {ca_file: /nowhere.pem}}", "providers.openai.ca_file", "names no file"),
    (
        "providers: {openai: {api_key: 'env:OPENAI_API_KEY', api_keys: ['env:OPENAI_API_KEY']}}",
        "providers.openai.api_keys",
        "beside `api_key`",
    ),
    ("providers: {openai: {timeouts: {idle_s: 0}}}", "providers.openai.timeouts.idle_s", "more than 0"),
    ("providers: {openai: {timeouts: {idle_s: .inf}}}", "providers.openai.timeouts.idle_s", "finite"),
    ("providers: {openai: {timeouts: {idle_s: .nan}}}", "providers.openai.timeouts.idle_s", "finite"),
    # models
    (BASE + "models: {m: {}}", "models.m.targets", "is required"),
    (BASE + "models: {m: {targets: []}}", "models.m.targets", "must not be empty"),
    (BASE + "models: {m: {targets: [x]}}", "models.m.targets[0]", "must be an object"),
    (BASE + "models: {m: {targets: [{provider: openai}]}}", "models.m.targets[0].model", "is required"),
    (BASE + "models: {m: {targets: [{provider: opnai, model: x}]}}", "models.m.targets[0].provider", "no provider"),
    (BASE + "models: {' m': {targets: [{provider: openai, model: x}]}}", "models. m", "printable"),
    (
        model(targets="targets: [{provider: openai, model: x}, {provider: openai, model: x}]"),
        "models.m.targets[1]",
        "same",
    ),
    (
        model(targets="targets: [{provider: openai, model: x, weight: 0}, {provider: azure, model: y, weight: 0}]"),
        "models.m.targets",
        "every weight is 0",
    ),
    (model("balance: fastest"), "models.m.balance", "must be `cost`, `latency`"),
    (model("sticky: user"), "models.m.sticky", "must be `none`"),
    (model("retries: -1"), "models.m.retries", "at least 0"),
    (model("retries: 11"), "models.m.retries", "at most 10"),
    (model("hedge: true"), "models.m.hedge", "must be an object"),
    (model("hedge: {budget: 2}"), "models.m.hedge.budget", "at most 1"),
    (model("fallbacks: n"), "models.m.fallbacks", "must be an object, not text"),
    (model("fallbacks: [o]"), "models.m.fallbacks[0]", "no model 'o'"),
    (model("fallbacks: {any: [n], context_length: [o]}"), "models.m.fallbacks.context_length[0]", "no model 'o'"),
    (model("fallbacks: [m]"), "models.m.fallbacks[0]", "cannot fall back to itself"),
    (model("transform: {set: {model: other}}"), "models.m.transform.set", "the gateway itself"),
    (model("transform: {default: {a: .nan}}"), "models.m.transform.default.a", "finite"),
    (model("transform: {set: {tools: [search]}}"), "models.m.transform.set.tools", "chat completions"),
    (model("transform: {default: {stream_options: 7}}"), "models.m.transform.default.stream_options", "chat"),
    (model("transform: {set: {a: 99999999999999999999}}"), "models.m.transform.set.a", "64 bits"),
    (model("price: {input: 0.15}"), "models.m.price.input", "in quotes"),
    (model("price: {input: 1}"), "models.m.price.input", "in quotes"),
    (model("price: {input: '-1'}"), "models.m.price.input", "decimal amount"),
    (model("price: {input: '1e3'}"), "models.m.price.input", "decimal amount"),
    (model("price: {input: '1e999999999'}"), "models.m.price.input", "decimal amount"),
    (model("price: {input: '0.0000000001'}"), "models.m.price.input", "nano-USD"),
    (model("price: {input: '10000000'}"), "models.m.price.input", "9000000"),
    (model("price: {}"), "models.m.price", "gives no price"),
    (model("price: {output: '1'}"), "models.m.price.input", "is required"),
    # ensembles
    (model() + "ensembles: {m: {strategy: race, members: [n]}}", "ensembles.m", "a model has the same name"),
    (model() + "ensembles: {e: {strategy: rase, members: [n]}}", "ensembles.e.strategy", "must be `best_of`"),
    (model() + "ensembles: {e: {strategy: race, members: []}}", "ensembles.e.members", "must not be empty"),
    (model() + "ensembles: {e: {strategy: race, members: [o]}}", "ensembles.e.members[0]", "no model"),
    (model() + "ensembles: {e: {strategy: race, members: [e]}}", "ensembles.e.members[0]", "is an ensemble"),
    (model() + "ensembles: {e: {strategy: best_of, members: [m, n]}}", "ensembles.e.judge", "is required"),
    (model() + "ensembles: {e: {strategy: best_of, members: [m], judge: o}}", "ensembles.e.judge", "no model"),
    (model() + "ensembles: {e: {strategy: mixture, members: [m]}}", "ensembles.e.fuser", "is required"),
    (model() + "ensembles: {e: {strategy: hedge, members: [m], after_s: 0}}", "ensembles.e.after_s", "more than 0"),
    (
        model() + "ensembles: {e: {strategy: cascade, members: [m], min_logprob: 1}}",
        "ensembles.e.min_logprob",
        "at most 0",
    ),
    (
        model() + "ensembles: {e: {strategy: quorum, members: [m], quorum: 1, normalize: words}}",
        "ensembles.e.normalize",
        "must be",
    ),
    (model() + "ensembles: {e: {strategy: quorum, members: [m], quorum: 2}}", "ensembles.e.quorum", "never be reached"),
    (model() + "ensembles: {e: {strategy: race, members: [m, n], min_success: 3}}", "ensembles.e.min_success", "never"),
    (
        model() + "ensembles: {e: {strategy: cascade, members: [m, m], min_success: 2}}",
        "ensembles.e.min_success",
        "not with `cascade`",
    ),
    (
        model() + f"ensembles: {{e: {{strategy: race, members: [{', '.join('m' * 9)}]}}}}",
        "ensembles.e.members",
        "`limits.fanout_width` allows 8",
    ),
    # limits, budget, cache, network
    ("limits: {requests_per_minute: 0}", "limits.requests_per_minute", "at least 1"),
    ("limits: {requests_per_minute: 1.5}", "limits.requests_per_minute", "whole number"),
    ("limits: {requests_per_minute: 1_000}", "limits.requests_per_minute", "whole number"),
    ("limits: {fanout_width: 9}", "limits.fanout_width", "at most 8"),
    ("limits: {algorithm: fixed}", "limits.algorithm", "must be `sliding_window` or `token_bucket`"),
    ("limits: {rules: [{dimension: requests, limit: 0, window_s: 1}]}", "limits.rules[0].limit", "more than 0"),
    ("limits: {rules: [{dimension: requests, limit: 1, window_s: 0}]}", "limits.rules[0].window_s", "at least 1"),
    ("limits: {rules: [{dimension: request, limit: 1, window_s: 1}]}", "limits.rules[0].dimension", "must be"),
    ("limits: {rules: [{dimension: cost, limit: 5, window_s: 1}]}", "limits.rules[0].limit", "in quotes"),
    ("limits: {rules: [{dimension: tokens, limit: '5', window_s: 1}]}", "limits.rules[0].limit", "whole number"),
    (
        model() + "limits: {rules: [{dimension: tokens, limit: 5, window_s: 1, model: mm}]}",
        "limits.rules[0].model",
        "never",
    ),
    ("budget: {period: month}", "budget.amount", "is required"),
    ("budget: {amount: 100}", "budget.amount", "in quotes"),
    ("budget: {amount: '0'}", "budget.amount", "more than 0"),
    ("budget: {amount: '1', period: monthly}", "budget.period", "must be `day`"),
    ("budget: {amount: '1', timezone: Europe/Zurch}", "budget.timezone", "no time zone"),
    ("budget: {amount: '1', timezone: ../../etc/passwd}", "budget.timezone", "no time zone"),
    ("budget: {amount: '1', on_accounting_down: allow}", "budget.on_accounting_down", "must be `deny` or an object"),
    ("cache: {mode: on}", "cache.mode", "must be `exact`, `forbidden`"),
    ("cache: {ttl_s: 0}", "cache.ttl_s", "at least 1"),
    ("cache: {threshold: 1.5}", "cache.threshold", "at most 1"),
    ("network: {allowed_private_cidrs: [10.0.0.1/8]}", "network.allowed_private_cidrs[0]", "is not a network"),
    ("network: {allowed_private_cidrs: [ten]}", "network.allowed_private_cidrs[0]", "is not a network"),
    # the rest
    ("queue_s: -1", "queue_s", "at least 0"),
    ("transport: curl", "transport", "must be `httpx` or `own`"),
    ("log_level: INFO", "log_level", "must be `debug`"),
    ("drain_s: soon", "drain_s", "must be a number, not text"),
    ("inflight: 0", "inflight", "at least 1"),
    ("body_limit_bytes: 20MiB", "body_limit_bytes", "must be a whole number"),
    ("model_list: []", "model_list", "no setting"),
]


@pytest.mark.parametrize(("text", "path", "said"), ERRORS, ids=[f"{path}-{said}" for _, path, said in ERRORS])
def test_a_setting_that_cannot_be_is_an_error_at_its_path(text, path, said, faults_of):
    fault = faults_of(text)[path]
    assert said in fault.message
    assert fault.severity == "error"
    assert fault.line is not None
    assert fault.origin.startswith("gateway.yaml:")


SUGGESTIONS = [
    ("gateway: {metrics: no}", "gateway.metrics", "write false"),
    ("gateway: {port: '3020'}", "gateway.port", "write 3020 without quotes"),
    ("limits: {requests_per_minute: 1_000}", "limits.requests_per_minute", "write 1000"),
    ("limits: {requests_per_minute: 5.0}", "limits.requests_per_minute", "write 5"),
    ("budget: {amount: 0.1}", "budget.amount", 'write "0.1" in quotes'),
    ("budget: {amount: '1', timezone: Europe/Zurch}", "budget.timezone", "did you mean `Europe/Zurich`?"),
    ("database: postgres://h/d", "database", "write `postgresql+asyncpg://`"),
    ("database: sqlite:///x.db", "database", "write `sqlite+aiosqlite://`"),
    ("state: valkey://h", "state", "write `redis://`"),
    ("state: memory", "state", "write `memory://`"),
    ("network: {allowed_private_cidrs: [10.0.0.1/8]}", "network.allowed_private_cidrs[0]", "did you mean 10.0.0.0/8?"),
    ("cache: {mode: semantik}", "cache.mode", "did you mean `semantic`?"),
    (model("fallbacks: [nn]"), "models.m.fallbacks[0]", "did you mean `n`?"),
    (
        BASE + "models: {m: {targets: [{provider: opnai, model: x}]}}",
        "models.m.targets[0].provider",
        "did you mean `openai`?",
    ),
    ("providers: {openai: {base_url: 'http://h/v1/embeddings'}}", "providers.openai.base_url", "drop /embeddings"),
    ("quarks: 1", "quarks", "the keys here are `database`, `state`"),
]


@pytest.mark.parametrize(("text", "path", "suggestion"), SUGGESTIONS, ids=[row[2] for row in SUGGESTIONS])
def test_a_fault_says_what_to_write(text, path, suggestion, faults_of):
    assert (faults_of(text)[path].suggestion or "").startswith(suggestion)


def test_every_fault_is_told_at_once_in_the_order_of_the_file(load_text):
    text = (
        "gateway: {port: 0, prot: 1}\n"
        "providers: {openai: {api_key: canary}}\n"
        "models: {m: {targets: [{provider: azure, model: x}], fallbacks: [n]}}\n"
        "limits: {concurrency: -1}\n"
        "queue_s: x\n"
        "queue_s: 1\n"
    )
    with pytest.raises(SettingsError) as caught:
        load_text(text, {"GATEWAY_NONSENSE_XYZ": "1"})
    assert [(fault.line, fault.path) for fault in caught.value.faults] == [
        (1, "gateway.prot"),
        (1, "gateway.port"),
        (2, "providers.openai.api_key"),
        (2, "providers.openai"),
        (3, "models.m.targets[0].provider"),
        (3, "models.m.fallbacks[0]"),
        (4, "limits.concurrency"),
        (6, "queue_s"),
        (None, "GATEWAY_NONSENSE_XYZ"),
    ]


def test_a_fault_reads_as_one_line(faults_of):
    fault = faults_of("a: 1\ngateway: {prot: 1}")["gateway.prot"]
    assert str(fault) == "gateway.yaml:2: gateway.prot: there is no setting 'prot' (did you mean `port`?)"


CIRCLES = [
    ({"a": "[b]", "b": "[a]"}, ["a → b → a"]),
    ({"a": "[b]", "b": "{context_length: [c]}", "c": "{any: [a]}"}, ["a → b → c → a"]),
    ({"a": "[b, c]", "b": "[c]", "c": "[]"}, []),
    ({"x": "[b]", "b": "[c]", "c": "[b]", "d": "[e]", "e": "[d]"}, ["b → c → b", "d → e → d"]),
]


@pytest.mark.parametrize(("fallbacks", "circles"), CIRCLES)
def test_fallbacks_that_lead_in_a_circle_are_an_error_that_shows_it(fallbacks, circles, faults_of, load_text):
    models = "".join(f"  {name}: {{{TARGET}, fallbacks: {names}}}\n" for name, names in fallbacks.items())
    text = f"{BASE}models:\n{models}  other: {{targets: [{{provider: azure, model: x}}]}}\n"
    if not circles:
        assert load_text(text).warnings == ()
        return
    assert sorted(fault.message.partition(": ")[2] for fault in faults_of(text).values()) == circles


def test_a_circle_as_long_as_a_file_allows_is_found(faults_of):
    names = [f"m{number}" for number in range(600)]
    models = "".join(
        f"  {name}: {{{TARGET}, fallbacks: [{after}]}}\n"
        for name, after in zip(names, names[1:] + names[:1], strict=True)
    )
    assert "models.m0.fallbacks" in faults_of(f"{BASE}models:\n{models}")


COMBINATIONS = [
    ("memory://", "sqlite+aiosqlite:///x.db", 1, True),
    ("memory://", "postgresql+asyncpg://h/d", 1, True),
    ("redis://h", "sqlite+aiosqlite:///x.db", 1, True),
    ("redis://h", "postgresql+asyncpg://h/d", 1, True),
    ("redis://h", "postgresql+asyncpg://h/d", 4, True),
    ("rediss://h:6380/2", "postgresql+asyncpg://h:5432/d", 4, True),
    ("redis+cluster://h1:7000,h2:7001", "postgresql+asyncpg://h/d", 4, True),
    ("redis+cluster://h1,h2/0", "postgresql+asyncpg://h/d", 4, True),
    ("redis+sentinel://h1,h2/main/0", "postgresql+asyncpg://h/d", 4, True),
    ("redis://[::1]:6379/0", "postgresql+asyncpg://h/d", 4, True),
    ("memory://", "postgresql+asyncpg://h/d", 4, False),
    ("memory://", "sqlite+aiosqlite:///x.db", 4, False),
    ("redis://h", "sqlite+aiosqlite:///x.db", 4, False),
]


@pytest.mark.parametrize(("state", "database", "workers", "is_right"), COMBINATIONS)
def test_which_stores_bear_how_many_workers(state, database, workers, is_right, request):
    load_text, faults_of = (request.getfixturevalue(name) for name in ("load_text", "faults_of"))
    text = f"state: '{state}'\ndatabase: '{database}'\ngateway: {{workers: {workers}}}\n"
    if is_right:
        settings = load_text(text)
        assert settings.has_shared_state == state.startswith("redis")
        assert settings.has_sqlite == database.startswith("sqlite")
    else:
        assert "gateway.workers" in faults_of(text)


WARNINGS = [
    ("database: postgresql+asyncpg://u:p@h/d", "database", "holds a password"),
    ("state: redis://:p@h/0", "state", "holds a password"),
    ("gateway: {allowed_hosts: ['*', a.example.com]}", "gateway.allowed_hosts", "have no effect"),
    (BASE + f"models: {{m: {{{TARGET}}}}}", "providers.azure", "is used by no model"),
    (
        "providers: {openai: {api_keys: ['env:OPENAI_API_KEY', 'env:OPENAI_API_KEY']}}",
        "providers.openai.api_keys",
        "twice",
    ),
    (model("balance: latency", TARGET), "models.m.balance", "only one target"),
    (model("sticky: session", TARGET), "models.m.sticky", "only one target"),
    (
        model("balance: priority", "targets: [{provider: openai, model: x, weight: 2}, {provider: azure, model: y}]"),
        "models.m.targets[0].weight",
        "no effect with `balance: priority`",
    ),
    (model("timeouts: {first_token_s: 30, total_s: 10}"), "models.m.timeouts.first_token_s", "never reached"),
    (model("transform: {set: {a: 1}, default: {a: 2}}"), "models.m.transform.default", "`set` writes it"),
    (model("transform: {set: {a: 1}, drop: [a]}"), "models.m.transform.drop", "writes it again"),
    (model("price: {input: '1'}"), "models.m.price", "output is free"),
    (model() + "ensembles: {e: {strategy: race, members: [m, n], judge: m}}", "ensembles.e.judge", "no effect"),
    (model() + "ensembles: {e: {strategy: race, members: [m, n], after_s: 1}}", "ensembles.e.after_s", "no effect"),
    (
        model() + "ensembles: {e: {strategy: hedge, members: [m, n], min_logprob: -1}}",
        "ensembles.e.min_logprob",
        "no effect",
    ),
    (
        "limits: {requests_per_minute: 5, rules: [{dimension: requests, limit: 9, window_s: 60}]}",
        "limits.rules[0]",
        "only the lower one",
    ),
    ("limits: {tokens_per_minute: 5, max_output_tokens: 6}", "limits.max_output_tokens", "never be used up"),
    ("budget: {amount: '1', period: total, timezone: UTC}", "budget.timezone", "has no effect"),
    ("budget: {amount: '1', on_accounting_down: {allow: '2'}}", "budget.on_accounting_down.allow", "whole budget"),
    ("cache: {mode: exact, threshold: 0.9}", "cache.threshold", "no effect with `mode: exact`"),
    ("cache: {ttl_s: 60}", "cache.ttl_s", "no effect with `mode: off`"),
]


@pytest.mark.parametrize(("text", "path", "said"), WARNINGS, ids=[path for _, path, _ in WARNINGS])
def test_a_setting_that_does_nothing_is_a_warning_and_no_error(text, path, said, warnings_of):
    warning = warnings_of(text)[path]
    assert said in warning.message
    assert warning.line is not None


@pytest.mark.parametrize(
    ("order", "weight"),
    [("least_busy", 2), ("latency", 2), ("cost", 2), ("priority, sticky: session", 2), ("priority", 0)],
)
def test_a_weight_that_does_something_is_no_warning(order, weight, warnings_of):
    targets = f"targets: [{{provider: openai, model: x, weight: {weight}}}, {{provider: azure, model: y}}]"
    assert warnings_of(model(f"balance: {order}", targets)) == {}


def test_a_forgotten_credential_is_a_warning_and_an_unneeded_one_is_not(warnings_of):
    rows = (("openai", "openai", ("OPENAI_API_KEY",)), ("groq", "groq", ("GROQ_API_KEY",)))
    text = "providers: {openai: {}, groq: {api_key: null}, local: {adapter: openai, base_url: 'http://h/v1'}}"
    warnings = warnings_of(text, catalog_rows=rows)
    assert [*warnings] == ["providers.openai"]
    assert warnings["providers.openai"].suggestion == 'write `api_key: "env:OPENAI_API_KEY"`'


def test_an_unpriced_model_under_a_budget_is_a_warning(warnings_of):
    text = model("price: {input: '1', output: '1'}") + "budget: {amount: '1'}"
    warnings = warnings_of(text, is_priced=lambda adapter, name: (adapter, name) != ("openai", "x"))
    assert [*warnings] == ["models.n"]
    assert "402" in warnings["models.n"].message
    assert warnings_of(model(), is_priced=lambda *_: False) == {}


def test_names_served_without_models_may_be_named_if_they_are_known(load_text, faults_of):
    text = BASE + "ensembles: {e: {strategy: race, members: [gpt-x, gpt-y]}}"
    assert load_text(text).ensembles["e"].members == ("gpt-x", "gpt-y")
    assert load_text(text, known_models=lambda _: {"gpt-x", "gpt-y"}).warnings == ()
    assert faults_of(text, known_models=lambda _: {"gpt-x", "gpt-z"}).keys() == {"ensembles.e.members[1]"}
    limited = text + "\nlimits: {rules: [{dimension: requests, limit: 5, window_s: 60, model: gpt-z}]}"
    assert load_text(limited).warnings == ()
    assert faults_of(limited, known_models=lambda _: {"gpt-x", "gpt-y"}).keys() == {"limits.rules[0].model"}
