"""When things in memory expire. Law: to add, to remove and to take out cost the same however many things there are."""

from collections.abc import Hashable
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT", bound=Hashable)

_SLOT_MS = 1_000


class Expiries(Generic[ItemT]):
    """Items, each with the moment at which it expires; moments are milliseconds of one clock.

    They lie in slots of a second, so that an item which leaves early leaves nothing behind.
    """

    def __init__(self) -> None:
        self._slots: dict[int, dict[ItemT, int]] = {}
        self._first = 0
        """No slot before this one has an item."""

    def add(self, item: ItemT, *, at_ms: int) -> None:
        """Have an item expire."""
        slot = at_ms // _SLOT_MS
        self._slots.setdefault(slot, {})[item] = at_ms
        self._first = min(self._first, slot)

    def discard(self, item: ItemT, *, at_ms: int) -> None:
        """Take an item out that was to expire then, if it is there."""
        slot = self._slots.get(at_ms // _SLOT_MS)
        if slot is not None and slot.pop(item, None) is not None and not slot:
            del self._slots[at_ms // _SLOT_MS]

    def take_due(self, now_ms: int) -> list[ItemT]:
        """Take out and return the items whose moment has come."""
        present = now_ms // _SLOT_MS
        passed = range(self._first, present + 1)
        slots = [slot for slot in passed if slot in self._slots] if len(passed) < len(self._slots) else None
        due: list[ItemT] = []
        for number in slots if slots is not None else [slot for slot in self._slots if slot <= present]:
            slot = self._slots[number]
            its_due = [item for item, at_ms in slot.items() if at_ms <= now_ms]
            due += its_due
            if len(its_due) == len(slot):
                del self._slots[number]
            else:
                for item in its_due:
                    del slot[item]
        self._first = present
        return due

    def __len__(self) -> int:
        return sum(map(len, self._slots.values()))
