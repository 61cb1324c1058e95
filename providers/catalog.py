"""The vendors that need no code of their own. Law: data before code; a vendor that speaks a known wire is a row.

The rows are in `catalog.toml`; their order is the precedence of bare model names. Models and prices come from the price
snapshot, which is read when it is first asked for.
"""

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from typing import Annotated, Literal

import msgspec

from providers.price_snapshot import CatalogModel, Snapshot, load_snapshot

Wire = Literal["openai", "azure", "anthropic", "gemini", "vertex", "bedrock", "cohere", "ollama", "tgi", "native"]
"""The wires that have code."""

Signs = Literal["none", "plain", "google", "openrouter"]
"""Whose form of reasoning a chat endpoint sends, and wants back."""


class Quirks(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a vendor differs from OpenAI's API.

    - `auth`: `bearer` sends `Authorization: Bearer`, `api-key` sends `api-key`; `optional` is `bearer` where a key is
      configured, and no header where none is.
    - `max_tokens_field`: the field of a chat request in which the gateway writes an output cap of its own.
    - `stream_usage`: what makes a stream report its tokens. `include_usage`: the gateway asks by
      `stream_options.include_usage`; `always`: it comes unasked, and the gateway sends no `stream_options`.
    - `embeddings`: the vendor serves `/embeddings`.
    - `serves`: which of the endpoints it serves that the gateway could otherwise say by chat completions, and serves in
      full: many have a `/responses` that refuses the custom tools of agents, which the gateway says as functions.
    - `unsupported`: fields of a chat request that its documentation says are refused.
    - `is_openai`: it runs OpenAI's models behind OpenAI's own API, newest fields included: custom tools, `verbosity`,
      `prompt_cache_key`, `safety_identifier`, `service_tier`; but no `top_k`, which the servers of others take.
    - `words`: whose words translated requests use, where they are not OpenAI's (`providers.openai.mistral`).
    - `signs`: whose form of reasoning it sends, and wants back: Google's `extra_content` of tool calls, OpenRouter's
      `reasoning_details`, or `plain` for `reasoning_content`, which nobody signs.
    - `keeps_responses`: it stores responses, so that they can be read, deleted and gone on from.
    - `headers`: sent with every request, such as the name of the calling application where a vendor asks for it.
    - `models_path`: where its models are listed, relative to the base URL; empty where it lists none.
    """

    auth: Literal["bearer", "api-key", "optional"] = "bearer"
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    stream_usage: Literal["include_usage", "always"] = "include_usage"
    embeddings: bool = False
    serves: frozenset[Literal["responses", "completions"]] = frozenset()
    unsupported: frozenset[str] = frozenset()
    is_openai: bool = False
    words: Literal["openai", "mistral"] = "openai"
    signs: Signs = "none"
    keeps_responses: bool = False
    headers: dict[str, str] = {}
    models_path: str = "/models"


class Vendor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row.

    `base_url` has no trailing slash; it is absent where it belongs to the customer, and `base_url_example` shows its
    form. `keys` are the environment variables in which the vendor's own tools look for the key, the usual one first.
    `prices` names the price source. `serves` are the beginnings of the names of the models that it serves without being
    asked for, where those are not all of the source; empty where customers name their own deployments.
    `bills_after_disconnect` is whether the vendor finishes, and bills, an answer whose connection was cut. `source` is
    the vendor's page that the row was read from, in the month `read`.
    """

    display: str
    source: str
    read: Annotated[str, msgspec.Meta(pattern=r"^20\d\d-(0[1-9]|1[0-2])$")]
    wire: Wire = "openai"
    base_url: str | None = None
    base_url_example: str | None = None
    keys: tuple[str, ...] = ()
    prices: str | None = None
    serves: tuple[str, ...] | None = None
    bills_after_disconnect: bool = False
    quirks: Quirks = Quirks()

    @property
    def is_discoverable(self) -> bool:
        """Whether a key found in the environment is enough to use the vendor."""
        return bool(self.keys and self.base_url)


class Catalog:
    """All vendors, by the adapter name that a configuration uses, in order of precedence."""

    def __init__(self, vendors: Mapping[str, Vendor]) -> None:
        self.vendors = dict(vendors)
        self._snapshot: Snapshot | None = None

    @property
    def snapshot(self) -> Snapshot:
        """The models and prices; read on first use."""
        if self._snapshot is None:
            self._snapshot = load_snapshot()
        return self._snapshot

    def models(self, vendor: str) -> list[CatalogModel]:
        """Return the models of a vendor that are served without being asked for: chat and embedding models.

        A vendor without a price source, or an adapter that is no row, has none.
        """
        row = self.vendors.get(vendor)
        if row is None or row.prices is None:
            return []
        return [model for model in self.snapshot.models(row.prices) if model.is_listed and _serves(row, model)]

    def find(self, vendor: str, name: str) -> CatalogModel | None:
        """Return the model that `name` means at a vendor, by id, by alias or by rule; slow for a name that means none.

        `vendor` may also name a price source, for adapters that are no row.
        """
        row = self.vendors.get(vendor)
        source = row.prices if row else vendor
        return self.snapshot.find(source, name) if source else None


def load_catalog() -> Catalog:
    """Read the shipped catalogue."""
    text = files("providers").joinpath("catalog.toml").read_text(encoding="utf-8")
    return Catalog(msgspec.convert(tomllib.loads(text), type=dict[str, Vendor]))


def _serves(vendor: Vendor, model: CatalogModel) -> bool:
    if model.kind == "embedding" and not vendor.quirks.embeddings:
        return False
    return vendor.serves is None or model.id.startswith(vendor.serves)
