import pytest

from app.routing.table import ProviderRoute, Route, RouteTable, RouteTarget
from providers.echo.adapter import EchoAdapter
from providers.types import Target


def target(provider="p", model="m", weight=1):
    where = Target(provider=provider, model=model, base_url="http://x")
    return RouteTarget(provider=provider, adapter=EchoAdapter(), target=where, whole_target=where, weight=weight)


def route(name="m", *targets, label=None):
    return Route(name=name, label=label or name, targets=targets or (target(),), owned_by="p")


def open_table(**routes):
    template = route("local/*", target("local", "*"))
    known = {"gpt": route("openai/gpt", target("openai", "gpt"))}
    providers = {"local": ProviderRoute({}, template=template), "openai": ProviderRoute(known, template=None)}
    return RouteTable(routes, providers)


def test_a_public_name_wins_over_a_provider():
    mine = route("local/x", target("other", "y"))
    assert open_table(**{"local/x": mine}).find("local/x") is mine


def test_an_open_provider_takes_any_plain_name():
    found = open_table().find("local/meta-llama/Llama-3.1:8b")
    assert found is not None
    assert (found.name, found.label) == ("local/meta-llama/Llama-3.1:8b", "local/*")
    assert found.targets[0].target.model == found.targets[0].whole_target.model == "meta-llama/Llama-3.1:8b"


@pytest.mark.parametrize(
    "model",
    ["", "../../x", "a/../b", "..", "a b", "a\x00b", "a\nb", "a\r\nx: 1", "\u202e", "m" * 201, "m" * 10_240, "%2e%2e",
     "gpt-4o#", "x?y=1", "a\\b", 'a"b', "a<b>", "\ud800", "a\u00a0b", "a\u2028b"],
)  # fmt: skip
def test_junk_names_are_never_accepted(model):
    table = open_table()
    assert table.find(f"local/{model}") is None
    assert table.find(model) is None
    assert table.pinned(route(), "local", model) is None


def test_a_provider_that_is_not_open_serves_only_what_is_listed():
    table = open_table()
    assert table.find("openai/gpt") is None
    assert table.find("openai/other") is None
    assert table.find("nobody/gpt") is None
    assert table.find("/gpt") is None
    assert table.find("gpt") is None


def test_a_route_is_narrowed_to_one_of_its_targets():
    first, second = target("a", "x"), target("b", "y")
    narrowed = open_table().pinned(route("m", first, second), "b", "y")
    assert narrowed is not None
    assert narrowed.targets == (second,)
    assert narrowed.name == "m"


def test_a_pin_may_name_any_model_that_a_provider_has():
    table = open_table()
    assert table.pinned(route(), "openai", "gpt").targets[0].target.model == "gpt"
    assert table.pinned(route(), "local", "qwen").targets[0].target.model == "qwen"
    assert table.pinned(route(), "openai", "other") is None
    assert table.pinned(route(), "nobody", "gpt") is None


def test_a_table_is_in_the_order_of_precedence():
    table = open_table(b=route("b"), a=route("a"))
    assert [each.name for each in table] == ["b", "a"]
    assert len(table) == 2
