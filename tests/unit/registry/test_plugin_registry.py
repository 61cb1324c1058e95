"""Where adapters come from: built in, rows of the catalogue, and packages that third parties publish."""

import importlib
import sys
import textwrap

import pytest

from providers.echo.plugin import echo_plugin
from providers.errors import ConnectFailed
from providers.plugin import Plugin
from providers.registry import BrokenPlugin, Registry, UnknownAdapter
from providers.testing.sender import ScriptedSender
from providers.types import Target

ACME = """
    from providers.echo.adapter import EchoAdapter
    from providers.plugin import Plugin

    plugin = Plugin(name="acme", open=lambda sender, options: EchoAdapter(), base_url="https://acme.example")
    loads = []
"""


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """Install packages on a path of their own: `publish(name, entry_points=..., source=...)`."""
    monkeypatch.syspath_prepend(str(tmp_path))
    made = []

    def install(module, *, entries, source):
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(source), encoding="utf-8")
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n", encoding="utf-8")
        lines = ["[llm_gateway.providers]", *(f"{name} = {value}" for name, value in entries.items())]
        (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
        made.append(module)
        importlib.invalidate_caches()

    yield install
    for module in made:
        sys.modules.pop(module, None)


def test_every_row_of_the_catalogue_is_an_adapter():
    registry = Registry()
    for name, row in registry.catalog.vendors.items():
        plugin = registry.find(name)
        assert (plugin.name, plugin.base_url, plugin.key_variables) == (name, row.base_url, row.keys)
        assert plugin.catalog == name
        adapter = plugin.open(ScriptedSender(ConnectFailed()), plugin.options())
        if row.wire in {"openai", "azure"}:
            assert "openai.chat" in adapter.relays(
                Target(provider="p", model="m", base_url=row.base_url or "https://x")
            )
        assert registry.find(name) is plugin


def test_only_where_a_key_is_optional_none_is_needed():
    registry = Registry()
    for name, row in registry.catalog.vendors.items():
        has_other_credentials = row.wire == "vertex"
        assert registry.find(name).needs_key == (row.quirks.auth != "optional" and not has_other_credentials)


def test_vendors_that_a_key_is_enough_for_come_in_the_catalogues_order():
    registry = Registry()
    found = [name for name, _ in registry.well_known()]
    assert found[0] == "openai"
    assert "azure" not in found, "its address belongs to the customer"
    assert found == [name for name in registry.catalog.vendors if name in found]
    assert all(row.keys and row.base_url for _, row in registry.well_known())


def test_the_echo_is_built_in():
    assert Registry().find("echo") is echo_plugin


def test_an_unknown_adapter_is_named():
    with pytest.raises(UnknownAdapter, match="opnai"):
        Registry().find("opnai")


def test_names_are_sorted_and_complete(publish):
    publish("acme_gateway", entries={"acme": "acme_gateway:plugin"}, source=ACME)
    registry = Registry()
    names = registry.names()
    assert names == sorted(names)
    assert {"acme", "azure", "echo", "openai"} <= set(names)
    assert all(isinstance(registry.find(name), Plugin) for name in names)


def test_a_published_plugin_is_loaded_when_it_is_named(publish):
    publish("acme_gateway", entries={"acme": "acme_gateway:plugin"}, source=ACME)
    registry = Registry()
    assert "acme" in registry.names()
    assert "acme_gateway" not in sys.modules, "listing loads nothing"
    plugin = registry.find("acme")
    assert plugin.base_url == "https://acme.example"
    assert registry.find("acme") is plugin


def test_a_published_plugin_does_not_replace_our_own(publish):
    publish("imposter", entries={"openai": "imposter:plugin", "echo": "imposter:plugin"}, source=ACME)
    registry = Registry()
    assert registry.find("openai").base_url == "https://api.openai.com/v1"
    assert registry.find("echo") is echo_plugin
    assert "imposter" not in sys.modules


@pytest.mark.parametrize(
    ("value", "source"),
    [
        ("broken:plugin", "raise RuntimeError('no luck')"),
        ("broken:plugin", "import a_package_that_is_not_there"),
        ("broken:plugin", "this is no python"),
        ("broken:plugin", ""),
        ("not_there:plugin", ""),
        ("broken:plugin", "plugin = 7"),
        ("broken:plugin", "from providers.plugin import Plugin as plugin"),
        ("broken", ""),
    ],
)
def test_a_broken_plugin_says_which_one_it_is(publish, value, source):
    publish("broken", entries={"acme": value}, source=source)
    registry = Registry()
    assert registry.find("echo") is echo_plugin
    with pytest.raises(BrokenPlugin, match=r"'acme' \(" + value):
        registry.find("acme")
    with pytest.raises(BrokenPlugin):
        registry.find("acme")


def test_a_plugin_that_breaks_disturbs_no_other(publish):
    publish("broken", entries={"broken": "broken:plugin"}, source="raise RuntimeError")
    publish("acme_gateway", entries={"acme": "acme_gateway:plugin"}, source=ACME)
    registry = Registry()
    with pytest.raises(BrokenPlugin):
        registry.find("broken")
    assert registry.find("acme").name == "acme"
