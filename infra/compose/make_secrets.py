"""The secrets of `compose.yaml`: made once, on the first start, each where only the service that needs it reads it.

    make_secrets.py make           what is missing; what exists is never changed
    make_secrets.py show NAME   admin_key or grafana_password

Law: nothing has a default, nothing is printed unasked, and a second start changes nothing.

It runs as root without a network and with no other right than to give files away: each is its reader's, and stays
readable to the group of root, so that the next start finds what exists.
"""

import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path("/secrets")
GATEWAY, POSTGRES, REDIS, GRAFANA = 10001, 999, 999, 472
"""The users that the images run as; `compose.yaml` says the same."""

Files = Mapping[str, tuple[int, str]]
"""Path below the root → owner and content."""


def wanted(known: Mapping[str, str]) -> Files:
    """Return every file; `known` are the values that exist already, by name."""
    database, state, adapter = (known.get(name) or made() for name in ("database", "state", "adapter"))
    return {
        "gateway/master_secret": (GATEWAY, known.get("master") or made()),
        "gateway/admin_key": (GATEWAY, known.get("admin") or f"sk-gw-admin-{made()}"),
        "gateway/database_url": (GATEWAY, f"postgresql+asyncpg://gateway:{database}@postgres:5432/gateway"),
        "gateway/state_url": (GATEWAY, f"redis://:{state}@redis:6379/0"),
        "gateway/adapter_token": (GATEWAY, adapter),
        "adapter/adapter_token": (GATEWAY, adapter),
        "postgres/password": (POSTGRES, known.get("superuser") or made()),
        "postgres/gateway_password": (POSTGRES, database),
        "redis/redis.conf": (REDIS, f"requirepass {state}"),
        "redis/password": (REDIS, state),
        "grafana/password": (GRAFANA, known.get("grafana") or made()),
    }


SOURCES = {
    "superuser": "postgres/password",
    "database": "postgres/gateway_password",
    "state": "redis/password",
    "adapter": "adapter/adapter_token",
    "master": "gateway/master_secret",
    "admin": "gateway/admin_key",
    "grafana": "grafana/password",
}
"""Which file each value is first written to, and read back from."""
SHOWN = {"admin_key": "gateway/admin_key", "grafana_password": "grafana/password"}


def made() -> str:
    """Return 256 random bits as text that needs no escaping in a URL."""
    return secrets.token_hex(32)


def make(root: Path) -> list[str]:
    """Write the files that are missing; return their paths."""
    known = {name: read(root / path) for name, path in SOURCES.items() if (root / path).exists()}
    files = wanted(known)
    first = list(SOURCES.values())
    in_order = [*first, *(path for path in files if path not in first)]
    new = [path for path in in_order if not (root / path).exists()]
    for path in new:
        owner, content = files[path]
        write(root / path, content, owner=owner)
    return new


def read(path: Path) -> str:
    """Return a file's content without its line end."""
    return path.read_text(encoding="utf-8").strip()


def write(path: Path, content: str, *, owner: int) -> None:
    """Write a file that only its owner and root can read: complete, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o440), "w", encoding="utf-8") as file:
        file.write(content + "\n")
        file.flush()
        os.fsync(file.fileno())
        if os.geteuid() == 0:
            os.fchown(file.fileno(), owner, 0)
    draft.rename(path)


def main(arguments: list[str]) -> int:
    """Do what is asked; return the exit code."""
    match arguments:
        case ["make"]:
            print(f"{len(make(ROOT))} secrets made")
        case ["show", name] if name in SHOWN:
            print(read(ROOT / SHOWN[name]))
        case _:
            print(f"usage: make_secrets.py make | show {'|'.join(SHOWN)}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
