from datetime import UTC, datetime

import pytest

from app.domain.prices import PriceOverlay
from app.domain.prices.schemas import StoredPrice
from app.gateway.routes import RouteBuilder, open_providers
from app.kernel.ids import uuid7
from app.observability.metrics import REQUESTS, Metrics
from app.settings import load
from app.settings.policy import EnsembleSettings
from providers.registry import Registry


class NoSender:
    """A transport that nobody calls."""

    async def send(self, request, *, timeouts):
        raise AssertionError(request, timeouts)


@pytest.fixture(scope="module")
def registry():
    return Registry()


@pytest.fixture
def table(tmp_path, registry):
    def built(text, **environ):
        path = tmp_path / "gateway.yaml"
        path.write_text(text)
        settings = load(path, environ=environ, adapter_options=lambda name: registry.find(name).options)
        providers = open_providers(settings, registry=registry, sender=NoSender())
        return RouteBuilder(settings, providers, registry).table()

    return built


OPENAI = "providers: {openai: {adapter: openai, api_key: 'env:OPENAI_API_KEY'}}\n"
LOCAL = "providers: {local: {adapter: openai, base_url: 'http://127.0.0.1:8000/v1', api_key: null}}\n"
KEY = {"OPENAI_API_KEY": "sk-canary-0123456789"}


def test_without_models_the_catalogue_is_served_bare_and_by_provider(table):
    routes = table(OPENAI, **KEY)
    assert routes.find("gpt-4o-mini").name == "gpt-4o-mini"
    assert routes.find("openai/gpt-4o-mini").name == "openai/gpt-4o-mini"
    assert routes.find("openai/no-such-model") is None


@pytest.mark.parametrize("model", ["gpt-image-1", "whisper-1", "tts-1", "omni-moderation-latest"])
def test_a_vendors_models_that_do_not_chat_are_served_by_name_and_not_listed(table, model):
    routes = table(OPENAI, **KEY)
    listed = {route.name for route in routes}
    for name in (model, f"openai/{model}"):
        route = routes.find(name)
        assert (route.name, route.targets[0].target.model, route.label) == (name, model, "openai/*")
        assert name not in listed
    assert routes.find(f"openai/../{model}") is None


def test_with_models_those_that_do_not_chat_are_named_too(table):
    models = "models: {mini: {targets: [{provider: openai, model: gpt-4o-mini}]}}\n"
    assert table(OPENAI + models, **KEY).find("gpt-image-1") is None


def test_with_models_only_those_are_served(table):
    models = "models: {mini: {targets: [{provider: openai, model: gpt-4o-mini}]}}\n"
    routes = table(OPENAI + models, **KEY)
    assert [route.name for route in routes] == ["mini"]
    assert routes.find("openai/gpt-4o-mini") is None
    assert routes.find("gpt-4o-mini") is None
    assert routes.pinned(routes.find("mini"), "openai", "gpt-4o") is not None


def test_an_unknown_server_takes_any_name_and_shows_one_label(table):
    routes = table(LOCAL)
    metrics = Metrics()
    for number in range(10_000):
        route = routes.find(f"local/junk-{number}")
        assert routes.find(f"junk-{number}") is None
        metrics.number(REQUESTS, "gateway", "/v1/chat/completions", route.label, "local", "200").add()
    assert [key[0] for key, _ in metrics._cells.read() if key[0] == REQUESTS.name] == [REQUESTS.name]
    assert metrics.exposition(frozenset()).count(b"gateway_requests_total{") == 1
    assert b"junk" not in metrics.exposition(frozenset())


def test_the_echo_is_free(table):
    route = table("providers: {echo: {adapter: echo}}\n").find("echo")
    assert route.targets[0].price.rates.input_nusd == 0


@pytest.mark.parametrize(
    ("adapter", "where", "vendor"),
    [
        ("bedrock", "base_url: 'https://bedrock-runtime.eu-west-1.amazonaws.com'", "bedrock"),
        ("bedrock", "region: eu-west-1", "bedrock"),
        ("azure", "base_url: 'https://mine.openai.azure.com'", "azure"),
        ("openai", "base_url: 'http://127.0.0.1:8000/v1'", ""),
    ],
)
def test_prices_hold_at_the_addresses_of_a_vendors_customers(table, adapter, where, vendor):
    cloud = f"providers: {{cloud: {{adapter: {adapter}, {where}, api_key: 'env:KEY'}}}}\n"
    models = "models: {mini: {targets: [{provider: cloud, model: gpt-4o-mini}]}}\n"
    assert table(cloud + models, KEY="k").find("mini").targets[0].vendor == vendor


def test_whole_answers_wait_longer_unless_the_operator_says_otherwise(table):
    [patient] = table(LOCAL).find("local/x").targets
    assert patient.whole_target.timeouts.first_token_s == patient.target.timeouts.total_s
    timed = LOCAL.replace("api_key: null", "api_key: null, timeouts: {first_token_s: 7}")
    [strict] = table(timed).find("local/x").targets
    assert strict.whole_target.timeouts.first_token_s == strict.target.timeouts.first_token_s == 7


class TestPricesOfTheAdminApi:
    """The file's price wins over one made there, and that over the catalogue's."""

    @pytest.fixture
    def priced(self, tmp_path, registry):
        def built(text, *prices, **environ):
            path = tmp_path / "gateway.yaml"
            path.write_text(text)
            settings = load(path, environ=environ, adapter_options=lambda name: registry.find(name).options)
            providers = open_providers(settings, registry=registry, sender=NoSender())
            overlay = PriceOverlay([price(*given) for given in prices])
            return RouteBuilder(settings, providers, registry, prices=overlay).table()

        return built

    MODELS = (
        "models: {own: {targets: [{provider: openai, model: gpt-4o-mini}], price: {input: '7'}},"
        " open: {targets: [{provider: openai, model: gpt-4o-mini}, {provider: local, model: qwen}]}}\n"
    )
    BOTH = (
        "providers: {openai: {adapter: openai, api_key: 'env:OPENAI_API_KEY'},"
        " local: {adapter: openai, base_url: 'http://127.0.0.1:8000/v1', api_key: null}}\n"
    )

    def test_of_a_configured_model(self, priced):
        routes = priced(self.BOTH + self.MODELS, (None, "own", "1"), ("openai", "gpt-4o-mini", "2"), **KEY)
        assert paid(routes.find("own")) == [7]
        assert paid(routes.find("open")) == [2, None]
        everywhere = priced(self.BOTH + self.MODELS, (None, "open", "3"), ("local", "qwen", "4"), **KEY)
        assert paid(everywhere.find("open")) == [3, 4]
        assert paid(everywhere.pinned(everywhere.find("open"), "local", "qwen")) == [4]

    def test_of_a_catalogue_model_by_any_of_its_names(self, priced):
        routes = priced(OPENAI, ("openai", "gpt-4o-mini", "1"), **KEY)
        assert paid(routes.find("gpt-4o-mini")) == paid(routes.find("openai/gpt-4o-mini")) == [1]
        assert paid(routes.find("gpt-4o")) == [None]
        bare = priced(OPENAI, (None, "gpt-4o-mini", "1"), **KEY)
        assert paid(bare.find("gpt-4o-mini")) == paid(bare.find("openai/gpt-4o-mini")) == [1]
        one_name = priced(OPENAI, (None, "openai/gpt-4o-mini", "1"), **KEY)
        assert paid(one_name.find("openai/gpt-4o-mini")) == [1]
        assert paid(one_name.find("gpt-4o-mini")) == [None]

    @pytest.mark.parametrize(
        "named", [("local", "qwen"), (None, "qwen"), (None, "local/qwen"), ("local", "local/qwen")]
    )
    def test_of_a_model_that_nobody_listed(self, priced, named):
        routes = priced(LOCAL, (*named, "1"))
        assert paid(routes.find("local/qwen")) == [1]
        assert paid(routes.find("local/other")) == [None]

    def test_of_a_vendors_model_that_does_not_chat(self, priced):
        routes = priced(OPENAI, ("openai", "whisper-1", "1"), **KEY)
        assert paid(routes.find("whisper-1")) == paid(routes.find("openai/whisper-1")) == [1]

    def test_the_echo_is_free_unless_given_one(self, priced):
        echo = "providers: {echo: {adapter: echo}}\n"
        assert paid(priced(echo).find("echo")) == [0]
        assert paid(priced(echo, ("echo", "echo", "5")).find("echo")) == [5]


def price(provider, model, text):
    at = datetime(2026, 11, 1, tzinfo=UTC)
    return StoredPrice(id=uuid7(), provider=provider, model=model, input=text, created_at=at, updated_at=at)


def paid(route):
    """Return what each target's input costs, USD per million tokens; nothing where the catalogue's price holds."""
    return [None if target.price is None else target.price.rates.input_nusd // 10**9 for target in route.targets]


class TestEnsemblesOfTheAdminApi:
    FILE = OPENAI + (
        "models: {mini: {targets: [{provider: openai, model: gpt-4o-mini}]}}\n"
        "ensembles: {both: {strategy: race, members: [mini, mini]}}\n"
    )
    RACE = EnsembleSettings(strategy="race", members=("mini",))

    @pytest.fixture
    def routes(self, tmp_path, registry):
        path = tmp_path / "gateway.yaml"

        def built(text, **ensembles):
            path.write_text(text)
            settings = load(path, environ=KEY, adapter_options=lambda name: registry.find(name).options)
            providers = open_providers(settings, registry=registry, sender=NoSender())
            return RouteBuilder(settings, providers, registry, ensembles=ensembles).table()

        return built

    def test_they_are_models_too(self, routes):
        table = routes(self.FILE, fast=self.RACE)
        assert [route.name for route in table] == ["mini", "fast", "both"]
        assert table.find("fast").ensemble == self.RACE

    def test_the_file_wins(self, routes):
        table = routes(self.FILE, both=self.RACE, mini=self.RACE)
        assert table.find("both").ensemble.members == ("mini", "mini")
        assert table.find("mini").ensemble is None

    def test_one_whose_member_is_gone_is_not_served(self, routes):
        gone = EnsembleSettings(strategy="race", members=("mini", "gone"))
        judged = EnsembleSettings(strategy="best_of", members=("mini",), judge="gone")
        nested = EnsembleSettings(strategy="race", members=("both",))
        table = routes(self.FILE, gone=gone, judged=judged, nested=nested)
        assert [table.find(name) for name in ("gone", "judged", "nested")] == [None] * 3

    def test_they_lie_over_the_catalogue(self, routes):
        over = EnsembleSettings(strategy="race", members=("gpt-4o-mini", "openai/gpt-4o"))
        table = routes(OPENAI, mine=over)
        assert [target.target.model for target in table.find("mine").targets] == ["gpt-4o-mini", "gpt-4o"]
