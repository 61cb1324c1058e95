"""Whatever a client of any dialect asks of any provider is carried, listed as dropped, or refused by name."""

import pytest

from matrix import document
from matrix.cells import CLIENTS, PROVIDERS, Client, Provider, cell
from matrix.features import FEATURES, Feature
from matrix.signed import signed_cell

CLIENT = pytest.mark.parametrize("client", CLIENTS, ids=[client.relay for client in CLIENTS])
PROVIDER = pytest.mark.parametrize("provider", PROVIDERS, ids=[provider.title for provider in PROVIDERS])


@CLIENT
@PROVIDER
@pytest.mark.parametrize("feature", FEATURES, ids=[feature.name for feature in FEATURES])
def test_nothing_is_lost_in_silence(client: Client, provider: Provider, feature: Feature):
    assert cell(client, provider, feature).lost is None


@CLIENT
@PROVIDER
def test_what_a_vendor_signed_comes_back_to_it(client: Client, provider: Provider):
    assert signed_cell(client, provider).lost is None


def test_every_dialect_reaches_every_provider():
    """Text, tools with their results, and a system prompt are carried everywhere, but for a server without tools."""
    for feature in FEATURES:
        if feature.name in {"text", "system prompt first", "system prompt later", "several turns"}:
            found = {cell(client, provider, feature).how for client in CLIENTS for provider in PROVIDERS}
            assert found <= {"relayed", "carried"}, feature.name
        if feature.name in {"tools", "parallel calls and results"}:
            able = [provider for provider in PROVIDERS if provider.adapter != "tgi"]
            found = {cell(client, provider, feature).how for client in CLIENTS for provider in able}
            assert found <= {"relayed", "carried"}, feature.name


def test_the_document_says_what_the_code_does():
    assert document.PATH.read_text(encoding="utf-8") == document.document(), (
        "run: .venv/bin/python tests/matrix/document.py"
    )
