"""One call to try a provider: models, else one token; bounded, and told without a secret."""

import asyncio
from types import SimpleNamespace
from uuid import UUID

import pytest

from app.domain.audit.principal import COMMAND_LINE
from app.domain.upstream.providers import Opened
from app.gateway import trial
from app.gateway.trial import Trial
from app.kernel.clock import ManualClock
from app.settings.model import ModelSettings, ProviderSettings, Settings, TargetSettings
from providers.errors import BadAnswer, CredentialRefused, ProviderError, RequestRefused
from providers.plugin import Plugin
from providers.types import Secret

CANARY = "a-canary-of-a-credential"


class Stream:
    is_closed = False

    def __init__(self, error: ProviderError | None = None) -> None:
        self.error = error

    async def __aiter__(self):
        if self.error is not None:
            raise self.error
        yield "event"

    def close(self) -> None:
        self.is_closed = True


class Vendor:
    """An adapter that answers as it is told."""

    def __init__(self, *, models=None, chat=None, hangs=False) -> None:
        self.models_answer, self.chat_answer, self.hangs = models, chat, hangs
        self.asked = []

    async def models(self, target):
        if self.hangs:
            await asyncio.Event().wait()
        if isinstance(self.models_answer, ProviderError):
            raise self.models_answer
        return self.models_answer

    async def chat(self, request, target):
        self.asked.append((target.model, request.max_output_tokens, target.credential))
        if isinstance(self.chat_answer, ProviderError):
            raise self.chat_answer
        return self.chat_answer


def trial_of(vendor: Vendor, *, models: dict[str, ModelSettings] | None = None) -> Trial:
    plugin = Plugin(name="acme", open=lambda sender, options: vendor, base_url="https://acme.example")
    registry = SimpleNamespace(find=lambda name: plugin, catalog=SimpleNamespace(models=lambda name: []))
    given = ProviderSettings(adapter="acme", api_key=Secret(CANARY), headers={"x-key": Secret("another-canary")})

    async def opened(principal, provider_id):
        return Opened("acme", given, "public")

    settings = Settings(models=models or {})
    core = SimpleNamespace(
        settings=settings,
        served=settings,
        registry=registry,
        clock=ManualClock(),
        services=SimpleNamespace(providers=SimpleNamespace(open=opened)),
    )
    return Trial(core)  # type: ignore[arg-type] # as much of one as is asked


@pytest.fixture
def named() -> dict[str, ModelSettings]:
    return {"public": ModelSettings(targets=(TargetSettings(provider="acme", model="upstream"),))}


async def run(made: Trial):
    try:
        return await made(COMMAND_LINE, UUID(int=1))
    finally:
        await made.aclose()


async def test_the_models_are_counted():
    tried = await run(trial_of(Vendor(models=["a", "b"])))
    assert (tried.call, tried.models, tried.error) == ("models", 2, None)


@pytest.mark.parametrize("error", [RequestRefused("no such path", status=404), BadAnswer("not a list")])
async def test_where_none_are_listed_one_token_is_asked_for(named, error):
    stream = Stream()
    vendor = Vendor(models=error, chat=stream)
    tried = await run(trial_of(vendor, models=named))
    assert (tried.call, tried.model, tried.models, tried.error) == ("chat", "upstream", None, None)
    assert vendor.asked == [("upstream", 1, Secret(CANARY))]
    assert stream.is_closed


async def test_a_refused_credential_is_told_at_once(named):
    vendor = Vendor(models=CredentialRefused(f"wrong key {CANARY} of another-canary", status=401))
    tried = await run(trial_of(vendor, models=named))
    assert vendor.asked == []
    assert (tried.call, tried.error.code, tried.upstream_status) == ("models", "upstream_auth_failed", 401)
    assert tried.error.message == "wrong key *** of ***"


async def test_without_a_model_to_ask_the_first_failure_stands():
    tried = await run(trial_of(Vendor(models=RequestRefused("no", status=404))))
    assert (tried.call, tried.error.message, tried.upstream_status) == ("models", "no", 404)


@pytest.mark.parametrize("breaks_in_stream", [False, True])
async def test_a_chat_that_fails_says_so_and_is_closed(named, breaks_in_stream):
    error = RequestRefused("bad", status=400)
    stream = Stream(error)
    vendor = Vendor(models=BadAnswer(), chat=stream if breaks_in_stream else error)
    tried = await run(trial_of(vendor, models=named))
    assert (tried.call, tried.model, tried.error.message) == ("chat", "upstream", "bad")
    assert stream.is_closed == breaks_in_stream


async def test_it_is_bounded(monkeypatch):
    monkeypatch.setattr(trial, "_BOUND_S", 0.01)
    tried = await run(trial_of(Vendor(hangs=True)))
    assert tried.error.code == "upstream_timeout"
