"""What was made through the API lies under the file, and the catalogue goes on where the file names no models."""

import msgspec
import pytest

from app.domain.upstream.overlay import StoredUpstream
from app.gateway.routes import RouteBuilder, open_providers
from app.settings.model import EnsembleSettings, ModelSettings, ProviderSettings, Settings, TargetSettings
from providers.registry import Registry

ECHO, OPENAI = ProviderSettings(adapter="echo"), ProviderSettings(adapter="openai")


def model(*providers: str, **more) -> ModelSettings:
    return ModelSettings(targets=tuple(TargetSettings(provider=name, model="echo") for name in providers), **more)


STORED = StoredUpstream(
    providers={"made": ECHO, "both": OPENAI},
    reaches={"made": "public", "both": "private"},
    models={"m": model("made"), "taken": model("made"), "half": model("made", "gone"), "lost": model("gone")},
)


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry()


def routes(settings: Settings, registry: Registry, *, stored: StoredUpstream = STORED):
    served = stored.under(settings)
    providers = open_providers(served, registry=registry, sender=None)  # type: ignore[arg-type] # nobody is called
    return RouteBuilder(served, providers, registry, names_models=bool(settings.models)).table()


def test_the_file_wins() -> None:
    settings = Settings(providers={"both": ECHO}, models={"taken": model("both")})
    served = STORED.under(settings)
    assert served.providers == {"both": ECHO, "made": ECHO}
    assert served.models["taken"] == model("both")
    assert [STORED.reach(name, settings) for name in ("both", "made")] == [None, "public"]
    assert STORED.under(Settings()).models["taken"] == model("made")


def test_an_ensemble_of_the_file_wins_too() -> None:
    settings = Settings(ensembles={"m": EnsembleSettings(strategy="quorum", members=("x",), quorum=1)})
    assert "m" not in STORED.under(settings).models


def test_targets_whose_providers_are_gone_are_left_out() -> None:
    served = STORED.under(Settings())
    assert [target.provider for target in served.models["half"].targets] == ["made"]
    assert "lost" not in served.models


def test_nothing_stored_changes_nothing() -> None:
    settings = Settings(providers={"both": ECHO})
    assert StoredUpstream().under(settings) is settings


def test_where_the_file_names_models_only_named_ones_are_served(registry: Registry) -> None:
    table = routes(Settings(providers={"echo": ECHO}, models={"file": model("echo")}), registry)
    assert {route.name for route in table} == {"file", "m", "taken", "half"}
    assert table.find("gpt-4o") is None


def test_where_it_names_none_the_catalogue_goes_on(registry: Registry) -> None:
    table = routes(Settings(providers={"openai": OPENAI}), registry)
    for name in ("m", "gpt-4o", "openai/gpt-4o", "made/echo", "both/gpt-4o"):
        assert table.find(name) is not None, name
    alone = routes(Settings(providers={"openai": OPENAI}), registry, stored=StoredUpstream())
    assert alone.find("m") is None


def test_a_made_model_wins_over_the_catalogues(registry: Registry) -> None:
    stored = msgspec.structs.replace(STORED, models={"gpt-4o": model("made")})
    table = routes(Settings(providers={"openai": OPENAI}), registry, stored=stored)
    found = table.find("gpt-4o")
    assert found is not None
    assert [target.provider for target in found.targets] == ["made"]
