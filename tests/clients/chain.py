"""Two gateways in a row: each provider dialect that clients speak too is spoken over real sockets, and nobody is asked.

A client of any dialect calls the front gateway. Its providers are adapters of every such dialect, and all of them point
at the gateway behind, which serves those dialects and asks the scripted provider; `native` goes there by way of an
adapter service. So what a client says is translated twice, and its answer too.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from servers.adapter import AdapterProcess
from servers.gateway import ADMIN_KEY, MASTER_SECRET, GatewayProcess

ROUTES = ("openai", "responses", "anthropic", "gemini", "native")
"""The dialect in which the front gateway asks."""
KINDS = {
    "plain": "fake-model",
    "two-calls": "fake-tools",
    "thinking": "fake-reasoning",
    "signed": "fake-signed",
    "refusing": "fake-refusal",
    "slow": "fake-slow-chunks",
    "busy": "fake-429",
    "broken": "fake-cut",
}
"""What the model is like, and what the scripted provider calls it."""
EMBEDDING_ROUTES = ("openai", "native")
FAKE_KEY = "sk-of-the-fake-provider"
GPT, CLAUDE, GEMINI = "gpt-5.2", "claude-opus-4-6", "gemini-3-pro"
"""Names that vendors' models have: what clients and adapters say to a model hangs on its name."""
TUNED = "ft:gpt-4.1:"
"""How a name begins that LlamaIndex takes for a tuned model of OpenAI's; it refuses those that it does not know."""
NAMES = {"openai": GPT, "responses": GPT, "anthropic": CLAUDE, "gemini": GEMINI}


def model(kind: str, route: str, *, like: str) -> str:
    """Return the name under which the front gateway serves a model of a kind by a route; it begins as `like`."""
    return f"{like}-{kind}-by-{route}"


def _target(kind: str, route: str) -> dict[str, Any]:
    name = KINDS[kind] if route == "native" else f"{NAMES[route]}-{kind}"
    return {"targets": [{"provider": route, "model": name}], "retries": 0, "breaker": False}


def _served_behind(fake_url: str) -> dict[str, Any]:
    """Return the file of the gateway behind: every name that the front gateway asks for is a scripted model.

    The scripted provider signs as Google does.
    """
    fake = {"adapter": "gemini-openai", "base_url": fake_url, "api_key": "env:FAKE_KEY"}
    models: dict[str, Any] = {
        f"{name}-{kind}": {"targets": [{"provider": "fake", "model": fake_name}], "retries": 0, "breaker": False}
        for kind, fake_name in KINDS.items()
        for name in (GPT, CLAUDE, GEMINI)
    }
    models |= {"embedding": {"targets": [{"provider": "fake", "model": "fake-embedding"}]}}
    return {"providers": {"fake": fake}, "models": models}


def _served_in_front(*, behind: GatewayProcess, service: AdapterProcess) -> dict[str, Any]:
    """Return the file of the front gateway."""
    key = "env:BEHIND_KEY"
    providers = {
        "echo": {"adapter": "echo"},
        "openai": {"adapter": "openai", "base_url": behind.openai_url, "api_key": key},
        "responses": {
            "adapter": "openai",
            "base_url": behind.openai_url,
            "api_key": key,
            "chat_api": "responses",
            "serves": ["responses"],
        },
        "anthropic": {"adapter": "anthropic", "base_url": behind.base_url, "api_key": key},
        "gemini": {"adapter": "gemini", "base_url": f"{behind.base_url}/v1beta", "api_key": key},
        "native": {"adapter": "native", "base_url": service.url},
    }
    models = {
        model(kind, route, like=like): _target(kind, route)
        for like in (GPT, TUNED, CLAUDE, GEMINI)
        for kind in KINDS
        for route in ROUTES
    }
    embeddings = {"openai": "embedding", "native": "fake-embedding"}
    models |= {
        model("embedding", route, like="text"): {"targets": [{"provider": route, "model": embeddings[route]}]}
        for route in EMBEDDING_ROUTES
    }
    models["echo"] = {"targets": [{"provider": "echo", "model": "echo"}]}
    return {"providers": providers, "models": models}


@contextlib.contextmanager
def serve_chain(fake_url: str) -> Iterator[GatewayProcess]:
    """Run the gateways and the adapter service, and yield the gateway in front."""
    secrets = {"GATEWAY_ADMIN_KEY": ADMIN_KEY, "GATEWAY_MASTER_SECRET": MASTER_SECRET}
    with contextlib.ExitStack() as running:

        def gateway(tree: dict[str, Any], **environ: str) -> GatewayProcess:
            launched = GatewayProcess.launch(tree, environ={**secrets, **environ})
            running.callback(launched.close)
            return launched

        behind = gateway(_served_behind(fake_url), FAKE_KEY=FAKE_KEY)
        fake = {"adapter": "gemini-openai", "base_url": fake_url, "api_key": "env:FAKE_KEY"}
        service = AdapterProcess("fake", config={"providers": {"fake": fake}}, FAKE_KEY=FAKE_KEY)
        running.callback(service.close)
        yield gateway(_served_in_front(behind=behind, service=service), BEHIND_KEY=behind.key)
