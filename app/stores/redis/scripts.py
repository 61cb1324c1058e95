"""Lua scripts, read from their own files. Law: a script is known by its SHA-1, so its source travels once."""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files

from app.stores.errors import StoreReplyError
from app.stores.redis.link import Argument


@dataclass(frozen=True, slots=True)
class Script:
    """One Lua script and the SHA-1 by which Redis knows it."""

    name: str
    source: bytes
    sha: str


def load_script(name: str, *, after: Sequence[str] = ()) -> Script:
    """Read `<name>.lua` from this folder, with the functions that it takes from the files named before it."""
    source = b"".join((files(__package__) / f"{each}.lua").read_bytes() for each in (*after, name))
    return Script(name, source, hashlib.sha1(source, usedforsecurity=False).hexdigest())


async def run_script(
    call: Callable[..., Awaitable[object]], script: Script, keys: Sequence[Argument], args: Sequence[Argument]
) -> object:
    """Run a script through `call` and return its reply; a server that does not know it gets its source, once."""
    try:
        return await call("EVALSHA", script.sha, len(keys), *keys, *args)
    except StoreReplyError as error:
        if error.code != "NOSCRIPT":
            raise
    return await call("EVAL", script.source, len(keys), *keys, *args)
