"""A loader for YAML in the test itself, with adapters of its own."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest

from app.settings import Fault, Settings, SettingsError, load
from providers.types import Secret


class PlainOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An adapter without options."""


class CloudOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An adapter with options of every kind."""

    region: str
    retries_on_throttle: int = 3
    profile: str | None = None
    secret_key: Secret | None = None
    api_version: str = "v1"
    serves: frozenset[Annotated[str, msgspec.Meta(pattern="^[a-z]+$")]] | None = None


ADAPTERS: dict[str, type[msgspec.Struct]] = {
    "openai": PlainOptions,
    "azure": PlainOptions,
    "anthropic": PlainOptions,
    "groq": PlainOptions,
    "echo": PlainOptions,
    "cloud": CloudOptions,
}

Loader = Callable[..., Settings]
FaultFinder = Callable[..., dict[str, Fault]]


@pytest.fixture
def load_text(tmp_path: Path) -> Loader:
    """Load settings from the text of a file (none: no file) and an environment."""

    def loaded(text: str | bytes | None = None, env: Mapping[str, str] | None = None, **kwargs: Any) -> Settings:
        path = None
        if text is not None:
            path = tmp_path / "gateway.yaml"
            path.write_bytes(text.encode() if isinstance(text, str) else text)
        environ = {"OPENAI_API_KEY": "sk-canary-0123456789", **(env or {})}
        known: dict[str, Any] = {"adapter_options": ADAPTERS.get, "adapters": [*ADAPTERS], **kwargs}
        return load(path, environ=environ, **known)

    return loaded


@pytest.fixture
def faults_of(load_text: Loader) -> FaultFinder:
    """Load settings that are wrong; return the first fault of each path."""

    def found(text: str | bytes | None = None, env: Mapping[str, str] | None = None, **kwargs: Any) -> dict[str, Fault]:
        with pytest.raises(SettingsError) as caught:
            load_text(text, env, **kwargs)
        assert "canary" not in str(caught.value)
        return {fault.path: fault for fault in reversed(caught.value.faults)}

    return found


@pytest.fixture
def warnings_of(load_text: Loader) -> FaultFinder:
    """Load settings that are right but for warnings; return those by path."""

    def found(text: str, env: Mapping[str, str] | None = None, **kwargs: Any) -> dict[str, Fault]:
        warnings = load_text(text, env, **kwargs).warnings
        assert all(fault.severity == "warning" for fault in warnings)
        return {fault.path: fault for fault in warnings}

    return found
