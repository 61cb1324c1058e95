"""Signature Version 4: AWS's own vectors, and requests of Bedrock as botocore signs them."""

import hashlib
import json
from pathlib import Path
from urllib.parse import quote

import pytest

from app.settings import SettingsError, load
from providers.bedrock.plugin import bedrock_plugin
from providers.bedrock.sigv4 import AccessKey, Scope, amz_date, authorization, canonical_request
from providers.catalog import load_catalog
from providers.errors import ConnectFailed, CredentialRefused
from providers.registry import Registry
from providers.testing.sender import ScriptedSender
from providers.types import ChatRequest, Message, Secret, Target, TextPart

ROW = load_catalog().vendors["bedrock"]
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"  # AWS's documented example
KEY = AccessKey(access_key_id="AKIDEXAMPLE", secret_access_key=Secret(SECRET))
AT = "20150830T123600Z"
NOTHING = hashlib.sha256(b"").hexdigest()
FORM = b"Param1=value1"
FORM_HEADERS = {
    "content-length": "13",
    "content-type": "application/x-www-form-urlencoded",
    "x-amz-content-sha256": hashlib.sha256(FORM).hexdigest(),
}
TOKEN = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267"

# The suite that AWS publishes for implementers (`aws-signing-test-suite/v4`).
# Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/signature-v4-test-suite.html, read 2026-11.
VECTORS = [
    ("GET", "/", {}, b"", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    ("POST", "/", {}, b"", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    ("GET", "/ሴ", {}, b"", "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
    (
        "GET",
        "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
        {},
        b"",
        "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
    ),
    (
        "GET",
        "/?Param-3=Value3&Param=Value2&%E1%88%B4=Value1",
        {},
        b"",
        "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac",
    ),
    (
        "GET",
        "/",
        {"x-amz-security-token": TOKEN},
        b"",
        "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8",
    ),
    ("POST", "/", FORM_HEADERS, FORM, "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b"),
]


@pytest.mark.parametrize(("method", "path", "headers", "body", "signature"), VECTORS)
def test_the_vectors_of_aws_hold(method, path, headers, body, signature):
    signed = {"host": "example.amazonaws.com", "x-amz-date": AT, **headers}
    value = authorization(
        method,
        "https://example.amazonaws.com" + path,
        headers=signed,
        body_sha256=hashlib.sha256(body).hexdigest(),
        key=KEY,
        scope=Scope(region="us-east-1", service="service"),
    )
    names = ";".join(sorted(signed))
    scope = "20150830/us-east-1/service/aws4_request"
    assert value == (f"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/{scope}, SignedHeaders={names}, Signature={signature}")


def test_a_canonical_request_is_the_documented_one():
    headers = {"x-amz-date": AT, "host": "h", "my-header": "  a   b  c "}
    assert canonical_request("GET", "https://h", headers=headers, body_sha256=NOTHING).split("\n") == [
        "GET", "/", "", "host:h", "my-header:a b c", f"x-amz-date:{AT}", "", "host;my-header;x-amz-date", NOTHING,
    ]  # fmt: skip


def test_the_path_is_encoded_once_more_and_the_query_is_sorted_by_name():
    url = f"https://h/model/{quote('anthropic.claude-v2:1', safe='')}/converse?b=2&a-b=1&a=3"
    lines = canonical_request("POST", url, headers={"host": "h"}, body_sha256=NOTHING).split("\n")
    assert lines[1:3] == ["/model/anthropic.claude-v2%253A1/converse", "a=3&a-b=1&b=2"]


def test_time_is_written_in_utc():
    assert amz_date(1_440_938_160.9) == AT


# --- Requests of Bedrock, as botocore's signer signs the same method, URL, body and time

RECORDED = json.loads((Path(__file__).parent / "cases" / "botocore_signatures.json").read_text())["cases"]


def adapter(now_s=1_790_000_000.0, **options):
    sender = ScriptedSender(ConnectFailed())
    plugin = bedrock_plugin("bedrock", ROW, clock=lambda: now_s)
    return plugin.open(sender, plugin.options(**options)), sender


def chat(text="Hello", *, stream=False):
    message = Message(role="user", content=[TextPart(text=text)])
    return ChatRequest(model="m", messages=[message], dialect="openai", stream=stream)


def key_of(**given):
    return {name: Secret(value) for name, value in given.items()}


async def sent(call, target, sender):
    with pytest.raises(ConnectFailed):
        await call(target)
    return sender.requests[0]


@pytest.mark.parametrize("case", RECORDED, ids=[case["name"] for case in RECORDED])
async def test_a_request_is_signed_as_botocore_signs_it(case):
    session = {"session_token": case["session_token"]} if case["session_token"] else {}
    key = key_of(access_key_id=case["access_key_id"], secret_access_key=case["secret_access_key"], **session)
    caller, sender = adapter(case["now_s"], region=case["region"], **key)
    target = Target(provider="p", model=case["model"], base_url=case["base_url"])
    if case["operation"] == "models":
        request = await sent(caller.models, target, sender)
    else:
        request = await sent(lambda to: caller.chat(chat(case["text"], stream=case["stream"]), to), target, sender)
    headers = dict(request.headers)
    assert (request.method, request.url, request.body.decode()) == (case["method"], case["url"], case["body"])
    assert {name: headers[name] for name in case["headers"]} == case["headers"]


async def test_a_signature_is_of_the_moment_of_sending():
    times = iter([1_790_000_000.0, 1_790_000_001.0])
    sender = ScriptedSender(ConnectFailed())
    plugin = bedrock_plugin("bedrock", ROW, clock=lambda: next(times))
    options = plugin.options(region="us-east-1", **key_of(access_key_id="AKID", secret_access_key="s"))
    caller = plugin.open(sender, options)
    target = Target(provider="p", model="m", base_url="")
    for _ in range(2):
        with pytest.raises(ConnectFailed):
            await caller.chat(chat(), target)
    first, second = (dict(request.headers) for request in sender.requests)
    assert (first["x-amz-date"], second["x-amz-date"]) == ("20260921T141320Z", "20260921T141321Z")
    assert first["authorization"] != second["authorization"]
    assert "s" not in first.values()


async def test_a_port_is_signed_as_the_transport_writes_it():
    caller, sender = adapter(region="us-east-1", **key_of(access_key_id="AKID", secret_access_key="s"))
    seen = []
    for base_url in ("http://localhost:8080", "http://localhost:80", "http://localhost"):
        sender.requests.clear()
        target = Target(provider="p", model="m", base_url=base_url)
        request = await sent(lambda to: caller.chat(chat(), to), target, sender)
        seen.append(dict(request.headers)["authorization"].rpartition("=")[2])
    assert seen[0] != seen[1] == seen[2]


async def test_the_api_key_wins_over_the_access_key():
    caller, sender = adapter(region="us-east-1", **key_of(access_key_id="AKID", secret_access_key="s"))
    target = Target(provider="p", model="m", base_url="", credential=Secret("bearer-key"))
    headers = dict((await sent(lambda to: caller.chat(chat(), to), target, sender)).headers)
    assert headers["authorization"] == "Bearer bearer-key"
    assert "x-amz-date" not in headers


async def test_without_any_credential_nobody_is_called():
    caller, sender = adapter(region="us-east-1")
    with pytest.raises(CredentialRefused, match="neither an api_key nor an access_key_id"):
        await caller.chat(chat(), Target(provider="p", model="m", base_url=""))
    assert not sender.requests


@pytest.mark.parametrize(
    ("region", "base_url"),
    [
        ("eu-central-1", "https://bedrock-runtime.eu-central-1.amazonaws.com"),
        ("us-gov-west-1", "https://bedrock-runtime.us-gov-west-1.amazonaws.com"),
        ("cn-north-1", "https://bedrock-runtime.cn-north-1.amazonaws.com.cn"),
    ],
)
async def test_the_address_follows_from_the_region(region, base_url):
    caller, sender = adapter(region=region)
    target = Target(provider="p", model="m", base_url="", credential=Secret("k"))
    assert (await sent(lambda to: caller.chat(chat(), to), target, sender)).url == f"{base_url}/model/m/converse"


async def test_without_an_address_or_a_region_that_is_said():
    caller, _ = adapter()
    with pytest.raises(ConnectFailed, match="neither a base_url nor a region"):
        await caller.chat(chat(), Target(provider="p", model="m", base_url="", credential=Secret("k")))


async def test_the_region_to_sign_for_is_read_from_the_address_or_said_to_be_missing():
    key = key_of(access_key_id="AKID", secret_access_key="s")
    caller, sender = adapter(**key)
    own = Target(provider="p", model="m", base_url="https://bedrock-runtime-fips.us-west-2.amazonaws.com")
    headers = dict((await sent(lambda to: caller.chat(chat(), to), own, sender)).headers)
    assert "/us-west-2/bedrock/aws4_request" in headers["authorization"]
    caller, sender = adapter(**key)
    headers = dict((await sent(caller.models, own, sender)).headers)
    assert "/us-west-2/bedrock/aws4_request" in headers["authorization"]
    caller, sender = adapter(**key)
    with pytest.raises(ConnectFailed, match="no region to sign"):
        await caller.chat(chat(), Target(provider="p", model="m", base_url="https://vpce.example.com"))
    assert not sender.requests


# --- Through the settings

ENVIRON = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "shh", "AWS_SESSION_TOKEN": "temporary"}
KEYS = {"access_key_id": "env:AWS_ACCESS_KEY_ID", "secret_access_key": "env:AWS_SECRET_ACCESS_KEY"}


def options_in(tmp_path, given):
    """Return the options that a file of settings gives its Bedrock provider."""
    path = tmp_path / "gateway.yaml"
    path.write_text(json.dumps({"providers": {"bedrock": given}}))
    registry = Registry()
    settings = load(path, environ=ENVIRON, adapter_options=lambda name: registry.find(name).options)
    return settings.providers["bedrock"].options


async def test_a_key_of_aws_is_read_from_where_the_settings_say(tmp_path):
    given = {"region": "eu-west-1", **KEYS, "session_token": "env:AWS_SESSION_TOKEN"}
    options = options_in(tmp_path, given)
    assert "shh" not in repr(options)
    sender = ScriptedSender(ConnectFailed())
    caller = Registry().find("bedrock").open(sender, options)
    request = await sent(lambda to: caller.chat(chat(), to), Target(provider="p", model="m", base_url=""), sender)
    headers = dict(request.headers)
    assert request.url.startswith("https://bedrock-runtime.eu-west-1.amazonaws.com/")
    assert headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKID/")
    assert headers["x-amz-security-token"] == "temporary"
    assert not any("shh" in value for value in headers.values())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"access_key_id": "env:AWS_ACCESS_KEY_ID"}, "belong together"),
        ({"secret_access_key": "env:AWS_SECRET_ACCESS_KEY"}, "belong together"),
        ({"session_token": "env:AWS_SESSION_TOKEN"}, "belongs to an access_key_id"),
        ({"region": "us-east-1.evil.example/"}, "must be a region of AWS"),
        ({**KEYS, "secret_access_key": "shh"}, "not written here"),
    ],
)
def test_half_a_key_or_no_region_is_a_fault_of_the_settings(tmp_path, given, message):
    with pytest.raises(SettingsError, match=message):
        options_in(tmp_path, given)
