"""How a client of one dialect fares with the provider of another: what each cell of the support matrix is made from."""

import re
from typing import Any, NamedTuple

import msgspec

from app.api.understanding import Call, Wire
from app.api.wires import WIRES
from app.kernel.errors import InvalidRequest
from matrix.features import Feature, request_of, without
from providers.errors import ConnectFailed, RequestRefused
from providers.http.adapter import HttpAdapter
from providers.registry import Registry
from providers.testing.sender import ScriptedSender
from providers.types import ChatRequest, Secret, Target, UpstreamRequest

REGISTRY = Registry()
_WIRES = {wire.operation.relay: wire for wire in WIRES}


class Client(NamedTuple):
    """A client's dialect: its wire, its name in canonical requests, and the adapter that writes its documents."""

    title: str
    relay: str
    dialect: str
    writer: str
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def wire(self) -> Wire:
        """The endpoint's wire."""
        return _WIRES[self.relay]


class Provider(NamedTuple):
    """A provider: its adapter, a model of its, and who signs its reasoning, if anybody does."""

    title: str
    adapter: str
    model: str
    signer: str | None = None
    options: tuple[tuple[str, Any], ...] = ()
    base_url: str | None = None


CLIENTS = (
    Client("OpenAI chat completions", "openai.chat", "openai", "openai"),
    Client("OpenAI Responses", "openai.responses", "responses", "openai", (("chat_api", "responses"),)),
    Client("Anthropic Messages", "anthropic.messages", "anthropic", "anthropic"),
    Client("Gemini generateContent", "gemini.generate", "gemini", "gemini"),
    Client("/v1/llm/chat", "llm.chat", "openai", "openai"),
)
PROVIDERS = (
    Provider("OpenAI", "openai", "gpt-5.2", "responses"),
    Provider("OpenAI, by Responses", "openai", "gpt-5.2", "responses", (("chat_api", "responses"),)),
    Provider("Azure", "azure", "gpt-5.2", "responses", base_url="https://example.openai.azure.com"),
    Provider("Anthropic", "anthropic", "claude-opus-4-6", "anthropic"),
    Provider("Gemini", "gemini", "gemini-3-pro", "gemini"),
    Provider("Vertex", "vertex", "gemini-3-pro", "gemini", (("project", "p"),), "https://aiplatform.googleapis.com"),
    Provider(
        "Bedrock",
        "bedrock",
        "anthropic.claude-opus-4-6-v1:0",
        "anthropic",
        base_url="https://bedrock-runtime.us-east-1.amazonaws.com",
    ),
    Provider("Mistral", "mistral", "mistral-large-latest"),
    Provider("Cohere", "cohere", "command-a-03-2025"),
    Provider("Hugging Face", "huggingface", "meta-llama/Llama-3.3-70B-Instruct"),
    Provider("TGI", "tgi", "tgi", base_url="http://127.0.0.1:8080"),
    Provider("Ollama", "ollama", "llama3.3"),
    Provider("vLLM", "vllm", "qwen"),
)


class Cell(NamedTuple):
    """What becomes of a feature: `how` is `relayed`, `carried`, `dropped`, `refused` or `unsayable` by the client.

    `lost` says what is missing although nothing says so: a defect. `param` names the field of a refusal.
    """

    how: str
    param: str | None = None
    lost: str | None = None


def dialect_of(adapter: str, options: tuple[tuple[str, Any], ...]) -> Any:
    """Return the pure dialect inside an adapter."""
    plugin = REGISTRY.find(adapter)
    made = plugin.open(ScriptedSender(ConnectFailed()), msgspec.convert(dict(options), plugin.options))
    assert isinstance(made, HttpAdapter)
    return Speaker(made)


class Speaker:
    """The pure dialects inside an adapter: of a vendor with two wires, each request goes by the one that suits it."""

    def __init__(self, adapter: HttpAdapter) -> None:
        self._adapter = adapter

    def encode_chat(self, request: ChatRequest, target: Target) -> UpstreamRequest:
        return self._adapter.dialect_for(request, target).encode_chat(request, target)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._adapter._dialect, name)


def target_of(provider: Provider) -> Target:
    """Return where the provider's calls go."""
    plugin = REGISTRY.find(provider.adapter)
    url = provider.base_url or plugin.base_url or "https://provider.invalid"
    options = msgspec.convert(dict(provider.options), plugin.options)
    return Target(provider="p", model=provider.model, base_url=url, credential=Secret("sk-1"), options=options)


def document_of(client: Client, feature: Feature, *, stream: bool = False) -> dict[str, Any] | None:
    """Return the body in which a client of the dialect asks for a feature; `None` if it has no words for it."""
    dialect = dialect_of(client.writer, client.options)
    plugin = REGISTRY.find(client.writer)
    where = Target(provider="p", model="public", base_url=plugin.base_url or "", credential=Secret("sk-1"))
    try:
        asked = dialect.encode_chat(request_of(feature, dialect=client.dialect, stream=stream), where)
    except RequestRefused:
        return None
    if asked.dropped:
        return None
    document: dict[str, Any] = msgspec.json.decode(asked.body)
    return document


def call_of(client: Client, *, stream: bool = False) -> Call:
    """Return what stands beside the body."""
    if client.dialect != "gemini":
        return Call("", "")
    return Call("public:streamGenerateContent" if stream else "public:generateContent", "alt=sse" if stream else "")


def parsed(client: Client, document: dict[str, Any], *, stream: bool = False) -> ChatRequest:
    """Return the canonical form of a body, having passed the endpoint's own checks."""
    asked = client.wire.read(document, call_of(client, stream=stream))
    parse = client.wire.operation.parse
    assert parse is not None
    request = parse(document, asked)
    assert isinstance(request, ChatRequest)
    return request


def cell(client: Client, provider: Provider, feature: Feature) -> Cell:  # noqa: PLR0911 - one for each outcome
    """Return what becomes of a feature that a client asks of a provider."""
    dialect, where = dialect_of(provider.adapter, provider.options), target_of(provider)
    if client.relay in dialect.relays(where):
        return Cell("relayed")
    document = document_of(client, feature)
    if document is None:
        return Cell("unsayable")
    try:
        request = parsed(client, document)
    except InvalidRequest as error:
        return Cell("unsayable", param=error.param)
    try:
        sent: UpstreamRequest = dialect.encode_chat(request, where)
    except RequestRefused as error:
        return Cell("refused", param=error.param, lost=None if error.param else "the refusal names no field")
    if set(sent.dropped) & set(feature.says):
        return Cell("dropped")
    missing = [mark for mark in feature.marks if not re.search(mark, sent.body.decode())]
    if missing:
        return Cell("carried", lost=f"{missing} not in {sent.body.decode()[:600]}, dropped {sent.dropped}")
    if not feature.marks and feature.fields and _same_as_without(dialect, where, request, feature, sent):
        return Cell("carried", lost=f"the same is sent without it: {sent.body.decode()[:600]}")
    return Cell("carried")


def _same_as_without(dialect: Any, where: Target, request: ChatRequest, feature: Feature, sent: Any) -> bool:
    try:
        plain: UpstreamRequest = dialect.encode_chat(without(request, feature), where)
    except RequestRefused:
        return False  # what it stands on is refused, so with the feature something else is asked
    return bool(plain.body == sent.body)
