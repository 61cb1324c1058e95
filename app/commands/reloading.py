"""What a reload may change. Law: what a running process cannot change keeps its value, and the operator is told."""

from collections.abc import Callable

import msgspec

from app.commands.failure import CommandFailed
from app.commands.sources import Sources
from app.server.contract import SettingsRefused
from app.settings import Fault, Settings, SettingsError
from app.settings.differences import NEEDS_RESTART, Examined

__all__ = ["NEEDS_RESTART", "adopt", "examiner", "loader"]


def loader(sources: Sources) -> Callable[[], Settings]:
    """Return what reads the settings again, for the parent and each worker; it raises `SettingsRefused`."""

    def load() -> Settings:
        try:
            return sources.complete()
        except SettingsError as error:
            raise SettingsRefused([str(fault) for fault in error.faults if fault.severity == "error"]) from None
        except CommandFailed as error:
            raise SettingsRefused([str(error)]) from None

    return load


def examiner(sources: Sources) -> Callable[[Settings, bytes | None], Examined]:
    """Return what says how a document, or the file as it now is, would do in the place of the running settings."""

    def examine(running: Settings, document: bytes | None) -> Examined:
        try:
            loaded = sources.read(document)
        except SettingsError as error:
            return Examined(faults=tuple(error.faults))
        except CommandFailed as error:
            return Examined(faults=(Fault(path="", message=str(error)),))
        if loaded.master_secret is None:  # nothing is made here, not even a secret where another database has none
            origins = {**loaded.origins, "master_secret": running.origin("master_secret")}
            loaded = msgspec.structs.replace(loaded, master_secret=running.master_secret, origins=origins)
        return Examined(loaded=loaded, adopted=adopt(running, loaded)[0], faults=loaded.warnings)

    return examine


def adopt(running: Settings, loaded: Settings) -> tuple[Settings, list[str]]:
    """Return the loaded settings with the running values of what needs a restart, and the paths that differ there."""
    ignored = []
    for path in NEEDS_RESTART:
        section, _, name = path.rpartition(".")
        was, becomes = (getattr(tree, section) if section else tree for tree in (running, loaded))
        if getattr(was, name) == getattr(becomes, name):
            continue
        ignored.append(path)
        kept = msgspec.structs.replace(becomes, **{name: getattr(was, name)})
        loaded = msgspec.structs.replace(loaded, **{section: kept}) if section else kept
    return _with_gateway_url(running, loaded, ignored=ignored), ignored


def _with_gateway_url(running: Settings, loaded: Settings, *, ignored: list[str]) -> Settings:
    """Let a URL that follows the gateway's address go on naming the address in use."""
    has_moved = "gateway.host" in ignored or "gateway.port" in ignored
    if not has_moved or loaded.origin("admin.gateway_url") != "default":
        return loaded
    admin = msgspec.structs.replace(loaded.admin, gateway_url=running.admin.gateway_url)
    return msgspec.structs.replace(loaded, admin=admin)
