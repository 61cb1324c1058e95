"""The shipped price file, and how names are found in it."""

import re
from importlib.resources import files

import msgspec
import pytest

from providers.price_snapshot import (
    CatalogModel,
    ModelPrices,
    PriceList,
    Rates,
    Snapshot,
    SnapshotFile,
    Source,
    load_snapshot,
)

SNAPSHOT = load_snapshot()
MODELS = [(source, model) for source in SNAPSHOT.sources for model in SNAPSHOT.models(source)]
DEAREST_NUSD = 1_000 * 10**9
"""No vendor charges more than 1000 USD per million tokens: anything above is a mistake of units."""


def lists_of(prices: ModelPrices) -> list[PriceList]:
    return [prices.standard, *(change.prices for change in prices.changes), *prices.service_tiers.values()]


def snapshot_of(*models: CatalogModel, fallbacks: tuple[str, ...] = (), **others: Source) -> Snapshot:
    sources = {"here": Source(models=models, fallbacks=fallbacks), **others}
    raw = {name: msgspec.Raw(msgspec.json.encode(source)) for name, source in sources.items()}
    return Snapshot(SnapshotFile(version="test", notice="none", sources=raw))


def found(snapshot: Snapshot, name: str) -> str | None:
    model = snapshot.find("here", name)
    return model and model.id


def test_the_file_is_small_and_says_where_it_is_from():
    body = files("providers").joinpath("prices.json").read_bytes()
    assert len(body) < 600_000
    file = msgspec.json.decode(body, type=SnapshotFile)
    assert re.fullmatch(r"genai-prices-\d+(\.\d+)+\+20\d\d-\d\d-\d\d", file.version)
    assert "MIT" in file.notice
    assert "genai-prices" in file.notice


def test_every_rate_is_a_plausible_integer():
    for _, model in MODELS:
        for listed in lists_of(model.prices) if model.prices else []:
            for rates in [listed.rates, *(tier.rates for tier in listed.tiers)]:
                values = [value for value in msgspec.structs.astuple(rates) if value is not None]
                assert all(type(value) is int and 0 <= value <= DEAREST_NUSD for value in values), model.id


def test_thresholds_ascend():
    for _, model in MODELS:
        for listed in lists_of(model.prices) if model.prices else []:
            starts = [tier.above_tokens for tier in listed.tiers]
            assert starts == sorted(set(starts)), model.id


def test_a_listed_model_is_found_by_its_own_id():
    for source, model in MODELS:
        if model.is_listed:
            other = SNAPSHOT.find(source, model.id)
            assert other is not None, (source, model.id)
            assert other.prices == model.prices, (source, model.id)


def test_every_rule_can_be_run():
    for source in SNAPSHOT.sources:
        assert SNAPSHOT.find(source, "\N{SNOWMAN} no such model") is None


@pytest.mark.parametrize(
    ("source", "name", "expected"),
    [
        ("openai", "gpt-4o", "gpt-4o"),
        ("openai", "GPT-4o", "gpt-4o"),
        ("openai", "gpt-4o-2024-11-20", "gpt-4o"),
        ("openai", "gpt-5.2-20251211", "gpt-5.2"),
        ("openai", "ft:gpt-4o-mini-2024-07-18:acme::abc", "ft:gpt-4o-mini"),
        ("anthropic", "claude-opus-4-5-20251101", "claude-opus-4-5"),
        ("google", "gemini-2.5-pro-preview-06-05", "gemini-2.5-pro"),
        ("google", "gemini-2.5-pro-preview-tts", "gemini-2.5-pro-tts"),
        ("azure", "gpt-4o-mini", "gpt-4o-mini"),
        ("fireworks", "accounts/fireworks/models/kimi-k3", "accounts/fireworks/models/kimi-k3"),
        ("openai", "llama-3", None),
        ("openai", "", None),
    ],
)
def test_real_names_are_found(source: str, name: str, expected: str | None):
    model = SNAPSHOT.find(source, name)
    assert (model and model.id) == expected


def test_an_exact_name_wins_over_an_earlier_rule():
    wide = CatalogModel(id="wide", match=("*lar",))
    exact = CatalogModel(id="polar")
    assert found(snapshot_of(wide, exact), "polar") == "polar"
    assert found(snapshot_of(wide, exact), "solar") == "wide"


def test_rules_are_tried_in_order():
    first, second = CatalogModel(id="first", match=("^po",)), CatalogModel(id="second", match=("*olar",))
    assert found(snapshot_of(first, second), "polar") == "first"
    assert found(snapshot_of(second, first), "polar") == "second"


@pytest.mark.parametrize(
    ("match", "hits", "misses"),
    [
        (("^Ab",), ["abc", "AB"], ["cab"]),
        (("$Bc",), ["abc"], ["bca"]),
        (("*B",), ["abc"], ["ac"]),
        (("~^a\\d$",), ["a1", "A1"], ["ab", "a12"]),
        ((("^a", "~^(?!.*-tts$)"),), ["abc"], ["a-tts", "b"]),
        (("=x", "=Y"), ["X", "y"], ["xy"]),
    ],
)
def test_clauses(match, hits, misses):
    snapshot = snapshot_of(CatalogModel(id="model", match=match))
    assert [found(snapshot, name) for name in hits] == ["model"] * len(hits)
    assert [found(snapshot, name) for name in misses] == [None] * len(misses)


def test_an_unknown_clause_is_refused():
    with pytest.raises(ValueError, match="not a clause"):
        snapshot_of(CatalogModel(id="model", match=("?x",))).find("here", "x")


def test_a_source_falls_back_one_step():
    elsewhere = Source(models=(CatalogModel(id="theirs"),), fallbacks=("further",))
    further = Source(models=(CatalogModel(id="distant"),))
    snapshot = snapshot_of(CatalogModel(id="ours"), fallbacks=("elsewhere",), elsewhere=elsewhere, further=further)
    assert found(snapshot, "ours") == "ours"
    assert found(snapshot, "theirs") == "theirs"
    assert found(snapshot, "distant") is None


def test_a_long_name_is_not_looked_up():
    snapshot = snapshot_of(CatalogModel(id="any", match=("^a",)))
    assert found(snapshot, "a" * 256) == "any"
    assert found(snapshot, "a" * 257) is None


def test_a_file_with_an_unknown_field_is_refused():
    body = msgspec.json.encode({"models": [{"id": "x", "prices": {"standard": {"rates": {"inputs": 1}}}}]})
    with pytest.raises(msgspec.ValidationError, match="inputs"):
        msgspec.json.decode(body, type=Source)


def test_rates_are_written_without_their_unit():
    assert msgspec.json.encode(Rates(input_nusd=5, cache_read_nusd=1)) == b'{"input":5,"cache_read":1}'


def test_the_router_of_hugging_face_names_the_provider():
    ids = [model.id for model in SNAPSHOT.models("huggingface")]
    assert ids
    assert all(re.search(r":[a-z-]+$", name) for name in ids)
    assert len(ids) == len(set(ids))
