"""Secrets come from where they are kept, and leave by `reveal` only."""

import copy

import msgspec
import pytest

from app.settings import SettingsError, effective
from app.settings.store_url import StoreUrl
from providers.types import Secret

SECRET = "canary-secret-value"


def provider(key, **more):
    return msgspec.json.encode({"providers": {"openai": {"api_key": key, **more}}}).decode()


def test_a_secret_is_read_from_a_variable_or_a_file_without_its_line_end(load_text, tmp_path):
    file = tmp_path / "key"
    file.write_text(f"{SECRET}\r\n")
    assert load_text(provider(f"file:{file}")).providers["openai"].api_key == Secret(SECRET)
    assert load_text(provider("env:KEY"), {"KEY": f"{SECRET}\n"}).providers["openai"].api_key == Secret(SECRET)


@pytest.mark.parametrize(
    ("key", "message", "suggestion"),
    [
        ("sk-canary-literal", "not written here", 'write "env:NAME" or "file:/path"'),
        ("", "not written here", 'write "env:NAME" or "file:/path"'),
        ("OPENAI_API_KEY", "not written here", 'write "env:OPENAI_API_KEY"'),
        ("$OPENAI_API_KEY", "not written here", 'write "env:OPENAI_API_KEY"'),
        ("${OPENAI_API_KEY}", "not written here", 'write "env:OPENAI_API_KEY"'),
        ("os.environ/OPENAI_API_KEY", "not written here", 'write "env:OPENAI_API_KEY"'),
        ("env://OPENAI_API_KEY", "not written here", 'write "env:OPENAI_API_KEY"'),
        ("env:OPENAI_API_KY", "OPENAI_API_KY is not set", 'did you mean "env:OPENAI_API_KEY"?'),
        ("env:ZZZ_QQQ_999", "ZZZ_QQQ_999 is not set", "set ZZZ_QQQ_999"),
        ("env:EMPTY", "EMPTY is empty", "set EMPTY"),
        ("env:BLANK", "is empty", None),
        ("env:NOT-A-NAME", "name of a variable", 'such as "env:OPENAI_API_KEY"'),
        ("env:", "name of a variable", 'such as "env:OPENAI_API_KEY"'),
        ("file:relative/key", "absolute path", 'such as "file:/run/secrets/openai"'),
        ("file:/nowhere/at/all", "cannot be read", None),
        ("file:/", "cannot be read", None),
        (12345, "must be text", None),
        (["env:A"], "must be text", None),
    ],
)
def test_what_leads_to_no_secret_is_a_fault_that_repeats_no_value(key, message, suggestion, faults_of):
    fault = faults_of(provider(key), {"EMPTY": "", "BLANK": " \n"})["providers.openai.api_key"]
    if isinstance(key, int):
        assert "not written here" in fault.message
    else:
        assert message in fault.message
        assert fault.suggestion == suggestion
    assert fault.line == 1


def test_a_file_that_is_no_secret_is_refused(faults_of, tmp_path):
    (tmp_path / "large").write_bytes(b"x" * 70_000)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "empty").write_bytes(b"\n")
    for name, said in (("large", "64 KiB"), ("binary", "UTF-8"), ("empty", "is empty")):
        assert said in faults_of(provider(f"file:{tmp_path / name}"))["providers.openai.api_key"].message


@pytest.mark.parametrize("value", ["two\nlines", "tab\there", "schlüssel", "\udcff"])
def test_a_credential_that_no_header_can_carry_is_a_fault(value, faults_of):
    assert "providers.openai.api_key" in faults_of(provider("env:KEY"), {"KEY": value})


def test_headers_may_be_text_but_not_a_literal_credential(load_text, faults_of):
    settings = load_text(provider(None, headers={"x-team": "blue", "Authorization": "env:KEY"}), {"KEY": "canary"})
    headers = settings.providers["openai"].headers
    assert {name: value.reveal() for name, value in headers.items()} == {"x-team": "blue", "Authorization": "canary"}
    faults = faults_of(
        provider(
            None,
            headers={"Authorization": "Bearer canary", "host": "x", "bad name": "x", "x-a": "a\nb", "x-b": "env:NOPE"},
        )
    )
    assert faults.keys() == {
        f"providers.openai.headers.{name}" for name in ("Authorization", "host", "bad name", "x-a", "x-b")
    }


def test_the_gateways_own_secrets_come_from_the_environment_only(load_text, faults_of):
    settings = load_text(
        None,
        {
            "GATEWAY_MASTER_SECRET": "m" * 32,
            "GATEWAY_ADMIN_KEY": "a" * 32,
            "GATEWAY_ADAPTER_TOKEN": "t",
        },
    )
    assert (settings.master_secret, settings.admin_key) == (Secret("m" * 32), Secret("a" * 32))
    assert settings.adapter_token == Secret("t")
    assert load_text(None, {"GATEWAY_ADMIN_KEY": ""}).admin_key is None
    assert load_text(None, {"GATEWAY_MASTER_SECRET": "é" * 16}).master_secret == Secret("é" * 16)
    faults = faults_of(
        "master_secret: canary\nadmin_key: canary\norigins: {}\nwarnings: []\n",
        {"GATEWAY_MASTER_SECRET": "canary-short", "GATEWAY_ADMIN_KEY": "canary-short"},
    )
    assert faults.keys() >= {"GATEWAY_MASTER_SECRET", "GATEWAY_ADMIN_KEY", "master_secret", "admin_key", "origins"}


def test_the_gateways_own_secrets_may_be_in_files_that_variables_name(load_text, faults_of, tmp_path):
    file = tmp_path / "admin"
    file.write_text("a" * 32 + "\n")
    settings = load_text(None, {"GATEWAY_ADMIN_KEY_FILE": str(file), "GATEWAY_MASTER_SECRET_FILE": ""})
    assert settings.admin_key == Secret("a" * 32)
    assert settings.master_secret is None
    faults = faults_of(
        None,
        {
            "GATEWAY_ADMIN_KEY": "b" * 32,
            "GATEWAY_ADMIN_KEY_FILE": str(file),
            "GATEWAY_ADAPTER_TOKEN_FILE": "token",
            "GATEWAY_MASTER_SECRET_FILE": str(tmp_path / "absent"),
        },
    )
    assert faults["GATEWAY_ADMIN_KEY_FILE"].suggestion == "keep one"
    assert "absolute" in faults["GATEWAY_ADAPTER_TOKEN_FILE"].message
    assert "No such file" in faults["GATEWAY_MASTER_SECRET_FILE"].message
    file.write_text("short")
    assert faults_of(None, {"GATEWAY_ADMIN_KEY_FILE": str(file)}).keys() == {"GATEWAY_ADMIN_KEY"}


def test_no_secret_shows_in_any_print_of_the_tree(load_text, tmp_path):
    file = tmp_path / "db"
    file.write_text("postgresql+asyncpg://user:canary-db@h/d?password=canary-query")
    settings = load_text(
        f"database: 'file:{file}'\n"
        "state: rediss://:canary-redis@h:6379/0\n"
        "cache: {mode: exact, url: 'redis://u:canary-cache@h/1'}\n"
        "providers:\n"
        "  openai: {api_keys: ['env:K1', 'env:K2'], headers: {x-key: 'env:K3', x-plain: canary-plain}}\n"
        "  c: {adapter: cloud, region: x, secret_key: 'env:K4'}\n",
        {
            **{f"K{number}": f"canary-{number}" for number in range(1, 5)},
            "GATEWAY_MASTER_SECRET": "canary-" * 8,
            "GATEWAY_ADMIN_KEY": "canary-" * 8,
            "GATEWAY_ADAPTER_TOKEN": "canary-token",
        },
    )
    shown = effective(settings)
    printed = [
        repr(settings),
        str(settings),
        f"{settings.database} {settings.state!r} {settings.providers}",
        msgspec.json.encode(shown).decode(),
        repr(settings.warnings),
        repr(settings.origins),
        repr(copy.copy(settings)),
    ]
    assert "canary" not in "".join(printed)
    assert shown["database"] == "postgresql+asyncpg://user:***@h/d?password=***"
    assert shown["state"] == "rediss://:***@h:6379/0"
    assert shown["providers"]["openai"]["api_keys"] == [{"set": True}, {"set": True}]
    assert shown["providers"]["c"]["secret_key"] == {"set": True}
    assert shown["master_secret"] == {"set": True}
    with pytest.raises(TypeError):
        msgspec.json.encode(settings)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("memory://", "memory://"),
        ("redis://h:6379/0", "redis://h:6379/0"),
        ("redis://user@h/0", "redis://user@h/0"),
        ("redis://user:p@ss@h/0", "redis://user:***@h/0"),
        ("redis://:p:q@h1,h2/0?a=b&c", "redis://:***@h1,h2/0?a=***&c=***"),
    ],
)
def test_a_stores_url_shows_no_password(url, shown):
    assert str(StoreUrl(url)) == shown
    assert repr(StoreUrl(url)) == f"StoreUrl('{shown}')"
    assert StoreUrl(url).reveal() == url
    assert StoreUrl(url) == StoreUrl(url)
    assert hash(StoreUrl(url)) == hash(StoreUrl(url))
    assert StoreUrl(url) != StoreUrl(url + "x")


@pytest.mark.parametrize(
    "place", ["providers.openai.adapter", "models.m.targets[0].provider", "cache.mode", "budget.amount"]
)
def test_a_key_pasted_into_the_wrong_place_is_not_repeated(place, load_text):
    pasted = "sk-proj-" + "canary" * 8
    text = {
        "providers": {"openai": {"adapter": pasted if "adapter" in place else "openai"}},
        "models": {"m": {"targets": [{"provider": pasted if "targets" in place else "openai", "model": "x"}]}},
        "cache": {"mode": pasted if place == "cache.mode" else "off"},
        "budget": {"amount": pasted if place == "budget.amount" else "1"},
    }
    with pytest.raises(SettingsError) as caught:
        load_text(msgspec.json.encode(text).decode())
    assert [fault.path for fault in caught.value.faults if fault.severity == "error"] == [place]
    assert "canary" not in repr(caught.value.faults)
