"""Providers and models that come as JSON objects rather than in the file.

Law: read by the file's reader and held to the file's checks. But a secret is written itself, never where it is: whoever
may write here must not learn what the gateway's environment and files hold.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import msgspec

from app.settings.adapters import AdapterOptions, ProviderReader
from app.settings.checks.findings import Findings
from app.settings.checks.models import check_models
from app.settings.checks.providers import check_providers
from app.settings.document import MAX_DEPTH, Node, below, is_clean
from app.settings.faults import Fault, SettingsError
from app.settings.model import ModelSettings, ProviderSettings, Settings
from app.settings.reading import FAILED, Reader, bare, file_fields, struct_info
from app.settings.references import MAX_SECRET_BYTES, BadReference, is_reference
from providers.types import Secret

ORIGIN = "request"
_COMMON_SECRETS = frozenset({"api_key", "api_keys", "headers"})

Read = TypeVar("Read")


class LiteralReader(Reader):
    """Reads documents in which secrets are written themselves."""

    def __init__(self) -> None:
        super().__init__(environ={})

    def secret_of(self, text: str, *, may_be_literal: bool) -> Secret:
        """Return the text as a secret; raises `BadReference` for a reference, which is not followed."""
        del may_be_literal
        if is_reference(text):
            raise BadReference(
                "`env:` and `file:` are read in the configuration file only", suggestion="send the credential itself"
            )
        if not text.strip():
            raise BadReference("is empty")
        if len(text.encode()) > MAX_SECRET_BYTES:
            raise BadReference("is larger than a secret may be (64 KiB)")
        return Secret(text)


def read_provider(
    name: str, body: Mapping[str, Any], *, adapter_options: AdapterOptions, adapters: Collection[str] = ()
) -> ProviderSettings:
    """Return the provider that the object describes; raises `SettingsError`, with paths within the object."""
    reader = LiteralReader()
    provider_reader = ProviderReader(reader, adapter_options=adapter_options, adapters=adapters)
    path = below("providers", name)
    node = _node(body, path=path)
    provider: ProviderSettings = provider_reader.read(struct_info(ProviderSettings), node, f"providers.{name}")
    if body.get("ca_file") is not None:
        reader.fault(below(path, "ca_file"), "is a file of the gateway's machine: only its configuration may name one")
    if provider is FAILED:
        raise SettingsError(_within(path, reader.faults))
    findings = Findings(
        Settings(providers={name: provider}),
        marks=reader.marks,
        names={"providers": [name], "models": (), "ensembles": ()},
        takes_secrets=True,
    )
    return _checked(provider, path, reader, findings=findings, check=check_providers)


def read_model(
    name: str, body: Mapping[str, Any], *, beside: Settings | None, known: Collection[str] = ()
) -> ModelSettings:
    """Return the model that the object describes; raises `SettingsError`, with paths within the object.

    `beside` are the providers, models and ensembles that there are, and `known` the names served without `models`;
    without `beside` the names in the object are not looked for.
    """
    reader = LiteralReader()
    path = below("models", name)
    model: ModelSettings = reader.read(struct_info(ModelSettings), _node(body, path=path), path)
    if model is FAILED or (beside is None and reader.faults):
        raise SettingsError(_within(path, reader.faults))
    if beside is None:
        return model
    others = {other: given for other, given in beside.models.items() if other != name}
    settings = msgspec.structs.replace(beside, models={name: model, **others})
    findings = Findings(
        settings,
        marks=reader.marks,
        names={"providers": beside.providers, "models": [*settings.models, *known], "ensembles": beside.ensembles},
    )
    return _checked(model, path, reader, findings=findings, check=check_models)


def secret_names(options: type[msgspec.Struct]) -> frozenset[str]:
    """Return the keys of a provider that hold secrets, those of its adapter's own options among them."""
    fields = file_fields(struct_info(options)).items()
    return _COMMON_SECRETS | {key for key, field in fields if getattr(bare(field.type), "cls", None) is Secret}


def _checked(value: Read, path: str, reader: Reader, *, findings: Findings, check: Callable[[Findings], None]) -> Read:
    """Return the value; raises `SettingsError` if there is an error in its own part of the tree."""
    check(findings)
    own = [fault for fault in findings.faults if fault.path == path or fault.path.startswith((f"{path}.", f"{path}["))]
    faults = _within(path, [*reader.faults, *own])
    if any(fault.severity == "error" for fault in faults):
        raise SettingsError(faults)
    return value


def _within(path: str, faults: Collection[Fault]) -> list[Fault]:
    return [msgspec.structs.replace(fault, path=fault.path.removeprefix(path).lstrip(".")) for fault in faults]


def _node(value: Any, *, path: str, depth: int = 0) -> Node:
    """Return a JSON value as the reader wants it; raises `SettingsError` for what no document may hold."""
    if depth > MAX_DEPTH:
        raise _unfit(path, f"is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, str) and not is_clean(value):
        raise _unfit(path, "holds a character that may not stand in text")
    if isinstance(value, dict):
        for key in value:
            if not is_clean(key):
                raise _unfit(path, "has a key with a character that may not stand in text")
        inner = {key: _node(child, path=below(path, key), depth=depth + 1) for key, child in value.items()}
        return Node(inner, origin=ORIGIN)
    if isinstance(value, list):
        items = [_node(child, path=f"{path}[{index}]", depth=depth + 1) for index, child in enumerate(value)]
        return Node(items, origin=ORIGIN)
    return Node(value, origin=ORIGIN)


def _unfit(path: str, message: str) -> SettingsError:
    section, _, rest = path.partition(".")
    del section
    return SettingsError([Fault(path=rest.partition(".")[2], message=message, origin=ORIGIN)])
