"""Configurations that the fixtures and the acceptance tests share: plain data, as a user would write it in YAML."""

from typing import Any

from providers.testing import PRESETS

PRICE = {"input": "0.15", "output": "0.60"}
FAKE_KEY_NAME = "FAKE_API_KEY"
FAKE_KEY = "sk-of-the-fake-provider"


def config(*, fake_url: str, database: str | None = None, state: str | None = None, workers: int = 1) -> dict[str, Any]:
    """Return a file with the providers `echo`, `fake` and `local`, and `faulty`, whose every model misbehaves by name.

    `echo` has the model `echo`; `fake` has `fake-model` and `fake-embedding`, with a price; `local`, which serves text
    completions too, has `fake-local`; `faulty` has one model for each of `providers.testing.PRESETS`, never retried and
    without a breaker, so that tests do not disturb each other.
    """
    fake = {"adapter": "openai", "base_url": fake_url, "api_key": f"env:{FAKE_KEY_NAME}"}
    tree: dict[str, Any] = {
        "gateway": {"workers": workers},
        "providers": {
            "echo": {"adapter": "echo"},
            "fake": fake,
            "local": {**fake, "adapter": "vllm"},
            "faulty": dict(fake),
        },
        "models": {
            "echo": {"targets": [{"provider": "echo", "model": "echo"}]},
            "fake-model": {"targets": [{"provider": "fake", "model": "fake-model"}], "price": dict(PRICE)},
            "fake-embedding": {"targets": [{"provider": "fake", "model": "fake-embedding"}], "price": dict(PRICE)},
            "fake-local": {"targets": [{"provider": "local", "model": "fake-local"}], "price": dict(PRICE)},
            **{name: _faulty(name) for name in PRESETS},
        },
    }
    if database is not None:
        tree["database"] = database
    if state is not None:
        tree["state"] = state
    return tree


def _faulty(name: str) -> dict[str, Any]:
    target = {"provider": "faulty", "model": name}
    return {"targets": [target], "price": dict(PRICE), "retries": 0, "breaker": False}
