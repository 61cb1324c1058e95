"""The vendor rows: complete, sourced, and no row says what the structs do not know."""

import tomllib
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest

from providers.catalog import Catalog, Vendor, load_catalog

CATALOG = load_catalog()
ROWS = list(CATALOG.vendors.items())

CLOUD = ["openai", "mistral", "groq", "together", "fireworks", "deepseek", "openrouter", "xai"]
LOCAL = ["vllm", "sglang", "llamacpp", "lmstudio", "ollama", "ollama-openai", "native", "tgi"]


@pytest.fixture(scope="module")
def raw_rows() -> dict[str, dict[str, object]]:
    return tomllib.loads(files("providers").joinpath("catalog.toml").read_text(encoding="utf-8"))


def test_there_are_at_least_28_vendors():
    assert len([name for name, row in ROWS if row.wire == "openai" and name not in LOCAL]) >= 28
    assert {*CLOUD, *LOCAL, "azure", "huggingface"} <= set(CATALOG.vendors)


@pytest.mark.parametrize(("name", "row"), ROWS)
def test_a_row_names_its_source_and_an_address(name: str, row: Vendor):
    source = urlsplit(row.source)
    if row.wire == "native":
        assert (Path(__file__).parents[3] / row.source).is_file()
    else:
        assert (source.scheme, bool(source.hostname)) == ("https", True)
    assert (row.base_url is None) != (row.base_url_example is None)
    address = urlsplit(row.base_url or row.base_url_example or "")
    assert address.scheme == ("http" if name in LOCAL else "https")
    assert address.hostname
    assert not address.path.endswith("/")
    assert not address.query


@pytest.mark.parametrize(("name", "row"), ROWS)
def test_a_row_is_reachable_by_key_unless_it_is_local(name: str, row: Vendor):
    if name in LOCAL:
        assert not row.keys
        assert row.quirks.auth == "optional"
    else:
        assert row.quirks.auth != "optional"
    assert all(key.isupper() and key.isidentifier() for key in row.keys)


def test_no_two_rows_share_an_address_or_a_usual_key():
    addresses = [row.base_url for _, row in ROWS if row.base_url]
    assert len(addresses) == len(set(addresses))
    usual = [row.keys[0] for _, row in ROWS if row.keys]
    assert len(usual) == len(set(usual))


def test_openai_comes_first_and_local_servers_last():
    names = list(CATALOG.vendors)
    assert names[0] == "openai"
    assert names[-len(LOCAL) :] == LOCAL


def test_a_key_in_the_environment_is_enough_only_where_the_address_is_known():
    assert CATALOG.vendors["openai"].is_discoverable
    assert not CATALOG.vendors["azure"].is_discoverable
    assert not CATALOG.vendors["cloudflare"].is_discoverable
    assert not CATALOG.vendors["ollama-openai"].is_discoverable


def test_gemini_is_found_by_its_key_once_and_in_its_own_words():
    names = list(CATALOG.vendors)
    assert CATALOG.vendors["gemini"].is_discoverable
    assert CATALOG.vendors["gemini"].wire == "gemini"
    assert not CATALOG.vendors["gemini-openai"].is_discoverable
    assert not CATALOG.vendors["vertex"].is_discoverable
    assert names.index("gemini") < names.index("vertex") < names.index("gemini-openai")


def test_an_unknown_field_or_quirk_is_refused(raw_rows):
    row = raw_rows["openai"]
    with pytest.raises(msgspec.ValidationError, match="colour"):
        msgspec.convert({**row, "colour": "blue"}, type=Vendor)
    with pytest.raises(msgspec.ValidationError, match="moods"):
        msgspec.convert({**row, "quirks": {"moods": True}}, type=Vendor)
    with pytest.raises(msgspec.ValidationError, match="read"):
        msgspec.convert({**row, "read": "lately"}, type=Vendor)


def test_every_quirk_is_needed_by_some_row(raw_rows):
    used = {quirk for row in raw_rows.values() for quirk in row.get("quirks", {})}
    assert used == {field.name for field in msgspec.structs.fields(type(CATALOG.vendors["openai"].quirks))}


@pytest.mark.parametrize(("name", "row"), ROWS)
def test_the_price_source_of_a_row_exists(name: str, row: Vendor):
    if row.prices is not None:
        assert row.prices in CATALOG.snapshot.sources
        assert bool(CATALOG.models(name)) == (row.serves != ())


def test_a_vendor_without_prices_serves_nothing_unasked():
    assert CATALOG.models("vllm") == []
    assert CATALOG.models("no-such-vendor") == []
    assert CATALOG.find("vllm", "gpt-4o") is None
    assert CATALOG.find("no-such-vendor", "gpt-4o") is None


def test_only_the_models_of_the_endpoint_are_served():
    assert all(model.id.startswith(("gemini-", "gemma-")) for model in CATALOG.models("gemini-openai"))
    assert CATALOG.models("azure") == []
    assert {model.kind for vendor in CATALOG.vendors for model in CATALOG.models(vendor)} == {"chat", "embedding"}


def test_embedding_models_are_served_only_where_embeddings_are():
    kinds = {name: {model.kind for model in CATALOG.models(name)} for name in CATALOG.vendors}
    assert "embedding" in kinds["openai"]
    assert not [n for n, found in kinds.items() if "embedding" in found and not CATALOG.vendors[n].quirks.embeddings]


def test_prices_are_read_only_when_asked_for(monkeypatch):
    monkeypatch.setattr("providers.catalog.load_snapshot", lambda: pytest.fail("read too early"))
    catalog = load_catalog()
    assert isinstance(catalog, Catalog)
    assert catalog.models("vllm") == []
