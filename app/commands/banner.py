"""What `serve` prints: where the planes are, what was found, and, on a first run, the keys. Law: pure text."""

import json
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from app.commands.first_keys import KeyState
from app.kernel.distribution import installed_version
from app.middleware.layers import InstalledLayer, listed
from app.server.plan import Address
from app.settings import Settings


def introduction(
    settings: Settings, *, addresses: Sequence[Address], path: Path | None, layers: Sequence[InstalledLayer] = ()
) -> str:
    """Return the lines of every start."""
    rows = [(address.plane, f"{address.url}   docs {address.url}/docs") for address in addresses]
    rows += [
        (
            "providers",
            ", ".join(_providers(settings)) or "none: add one to the file, or set a key such as OPENAI_API_KEY",
        ),
        ("settings", str(path) if path else "defaults and environment (no file)"),
        ("database", str(settings.database)),
        ("state", str(settings.state)),
    ]
    if layers:
        rows.append(("layers", listed(layers)))
    return "\n".join([f"llm-gateway {installed_version()}", "", *(f"  {name:<10} {text}" for name, text in rows)])


def first_run(settings: Settings, state: KeyState, *, addresses: Sequence[Address]) -> str:
    """Return the lines that only a first run prints: the new keys, and a request to try."""
    rows = [("inference key", state.inference_key), ("admin key", state.admin_key)]
    shown = [f"  {name:<13}  {text}" for name, text in rows if text]
    lines = ["First run: these keys are shown once.", *shown]
    gateway = next((address for address in addresses if address.plane == "gateway"), None)
    if gateway is not None and state.inference_key is not None:
        lines += ["", "Try it:", f"  {curl(settings, gateway=gateway, key=state.inference_key)}"]
    return "\n".join(lines)


def curl(settings: Settings, *, gateway: Address, key: str) -> str:
    """Return a command that works against this gateway: a chat if a model is certain to be served, else the list."""
    authorization = f"-H {shlex.quote(f'Authorization: Bearer {key}')}"
    model = next(iter(settings.models), "echo" if "echo" in settings.providers else None)
    if model is None:
        return f"curl {gateway.url}/v1/models {authorization}"
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "Hello from the gateway"}]})
    content_type = "-H 'Content-Type: application/json'"
    return f"curl {gateway.url}/v1/chat/completions {authorization} {content_type} -d {shlex.quote(body)}"


def _providers(settings: Settings) -> Iterable[str]:
    """Yield each provider, with the variable that it was found by."""
    for name in settings.providers:
        origin = settings.origins.get(f"providers.{name}.api_key", "")
        yield f"{name} ({origin.removeprefix('env ')})" if origin.startswith("env ") else name
