"""Differences between the ledger's books, in the audit. Law: each is shown, and none is put right here."""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

import msgspec

from app.domain.audit.principal import LEDGER
from app.domain.audit.transaction import Auditor
from app.kernel.ids import uuid7_text
from app.kernel.money import format_usd


class Difference(Protocol):
    """Two amounts that should be one."""

    @property
    def scope(self) -> str: ...  # noqa: D102 - what the audit says in these words
    @property
    def scope_id(self) -> UUID: ...  # noqa: D102
    @property
    def what(self) -> str: ...  # noqa: D102
    @property
    def expected_nusd(self) -> int: ...  # noqa: D102
    @property
    def found_nusd(self) -> int: ...  # noqa: D102


class Book(msgspec.Struct, frozen=True, kw_only=True):
    """What a book says, in words: whose it is, which, and the amount. An entry keeps only what differs."""

    book: str


class DriftReport:
    """Writes differences into the audit."""

    def __init__(self, auditor: Auditor) -> None:
        self._auditor = auditor

    async def report(self, differences: Sequence[Difference]) -> None:
        """Write one entry for each difference: before is what the events say, after what the other book does."""
        async with self._auditor.transaction(LEDGER, request_id=uuid7_text()) as transaction:
            for each in differences:
                await transaction.record(
                    "reconcile",
                    kind="ledger",
                    object_id=each.scope_id,
                    organization_id=each.scope_id if each.scope == "organization" else None,
                    before=_book(each, each.expected_nusd),
                    after=_book(each, each.found_nusd),
                )


def _book(difference: Difference, nusd: int) -> Book:
    return Book(book=f"{difference.scope} {difference.what}: {format_usd(nusd)} USD")
