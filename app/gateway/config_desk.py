"""Shows the settings in force, tries others, and has those on disk taken again.

Law: what is tried changes nothing; what was taken is in the audit as soon as every process has said how it went, and
nobody takes it where one fault is an error. No transaction is open while they are waited for.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol
from uuid import UUID

import msgspec

from app.domain.audit.transaction import AuditedTransaction
from app.gateway.config_view import (
    ConfigCheck,
    ConfigReload,
    ConfigView,
    ConfigWorker,
    changes_of,
    findings_of,
    view_of,
    worker_of,
)
from app.kernel.errors import Conflict, Unavailable
from app.settings.differences import Difference, Examined, differences
from app.settings.model import Settings

CONFIG_ID = UUID("6b0f27c4-7d5c-5c53-9f0e-53a1a8f2f1c0")
"""What the audit calls the settings: an installation has them once."""


Recording = Callable[[AuditedTransaction], Awaitable[ConfigReload]]
"""Writes what a reload has changed into the audit, and returns what is answered."""


class Steering(Protocol):
    """What the process that runs this one can be asked for."""

    def examine(self, document: bytes | None) -> Any:
        """Return what is found in a document of settings, or in those on disk as they now are; call it in a thread."""
        ...

    async def reload(self) -> Any:
        """Have every worker of this parent take the settings again; return how it went in each."""
        ...


class ReloadedSettings(msgspec.Struct, frozen=True):
    """What a reload changes, for the audit: values by path."""

    settings: dict[str, Any]


class ConfigDesk:
    """The settings of an installation, for its owners."""

    def __init__(
        self,
        *,
        settings: Callable[[], Settings],
        steering: Callable[[], Steering | None],
        gateway: str,
        ask_others: Callable[[], Awaitable[list[ConfigWorker]]],
    ) -> None:
        """Make a desk.

        `settings` returns those in force, `steering` is None where nobody runs this process, `gateway` names whoever
        does; `ask_others` has the gateways elsewhere take their settings again.
        """
        self._settings = settings
        self._steering = steering
        self._gateway = gateway
        self._ask_others = ask_others

    def view(self) -> ConfigView:
        """Return every setting in force with its origin."""
        return view_of(self._settings())

    async def check(self, document: bytes) -> ConfigCheck:
        """Return what is found in a document, and what it would change."""
        examined = await self._examine(document)
        return ConfigCheck(
            valid=examined.loaded is not None,
            findings=findings_of(examined.faults),
            changes=changes_of(self._differences(examined)),
        )

    async def reload(self) -> Recording:
        """Have every process take the settings that are on disk now; return what writes down what that has changed.

        Raises `Conflict` with every fault if they are not valid.
        """
        examined = await self._examine(None)
        if examined.loaded is None:
            raise _refused((fault.path, str(fault)) for fault in examined.faults if fault.severity == "error")
        found = self._differences(examined)
        workers = [*await self._reload_here(), *await self._ask_others()]
        result = ConfigReload(
            applied=all(worker.applied for worker in workers),
            changes=changes_of(found),
            workers=workers,
            findings=findings_of(examined.faults),
        )

        async def record(transaction: AuditedTransaction) -> ConfigReload:
            await transaction.record(
                "reload",
                kind="config",
                object_id=CONFIG_ID,
                organization_id=None,
                before=ReloadedSettings({each.path: each.before for each in found}),
                after=ReloadedSettings({each.path: each.after for each in found}),
            )
            return result

        return record

    async def _reload_here(self) -> list[ConfigWorker]:
        try:
            done = await self._asked().reload()
        except TimeoutError:
            raise Unavailable("the parent process does not answer", code="reload_unanswered", retry_after_s=5) from None
        if done.refused:
            raise _refused(("", fault) for fault in done.refused)
        return [worker_of(outcome, gateway=self._gateway) for outcome in done.workers]

    async def _examine(self, document: bytes | None) -> Examined:
        examined: Examined = await asyncio.to_thread(self._asked().examine, document)
        return examined

    def _differences(self, examined: Examined) -> list[Difference]:
        """Return what would be taken at once, and what only a restart would take."""
        if examined.loaded is None or examined.adopted is None:
            return []
        running = self._settings()
        waiting = [each for each in differences(running, examined.loaded) if each.needs_restart]
        return [*differences(running, examined.adopted), *waiting]

    def _asked(self) -> Steering:
        steering = self._steering()
        if steering is None:
            raise Unavailable("nothing here can read the settings again", code="reload_unavailable")
        return steering


def _refused(faults: Any) -> Conflict:
    found = tuple(faults)
    return Conflict(
        "the settings are not valid, and the old ones stay in force: " + "; ".join(said for _, said in found[:3]),
        code="settings_refused",
        fields=found,
        headers=(("x-should-retry", "false"),),
    )
