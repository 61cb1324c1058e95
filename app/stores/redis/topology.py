"""Which node of a cluster serves which slots, as the nodes tell it. Law: read only; nothing here asks or connects."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

from app.stores.errors import StoreReplyError, StoreUnavailable
from app.stores.redis.slots import SLOTS

Address = tuple[str, int]
"""A host and a port."""

_REDIRECTION = re.compile(r"(?P<kind>MOVED|ASK) (?P<slot>[0-9]{1,5}) (?P<host>\S*):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True)
class Topology:
    """One node's word on the cluster: ranges of slots, first and last, with the primary that serves them."""

    ranges: tuple[tuple[int, int, Address], ...]

    @cached_property
    def primaries(self) -> frozenset[Address]:
        """Every node that serves a slot."""
        return frozenset(address for _, _, address in self.ranges)

    @cached_property
    def served(self) -> int:
        """How many slots have a node."""
        return sum(last - first + 1 for first, last, _ in self.ranges)

    @property
    def is_whole(self) -> bool:
        """Whether every slot has a node."""
        return self.served == SLOTS


@dataclass(frozen=True, slots=True)
class Redirection:
    """A node's word that a command, which it did not run, belongs elsewhere: for good (MOVED), or this once (ASK)."""

    is_lasting: bool
    slot: int
    address: Address


def read_topology(reply: object, *, asked: Address) -> Topology:
    """Return what CLUSTER SLOTS said; a node that does not know its own host is the one that was `asked`.

    Raises `StoreUnavailable` when it said something else. Source: valkey.io/commands/cluster-slots, read 2026-11.
    """
    try:
        return Topology(
            tuple(
                (int(first), int(last), (_host(primary, asked=asked), int(cast("int", primary[1]))))
                for first, last, primary, *_ in cast("list[tuple[int, int, list[object]]]", reply)
            )
        )
    except (IndexError, TypeError, ValueError):
        raise StoreUnavailable("the reply to CLUSTER SLOTS cannot be read") from None


def _host(node: Sequence[object], *, asked: Address) -> str:
    """Return where a node is; `?` stands for a host name that it should have and has not, so its IP must do."""
    host = node[0]
    if host == b"?":
        about = cast("list[bytes]", node[3]) if len(node) > 3 else []  # noqa: PLR2004 - the reply's fourth part
        host = dict(zip(about[::2], about[1::2], strict=False)).get(b"ip")
    return host.decode() if isinstance(host, bytes) and host else asked[0]


def read_redirection(error: StoreReplyError, *, asked: Address) -> Redirection | None:
    """Return where the error `MOVED 3999 host:port` or `ASK 3999 host:port` points; absent if it is another error."""
    found = _REDIRECTION.fullmatch(str(error))
    if found is None or int(found["slot"]) >= SLOTS:
        return None
    return Redirection(found["kind"] == "MOVED", int(found["slot"]), (found["host"] or asked[0], int(found["port"])))
