"""One reading of the settings by everybody: who is still to say how it went, and who wants to know.

Law: a round ends. Whoever says nothing is named so when its time is up, and whoever dies in it comes back with the new.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from app.server.control import Channel, FromWorker, ReloadDone, WorkerReload
from app.server.slots import Slot


@dataclass(slots=True, kw_only=True)
class Round:
    """A round that has begun.

    `asked_by` is the channel of the worker that wants to know, with the number of its question; none: a SIGHUP.
    """

    number: int
    ends_ns: int
    ignored: Sequence[str]
    waiting: dict[str, Slot] = field(default_factory=dict)
    outcomes: list[WorkerReload] = field(default_factory=list)
    asked_by: tuple[Channel[FromWorker], int] | None = None

    @property
    def is_over(self) -> bool:
        """Whether everybody has said how it went."""
        return not self.waiting

    def await_all(self, slots: Iterable[Slot]) -> None:
        """Expect an answer from each of the workers."""
        self.waiting = {slot.role.name: slot for slot in slots}

    def hear(self, slot: Slot, error: str | None) -> None:
        """Take what a worker says: nothing, or why its old settings stay in force."""
        if self.waiting.pop(slot.role.name, None) is not None:
            self.outcomes.append(WorkerReload(worker=slot.role.name, pid=slot.pid, error=error))

    def give_up(self, why: str) -> None:
        """Write down for everybody who has said nothing that it did not."""
        for slot in list(self.waiting.values()):
            self.hear(slot, why)

    def report(self) -> None:
        """Tell whoever asked, if it is still there."""
        if self.asked_by is None:
            return
        channel, question = self.asked_by
        outcomes = sorted(self.outcomes, key=lambda outcome: outcome.worker)
        channel.send(ReloadDone(question=question, ignored=list(self.ignored), workers=outcomes))
