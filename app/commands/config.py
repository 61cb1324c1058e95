"""`llm-gateway config`: the settings of this machine, or those that a running gateway has in force.

Law: here as in the admin API a secret shows only whether it is set.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from app.commands.admin_client import open_client
from app.commands.check import line_of, verdict_of
from app.commands.columns import aligned
from app.commands.failure import CommandFailed
from app.commands.sources import counted, open_sources, read_settings
from app.gateway.config_view import ConfigChange, ConfigCheck, ConfigFinding, ConfigReload, ConfigView, view_of
from app.settings import Fault

_YAML = "application/yaml"
_SHOWN = 80


def show(config: Path | None, *, is_running: bool, url: str | None) -> ConfigView:
    """Return the settings that a gateway would begin with here, or those that one has in force."""
    if is_running or url is not None:
        return msgspec.json.decode(open_client(config, url=url).get("/config", {}), type=ConfigView)
    return view_of(read_settings(open_sources(config)))


def validate(config: Path | None, *, url: str | None) -> ConfigCheck:
    """Return what a running gateway says of the file here; raises `CommandFailed` where there is no file."""
    sources = open_sources(config)
    if sources.path is None:
        raise CommandFailed("there is no file to try: name one with --config")
    try:
        document = sources.path.read_bytes()
    except OSError as error:
        raise CommandFailed(f"the file {sources.path} cannot be read: {error.strerror}") from None
    client = open_client(config, url=url, needs_file=False)
    return msgspec.json.decode(client.post_bytes("/config/validate", document, _YAML), type=ConfigCheck)


def reload(config: Path | None, *, url: str | None) -> ConfigReload:
    """Have a running gateway read its file again, and return how that went; raises `CommandFailed`."""
    client = open_client(config, url=url, needs_file=False)
    return msgspec.json.decode(client.post("/config/reload", {}), type=ConfigReload)


def as_json(result: ConfigView | ConfigCheck | ConfigReload) -> str:
    """Return what `--json` prints: the answer of the admin API."""
    return msgspec.json.format(msgspec.json.encode(result), indent=2).decode()


def view_text(view: ConfigView) -> str:
    """Return the settings as a table: path, value, origin."""
    rows = [(value.path, _text(value.value), value.origin) for value in view.values]
    return aligned([("setting", "value", "origin"), *rows], left=3)


def check_text(check: ConfigCheck) -> str:
    """Return the findings and what would change, as lines."""
    faults = [_fault(finding) for finding in check.findings]
    lines = [*map(line_of, faults), verdict_of("the document", faults)]
    if check.valid:
        lines += _changed(check.changes) or ["nothing would change"]
    return "\n".join(lines)


def reload_text(done: ConfigReload) -> str:
    """Return what has changed, and where it is in force, as lines."""
    lines = [line_of(_fault(finding)) for finding in done.findings]
    lines += _changed(done.changes) or ["nothing has changed"]
    for worker in done.workers:
        state = "in force" if worker.applied else f"the old settings stay in force: {worker.error}"
        lines.append(f"{worker.gateway} {worker.worker} (pid {worker.pid}): {state}")
    applied = sum(worker.applied for worker in done.workers)
    lines.append(f"{applied} of {counted(len(done.workers), 'worker')} confirmed it")
    return "\n".join(lines)


def _changed(changes: Sequence[ConfigChange]) -> list[str]:
    return [f"{change.path}: {_step(change)}{_when(change)}" for change in changes]


def _step(change: ConfigChange) -> str:
    return "another secret" if change.secret else f"{_text(change.before)} -> {_text(change.after)}"


def _when(change: ConfigChange) -> str:
    return " (keeps its value until a restart)" if change.needs_restart else ""


def _text(value: object) -> str:
    """Return a value as JSON, cut where it is long."""
    if isinstance(value, dict) and value.keys() == {"set"}:
        return "(set)" if value["set"] else "(not set)"
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _fault(finding: ConfigFinding) -> Fault:
    return Fault(**msgspec.structs.asdict(finding))
