"""The environment laid over the file: `GATEWAY_<SECTION>__<FIELD>`, any depth, any case.

Lists and objects are JSON. A segment that names one of yours (a provider, a model) fits it with every character that a
variable cannot have read as `_`: `GATEWAY_MODELS__GPT_4O_MINI__RETRIES`. Law: an unknown variable is a fault, or a
misspelt one would be silently ignored.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import inspect

from app.settings.document import MAX_DEPTH, Node, below, is_clean
from app.settings.faults import Fault
from app.settings.reading import bare, file_fields
from app.settings.suggestions import closest

PREFIX = "GATEWAY_"
MASTER_SECRET = "GATEWAY_MASTER_SECRET"  # noqa: S105 - the name of a variable
ADMIN_KEY = "GATEWAY_ADMIN_KEY"
ADAPTER_TOKEN = "GATEWAY_ADAPTER_TOKEN"  # noqa: S105 - the name of a variable
OLD_MASTER_SECRET = "GATEWAY_OLD_MASTER_SECRET"  # noqa: S105 - the name of a variable
OWN_SECRETS = (MASTER_SECRET, OLD_MASTER_SECRET, ADMIN_KEY, ADAPTER_TOKEN)
"""The gateway's own secrets. They are in no file of settings."""
FILE_SUFFIX = "_FILE"
"""A variable with this end names a file that holds the secret, as containers mount them."""
NO_SETTINGS = frozenset(
    {*OWN_SECRETS, *(f"{name}{FILE_SUFFIX}" for name in OWN_SECRETS), "GATEWAY_CONFIG", "GATEWAY_DEBUG"}
)
"""Variables of the gateway that are no keys of the file."""

_SERVICE_LINK = re.compile(r"_SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)$|_PORT_[0-9]+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?$")
_UNFIT = re.compile(r"[^a-z0-9]")
_SCALARS = (str, int, float, bool, type(None))


def overlay(root: Node, info: inspect.StructType, *, environ: Mapping[str, str], used: frozenset[str]) -> list[Fault]:
    """Write the environment's settings into `root`; return the faults.

    Fewer segments go first, so that `GATEWAY_LIMITS={…}` may be refined by `GATEWAY_LIMITS__CONCURRENCY`. `used` names
    the variables that the document refers to as secrets.
    """
    faults: list[Fault] = []
    seen: dict[str, str] = {}
    for name in sorted(_variables(environ, used), key=lambda name: (name.count("__"), name)):
        fault = _lay(name, environ[name], root, info=info, seen=seen)
        if fault is not None:
            faults.append(fault)
    return faults


def lay_text(root: Node, info: inspect.StructType, *, path: str, text: str, origin: str) -> None:
    """Write one value at a dotted path, as an environment variable would; for the command line."""
    _write(root, info, segments=path.split("."), text=text, origin=origin)


def _variables(environ: Mapping[str, str], used: frozenset[str]) -> Iterator[str]:
    for name, value in environ.items():
        if name.upper().startswith(PREFIX) and name not in NO_SETTINGS | used and not _is_service_link(name, value):
            yield name


def _is_service_link(name: str, value: str) -> bool:
    """Tell whether Kubernetes made the variable for a service named `gateway…`.

    Source: kubernetes.io/docs/concepts/services-networking/service (environment variables), read 2026-11.
    """
    if "__" in name:
        return False
    is_address = name.endswith("_PORT") and value.startswith(("tcp://", "udp://", "sctp://"))
    return is_address or bool(_SERVICE_LINK.search(name))


def _lay(name: str, text: str, root: Node, *, info: inspect.StructType, seen: dict[str, str]) -> Fault | None:
    origin = f"env {name}"
    segments = name[len(PREFIX) :].lower().split("__")
    try:
        path = _write(root, info, segments=segments, text=text, origin=origin)
    except _Misplaced as error:
        suggestion = error.suggestion or _suggestion(name, info)
        return Fault(path=name, message=error.message, suggestion=suggestion, origin=origin)
    if path in seen:
        return Fault(path=path, message=f"is set by {seen[path]} and by {name}", suggestion="keep one", origin=origin)
    seen[path] = name
    return None


class _Misplaced(Exception):
    """The variable names no setting, or its JSON cannot be read."""

    def __init__(self, message: str, *, suggestion: str | None = None) -> None:
        self.message = message
        self.suggestion = suggestion
        super().__init__(message)


def _write(root: Node, info: inspect.Type, *, segments: list[str], text: str, origin: str) -> str:
    """Put the text where the segments lead, making objects on the way; return the path."""
    node, path = root, ""
    for segment in segments[:-1]:
        key, info = _step(info, segment, node)
        node, path = _descend(node, key, origin=origin), below(path, key)
    key, info = _step(info, segments[-1], node)
    node.value[key] = _leaf(info, text, origin=origin)
    return below(path, key)


def _descend(node: Node, key: str, *, origin: str) -> Node:
    child: Node | None = node.value.get(key)
    if child is None or isinstance(child.value, _SCALARS):
        child = Node({}, origin=origin)
    elif isinstance(child.value, list):
        raise _Misplaced(f"`{key}` is a list in the file", suggestion="write the whole of it as JSON")
    else:
        child = child.copy()
    node.value[key] = child
    return child


def _step(info: inspect.Type, segment: str, node: Node) -> tuple[str, inspect.Type]:
    """Return the key that a segment means below a type, and that key's type."""
    inner = bare(info)
    if not segment:
        raise _Misplaced("is not the name of a setting")
    if isinstance(inner, inspect.StructType):
        return _field(inner, segment, node)
    if isinstance(inner, inspect.DictType):
        return _fitting(segment, node.value), inner.value_type
    if isinstance(inner, inspect.AnyType):
        return _fitting(segment, node.value), inner
    raise _Misplaced("goes deeper than the setting does")


def _field(info: inspect.StructType, segment: str, node: Node) -> tuple[str, inspect.Type]:
    fields = file_fields(info)
    if segment in fields:
        return segment, fields[segment].type
    if any(field.name == "options" for field in info.fields):
        return _fitting(segment, node.value), inspect.AnyType()
    raise _Misplaced("is not the name of a setting")


def _fitting(segment: str, keys: Mapping[str, Any]) -> str:
    """Return the one of the keys that the segment can mean, else the segment as a new key."""
    if segment in keys:
        return segment
    fits = [key for key in keys if _UNFIT.sub("_", key.lower()) == segment]
    if len(fits) > 1:
        raise _Misplaced(f"may mean {' or '.join(fits)}", suggestion="set this one in the file")
    return fits[0] if fits else segment


def _leaf(info: inspect.Type, text: str, *, origin: str) -> Node:
    if not is_clean(text):
        raise _Misplaced("is not UTF-8 text")
    inner = bare(info)
    is_json = text.lstrip()[:1] in {"{", "["} and not isinstance(inner, (inspect.StrType, inspect.CustomType))
    if is_json:
        return _json(text, origin)
    if isinstance(inner, (inspect.VarTupleType, inspect.ListType, inspect.FrozenSetType)):
        raise _Misplaced("must be a list, written as JSON", suggestion='such as ["a", "b"]')
    if isinstance(inner, inspect.AnyType):
        return _json_or_text(text, origin)
    return Node(text, origin=origin, is_text=True)


def _json(text: str, origin: str) -> Node:
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise _Misplaced(f"is not JSON: {error}") from None
    return _node(value, origin, depth=0)


def _json_or_text(text: str, origin: str) -> Node:
    """Read what may be of any type: `0.2` and `true` are what JSON says, all that is not JSON is text."""
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError:
        value = text
    return Node(value, origin=origin, text=text)


def _node(value: Any, origin: str, *, depth: int) -> Node:
    if depth > MAX_DEPTH:
        raise _Misplaced(f"is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        value = {key: _node(child, origin, depth=depth + 1) for key, child in value.items()}
    elif isinstance(value, list):
        value = [_node(child, origin, depth=depth + 1) for child in value]
    text = None if isinstance(value, (dict, list, str)) else msgspec.json.encode(value).decode()
    return Node(value, origin=origin, text=text)


def _suggestion(name: str, info: inspect.StructType) -> str:
    """Return the variable that was probably meant: one that ends in the same field, else the likest one."""
    wanted = name.upper()
    known = [*variable_names(info), *sorted(NO_SETTINGS)]
    path, _, field = wanted.removeprefix(PREFIX).rpartition("__")
    same_field = [candidate for candidate in known if candidate.endswith(f"__{field}")]
    if same_field and not path:
        return f"did you mean {same_field[0]}?"
    match = closest(wanted, same_field) or closest(wanted, known)
    return f"did you mean {match}?" if match else "unset it; `llm-gateway check --schema` lists every setting"


def variable_names(info: inspect.StructType, *, prefix: str = PREFIX) -> Iterator[str]:
    """Yield the variables of all settings whose path holds no name of yours."""
    for key, field in file_fields(info).items():
        inner = bare(field.type)
        name = f"{prefix}{key.upper()}"
        yield name
        if isinstance(inner, inspect.StructType):
            yield from variable_names(inner, prefix=f"{name}__")
