"""Where requests wait. Law: the room is bounded, and when it is full, whoever has most waiting in it makes room.

Every step takes the same time however many wait: organisations stand in groups by how many requests they have here.
"""

import asyncio
from collections import OrderedDict
from typing import Literal
from uuid import UUID

Ending = Literal["called", "late", "displaced"]
"""How a wait ends: with what was waited for, without it in time, or for somebody who has fewer waiting."""


class Ticket:
    """One request of `tenant`, an organisation, for as long as it waits."""

    __slots__ = ("tenant", "turn")

    def __init__(self, tenant: UUID) -> None:
        self.tenant = tenant
        self.turn: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()

    def end(self, ending: Ending) -> bool:
        """End the wait, if nothing has; returns whether it has ended so."""
        if self.turn.done():
            return False
        self.turn.set_result(ending)
        return True

    @property
    def was_called(self) -> bool:
        """Whether what was waited for has come, although its client may have left since."""
        return self.turn.done() and not self.turn.cancelled() and self.turn.result() == "called"


class Room:
    """Holds at most `size` tickets; `size` may be changed, and then binds whoever comes."""

    def __init__(self, *, size: int) -> None:
        self.size = size
        self._count = 0
        self._tickets: dict[UUID, OrderedDict[Ticket, None]] = {}
        self._groups: dict[int, OrderedDict[UUID, None]] = {}
        self._most = 0

    def __len__(self) -> int:
        return self._count

    def has_place(self, tenant: UUID) -> bool:
        """Tell whether a request of this tenant may wait: there is room, or somebody has more waiting than it would."""
        return self._count < self.size or (self.size > 0 and self._most > len(self._tickets.get(tenant, ())) + 1)

    def enter(self, tenant: UUID) -> Ticket | None:
        """Return a ticket, which must be waited with; nothing if there is no place."""
        if not self.has_place(tenant):
            return None
        if self._count >= self.size:
            self._displace()
        ticket = Ticket(tenant)
        tickets = self._tickets.setdefault(tenant, OrderedDict())
        tickets[ticket] = None
        self._count += 1
        self._regroup(tenant, len(tickets) - 1, len(tickets))
        return ticket

    async def wait(self, ticket: Ticket, *, within_s: float) -> Ending:
        """Wait until the ticket is called, for so long, and leave the room."""
        timer = asyncio.get_running_loop().call_later(within_s, ticket.end, "late")
        try:
            return await ticket.turn
        finally:
            timer.cancel()
            self.leave(ticket)

    def leave(self, ticket: Ticket) -> None:
        """Take a ticket out, if it is in."""
        tickets = self._tickets.get(ticket.tenant)
        if tickets is None or ticket not in tickets:
            return
        del tickets[ticket]
        self._count -= 1
        self._regroup(ticket.tenant, len(tickets) + 1, len(tickets))
        if not tickets:
            del self._tickets[ticket.tenant]

    def _displace(self) -> None:
        """Send the newest away of a tenant with most."""
        tenant = next(iter(self._groups[self._most]))
        ticket = next(reversed(self._tickets[tenant]))
        ticket.end("displaced")
        self.leave(ticket)

    def _regroup(self, tenant: UUID, was: int, becomes: int) -> None:
        """Move a tenant, which has one more or one fewer, to the group beside its own."""
        if was:
            group = self._groups[was]
            del group[tenant]
            if not group:
                del self._groups[was]
        if becomes:
            self._groups.setdefault(becomes, OrderedDict())[tenant] = None
        if becomes > self._most or self._most not in self._groups:
            self._most = becomes
