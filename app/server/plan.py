"""Which workers there are, and where each listens. Law: a plan is plain data, decided before anything starts."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

STOP_ALLOWANCE_S = 9
"""How much longer than `drain_s` a worker may take to end before it is killed."""


class Planes(StrEnum):
    """What one installation serves: both planes, or only one of them."""

    ALL = "all"
    GATEWAY = "gateway"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where one plane listens. Port 0 lets the system choose one when the supervisor binds."""

    plane: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """The `host:port` of a URL, with brackets around an IPv6 host."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The address as a URL that this machine can open: a wildcard host is shown as loopback."""
        loopback = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - recognised, not bound
        host = loopback.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """What one worker process does: the planes it serves, and which of its siblings it is.

    `shared` is a folder in memory, if there is one, that all workers of one parent share while it runs.
    """

    name: str
    index: int
    planes: tuple[str, ...]
    shared: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The workers to run and the addresses they share.

    `backpressure` is how many connections one worker accepts at once for one plane; it lies above the application's own
    cap, so that the application sheds with an answer. `drain_s` is how long requests in flight may go on after SIGTERM.
    """

    roles: tuple[Role, ...]
    addresses: tuple[Address, ...]
    drain_s: float = 30
    backlog: int = 4096
    backpressure: int = 900


def plan_roles(planes: Planes, *, workers: int, may_share: bool, shared: Path | None = None) -> tuple[Role, ...]:
    """Return the workers that serve `planes`.

    With state in memory (`may_share` false) there is one process, which serves every plane. With shared state there are
    `workers` processes for the gateway and one more for the admin plane.
    """
    wanted = ("gateway", "admin") if planes is Planes.ALL else (str(planes),)
    if not may_share:
        return (Role(name="-".join(wanted), index=0, planes=wanted, shared=shared),)
    names = [f"gateway-{number + 1}" for number in range(workers)] if "gateway" in wanted else []
    roles = [Role(name=name, index=index, planes=("gateway",), shared=shared) for index, name in enumerate(names)]
    if "admin" in wanted:
        roles.append(Role(name="admin", index=len(roles), planes=("admin",), shared=shared))
    return tuple(roles)
