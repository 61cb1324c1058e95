"""The price snapshot that ships with the gateway. Law: data only; what a call costs is decided in `app.domain.prices`.

Every amount is an integer of nano-USD per million tokens. Models are kept by price source, one JSON value each, and a
source is decoded when it is first asked for.
"""

import re
from collections.abc import Callable, Mapping
from datetime import date
from importlib.resources import files
from typing import Literal

import msgspec

Kind = Literal["chat", "embedding", "completion", "rerank", "moderation", "image", "audio", "ocr", "other"]

MAX_NAME_CHARS = 256
"""A longer model name is never looked up: no vendor has one, and rules must not be run over junk."""


def _without_unit(field: str) -> str:
    return field.removesuffix("_nusd")


class Rates(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    gc=False,
    rename=_without_unit,
):
    """What tokens cost, in nano-USD per million.

    An absent cache, audio or image rate equals the rate of its direction; an absent `reasoning_nusd` equals that of
    the output, of which it is a part. `cache_write_1h_nusd` is the dearer write that lives an hour; absent, it
    costs what the other does.
    """

    input_nusd: int = 0
    output_nusd: int = 0
    cache_read_nusd: int | None = None
    cache_write_nusd: int | None = None
    cache_write_1h_nusd: int | None = None
    reasoning_nusd: int | None = None
    audio_input_nusd: int | None = None
    audio_output_nusd: int | None = None
    image_input_nusd: int | None = None
    image_output_nusd: int | None = None


class Tier(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rates of a request whose input, cached tokens included, is longer than `above_tokens`.

    They hold for the whole request, not only for the tokens beyond the threshold.
    """

    above_tokens: int
    rates: Rates


class PriceList(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Rates, and the tiers that replace them, thresholds ascending."""

    rates: Rates
    tiers: tuple[Tier, ...] = ()


class Change(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Prices that hold from a UTC date on, or between two minutes of every UTC day (half-open; may pass midnight)."""

    prices: PriceList
    since: date | None = None
    minutes: tuple[int, int] | None = None


class ModelPrices(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """All prices of a model: the last change in force wins over `standard`.

    `service_tiers` are the prices of the vendor's own service tiers (`flex`, `priority`), by the name that its answers
    carry, as in force on the day of the snapshot.
    """

    standard: PriceList
    changes: tuple[Change, ...] = ()
    service_tiers: dict[str, PriceList] = {}


class CatalogModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One upstream model.

    `id` is the name that the vendor's API takes. `match` are the alternatives by which any name is recognised: a
    clause, or a list of clauses that must all hold. A clause is its first character (`=` equals, `^` starts with, `$`
    ends with, `*` contains, `~` regular expression) and a text, compared in lower case. Absent, it is `=` and the id.
    `is_listed` says that the model is served without being asked for: current, and of a kind that the gateway speaks.
    """

    id: str
    kind: Kind = "chat"
    is_listed: bool = True
    context_tokens: int | None = None
    match: tuple[str | tuple[str, ...], ...] = ()
    prices: ModelPrices | None = None


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The models of one price source, and the sources to ask where it knows no answer."""

    models: tuple[CatalogModel, ...]
    fallbacks: tuple[str, ...] = ()


class SnapshotFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file: `version` names the data of origin and the day; `notice` gives its licence."""

    version: str
    notice: str
    sources: dict[str, msgspec.Raw]


class _Index:
    """Finds models of one source by name: exact names in a dictionary, the rest by rules in order."""

    def __init__(self, models: tuple[CatalogModel, ...]) -> None:
        self._exact: dict[str, CatalogModel] = {}
        self._rules: list[tuple[Callable[[str], bool], CatalogModel]] = []
        for model in models:
            for alternative in model.match or (f"={model.id}",):
                if isinstance(alternative, str) and alternative[0] == "=":
                    self._exact.setdefault(alternative[1:].lower(), model)
                else:
                    self._rules.append((_rule(alternative), model))

    def find(self, name: str) -> CatalogModel | None:
        """Return the model that the lower-case `name` means."""
        if model := self._exact.get(name):
            return model
        return next((model for is_match, model in self._rules if is_match(name)), None)


class Snapshot:
    """The models and prices of every source, decoded source by source."""

    def __init__(self, file: SnapshotFile) -> None:
        self.version = file.version
        self._raw: Mapping[str, msgspec.Raw] = file.sources
        self._sources: dict[str, Source] = {}
        self._indexes: dict[str, _Index] = {}

    @property
    def sources(self) -> tuple[str, ...]:
        """The names of all sources."""
        return tuple(self._raw)

    def models(self, source: str) -> tuple[CatalogModel, ...]:
        """Return every model of `source`, served or not; none if there is no such source."""
        return self._source(source).models

    def find(self, source: str, name: str) -> CatalogModel | None:
        """Return the model that `name` means at `source`, or at the sources that it falls back to.

        A name that means nothing is tried again with its date written as the vendors write it. The cost of a miss is
        bounded but not small: callers remember answers.
        """
        if len(name) > MAX_NAME_CHARS:
            return None
        lowered = name.lower()
        return self._find(source, lowered) or self._find(source, _with_dashed_date(lowered))

    def _find(self, source: str, name: str) -> CatalogModel | None:
        if model := self._index(source).find(name):
            return model
        found = (self._index(fallback).find(name) for fallback in self._source(source).fallbacks)
        return next((model for model in found if model), None)

    def _index(self, source: str) -> _Index:
        if source not in self._indexes:
            self._indexes[source] = _Index(self._source(source).models)
        return self._indexes[source]

    def _source(self, name: str) -> Source:
        if name not in self._raw:
            return _NO_SOURCE
        if name not in self._sources:
            self._sources[name] = msgspec.json.decode(self._raw[name], type=Source)
        return self._sources[name]


def load_snapshot() -> Snapshot:
    """Read the shipped snapshot."""
    body = files("providers").joinpath("prices.json").read_bytes()
    return Snapshot(msgspec.json.decode(body, type=SnapshotFile))


_NO_SOURCE = Source(models=())
_COMPACT_DATE = re.compile(r"-(20\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=-|:|$)")


def _with_dashed_date(name: str) -> str:
    """Return `name` with a date such as `-20251211` written `-2025-12-11`."""
    return _COMPACT_DATE.sub(r"-\1-\2-\3", name)


def _rule(alternative: str | tuple[str, ...]) -> Callable[[str], bool]:
    """Return the predicate of one alternative of `CatalogModel.match`."""
    if isinstance(alternative, str):
        return _clause(alternative)
    clauses = [_clause(clause) for clause in alternative]
    return lambda name: all(is_match(name) for is_match in clauses)


def _clause(clause: str) -> Callable[[str], bool]:
    """Return the predicate of one clause; a regular expression is compiled when it is first run."""
    sign, text = clause[0], clause[1:]
    if sign == "~":
        return lambda name: re.search(text, name) is not None
    text = text.lower()
    if sign == "=":
        return lambda name: name == text
    if sign == "^":
        return lambda name: name.startswith(text)
    if sign == "$":
        return lambda name: name.endswith(text)
    if sign == "*":
        return lambda name: text in name
    raise ValueError(f"{clause!r} is not a clause")
