"""Vertex AI: where a call goes, and the tokens of a service account."""

import asyncio
import json
from urllib.parse import parse_qs

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc import jwt
from joserfc.jwk import RSAKey

from providers.errors import (
    BadAnswer,
    ConnectFailed,
    CredentialRefused,
    ProviderOverloaded,
)
from providers.gemini.credentials import BadKeyFile, read_account
from providers.gemini.vertex import VertexDialect, VertexOptions, open_vertex
from providers.stream import collect
from providers.testing.sender import ScriptedAnswer
from providers.types import ChatRequest, Message, Secret, Target, TextPart

_KEY = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
_PEM = _KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()
TOKEN_URI = "https://oauth2.example/token"
ANSWER = {"candidates": [{"content": {"parts": [{"text": "Yes."}]}, "finishReason": "STOP"}]}
REQUEST = ChatRequest(model="m", messages=[Message(role="user", content=[TextPart(text="Hi?")])], dialect="openai")
TARGET = Target(provider="p", model="gemini-3.8-flash", base_url="")


def _account(**fields) -> Secret:
    account = {
        "type": "service_account",
        "project_id": "p1",
        "private_key_id": "k1",
        "private_key": _PEM,
        "client_email": "gateway@p1.iam.gserviceaccount.com",
        "token_uri": TOKEN_URI,
    }
    return Secret(json.dumps(account | fields))


class _Google:
    """A transport behind which Google grants tokens `t1`, `t2`, … and takes those in `good`, or any."""

    def __init__(self, *, good: set[str] | None = None, grants: list[ScriptedAnswer] | None = None) -> None:
        self.good = good
        self.grants = grants or []
        self.assertions: list[str] = []
        self.calls: list[tuple[str, str | None]] = []
        self.answers: list[ScriptedAnswer] = []

    async def send(self, request, *, timeouts):
        await asyncio.sleep(0)
        answer = self._grant(request) if request.url == TOKEN_URI else self._serve(request)
        self.answers.append(answer)
        return answer

    def _grant(self, request) -> ScriptedAnswer:
        form = parse_qs(request.body.decode())
        assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
        assert dict(request.headers) == {"content-type": "application/x-www-form-urlencoded"}
        self.assertions += form["assertion"]
        if self.grants:
            return self.grants.pop(0)
        granted = {"access_token": f"t{len(self.assertions)}", "expires_in": 3599, "token_type": "Bearer"}
        return ScriptedAnswer(json.dumps(granted).encode())

    def _serve(self, request) -> ScriptedAnswer:
        token = dict(request.headers).get("authorization", "").removeprefix("Bearer ")
        self.calls.append((request.url, token))
        if self.good is not None and token not in self.good:
            return ScriptedAnswer(b'{"error": {"code": 401, "status": "UNAUTHENTICATED"}}', status=401)
        return ScriptedAnswer(json.dumps(ANSWER).encode())


class _Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.5

    def __call__(self) -> float:
        return self.now


async def _ask(adapter):
    stream = await adapter.chat(REQUEST, TARGET)
    return collect([event async for event in stream])


@pytest.mark.parametrize(
    ("dialect", "base_url", "model", "url"),
    [
        (
            VertexDialect(project="p1"),
            "",
            "gemini-3.8-flash",
            "https://aiplatform.googleapis.com/v1/projects/p1/locations/global/publishers/google/models/gemini-3.8-flash",
        ),
        (
            VertexDialect(project="p1", location="europe-west4"),
            "",
            "gemini-3.8-flash",
            "https://europe-west4-aiplatform.googleapis.com/v1/projects/p1/locations/europe-west4/publishers/google/models/gemini-3.8-flash",
        ),
        (
            VertexDialect(project="p1", location="eu"),
            "",
            "gemini-3.8-flash",
            "https://aiplatform.eu.rep.googleapis.com/v1/projects/p1/locations/eu/publishers/google/models/gemini-3.8-flash",
        ),
        (
            VertexDialect(project="p1"),
            "https://us-central1-aiplatform.googleapis.com",
            "gemini-3.8-flash",
            "https://us-central1-aiplatform.googleapis.com/v1/projects/p1/locations/us-central1/publishers/google/models/gemini-3.8-flash",
        ),
        (
            VertexDialect(project="p1"),
            "https://aiplatform.us.rep.googleapis.com/v1beta1",
            "gemini-3.8-flash",
            "https://aiplatform.us.rep.googleapis.com/v1beta1/projects/p1/locations/us/publishers/google/models/gemini-3.8-flash",
        ),
        (
            VertexDialect(project="p1", location="us-east4"),
            "http://127.0.0.1:9/v1",
            "publishers/meta/models/llama@1",
            "http://127.0.0.1:9/v1/projects/p1/locations/us-east4/publishers/meta/models/llama@1",
        ),
        (
            VertexDialect(project="p1"),
            "http://127.0.0.1:9",
            "projects/p2/locations/us-east4/endpoints/123",
            "http://127.0.0.1:9/v1/projects/p2/locations/us-east4/endpoints/123",
        ),
        (VertexDialect(), "", "gemini x", "https://aiplatform.googleapis.com/v1/publishers/google/models/gemini%20x"),
    ],
)
def test_where_a_call_goes(dialect, base_url, model, url):
    target = Target(provider="p", model=model, base_url=base_url, credential=Secret("k"))
    asked = dialect.encode_chat(REQUEST, target)
    assert asked.url == f"{url}:generateContent"
    assert dict(asked.headers)["x-goog-api-key"] == "k"
    streamed = dialect.encode_chat(msgspec.structs.replace(REQUEST, stream=True), target)
    assert streamed.url == f"{url}:streamGenerateContent?alt=sse"


async def test_an_assertion_is_signed_and_exchanged_for_a_token():
    google, clock = _Google(), _Clock()
    adapter = open_vertex(google, VertexOptions(credentials=_account()), now=clock)
    answer = await _ask(adapter)
    assert answer.choices[0].content == [TextPart(text="Yes.")]
    (url, token) = google.calls[0]
    assert "/projects/p1/locations/global/" in url
    assert token == "t1"
    signed = jwt.decode(google.assertions[0], RSAKey.import_key(_KEY.public_key()), algorithms=["RS256"])
    assert signed.header == {"alg": "RS256", "typ": "JWT", "kid": "k1"}
    assert signed.claims == {
        "iss": "gateway@p1.iam.gserviceaccount.com",
        "scope": "https://www.googleapis.com/auth/cloud-platform",
        "aud": TOKEN_URI,
        "iat": 1_800_000_000,
        "exp": 1_800_003_600,
    }


async def test_a_token_is_kept_until_five_minutes_before_its_end():
    google, clock = _Google(), _Clock()
    adapter = open_vertex(google, VertexOptions(credentials=_account(), project="p2"), now=clock)
    await _ask(adapter)
    clock.now += 3_599 - 300 - 1
    await _ask(adapter)
    clock.now += 1
    await _ask(adapter)
    assert [token for _, token in google.calls] == ["t1", "t1", "t2"]
    assert "/projects/p2/" in google.calls[0][0]


async def test_one_token_is_fetched_at_a_time():
    google = _Google()
    adapter = open_vertex(google, VertexOptions(credentials=_account()), now=_Clock())
    await asyncio.gather(*[_ask(adapter) for _ in range(10)])
    assert len(google.assertions) == 1
    assert [token for _, token in google.calls] == ["t1"] * 10


async def test_a_refused_token_is_replaced_once():
    google = _Google(good={"t2"})
    adapter = open_vertex(google, VertexOptions(credentials=_account()), now=_Clock())
    await asyncio.gather(*[_ask(adapter) for _ in range(3)])
    assert len(google.assertions) == 2
    assert [token for _, token in google.calls].count("t2") == 3
    assert all(answer.is_closed for answer in google.answers if answer.status == 401)


async def test_an_account_that_is_refused_is_a_refused_credential():
    google = _Google(good=set())
    adapter = open_vertex(google, VertexOptions(credentials=_account()), now=_Clock())
    with pytest.raises(CredentialRefused):
        await _ask(adapter)
    assert len(google.calls) == 2


@pytest.mark.parametrize(
    ("grant", "kind"),
    [
        (ScriptedAnswer(b'{"error": "invalid_grant", "error_description": "no"}', status=400), CredentialRefused),
        (ScriptedAnswer(b"", status=404), CredentialRefused),
        (ScriptedAnswer(b"", status=401), CredentialRefused),
        (ScriptedAnswer(b"", status=503), ProviderOverloaded),
        (ScriptedAnswer(b"{}"), BadAnswer),
        (ScriptedAnswer(b'{"access_token": "t", "expires_in": "soon"}'), BadAnswer),
        (ScriptedAnswer(b'{"access_token": "a\\u00e9", "expires_in": 9}'), BadAnswer),
        (ScriptedAnswer(b"<html>"), BadAnswer),
    ],
)
async def test_an_exchange_that_fails_says_why_and_is_tried_again(grant, kind):
    google = _Google(grants=[grant])
    adapter = open_vertex(google, VertexOptions(credentials=_account()), now=_Clock())
    with pytest.raises(kind):
        await _ask(adapter)
    assert grant.is_closed
    await _ask(adapter)
    assert len(google.calls) == 1


async def test_a_key_that_cannot_sign_is_a_refused_credential():
    adapter = open_vertex(_Google(), VertexOptions(credentials=_account(private_key="no key")), now=_Clock())
    with pytest.raises(CredentialRefused):
        await _ask(adapter)


async def test_errors_of_the_transport_pass_unchanged():
    class Down:
        async def send(self, request, *, timeouts):
            raise ConnectFailed

    with pytest.raises(ConnectFailed):
        await _ask(open_vertex(Down(), VertexOptions(credentials=_account()), now=_Clock()))


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        "[]",
        "{}",
        _account(token_uri="http://oauth2.example/token").reveal(),
        _account(token_uri="file:///etc/passwd").reveal(),
        _account(type="authorized_user").reveal(),
    ],
)
def test_a_key_file_that_is_none_is_refused_without_being_shown(text):
    with pytest.raises(BadKeyFile) as caught:
        VertexOptions(credentials=Secret(text))
    assert "PRIVATE KEY" not in str(caught.value)


@pytest.mark.parametrize("uri", ["https://oauth2.googleapis.com/token", "http://127.0.0.1:9/token", "http://[::1]:9/t"])
def test_tokens_are_fetched_over_tls_or_from_here(uri):
    assert read_account(_account(token_uri=uri)).token_uri == uri
