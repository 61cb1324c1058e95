"""The options that any inference request may carry, in headers or in the body's `gateway` object."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from app.cache.wishes import Asked, CacheControl, read_control
from app.kernel.errors import InvalidRequest
from app.kernel.money import parse_usd

_PREFIX = b"x-gateway-"
_NAMES = frozenset(
    {"timeout_s", "max_cost", "cache", "cache_ttl_s", "tags", "fallbacks", "session", "route", "include"}
)
_CACHE_MODES: dict[str, Asked] = {"off": "off", "exact": "exact", "semantic": "semantic", "refresh": "refresh"}
_CACHE_CONTROL = b"cache-control"
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")
_MAX_TIMEOUT_S = 86_400.0
_MAX_TAGS = 16
_MAX_TAG_NAME, _MAX_TAG_VALUE = 64, 256


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller asked of the gateway itself; `in_body` names what came in the body's `gateway` object."""

    timeout_s: float | None = None
    max_cost_nusd: int | None = None
    cache: Asked | None = None
    cache_ttl_s: int | None = None
    cache_threshold: float | None = None
    cache_control: CacheControl | None = None
    tags: dict[str, str] = {}
    fallbacks: tuple[str, ...] | None = None
    session: str | None = None
    route: tuple[str, str] | None = None
    includes_cost: bool = False
    in_body: frozenset[str] = frozenset()

    def label(self, name: str) -> str:
        """Return what the caller calls an option, as errors name it."""
        return _body_label(name) if name in self.in_body else "x-gateway-" + name.replace("_", "-")


NO_OPTIONS = Options()


def read_options(headers: Mapping[bytes, bytes], given: Any) -> Options:
    """Return the options of a request; a header wins over the `gateway` object `given` in the body.

    Raises `InvalidRequest` that names the header or field.
    """
    raw, in_body = _from_headers(headers), frozenset[str]()
    if given is not None:
        told = _from_body(given)
        in_body = frozenset(told.keys() - raw.keys())
        raw = told | raw
    control = headers.get(_CACHE_CONTROL)
    if not raw and control is None:
        return NO_OPTIONS
    return Options(
        timeout_s=_number(raw, "timeout_s", high=_MAX_TIMEOUT_S),
        max_cost_nusd=_money(raw),
        cache=_cache_mode(raw),
        cache_ttl_s=_whole(raw, "cache_ttl_s"),
        cache_control=None if control is None else read_control(control.decode("latin-1")),
        tags=_tags(raw),
        fallbacks=_names(raw, "fallbacks"),
        session=_text(raw, "session"),
        route=_route(raw),
        includes_cost=_includes_cost(raw),
        in_body=in_body,
    )


class _Raw(msgspec.Struct, frozen=True):
    """A value as given, and the name under which its giver knows it."""

    label: str
    value: Any


def _from_headers(headers: Mapping[bytes, bytes]) -> dict[str, _Raw]:
    found: dict[str, _Raw] = {}
    for name, value in headers.items():
        if name.startswith(_PREFIX):
            label = name.decode("latin-1")
            option = label[len(_PREFIX) :].replace("-", "_")
            if option in _NAMES:
                found[option] = _Raw(label, value.decode("latin-1").strip())
    return found


def _from_body(given: Any) -> dict[str, _Raw]:
    if not isinstance(given, dict):
        raise InvalidRequest("gateway must be an object", param="gateway")
    for name in given:
        if name not in _NAMES:
            label = _body_label(name[:_MAX_TAG_NAME])
            raise InvalidRequest(f"{label} is not an option of the gateway", code="unknown_parameter", param=label)
    return {name: _Raw(_body_label(name), value) for name, value in given.items() if value is not None}


def _body_label(name: str) -> str:
    return f"gateway.{name}"


def _fail(raw: _Raw, want: str) -> InvalidRequest:
    return InvalidRequest(f"{raw.label} must be {want}", param=raw.label)


def _number(options: Mapping[str, _Raw], name: str, *, high: float) -> float | None:
    raw = options.get(name)
    if raw is None:
        return None
    want = f"a number of seconds, more than 0 and at most {high:g}"
    number = _NUMBER.fullmatch(raw.value) and float(raw.value) if isinstance(raw.value, str) else raw.value
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number <= high:
        raise _fail(raw, want)
    return float(number)


def _whole(options: Mapping[str, _Raw], name: str) -> int | None:
    number = _number(options, name, high=365 * 86_400.0)
    if number is not None and number != int(number):
        raise _fail(options[name], "a whole number of seconds")
    return None if number is None else int(number)


def _money(options: Mapping[str, _Raw]) -> int | None:
    raw = options.get("max_cost")
    if raw is None:
        return None
    try:
        return parse_usd(raw.value)
    except ValueError as error:
        raise InvalidRequest(f"{raw.label}: {error}", param=raw.label) from None


def _cache_mode(options: Mapping[str, _Raw]) -> Asked | None:
    raw = options.get("cache")
    if raw is None:
        return None
    if not isinstance(raw.value, str) or raw.value not in _CACHE_MODES:
        raise _fail(raw, "one of " + ", ".join(sorted(_CACHE_MODES)))
    return _CACHE_MODES[raw.value]


def _text(options: Mapping[str, _Raw], name: str) -> str | None:
    raw = options.get(name)
    if raw is None:
        return None
    if not isinstance(raw.value, str) or not 0 < len(raw.value) <= _MAX_TAG_VALUE or not raw.value.isprintable():
        raise _fail(raw, f"printable text of at most {_MAX_TAG_VALUE} characters")
    return raw.value


def _names(options: Mapping[str, _Raw], name: str) -> tuple[str, ...] | None:
    raw = options.get(name)
    if raw is None:
        return None
    items = raw.value.split(",") if isinstance(raw.value, str) else raw.value
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise _fail(raw, "a list of model names")
    return tuple(item.strip() for item in items if item.strip())


def _tags(options: Mapping[str, _Raw]) -> dict[str, str]:
    raw = options.get("tags")
    if raw is None:
        return {}
    given = _split_tags(raw) if isinstance(raw.value, str) else raw.value
    want = (
        f"at most {_MAX_TAGS} pairs such as team=blue or run=7: names up to 64 characters, text up to 256 or integers"
    )
    if not isinstance(given, dict) or len(given) > _MAX_TAGS:
        raise _fail(raw, want)
    tags = {name: str(value) if type(value) is int else value for name, value in given.items()}
    if not all(_is_tag(*pair) for pair in tags.items()):
        raise _fail(raw, want)
    return tags


def _split_tags(raw: _Raw) -> dict[str, str]:
    tags = {}
    for pair in filter(None, map(str.strip, raw.value.split(","))):
        name, equals, value = pair.partition("=")
        if not equals:
            raise _fail(raw, "pairs such as team=blue,run=7")
        tags[name.strip()] = value.strip()
    return tags


def _is_tag(name: Any, value: Any) -> bool:
    return (
        isinstance(name, str)
        and isinstance(value, str)
        and 0 < len(name) <= _MAX_TAG_NAME
        and len(value) <= _MAX_TAG_VALUE
        and (name + value).isprintable()
    )


def _route(options: Mapping[str, _Raw]) -> tuple[str, str] | None:
    text = _text(options, "route")
    if text is None:
        return None
    provider, slash, model = text.partition("/")
    if not slash or not provider or not model:
        raise _fail(options["route"], "of the form provider/model")
    return provider, model


def _includes_cost(options: Mapping[str, _Raw]) -> bool:
    raw = options.get("include")
    if raw is None:
        return False
    names = _names(options, "include") or ()
    if set(names) - {"cost"}:
        raise _fail(raw, "a list of: cost")
    return "cost" in names
