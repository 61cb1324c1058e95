"""Writes `providers/prices.json` from the data of the `genai-prices` package (MIT licence).

Run it by hand, in an environment of its own; CI does not. See `README.md` beside this file.
"""

import argparse
import re
import sys
import tomllib
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import ROUND_CEILING
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from genai_prices import Usage as GenaiUsage  # noqa: E402 - the checkout must come first on the path
from genai_prices import types as genai  # noqa: E402 - the same
from genai_prices.data import providers as genai_providers  # noqa: E402 - the same

from app.domain.prices import cost, price_from_list  # noqa: E402 - the same
from providers.price_snapshot import (  # noqa: E402 - the same
    CatalogModel,
    Change,
    Kind,
    ModelPrices,
    PriceList,
    Rates,
    Snapshot,
    SnapshotFile,
    Source,
    Tier,
)
from providers.types import Usage  # noqa: E402 - the same

TARGET = ROOT / "providers" / "prices.json"
NOTICE = (
    "Derived from genai-prices (https://github.com/pydantic/genai-prices), MIT License, copyright (c) its authors. "
    "Amounts are nano-USD per million tokens. Written by infra/prices/refresh.py."
)
FUTURE_ADAPTERS = ("anthropic", "google", "aws", "cohere")
"""Sources that no row of today's catalogue names but that adapters to come will."""

HUGGING_FACE = "huggingface"
"""Our name for the router's source: `genai-prices` has one source for each provider behind it."""

NUSD_PER_USD = 10**9
RATE_KEYS = {
    "input_mtok": "input_nusd",
    "output_mtok": "output_nusd",
    "cache_read_mtok": "cache_read_nusd",
    "cache_write_mtok": "cache_write_nusd",
    "cache_write_1h_mtok": "cache_write_1h_nusd",
    "output_reasoning_mtok": "reasoning_nusd",
    "input_audio_mtok": "audio_input_nusd",
    "output_audio_mtok": "audio_output_nusd",
    "input_image_mtok": "image_input_nusd",
    "output_image_mtok": "image_output_nusd",
}
KINDS: tuple[tuple[Kind, str], ...] = (
    ("rerank", r"rerank"),
    ("embedding", r"embed|(^|[/_-])(bge|gte|e5|uae)-|^voyage-|m2-bert"),
    ("moderation", r"moderation|llama-?guard|safeguard|prompt-guard|shield|content-safety"),
    ("ocr", r"(^|[/_-])ocr"),
    ("audio", r"whisper|tts|transcri|voice|speech|realtime|-live|sonic|orpheus|playai|aura-|melo|audio|parakeet"),
    ("image", r"image|dall-e|flux|imagen|nano-banana|sdxl|stable-diffusion|-omni-|video|veo|sora"),
    ("completion", r"^(text-)?(ada|babbage|curie|davinci)(-00\d)?$|gpt-3\.5-turbo-instruct"),
    ("other", r"decider|translat|indictrans|distilbert|classif|bart-large|clarif|m2m100|/clef|/clairic|computer-use"),
)
"""Names that give a model's kind away, tried in order; what none matches is a chat model."""

LISTED_KINDS = frozenset({"chat", "embedding"})

PROBES = (
    Usage(input_tokens=1_000, output_tokens=500),
    Usage(input_tokens=1_000, cache_read_tokens=2_000, cache_write_tokens=3_000, output_tokens=500),
    Usage(input_tokens=100_000, cache_read_tokens=300_000, output_tokens=1),
    Usage(input_tokens=199_999),
    Usage(input_tokens=200_000),
    Usage(input_tokens=272_001, output_tokens=5),
    Usage(input_tokens=1_000, audio_input_tokens=400, image_input_tokens=500),
    Usage(output_tokens=1_000, audio_output_tokens=400),
    Usage(output_tokens=1_000, image_output_tokens=500),
    Usage(cache_write_tokens=1_000, cache_write_1h_tokens=400),
)
"""Usage for which the snapshot and the data of origin must agree."""

TOLERATED_NUSD = 2
"""The cost is rounded up, and so were rates finer than a nano-USD."""


def main() -> None:
    """Write the snapshot, and fail if a name that the data knows would get another price from it."""
    parser = argparse.ArgumentParser(description=__doc__)
    today = datetime.now(UTC).date()
    parser.add_argument("--date", type=date.fromisoformat, default=today, help="the day of the prices")
    day: date = parser.parse_args().date
    sources = {name: source_of(name, day) for name in wanted_sources()}
    release = f"genai-prices-{version('genai-prices')}+{day.isoformat()}"
    TARGET.write_bytes(render(release, sources))
    snapshot = Snapshot(msgspec.json.decode(TARGET.read_bytes(), type=SnapshotFile))
    faults = [fault for name in sources for fault in compare(snapshot, name, day=day)]
    for fault in faults:
        print(fault)
    models = sum(len(source.models) for source in sources.values())
    print(f"{release}: {len(sources)} sources, {models} models, {TARGET.stat().st_size} bytes, {len(faults)} faults")
    sys.exit(bool(faults))


def wanted_sources() -> list[str]:
    """Return the sources that the catalogue names, and those that they fall back to."""
    rows = tomllib.loads((ROOT / "providers" / "catalog.toml").read_text(encoding="utf-8"))
    named = [row["prices"] for row in rows.values() if "prices" in row]
    names = list(dict.fromkeys([*named, *FUTURE_ADAPTERS]))
    origins = [origin(name) for name in names if name != HUGGING_FACE]
    fallbacks = [other for provider in origins for other in provider.fallback_model_providers or ()]
    return list(dict.fromkeys([*names, *fallbacks]))


def origin(name: str) -> genai.Provider:
    """Return a provider of the package."""
    return next(provider for provider in genai_providers if provider.id == name)


def source_of(name: str, day: date) -> Source:
    """Return one source of the snapshot."""
    if name == HUGGING_FACE:
        return Source(models=tuple(hugging_face_models(day)))
    provider = origin(name)
    return Source(
        models=tuple(model_of(model, day) for model in provider.models),
        fallbacks=tuple(provider.fallback_model_providers or ()),
    )


def hugging_face_models(day: date) -> Iterator[CatalogModel]:
    """Yield the models behind the Hugging Face router, named as the router names them: `model:provider`.

    A name without a provider has no price: the router picks one, and the answer does not say which.
    """
    prefix = f"{HUGGING_FACE}_"
    for provider in genai_providers:
        if not provider.id.startswith(prefix):
            continue
        suffix = provider.id.removeprefix(prefix)
        for info in provider.models:
            model = model_of(info, day)
            yield msgspec.structs.replace(model, id=f"{model.id}:{suffix}", match=())


def model_of(info: genai.ModelInfo, day: date) -> CatalogModel:
    """Return one model of the snapshot."""
    match = tuple(alternatives(info.match))
    exact = [clause[1:] for clause in match if isinstance(clause, str) and clause[0] == "="]
    name = info.id if info.is_match(info.id) or not exact else exact[0]
    prices = prices_of(info, day)
    kind = kind_of(name, prices)
    is_callable = info.is_match(name) and name[-1].isalnum() and not name.endswith(":batch")
    return CatalogModel(
        id=name,
        kind=kind,
        is_listed=kind in LISTED_KINDS and is_callable and not info.deprecated,
        context_tokens=info.context_window,
        match=() if match == (f"={name}",) else match,
        prices=prices,
    )


def kind_of(name: str, prices: ModelPrices | None) -> Kind:
    """Return what a model is for, judging by its name and by what is charged."""
    lowered = name.lower()
    for kind, pattern in KINDS:
        if re.search(pattern, lowered):
            return kind
    if prices is None:
        return "other"
    return "chat"


def alternatives(clause: Any) -> Iterator[str | tuple[str, ...]]:
    """Yield the alternatives of a match rule in the form that `CatalogModel.match` has."""
    if isinstance(clause, genai.ClauseOr):
        for inner in clause.or_:
            yield from alternatives(inner)
    elif isinstance(clause, genai.ClauseAnd):
        yield tuple(one_clause(inner) for inner in clause.and_)
    else:
        yield one_clause(clause)


def one_clause(clause: Any) -> str:
    """Return a single clause as text."""
    signs = {
        genai.ClauseEquals: ("=", "equals"),
        genai.ClauseStartsWith: ("^", "starts_with"),
        genai.ClauseEndsWith: ("$", "ends_with"),
        genai.ClauseContains: ("*", "contains"),
        genai.ClauseRegex: ("~", "regex"),
    }
    sign, field = signs[type(clause)]
    return sign + getattr(clause, field)


def prices_of(info: genai.ModelInfo, day: date) -> ModelPrices | None:
    """Return the prices of a model on `day`, with the changes to come.

    There are none where the data has no price for tokens, or where requests are charged for besides tokens.
    """
    schedule = info.prices if isinstance(info.prices, list) else [genai.ConditionalPrice(prices=info.prices)]
    standing = [i for i, entry in enumerate(schedule) if holds_all_day(entry.constraint, day)]
    first = standing[-1] if standing else 0
    standard = schedule[first].prices
    if (standard.input_mtok is None and standard.output_mtok is None) or standard.requests_kcount:
        return None
    return ModelPrices(
        standard=price_list(standard),
        changes=tuple(change_of(entry) for entry in schedule[first + 1 :]),
        service_tiers=service_tiers(info, standard, day),
    )


def holds_all_day(constraint: Any, day: date) -> bool:
    """Whether a price is in force on the whole of `day`."""
    return constraint is None or (isinstance(constraint, genai.StartDateConstraint) and constraint.start_date <= day)


def change_of(entry: genai.ConditionalPrice) -> Change:
    """Return a change of price: a date to come, or hours of the day."""
    constraint = entry.constraint
    if isinstance(constraint, genai.StartDateConstraint):
        return Change(prices=price_list(entry.prices), since=constraint.start_date)
    if not isinstance(constraint, genai.TimeOfDateConstraint):
        raise TypeError(f"no change: {entry}")
    return Change(prices=price_list(entry.prices), minutes=(minute(constraint.start_time), minute(constraint.end_time)))


def minute(moment: time) -> int:
    """Return the minute of the UTC day."""
    if moment.utcoffset() or moment.second:
        raise ValueError(f"{moment} is not a whole minute of UTC")
    return moment.hour * 60 + moment.minute


def service_tiers(info: genai.ModelInfo, standard: genai.ModelPrice, day: date) -> dict[str, PriceList]:
    """Return the prices of the vendor's service tiers, complete: what a tier does not say is as standard.

    A speed that an answer can name is one of them.
    """
    tiers: dict[str, dict[str, Any]] = {}
    for variant in info.price_variants or ():
        name = variant.when.get("service_tier") or variant.when.get("speed")
        if name and len(variant.when) == 1 and holds_all_day(variant.constraint, day):
            overrides = tiers.setdefault(name, {})
            for key, value in vars(variant.prices).items():
                overrides.setdefault(key, value)
    return {
        name: price_list(genai.ModelPrice(**{**vars(standard), **overrides}))
        for name, overrides in tiers.items()
        if overrides
    }


def price_list(prices: genai.ModelPrice) -> PriceList:
    """Return prices in integers; every tier is complete."""
    values = {key: value for key, value in vars(prices).items() if value is not None and key in RATE_KEYS}
    tiered = [value for value in values.values() if isinstance(value, genai.TieredPrices)]
    starts = sorted({tier.start for value in tiered for tier in value.tiers})
    return PriceList(
        rates=rates_at(values, start=-1),
        tiers=tuple(Tier(above_tokens=start, rates=rates_at(values, start=start)) for start in starts),
    )


def rates_at(values: dict[str, Any], *, start: int) -> Rates:
    """Return the rates of a request longer than `start` tokens; a fraction of a nano-USD is rounded up."""
    amounts = {}
    for key, value in values.items():
        amount = value
        if isinstance(value, genai.TieredPrices):
            amount = next((tier.price for tier in reversed(value.tiers) if tier.start <= start), value.base)
        amounts[RATE_KEYS[key]] = int((amount * NUSD_PER_USD).to_integral_value(ROUND_CEILING))
    return Rates(**amounts)


def render(release: str, sources: dict[str, Source]) -> bytes:
    """Return the file: one model a line, so that a refresh reads well as a diff."""
    encode = msgspec.json.encode
    blocks = []
    for name, source in sources.items():
        lines = b",\n".join(encode(model) for model in source.models)
        fallbacks = b',"fallbacks":' + encode(source.fallbacks) if source.fallbacks else b""
        blocks.append(encode(name) + b':{"models":[\n' + lines + b"]" + fallbacks + b"}")
    head = b'{"version":' + encode(release) + b',"notice":' + encode(NOTICE) + b',"sources":{\n'
    return head + b",\n".join(blocks) + b"}}\n"


def compare(snapshot: Snapshot, name: str, *, day: date) -> Iterator[str]:
    """Yield every name that a source spells out and that means, or costs, something else in the data of origin."""
    if name == HUGGING_FACE:
        return
    provider = origin(name)
    for text in sorted({text for model in provider.models for text in exact_names(model)}):
        theirs, ours = provider.find_model(text, all_providers=genai_providers), snapshot.find(name, text)
        if theirs is None or ours is None or rule_of(theirs) != (ours.match or (f"={ours.id}",)):
            yield f"{name}: {text!r} is {ours and ours.id!r} here, {theirs and theirs.id!r} there"
        elif ours.prices and not costs_the_same(ours.prices, theirs, provider, day=day):
            yield f"{name}: {text!r} costs something else here than there"


def costs_the_same(ours: ModelPrices, theirs: genai.ModelInfo, provider: genai.Provider, *, day: date) -> bool:
    """Whether both price every probe alike at the start of `day`, when no hours of the day are dearer."""
    price = price_from_list(ours.standard, version="")
    moment = datetime.combine(day, time.min, UTC)
    for probe in PROBES:
        usage = GenaiUsage(
            input_tokens=probe.prompt_tokens,
            output_tokens=probe.output_tokens,
            cache_read_tokens=probe.cache_read_tokens,
            cache_write_tokens=probe.cache_write_tokens,
            cache_write_1h_tokens=probe.cache_write_1h_tokens,
            input_audio_tokens=probe.audio_input_tokens,
            input_image_tokens=probe.image_input_tokens,
            output_audio_tokens=probe.audio_output_tokens,
            output_image_tokens=probe.image_output_tokens,
        )
        answer = theirs.calc_price(usage, provider, genai_request_timestamp=moment)
        if not 0 <= cost(price, probe) - answer.total_price * NUSD_PER_USD < TOLERATED_NUSD:
            return False
    return True


def exact_names(model: genai.ModelInfo) -> Iterator[str]:
    """Yield the names that a model's rule spells out."""
    for alternative in alternatives(model.match):
        if isinstance(alternative, str) and alternative[0] == "=":
            yield alternative[1:]


def rule_of(info: genai.ModelInfo) -> tuple[str | tuple[str, ...], ...]:
    """Return what identifies a model of the package: its rule."""
    return tuple(alternatives(info.match))


if __name__ == "__main__":
    main()
