"""Without a file: one provider for every well-known key of the environment."""

import msgspec
import pytest

from app.settings import discover_providers, effective
from providers.types import Secret


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """An adapter that needs nothing."""


class NeedsRegion(msgspec.Struct, frozen=True, kw_only=True):
    """An adapter that cannot be used without an option."""

    region: str


ADAPTERS = {"openai": Options, "groq": Options, "echo": Options, "cloud": NeedsRegion}
ROWS = (
    ("openai", "openai", ("OPENAI_API_KEY",)),
    ("groq", "groq", ("GROQ_API_KEY",)),
    ("huggingface", "openai", ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")),
    ("gemini", "gemini", ("GEMINI_API_KEY",)),
    ("cloud", "cloud", ("CLOUD_KEY",)),
)
KEYS = {
    "HUGGING_FACE_HUB_TOKEN": "canary-hf\n",
    "HF_TOKEN": " ",
    "GROQ_API_KEY": "canary-groq",
    "GEMINI_API_KEY": "canary",
    "CLOUD_KEY": "canary",
    "OPENAI_API_KEY": "",
}


def test_each_key_found_makes_a_provider_in_the_catalogues_order():
    found = discover_providers(KEYS, ROWS, adapter_options=ADAPTERS.get)
    assert [*found] == ["echo", "groq", "huggingface"]
    provider, origin = found["huggingface"]
    assert (provider.adapter, provider.api_key, origin) == ("openai", Secret("canary-hf"), "env HUGGING_FACE_HUB_TOKEN")
    assert isinstance(provider.options, Options)
    assert found["echo"][0].credentials == ()


def test_nothing_is_found_where_nothing_is():
    assert discover_providers({}, ROWS, adapter_options=lambda _: None) == {}


def test_they_are_the_providers_of_settings_without_any(load_text):
    known = {"catalog_rows": ROWS, "adapter_options": ADAPTERS.get}
    for text in (None, "queue_s: 1", "providers:\n"):
        settings = load_text(text, KEYS, **known)
        assert [*settings.providers] == ["echo", "groq", "huggingface"]
        assert settings.origin("providers.groq.api_key") == "env GROQ_API_KEY"
        assert settings.origin("providers.groq.adapter") == "default"
        assert "canary" not in repr(effective(settings))


def test_models_may_name_them(load_text):
    text = "models: {m: {targets: [{provider: groq, model: llama}]}}"
    settings = load_text(text, KEYS, catalog_rows=ROWS, adapter_options=ADAPTERS.get)
    assert settings.models["m"].targets[0].provider == "groq"
    assert settings.warnings == ()


@pytest.mark.parametrize(
    ("text", "env"),
    [
        ("providers: {}", {}),
        ("providers: {openai: {api_key: 'env:GROQ_API_KEY'}}", {}),
        (None, {"GATEWAY_PROVIDERS__OPENAI__API_KEY": "env:GROQ_API_KEY"}),
        (None, {"GATEWAY_PROVIDERS": "{}"}),
    ],
)
def test_none_are_added_to_those_that_are_written(text, env, load_text):
    settings = load_text(text, {**KEYS, **env}, catalog_rows=ROWS, adapter_options=ADAPTERS.get)
    assert "groq" not in settings.providers
    assert "echo" not in settings.providers
