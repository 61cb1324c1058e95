"""What may be done with prices. Law: the file's prices win, and only the file changes them."""

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID, uuid5

import msgspec

from app.db.engine import Database
from app.db.paging import Page
from app.domain.audit.objects import AuditedObjects, patched
from app.domain.audit.principal import Principal
from app.domain.audit.transaction import AuditedTransaction
from app.domain.of_file import page_with_file
from app.domain.prices import repository
from app.domain.prices.schemas import AMOUNTS, CreatePrice, ModelPrice, PatchPrice, StoredPrice
from app.kernel.errors import Conflict, InvalidRequest
from app.kernel.ids import uuid7
from app.kernel.money import format_usd, parse_usd
from app.settings.model import Settings
from app.settings.upstream import PriceSettings

_IDS_OF_FILE = UUID("6b0f27c4-7d5c-5c53-9f0e-53a1a8f2f1b0")
_FILE = "prices of the file"


class PriceService:
    """Prices of models. Everybody may read them; those of the installation make them."""

    def __init__(self, database: Database, *, settings: Callable[[], Settings]) -> None:
        """Keep prices in the database; `settings` tells what the file says now."""
        self._objects = AuditedObjects(database, repository.prices, kind="price")
        self._settings = settings

    async def find(self, principal: Principal, price_id: UUID) -> ModelPrice:
        """Return one; raises `NotFound`."""
        owned = self._of_file().get(price_id)
        return owned or _shown(await self._objects.find(principal, price_id))

    async def page(self, principal: Principal, *, limit: int, cursor: str | None) -> Page[ModelPrice]:
        """Return some: those of the API, newest first, then those of the file, by model."""

        async def stored(at: str | None) -> Page[ModelPrice]:
            page = await self._objects.page(principal, limit=limit, cursor=at, where={})
            return Page([_shown(price) for price in page.items], page.cursor)

        of_file = {price.model: price for price in self._of_file().values()}
        return await page_with_file(_FILE, stored, of_file, limit=limit, cursor=cursor)

    async def create(self, transaction: AuditedTransaction, spec: CreatePrice) -> ModelPrice:
        """Make one; raises `Conflict` if there is one for the provider and model."""
        transaction.principal.require_installation()
        made = StoredPrice(
            **msgspec.structs.asdict(spec),
            id=uuid7(transaction.now_ns),
            created_at=transaction.now,
            updated_at=transaction.now,
        )
        made = await self._checked(transaction, made)
        return _shown(await self._objects.create(transaction, made))

    async def patch(self, transaction: AuditedTransaction, price_id: UUID, patch: PatchPrice) -> ModelPrice:
        """Change one; calls that have begun are charged as they began."""
        before = await self._load(transaction, price_id)
        after = await self._checked(transaction, patched(before, patch))
        return _shown(await self._objects.update(transaction, before, after))

    async def delete(self, transaction: AuditedTransaction, price_id: UUID) -> None:
        """Remove one; the catalogue's price holds again."""
        await self._objects.delete(transaction, await self._load(transaction, price_id))

    async def _load(self, transaction: AuditedTransaction, price_id: UUID) -> StoredPrice:
        transaction.principal.require_installation()
        if price_id in self._of_file():
            raise _owned()
        return await self._objects.load(transaction, price_id)

    async def _checked(self, transaction: AuditedTransaction, price: StoredPrice) -> StoredPrice:
        """Return the price with its amounts in one form; raises what stands against it."""
        price = msgspec.structs.replace(price, **{name: _amount(name, getattr(price, name)) for name in AMOUNTS})
        if all(getattr(price, name) is None for name in AMOUNTS):
            raise InvalidRequest('a price needs an amount; of a free model `input` is "0"', param="input")
        configured = self._settings().models.get(price.model)
        if price.provider is None and configured is not None and configured.price is not None:
            raise _owned()
        if await repository.has_other(transaction.connection, price):
            raise Conflict("there is a price for this provider and model already", code="duplicate_price")
        return price

    def _of_file(self) -> Mapping[UUID, ModelPrice]:
        models = self._settings().models.items()
        prices = [_from_file(name, model.price) for name, model in models if model.price is not None]
        return {price.id: price for price in prices}


def _amount(name: str, text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return format_usd(parse_usd(text))
    except ValueError as error:
        raise InvalidRequest(str(error), param=name) from None


def _owned() -> Conflict:
    return Conflict("the configuration file owns this price: change it there", code="config_owned")


def _shown(stored: StoredPrice) -> ModelPrice:
    return ModelPrice(**msgspec.structs.asdict(stored))


def _from_file(model: str, price: PriceSettings) -> ModelPrice:
    given = {name: getattr(price, f"{name}_nusd", None) for name in AMOUNTS}
    amounts: dict[str, Any] = {name: None if nusd is None else format_usd(nusd) for name, nusd in given.items()}
    return ModelPrice(id=uuid5(_IDS_OF_FILE, model), model=model, source="config", **amounts)
