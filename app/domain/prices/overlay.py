"""The prices made through the admin API, in this process. Law: they lie over the catalogue, and under the file."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from app.domain.prices.price import Price, price_from_settings
from app.domain.prices.schemas import StoredPrice
from app.domain.snapshots import Directory
from app.kernel.money import parse_usd
from app.settings.upstream import PriceSettings

_VERSION_DIGITS = 8


class PriceOverlay:
    """One snapshot of the prices."""

    def __init__(self, prices: Sequence[StoredPrice] = ()) -> None:
        self._prices: Mapping[tuple[str | None, str], Price] = {
            (stored.provider, stored.model): price_from_stored(stored) for stored in prices
        }

    def find(self, *, provider: str, upstream: str, public: str) -> Price | None:
        """Return the price of a provider's model that is asked for by the name `public`, or nothing.

        A price with a provider is for the provider's own name of the model, else the public one; a price without is for
        the public name, else the provider's. The one with a provider wins.
        """
        found = self._prices
        if not found:
            return None
        asked = ((provider, upstream), (provider, public), (None, public), (None, upstream))
        return next((found[key] for key in asked if key in found), None)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PriceOverlay) and self._prices == other._prices

    __hash__ = None  # type: ignore[assignment] # compared, never a key


class PriceDirectory(Directory[PriceOverlay]):
    """Keeps the prices of one worker process up to date."""

    def __init__(self, read: Callable[[], Awaitable[Sequence[StoredPrice]]]) -> None:
        """Read all prices by `read`."""

        async def overlay() -> PriceOverlay:
            return PriceOverlay(await read())

        super().__init__(overlay, empty=PriceOverlay(), kind="prices")


def price_from_stored(stored: StoredPrice) -> Price:
    """Return the price that an administrator has written; its version changes with every change of it."""
    settings = PriceSettings(
        input_nusd=_nusd(stored.input),
        output_nusd=_nusd(stored.output),
        cache_read_nusd=_nusd(stored.cache_read),
        cache_write_nusd=_nusd(stored.cache_write),
        image_nusd=_nusd(stored.image),
        audio_input_nusd=_nusd(stored.audio_input),
        audio_output_nusd=_nusd(stored.audio_output),
    )
    price = msgspec.structs.replace(price_from_settings(settings), version=version_of(stored))
    reasoning_nusd = _nusd(stored.reasoning)
    if reasoning_nusd is None:
        return price
    return msgspec.structs.replace(price, rates=msgspec.structs.replace(price.rates, reasoning_nusd=reasoning_nusd))


def version_of(stored: StoredPrice) -> str:
    """Return what the ledger calls this price as it now is; the first digits of an id are only its time."""
    return f"api:{stored.id.hex[-_VERSION_DIGITS:]}@{stored.version}"


def _nusd(amount: str | None) -> int | None:
    return None if amount is None else parse_usd(amount)
