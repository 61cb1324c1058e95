"""The commands in this process, but for one that proves the entry point. `serve` has tests of its own."""

import asyncio
import json
import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID

import pytest
from accounting.events import NOON, make_event
from servers.process import free_port

from app import cli
from app.db.engine import Database
from app.domain.tenants.schemas import DEFAULT_ORGANIZATION
from app.domain.usage.repository import insert_events
from app.gateway.core import CHANGES_TOPIC
from app.stores.opening import open_stores

ROOT = Path(__file__).parents[3]
MASTER = "a-master-secret-of-forty-characters-----"
INFERENCE_KEY = re.compile(r"sk-gw-(?!admin-)[0-9A-Za-z]{10}-[\w-]{49}")
ADMIN_KEY = re.compile(r"sk-gw-admin-[0-9A-Za-z]{10}-[\w-]{49}")


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Return a function that types a command in an empty folder with a bare environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", {"PATH": os.environ["PATH"], "COLUMNS": "200"})

    def type_in(*words, expects=0, **environ):
        os.environ.update(environ)
        monkeypatch.setattr(sys, "argv", ["llm-gateway", *words])
        code = 0
        try:
            cli.main()
        except SystemExit as left:
            code = left.code or 0
        for name in environ:
            del os.environ[name]
        shown = capsys.readouterr()
        assert code == expects, shown.out + shown.err
        return SimpleNamespace(stdout=shown.out, stderr=shown.err)

    return type_in


def test_help_teaches_every_command(run):
    for words in (
        [],
        ["serve"],
        ["check"],
        ["migrate"],
        ["keys"],
        ["keys", "create"],
        ["keys", "list"],
        ["usage"],
        ["cache"],
        ["cache", "stats"],
        ["cache", "report"],
        ["cache", "purge"],
        ["config"],
        ["config", "show"],
        ["config", "validate"],
        ["config", "reload"],
        ["audit"],
        ["audit", "list"],
        ["audit", "verify"],
        ["openapi"],
        ["adapter"],
        ["import"],
        ["import", "litellm"],
    ):
        text = run(*words, "--help").stdout
        assert "Usage: llm-gateway" in text
        assert "$ llm-gateway" in text or "$ GATEWAY_" in text


def test_the_version_is_shown_also_where_nothing_is_installed(run):
    assert re.fullmatch(r"llm-gateway (\d+\.\S+|\(not installed\))\n", run("--version").stdout)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["fly"], "No such command 'fly'"),
        (["serve", "--plane", "sky"], "'sky' is not one of 'all', 'gateway', 'admin'"),
        (["serve", "--workers", "0"], "0 is not in the range"),
        (["keys", "create"], "Missing option '--name'"),
        (["keys", "create", "--name", "x", "--tag", "blue"], "'blue' is not NAME=VALUE"),
        (["keys", "create", "--name", "x", "--rpm", "0"], "Invalid value for '--rpm'"),
        (["keys", "create", "--name", "x", "--tpm", "many"], "Invalid value for '--tpm'"),
        (["keys", "create", "--name", "x", "--budget-period", "year"], "Invalid value for '--budget-period'"),
    ],
)
def test_a_usage_error_is_exit_code_2_and_names_the_help(run, words, expected):
    error = run(*words, expects=2).stderr
    assert expected in error
    assert "--help`" in error


def test_check_shows_every_fault_with_place_and_suggestion(run):
    Path("gateway.yaml").write_text("gatway: {port: 1}\nmodels:\n  m: {targets: [{provider: nope}]}\n")
    text = run("check", expects=1).stdout
    assert "error: gateway.yaml:1: gatway:" in text
    assert "`gateway`" in text
    assert "error: gateway.yaml:3: models.m.targets[0]" in text
    assert text.count("error: ") == 2


def test_check_of_good_settings_is_exit_code_0(run):
    text = run("check", "--config", str(ROOT / "infra/config/gateway.minimal.yaml"), OPENAI_API_KEY="sk-1").stdout
    assert "providers: openai; 1 models" in text
    assert "sk-1" not in text


@pytest.mark.parametrize(
    ("providers", "members", "faults"),
    [
        ("{echo: {adapter: echo}}", "[echo, echo/echo]", []),
        ("{echo: {adapter: echo}}", "[echo, echa]", ["members[1]"]),
        ("{openai: {api_keys: [env:KEY]}}", "[gpt-4o-mini, openai/gpt-4o, gpt-4o-min]", ["members[2]"]),
        ("{openai: {api_keys: [env:KEY]}, own: {adapter: openai, base_url: 'http://127.0.0.1:1/v1'}}", "[llama]", []),
        ("{own: {adapter: openai, base_url: 'http://127.0.0.1:1/v1'}, echo: {adapter: echo}}", "[llama]", []),
    ],
)
def test_check_knows_what_is_served_without_models(run, providers, members, faults):
    """But for a provider that has to be asked which models it has."""
    ensembles = f"{{e: {{strategy: race, members: {members}}}}}"
    Path("gateway.yaml").write_text(f"providers: {providers}\nensembles: {ensembles}\n")
    text = run("check", expects=1 if faults else 0, KEY="sk-1").stdout
    assert re.findall(r"ensembles\.e\.(\S+): there is no model", text) == faults


def test_check_of_a_file_that_is_not_there_says_so(run):
    assert "absent.yaml cannot be read" in run("check", "--config", "absent.yaml", expects=1).stdout
    assert "absent.yaml cannot be read" in run("check", expects=1, GATEWAY_CONFIG="absent.yaml").stdout


def test_check_prints_the_schema(run):
    schema = json.loads(run("check", "--schema").stdout)
    assert schema["properties"]["gateway"]["$ref"]


def test_keys_are_made_listed_and_revoked(run):
    words = ["--name", "laptop", "--models", "a, b", "--expires-at", "2099-01-31T00:00:00Z", "--may-route"]
    done = run("keys", "create", *words, "--tag", "team=blue", "--tag", "run=7")
    assert INFERENCE_KEY.fullmatch(done.stdout.strip())
    public_id = done.stdout.split("-")[2]
    (listed,) = json.loads(run("keys", "list", "--json").stdout)["items"]
    assert listed["public_id"] == public_id
    assert listed["models"] == ["a", "b"]
    assert listed["tags"] == {"team": "blue", "run": "7"}
    assert (listed["may_route"], listed["expires_at"]) == (True, "2099-01-31T00:00:00Z")
    assert "is revoked" in run("keys", "revoke", public_id).stdout
    heading, row = run("keys", "list").stdout.splitlines()
    assert heading.split()[:4] == ["id", "public_id", "name", "status"]
    assert row.split()[1:4] == [public_id, "laptop", "revoked"]


def test_a_key_is_made_with_limits_and_a_budget(run):
    words = ["--budget", "25.00", "--budget-period", "total", "--budget-timezone", "Europe/Zurich"]
    words += ["--rpm", "60", "--tpm", "100000", "--concurrency", "2", "--max-output-tokens", "512"]
    made = json.loads(run("keys", "create", "--name", "trial", *words, "--json").stdout)
    budget = {"amount": "25.00", "period": "total", "timezone": "Europe/Zurich", "on_accounting_down": "deny"}
    assert made["budget"] == budget
    limits = {name: value for name, value in made["limits"].items() if value and name != "algorithm"}
    assert limits == {
        "requests_per_minute": 60,
        "tokens_per_minute": 100_000,
        "concurrency": 2,
        "max_output_tokens": 512,
    }
    plain = json.loads(run("keys", "create", "--name", "monthly", "--budget", "1", "--json").stdout)
    assert (plain["budget"]["period"], plain["limits"]) == ("month", None)
    other = json.loads(run("keys", "create", "--name", "slow", "--rpm", "1", "--json").stdout)
    assert (other["budget"], other["limits"]["requests_per_minute"]) == (None, 1)


def test_a_key_is_revoked_by_its_whole_text_or_its_id(run):
    first = json.loads(run("keys", "create", "--name", "one", "--json").stdout)
    second = json.loads(run("keys", "create", "--name", "two", "--json").stdout)
    run("keys", "revoke", first["secret"])
    assert json.loads(run("keys", "revoke", second["id"], "--json").stdout)["status"] == "revoked"
    listed = json.loads(run("keys", "list", "--json").stdout)["items"]
    assert {key["status"] for key in listed} == {"revoked"}


def test_admin_keys_are_apart(run):
    done = run("keys", "create", "--admin", "--name", "ops", "--role", "viewer")
    assert ADMIN_KEY.fullmatch(done.stdout.strip())
    (listed,) = json.loads(run("keys", "list", "--admin", "--json").stdout)["items"]
    assert listed["role"] == "viewer"
    assert json.loads(run("keys", "list", "--json").stdout)["items"] == []
    run("keys", "revoke", listed["public_id"], expects=1)
    run("keys", "revoke", "--admin", listed["public_id"])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["create", "--name", "x", "--role", "owner"], "--role: only an admin key (--admin) has this"),
        (["create", "--admin", "--name", "x", "--may-route"], "--may-route: only an inference key has this"),
        (
            ["create", "--admin", "--name", "x", "--budget", "1", "--rpm", "3", "--tag", "a=b"],
            "--budget, --rpm, --tag: only an inference key has this",
        ),
        (["create", "--name", "x", "--budget", "ten"], "--budget: an amount of USD is a decimal string"),
        (["create", "--name", "x", "--budget", "-1"], "--budget: an amount of USD is a decimal string"),
        (["create", "--name", "x", "--budget", "9000001"], "--budget: an amount is at most 9000000 USD"),
        (["create", "--name", "x", "--budget-period", "day"], "--budget-period needs --budget"),
        (["create", "--name", "x", "--budget-timezone", "UTC"], "--budget-timezone needs --budget"),
        (
            ["create", "--name", "x", "--budget", "1", "--budget-timezone", "Mars/Olympus"],
            "--budget-timezone: 'Mars/Olympus' is not an IANA time zone",
        ),
        (["create", "--name", "x", "--expires-at", "tomorrow"], "$.expires_at"),
        (["create", "--name", "x", "--expires-at", "2001-01-01T00:00:00Z"], "expires_at has passed"),
        (["create", "--name", "x", "--team", "01980000-0000-7000-8000-000000000000"], "there is no such team"),
        (["revoke", "nobody"], "there is no inference key 'nobody'"),
        (["revoke", "01980000-0000-7000-8000-000000000000"], "There is no such object"),
    ],
)
def test_what_keys_refuse_is_said_in_one_line(run, words, expected):
    error = run("keys", *words, expects=1).stderr
    assert error.startswith("Error: ")
    assert expected in error
    assert error.count("\n") == 1


def test_migrate_says_what_it_did(run, database_url):
    extra = {"GATEWAY_DATABASE": database_url}
    assert re.search(r": empty -> \d{4}\n", run("migrate", **extra).stdout)
    assert re.search(r"is at revision \d{4}, the newest\n", run("migrate", **extra).stdout)


def test_postgres_is_not_migrated_by_others_and_needs_a_master_secret(run, database_url):
    extra = {"GATEWAY_DATABASE": database_url}
    assert "GATEWAY_MASTER_SECRET is not set" in run("keys", "list", expects=1, **extra).stderr
    extra["GATEWAY_MASTER_SECRET"] = MASTER
    assert "Run `llm-gateway migrate`" in run("keys", "list", expects=1, **extra).stderr
    run("migrate", **extra)
    run("keys", "create", "--name", "x", **extra)
    assert len(json.loads(run("keys", "list", "--json", **extra).stdout)["items"]) == 1


def test_a_database_that_does_not_answer_is_named_without_its_password(run):
    url = f"postgresql+asyncpg://me:hidden@127.0.0.1:{free_port()}/gateway"
    error = run("migrate", expects=1, GATEWAY_DATABASE=url).stderr
    assert "127.0.0.1" in error
    assert "hidden" not in error


def test_a_stack_is_shown_only_on_demand(run):
    url = f"postgresql+asyncpg://me@127.0.0.1:{free_port()}/gateway"
    with pytest.raises(Exception, match="cannot be used"):
        run("--debug", "migrate", GATEWAY_DATABASE=url)
    with pytest.raises(Exception, match="cannot be used"):
        run("migrate", GATEWAY_DATABASE=url, GATEWAY_DEBUG="1")


def test_a_lost_master_secret_is_not_replaced(run):
    run("keys", "create", "--name", "x")
    Path(".gateway/master.secret").unlink()
    assert "the keys in it depend on that secret" in run("keys", "list", expects=1).stderr


def test_the_module_is_the_command(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "app", "check", "--config", "absent.yaml"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "absent.yaml cannot be read" in done.stdout
    assert done.stderr == ""


def test_a_revoked_key_is_signalled_to_running_workers(run, database_url, redis_url):
    extra = {"GATEWAY_DATABASE": database_url, "GATEWAY_STATE": redis_url, "GATEWAY_MASTER_SECRET": MASTER}
    run("migrate", **extra)
    made = json.loads(run("keys", "create", "--name", "x", "--json", **extra).stdout)

    async def hear():
        heard = asyncio.get_running_loop().create_future()
        is_listening = asyncio.Event()
        stores = open_stores(redis_url)
        await stores.start()
        stores.signals.subscribe(CHANGES_TOPIC, heard.set_result, on_gap=is_listening.set)
        await asyncio.wait_for(is_listening.wait(), 20)
        await asyncio.to_thread(run, "keys", "revoke", made["public_id"], **extra)
        payload = await asyncio.wait_for(heard, 20)
        await stores.aclose()
        return payload

    assert UUID(bytes=asyncio.run(hear())) == UUID(made["id"])


def test_a_key_is_revoked_also_while_nobody_can_be_told(run, database_url):
    state = f"redis://127.0.0.1:{free_port()}/0"
    extra = {"GATEWAY_DATABASE": database_url, "GATEWAY_STATE": state, "GATEWAY_MASTER_SECRET": MASTER}
    run("migrate", **extra)
    made = json.loads(run("keys", "create", "--name", "x", "--json", **extra).stdout)
    assert "is revoked" in run("keys", "revoke", made["id"], **extra).stdout


# -- usage ------------------------------------------------------------------------------------------------------------


def record(*events):
    """Write events into the embedded database, as the ledger does."""

    async def insert():
        database = Database("sqlite+aiosqlite:///.gateway/gateway.db")
        async with database.transaction() as connection:
            await insert_events(connection, events)
        await database.aclose()

    asyncio.run(insert())


IN_NOVEMBER = ("--from", "2026-11-01", "--to", "2026-12-01")


def test_usage_is_a_table_with_names_and_totals(run):
    key = json.loads(run("keys", "create", "--name", "laptop", "--json").stdout)
    of_key = {"organization_id": UUID(key["organization_id"]), "key_id": UUID(key["id"])}
    record(
        make_event(**of_key, cost_nusd=150_000, input_tokens=1_200, tags={"run": "7"}),
        make_event(**of_key, cost_nusd=None, outcome="error", occurred_at=NOON + timedelta(days=1)),
        make_event(key_id=UUID(int=5), cost_nusd=-50_000, kind="adjustment", is_final=False),
    )
    heading, *rows, total = run("usage", "--by", "key", *IN_NOVEMBER).stdout.splitlines()
    assert heading.split() == [
        "key", "requests", "errors", "cache_hits", "input_tokens", "output_tokens", "cache_read_tokens",
        "cache_write_tokens", "cost", "saved_cost",
    ]  # fmt: skip
    assert [row.split() for row in rows] == [
        [str(UUID(int=5)), "-", *"0000000", "-0.000050000", "0.000000000"],
        [key["id"], "laptop", "2", "1", "0", "1200", "0", "0", "0", "0.000150000", "0.000000000"],
    ]
    assert total.split() == ["total", "2", "1", "0", "1200", "0", "0", "0", "0.000100000", "0.000000000"]
    assert len({len(line) for line in (heading, *rows, total)}) == 1
    series = run("usage", "--by", "tag:run", "--interval", "day", *IN_NOVEMBER).stdout.splitlines()
    assert [row.split()[:3] for row in series] == [
        ["start", "tag:run", "requests"],
        ["2026-11-23T00:00Z", "-", "0"],
        ["2026-11-23T00:00Z", "7", "1"],
        ["2026-11-24T00:00Z", "-", "1"],
        ["total", "2", "1"],
    ]


def test_fanouts_show_who_wins(run):
    key = json.loads(run("keys", "create", "--name", "laptop", "--json").stdout)
    of_key = {"organization_id": UUID(key["organization_id"]), "key_id": UUID(key["id"]), "fanout": "careful"}
    record(
        make_event(**of_key, model="a", leg="won", ttft_ms=20, cost_nusd=1_000),
        make_event(**of_key, model="b", leg="lost", ttft_ms=30, cost_nusd=2_000, is_final=False),
        make_event(**of_key, model="b", leg="judge", cost_nusd=500, is_final=False),
        make_event(key_id=of_key["key_id"]),
    )
    rows = [line.split() for line in run("fanouts", *IN_NOVEMBER).stdout.splitlines()]
    assert rows == [
        ["fanout", "model", "legs", "won", "lost", "failed", "judged", "fused", "win_rate", "mean_ttft_ms",
         "p95_ttft_ms", "cost"],
        ["careful", "a", "1", "1", "0", "0", "0", "0", "1.0", "20", "20", "0.000001000"],
        ["careful", "b", "1", "0", "1", "0", "1", "0", "0.0", "30", "30", "0.000002500"],
    ]  # fmt: skip
    by_key = json.loads(run("fanouts", "--by", "key", "--json", *IN_NOVEMBER).stdout)["items"]
    assert [(item["model"], item["key_id"]) for item in by_key] == [("a", key["id"]), ("b", key["id"])]
    named = run("fanouts", "--by", "key", *IN_NOVEMBER).stdout.splitlines()[1].split()
    assert named[:4] == ["careful", "a", key["id"], "laptop"]
    assert run("fanouts", "--from", "2020-01-01", "--to", "2020-02-01").stdout.split()[:2] == ["fanout", "model"]


def test_usage_as_json_is_the_answer_of_the_admin_api(run):
    run("keys", "create", "--name", "laptop")
    record(make_event(organization_id=DEFAULT_ORGANIZATION, cost_nusd=150_000))
    answer = json.loads(run("usage", "--by", "model,organization", "--json", *IN_NOVEMBER).stdout)
    assert answer["cursor"] is None
    (item,) = answer["items"]
    assert (item["model"], item["organization_id"]) == ("echo", str(DEFAULT_ORGANIZATION))
    assert (item["requests"], item["cost"], item["start"]) == (1, "0.000150000", "2026-11-01T00:00:00Z")


def test_usage_of_nothing_is_a_total_of_nothing(run):
    lines = run("usage").stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [["model", "requests"], ["total", "0"]]


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["--by", "user"], 1, "unknown group 'user'; known are model, provider, key"),
        (["--from", "2026-11-02", "--to", "2026-11-01"], 1, "`from` is after `to`"),
        (["--from", "2020-01-01"], 1, "at most 400 days"),
        (["--interval", "minute"], 2, "'minute' is not one of"),
    ],
)
def test_usage_names_what_is_wrong(run, words, code, expected):
    assert expected in run("usage", *words, expects=code).stderr
