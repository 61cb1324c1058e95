"""Vertex AI, which Google also calls Gemini Enterprise Agent Platform: generateContent in a project and a location.

Source: https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference, read 2026-11;
https://cloud.google.com/vertex-ai/generative-ai/docs/start/express-mode/vertex-ai-express-mode-api-reference,
read 2026-11.
"""

import re
import time
from collections.abc import Callable
from urllib.parse import quote, urlsplit

import msgspec

from providers.catalog import Vendor
from providers.gemini import embeddings
from providers.gemini.credentials import AuthorizedSender, Tokens, read_account
from providers.gemini.plugin import GeminiDialect
from providers.http.adapter import HttpAdapter
from providers.plugin import Plugin
from providers.protocol import Adapter, Sender
from providers.types import EmbeddingRequest, Secret, Target, UpstreamRequest

_REGIONAL = re.compile(r"([a-z0-9-]+)-aiplatform\.googleapis\.com|aiplatform\.([a-z]+)\.rep\.googleapis\.com")
_GLOBAL = "global"
_CONTINENTS = frozenset({"eu", "us"})
_VERSION = "/v1"
_MODELS = "publishers/google/models"
_MODELS_PAGE = 300


class VertexOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a Vertex AI provider may set.

    `credentials` is the key file of a service account; without it `api_key` is a key of Google Cloud. `project` is by
    default the account's, and only a key of the express mode needs none. `location` is by default the one that
    `base_url` names, such as `https://europe-west4-aiplatform.googleapis.com`, and `global` where it names none;
    without `base_url` it decides the address.
    """

    project: str | None = None
    location: str | None = None
    credentials: Secret | None = None

    def __post_init__(self) -> None:
        """Refuse a key file that is none."""
        if self.credentials is not None:
            read_account(self.credentials)


class VertexDialect(GeminiDialect):
    """generateContent under a project and a location."""

    def __init__(self, *, project: str | None = None, location: str | None = None) -> None:
        super().__init__()
        self._project = project
        self._location = location

    def encode_embeddings(self, request: EmbeddingRequest, target: Target) -> UpstreamRequest:
        """Return the request for embeddings: of Gemini's models by their own methods, of older ones as predictions."""
        if "gemini" in target.model:
            method = ":embedContent" if len(request.input) == 1 else ":batchEmbedContents"
            body = embeddings.write_single(request)
        else:
            method, body = ":predict", embeddings.write_predict(request)
        return self._post(target, method, msgspec.json.encode(body), dropped=embeddings.dropped(request))

    def encode_models(self, target: Target) -> UpstreamRequest:
        """Return the request that lists Google's models, all on one page; only the beta version has it."""
        url = f"{self._root(target).removesuffix(_VERSION)}/v1beta1/{_MODELS}?pageSize={_MODELS_PAGE}"
        return UpstreamRequest(method="GET", url=url, headers=self._headers_for(target))

    def url(self, target: Target, method: str) -> str:
        """Return where a method of the target's model is served; a name with slashes is a path of its own."""
        path = target.model if "/" in target.model else f"{_MODELS}/{target.model}"
        if self._project is not None and not path.startswith("projects/"):
            location = self._location or _location_of(target.base_url)
            path = f"projects/{self._project}/locations/{location}/{path}"
        return f"{self._root(target)}/{quote(path, safe='/@')}{method}"

    def _root(self, target: Target) -> str:
        """Return the address with its version."""
        address = target.base_url or _address_of(self._location or _GLOBAL)
        return address if urlsplit(address).path.strip("/") else address + _VERSION


def _location_of(address: str) -> str:
    found = _REGIONAL.fullmatch(urlsplit(address).hostname or "")
    return (found[1] or found[2]) if found else _GLOBAL


def _address_of(location: str) -> str:
    """Return where a location is served: a region, a continent, or the world."""
    if location == _GLOBAL:
        return "https://aiplatform.googleapis.com"
    if location in _CONTINENTS:
        return f"https://aiplatform.{location}.rep.googleapis.com"
    return f"https://{location}-aiplatform.googleapis.com"


def open_vertex(sender: Sender, options: VertexOptions, *, now: Callable[[], float] = time.time) -> Adapter:
    """Return the adapter of one provider; `now` is the time in seconds since the Unix epoch."""
    project = options.project
    if options.credentials is not None:
        account = read_account(options.credentials)
        project = project or account.project_id
        sender = AuthorizedSender(sender, Tokens(account, sender, now=now))
    return HttpAdapter(VertexDialect(project=project, location=options.location), sender)


def vertex_plugin(name: str, row: Vendor) -> Plugin:
    """Return the plug-in of Vertex AI."""

    def open_adapter(sender: Sender, options: msgspec.Struct) -> Adapter:
        return open_vertex(sender, options if isinstance(options, VertexOptions) else VertexOptions())

    return Plugin(
        name=name,
        open=open_adapter,
        options=VertexOptions,
        base_url=row.base_url,
        key_variables=row.keys,
        needs_key=False,
        catalog=name,
    )
