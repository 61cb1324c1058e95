"""Amazon Bedrock as a plug-in.

Source: https://docs.aws.amazon.com/bedrock/latest/userguide/inference-converse.html, read 2026-11.
"""

import re
import time
from collections.abc import Callable
from urllib.parse import quote, urlsplit

import msgspec

from providers.answers import objects, read_object
from providers.bedrock.answer import read_completion
from providers.bedrock.embeddings import read_embeddings, write_embeddings
from providers.bedrock.errors import decode_error
from providers.bedrock.request import write_chat
from providers.bedrock.signing import SigningSender
from providers.bedrock.sigv4 import AccessKey, Scope
from providers.bedrock.stream import EventDecoder
from providers.catalog import Vendor
from providers.errors import BadAnswer, ConnectFailed, CredentialRefused, RequestRefused
from providers.http.adapter import HttpAdapter
from providers.http.chat_only import ChatOnly
from providers.plugin import Plugin
from providers.protocol import Adapter, ChatDecoder, Sender
from providers.types import (
    ChatRequest,
    Completion,
    EmbeddingRequest,
    Embeddings,
    Secret,
    Target,
    UpstreamRequest,
)

_SERVICE = "bedrock"
_JSON = ("content-type", "application/json")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]+")
_HOST = re.compile(
    r"bedrock(?P<runtime>-runtime)?(?P<fips>-fips)?\.(?P<region>[a-z0-9-]+)\.(?P<suffix>amazonaws\.com(\.cn)?|api\.aws)"
)
_CHINA = "cn-"
_SHOWN = frozenset({"TEXT", "EMBEDDING"})
_ON_DEMAND = "ON_DEMAND"


class BedrockOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to reach Bedrock and sign in.

    Give `region`, from which the address follows, or `base_url` (`https://bedrock-runtime.us-east-1.amazonaws.com`, or
    an endpoint of your own; then `region` is needed only to sign for it). Sign in with a Bedrock API key as `api_key`,
    or with `access_key_id` and `secret_access_key`, and `session_token` if they are temporary; the API key wins.
    """

    region: str | None = None
    access_key_id: Secret | None = None
    secret_access_key: Secret | None = None
    session_token: Secret | None = None

    def __post_init__(self) -> None:
        """Refuse half of a key, and what is no region."""
        if self.region is not None and not _REGION.fullmatch(self.region):
            raise ValueError("region must be a region of AWS, such as us-east-1")
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("access_key_id and secret_access_key belong together")
        if self.session_token is not None and self.access_key_id is None:
            raise ValueError("session_token belongs to an access_key_id")

    @property
    def access_key(self) -> AccessKey | None:
        """What signs requests, if anything does."""
        if self.access_key_id is None or self.secret_access_key is None:
            return None
        return AccessKey(
            access_key_id=self.access_key_id.reveal(),
            secret_access_key=self.secret_access_key,
            session_token=self.session_token,
        )


class BedrockDialect(ChatOnly):
    """Converse, and InvokeModel for embeddings. Nothing is relayed: no client speaks it to the gateway."""

    stream_type = "application/vnd.amazon.eventstream"
    decode_error = staticmethod(decode_error)

    def __init__(self, options: BedrockOptions) -> None:
        self._options = options
        self._signs = options.access_key is not None

    def encode_chat(self, request: ChatRequest, target: Target) -> UpstreamRequest:
        """Return the request for an answer."""
        body, dropped = write_chat(request, model=target.model)
        operation = "converse-stream" if request.stream else "converse"
        return self._post(target, operation, msgspec.json.encode(body), dropped=dropped)

    def decode_chat(self, body: bytes) -> Completion:
        """Read an answer that was not streamed."""
        return read_completion(body)

    def chat_decoder(self) -> ChatDecoder:
        """Return a decoder for one streamed answer."""
        return EventDecoder()

    def encode_embeddings(self, request: EmbeddingRequest, target: Target) -> UpstreamRequest:
        """Return the request for embeddings."""
        body, dropped = write_embeddings(request, model=target.model)
        return self._post(target, "invoke", msgspec.json.encode(body), dropped=dropped)

    def decode_embeddings(self, body: bytes) -> Embeddings:
        """Read embeddings."""
        return read_embeddings(body)

    def encode_models(self, target: Target) -> UpstreamRequest:
        """Return the request that lists the models, which goes to another host; only AWS's own address tells which."""
        host = _HOST.fullmatch(urlsplit(self._base_url(target)).netloc)
        if host is None or not host["runtime"]:
            raise RequestRefused("the models can be listed only at an address of AWS's own", status=404)
        url = f"https://bedrock{host['fips'] or ''}.{host['region']}.{host['suffix']}/foundation-models"
        return UpstreamRequest(method="GET", url=url, headers=self._headers(target))

    def decode_models(self, body: bytes) -> list[str]:
        """Read the ids of the models of text and embeddings that may be called by them, without an inference profile.

        Source: botocore 1.44.8: bedrock.FoundationModelSummary.
        """
        summaries = read_object(body).get("modelSummaries")
        if not isinstance(summaries, list):
            raise BadAnswer("the provider's answer is no list of models")
        return [
            str(model["modelId"])
            for model in objects(summaries)
            if model.get("modelId")
            and _SHOWN.intersection(_words(model.get("outputModalities")))
            and _ON_DEMAND in _words(model.get("inferenceTypesSupported"))
        ]

    def scope_of(self, url: str) -> Scope:
        """Return what a signature must be good for at `url`. Raises `ConnectFailed` where the region is not known."""
        host = _HOST.fullmatch(urlsplit(url).netloc)
        region = self._options.region or (host["region"] if host else None)
        if region is None:
            raise ConnectFailed("This provider has no region to sign requests for.")
        return Scope(region=region, service=_SERVICE)

    def _base_url(self, target: Target) -> str:
        if target.base_url:
            return target.base_url
        region = self._options.region
        if region is None:
            raise ConnectFailed("This provider has neither a base_url nor a region.")
        return f"https://bedrock-runtime.{region}.amazonaws.com{'.cn' if region.startswith(_CHINA) else ''}"

    def _post(self, target: Target, operation: str, body: bytes, *, dropped: tuple[str, ...]) -> UpstreamRequest:
        """Return a request for a model, whose name may be an ARN: all but unreserved characters are encoded.

        The signature encodes the path once more (`providers.bedrock.sigv4`).
        """
        url = f"{self._base_url(target)}/model/{quote(target.model, safe='')}/{operation}"
        return UpstreamRequest(method="POST", url=url, headers=self._headers(target), body=body, dropped=dropped)

    def _headers(self, target: Target) -> tuple[tuple[str, str], ...]:
        """Return the headers; without an API key, the signature is added as the request is sent."""
        if target.credential is not None:
            return (("authorization", f"Bearer {target.credential.reveal()}"), _JSON)
        if self._signs:
            return (_JSON,)
        raise CredentialRefused("This provider has neither an api_key nor an access_key_id.")


def _words(value: object) -> list[str]:
    return [word for word in value if isinstance(word, str)] if isinstance(value, list) else []


def bedrock_plugin(name: str, row: Vendor, *, clock: Callable[[], float] = time.time) -> Plugin:
    """Return the plug-in of Amazon Bedrock; `clock` returns seconds since the Unix epoch."""

    def open_adapter(sender: Sender, options: msgspec.Struct) -> Adapter:
        chosen = options if isinstance(options, BedrockOptions) else BedrockOptions()
        dialect = BedrockDialect(chosen)
        key = chosen.access_key
        if key is not None:
            sender = SigningSender(sender, key, scope_of=dialect.scope_of, clock=clock)
        return HttpAdapter(dialect, sender)

    return Plugin(
        name=name,
        open=open_adapter,
        options=BedrockOptions,
        base_url=row.base_url,
        key_variables=row.keys,
        catalog=name,
    )
