"""What becomes of a hold if whoever took it dies. Law: it is charged at its last checkpoint, once, whoever finds it."""

from collections.abc import Sequence

import msgspec

from app.stores.accounts import BudgetAccount


class Orphan(msgspec.Struct, frozen=True, array_like=True):
    """The accounts that hold money for a request, and the JSON of the usage events that it came to so far."""

    partition: int
    budgets: tuple[BudgetAccount, ...]
    events: bytes


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Orphan)


def orphan_of(partition: int, budgets: Sequence[BudgetAccount], events: bytes) -> bytes:
    """Return the payload of a hold."""
    return _encoder.encode(Orphan(partition, tuple(budgets), events))


def read_orphan(payload: bytes) -> Orphan:
    """Return what a payload says; raises `msgspec.DecodeError` for one that is not of this release."""
    return _decoder.decode(payload)
