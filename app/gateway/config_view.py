"""The settings as the admin API tells them. Law: what is a secret shows only whether it is set."""

from collections.abc import Iterable
from typing import Annotated, Any, Protocol

import msgspec
from msgspec import Meta

from app.settings.differences import Difference, needs_restart, values_of
from app.settings.faults import Fault, Severity
from app.settings.model import Settings

Path = Annotated[str, Meta(description="Such as `models.gpt-4o-mini.targets[0].provider`; empty: the file as a whole.")]
NeedsRestart = Annotated[bool, Meta(description="Whether a running process keeps its value until it is restarted.")]


class ConfigFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong, or has not the effect that was meant."""

    path: Path
    message: str
    suggestion: str | None
    severity: Annotated[Severity, Meta(description="A `warning` does not stop a gateway from starting.")]
    line: Annotated[int | None, Meta(description="Of the document, from 1; null: it is not written there.")]
    origin: Annotated[str | None, Meta(description="Such as `gateway.yaml:12` or `env GATEWAY_QUEUE_S`.")]


class ConfigValue(msgspec.Struct, frozen=True, kw_only=True):
    """One setting in force."""

    path: Path
    value: Annotated[Any, Meta(description='As the file has it; of a secret only `{"set": true}`.')]
    origin: Annotated[str, Meta(description="Such as `gateway.yaml:12`, `env GATEWAY_QUEUE_S`, `default`.")]
    needs_restart: NeedsRestart


class ConfigView(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting in force, in the order of the file's reference, and what was found in them."""

    values: list[ConfigValue]
    warnings: list[ConfigFinding]


class ConfigChange(msgspec.Struct, frozen=True, kw_only=True):
    """One setting that differs."""

    path: Path
    before: Annotated[Any, Meta(description="The value in force; null also where there is none.")]
    after: Annotated[Any, Meta(description="The new value; null also where there is none.")]
    secret: Annotated[bool, Meta(description="Whether what differs is a secret, which neither value shows.")]
    needs_restart: NeedsRestart


class ConfigCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What a document is worth, and what it would change."""

    valid: Annotated[bool, Meta(description="Whether a gateway would take it.")]
    findings: Annotated[list[ConfigFinding], Meta(description="All at once, in the order of the document.")]
    changes: Annotated[list[ConfigChange], Meta(description="Against what is in force; empty where it is not valid.")]


class ConfigWorker(msgspec.Struct, frozen=True, kw_only=True):
    """How a reload went in one process."""

    gateway: Annotated[str, Meta(description="The host and the id of the parent process.")]
    worker: Annotated[str, Meta(description="`*`: none of that gateway's.")]
    pid: int
    applied: Annotated[bool, Meta(description="Whether the new settings are in force there.")]
    error: Annotated[str | None, Meta(description="Why not.")]


class ConfigReload(msgspec.Struct, frozen=True, kw_only=True):
    """What a reload has changed, and where."""

    applied: Annotated[bool, Meta(description="Whether every process has confirmed it.")]
    changes: list[ConfigChange]
    workers: list[ConfigWorker]
    findings: Annotated[list[ConfigFinding], Meta(description="Warnings.")]


class Outcome(Protocol):
    """How a reload went in one worker, as its parent says it."""

    worker: str
    pid: int
    error: str | None


def worker_of(outcome: Outcome, *, gateway: str) -> ConfigWorker:
    """Return an outcome as the API says it."""
    return ConfigWorker(
        gateway=gateway, worker=outcome.worker, pid=outcome.pid, applied=outcome.error is None, error=outcome.error
    )


def view_of(settings: Settings) -> ConfigView:
    """Return the settings in force."""
    values = [
        ConfigValue(path=value.path, value=value.value, origin=value.origin, needs_restart=needs_restart(value.path))
        for value in values_of(settings)
    ]
    return ConfigView(values=values, warnings=findings_of(settings.warnings))


def findings_of(faults: Iterable[Fault]) -> list[ConfigFinding]:
    """Return faults as the API says them."""
    return [ConfigFinding(**msgspec.structs.asdict(fault)) for fault in faults]


def changes_of(found: Iterable[Difference]) -> list[ConfigChange]:
    """Return differences as the API says them."""
    return [
        ConfigChange(
            path=each.path,
            before=each.before,
            after=each.after,
            secret=each.is_secret,
            needs_restart=each.needs_restart,
        )
        for each in found
    ]
