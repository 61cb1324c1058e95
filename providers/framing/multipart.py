"""Forms (`multipart/form-data`), read and changed by byte offset: what is not named stays as it came, byte for byte.

Law: a form that two readers could take for two different ones is refused, not repaired. A file's name is only what the
client called it, never a path. Source: https://www.rfc-editor.org/rfc/rfc7578, read 2026-11.
"""

import re
from collections.abc import Collection, Mapping
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

MAX_PARTS = 100
MAX_HEAD_BYTES = 8 * 1024
MAX_NAME = 256
_SHOWN = 64
_CRLF = b"\r\n"
_TYPE = re.compile(r"multipart/form-data[ \t]*", re.IGNORECASE)
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PARAMETER = re.compile(rb'[ \t]*;[ \t]*(%s)=("(?:[^"\\\r\n]|\\.)*+"|%s)[ \t]*+(?=;|$)' % (_TOKEN, _TOKEN))
_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
_FIELD = re.compile(rb"(%s):[ \t]*([^\r\n\0]*)" % _TOKEN)
_NOT_IN_NAMES = re.compile(r'[\x00-\x1f\x7f"\\]')
_NOT_IN_FILE_NAMES = re.compile(r"[\x00-\x1f\x7f/\\]|\.{1,2}\Z")
_IDENTITIES = frozenset({b"7bit", b"8bit", b"binary"})


class BadForm(ValueError):
    """The form is not well formed, or past a bound."""


class Part(NamedTuple):
    """One part and where it stands.

    `start` is at its delimiter, `end` at the next one; the span of the name includes its quotes. `text` is the value of
    a text field; a file has a `filename` instead, and its bytes are the span of the value.
    """

    name: str
    text: str | None
    filename: str | None
    content_type: str | None
    start: int
    name_start: int
    name_end: int
    value_start: int
    value_end: int
    end: int

    @property
    def may_repeat(self) -> bool:
        """Whether the part belongs to a list, as the OpenAI SDKs write one: `include[]`."""
        return self.name.endswith("[]")


class Form(NamedTuple):
    """The parts of a form in order, and the `delimiter` (`--` and the boundary) between them."""

    delimiter: bytes
    parts: tuple[Part, ...]

    @property
    def document(self) -> dict[str, str | list[str]]:
        """The text fields by name; of a list (`include[]`) all values."""
        document: dict[str, str | list[str]] = {}
        for part in self.parts:
            if part.text is not None and part.may_repeat:
                document[part.name] = [*document.get(part.name, ()), part.text]
            elif part.text is not None:
                document[part.name] = part.text
        return document

    @property
    def files(self) -> tuple[Part, ...]:
        """The parts that are files."""
        return tuple(part for part in self.parts if part.filename is not None)


def boundary_of(content_type: str) -> bytes:
    """Return the boundary that a `content-type` names. Raises `BadForm`."""
    kind = _TYPE.match(content_type)
    if kind is None:
        raise BadForm("the content type is not multipart/form-data")
    try:
        parameters = _parameters(content_type[kind.end() :].rstrip(" \t").encode("ascii"), what="the content type")
    except UnicodeEncodeError:
        raise BadForm("the content type is not ASCII") from None
    if b"boundary" not in parameters:
        raise BadForm("the content type names no boundary")
    raw = parameters[b"boundary"][0]
    boundary = re.sub(rb"\\(.)", rb"\1", raw[1:-1]) if raw.startswith(b'"') else raw
    if not _BOUNDARY.fullmatch(boundary):
        raise BadForm("the boundary is not 1 to 70 of the characters that it may have")
    return boundary


def parse(body: bytes, content_type: str) -> Form:
    """Return the parts of `body`. Raises `BadForm`, which says what is wrong with it."""
    delimiter = b"--" + boundary_of(content_type)
    at = len(_CRLF) if body.startswith(_CRLF) else 0
    if not body.startswith(delimiter, at):
        raise BadForm("the form does not begin with its boundary")
    parts: list[Part] = []
    seen: set[str] = set()
    while not _is_closed(body, at + len(delimiter)):
        if len(parts) == MAX_PARTS:
            raise BadForm(f"the form has more than {MAX_PARTS} parts")
        part = _read_part(body, at, delimiter=delimiter, what=f"part {len(parts) + 1}")
        if part.name in seen and not part.may_repeat:
            raise BadForm(f"the field {part.name[:_SHOWN]!r} stands twice in the form")
        seen.add(part.name)
        parts.append(part)
        at = part.end
    return Form(delimiter, tuple(parts))


def splice(
    body: bytes,
    content_type: str,
    *,
    put: Mapping[str, str],
    drop: Collection[str] = (),
    rename: Mapping[str, str] | None = None,
) -> bytes:
    """Return `body` with text fields set (added in front if new), dropped or renamed; files and other bytes stay.

    An order of business: drop, then rename (which replaces a field of the new name), then put; `put` names fields by
    their new names. Raises `BadForm`, also for a name or value that no form can hold.
    """
    form = parse(body, content_type)
    texts = {part.name for part in form.parts if part.text is not None}
    names = {old: new for old, new in (rename or {}).items() if old in texts and old not in drop}
    lost = set(drop) | (set(names.values()) - names.keys())
    kept: list[bytes] = []
    met: set[str] = set()
    for part in form.parts:
        if part.text is None:
            kept.append(body[part.start : part.end])
        elif part.name not in lost:
            name = names.get(part.name, part.name)
            met.add(name)
            kept.append(_edited(body, part, name=name, value=put.get(name)))
    added = [_field(form.delimiter, name, value) for name, value in put.items() if name not in met]
    if any(form.delimiter in value.encode() for value in put.values()):
        raise BadForm("a value holds the boundary of the form")
    first, last = (form.parts[0].start, form.parts[-1].end) if form.parts else (0, 0)
    return b"".join((body[:first], *added, *kept, body[last:]))


def _edited(body: bytes, part: Part, *, name: str, value: str | None) -> bytes:
    """Return a part with another name or value."""
    named = body[part.name_start : part.name_end] if name == part.name else _quote(name)
    text = body[part.value_start : part.value_end] if value is None else value.encode()
    between = body[part.name_end : part.value_start]
    return body[part.start : part.name_start] + named + between + text + body[part.value_end : part.end]


def _field(delimiter: bytes, name: str, value: str) -> bytes:
    """Return a new text field."""
    head = b"content-disposition: form-data; name=" + _quote(name)
    return _CRLF.join((delimiter, head, b"", value.encode(), b""))


def _is_closed(body: bytes, at: int) -> bool:
    """Whether the delimiter that ends at `at` is the last one; nothing but white space may follow that."""
    if not body.startswith(b"--", at):
        return False
    if body[at + 2 :].strip():
        raise BadForm("something follows the last boundary of the form")
    return True


def _read_part(body: bytes, start: int, *, delimiter: bytes, what: str) -> Part:
    """Return the part whose delimiter stands at `start`."""
    line_end = body.find(_CRLF, start)
    if line_end < 0 or body[start + len(delimiter) : line_end].strip(b" \t"):
        raise BadForm(f"the boundary before {what} is not a line of its own")
    head_start = line_end + len(_CRLF)
    head_end = body.find(_CRLF + _CRLF, head_start, head_start + MAX_HEAD_BYTES + 4)
    if head_end < 0:
        is_long = len(body) - head_start > MAX_HEAD_BYTES
        raise BadForm(f"the head of {what} " + (f"is over {MAX_HEAD_BYTES} bytes" if is_long else "has no end"))
    value_start = head_end + 4
    end = body.find(delimiter, value_start)
    if end < 0:
        raise BadForm(f"{what} has no end")
    value_end = end - len(_CRLF)
    if value_end < value_start or not body.startswith(_CRLF, value_end):
        raise BadForm(f"the boundary stands within {what}")
    head = _Head(body[head_start:head_end], what=what)
    return Part(
        name=head.name,
        text=None if head.filename is not None else _text(body[value_start:value_end], what=f"the value of {what}"),
        filename=head.filename,
        content_type=head.content_type,
        start=start,
        name_start=head_start + head.name_span[0],
        name_end=head_start + head.name_span[1],
        value_start=value_start,
        value_end=value_end,
        end=end,
    )


class _Head:
    """The head of one part, read."""

    __slots__ = ("content_type", "filename", "name", "name_span")

    def __init__(self, head: bytes, *, what: str) -> None:
        fields = _fields(head, what=what)
        kind, kind_start = fields.get(b"content-disposition", (b"", 0))
        mark = b"form-data"
        if not kind.lower().startswith(mark):
            raise BadForm(f"{what} has no content-disposition of form-data")
        parameters = _parameters(kind[len(mark) :], what=f"the content-disposition of {what}")
        if b"name" not in parameters:
            raise BadForm(f"{what} has no name")
        raw, at = parameters[b"name"]
        self.name = _name(raw, what=what)
        self.name_span = (kind_start + len(mark) + at, kind_start + len(mark) + at + len(raw))
        self.filename = _filename(parameters, what=what)
        self.content_type = _content_type(fields, what=what)


def _fields(head: bytes, *, what: str) -> dict[bytes, tuple[bytes, int]]:
    """Return the header fields of a part by lower-case name, each with the offset of its value."""
    fields: dict[bytes, tuple[bytes, int]] = {}
    at = 0
    for line in head.split(_CRLF):
        field = _FIELD.fullmatch(line)
        if field is None:
            raise BadForm(f"the head of {what} has a line that is no header field")
        name = field[1].lower()
        if name in fields:
            raise BadForm(f"the head of {what} says {name.decode()[:_SHOWN]} twice")
        fields[name] = (field[2].rstrip(b" \t"), at + field.start(2))
        at += len(line) + len(_CRLF)
    return fields


def _parameters(text: bytes, *, what: str) -> dict[bytes, tuple[bytes, int]]:
    """Return the parameters of a header field by lower-case name, as they stand, each with its offset in `text`."""
    found: dict[bytes, tuple[bytes, int]] = {}
    at = 0
    while at < len(text):
        parameter = _PARAMETER.match(text, at)
        if parameter is None:
            raise BadForm(f"{what} has a parameter that cannot be read")
        name = parameter[1].lower()
        if name in found:
            raise BadForm(f"{what} says {name.decode()[:_SHOWN]} twice")
        found[name] = (parameter[2], parameter.start(2))
        at = parameter.end()
    return found


def _name(raw: bytes, *, what: str) -> str:
    name = _text(raw[1:-1] if raw.startswith(b'"') else raw, what=f"the name of {what}")
    if not name or len(name) > MAX_NAME or _NOT_IN_NAMES.search(name):
        raise BadForm(f"the name of {what} is not 1 to {MAX_NAME} characters without quotes and control characters")
    return name


def _filename(parameters: Mapping[bytes, tuple[bytes, int]], *, what: str) -> str | None:
    """Return what the client called a file; `None` for a text field. Raises `BadForm` for a path."""
    plain, extended = parameters.get(b"filename"), parameters.get(b"filename*")
    if plain is None and extended is None:
        return None
    raw = b"" if plain is None else plain[0]
    raw = raw[1:-1].replace(rb"\"", b'"') if raw.startswith(b'"') else raw
    if extended is not None:
        raw = unquote_to_bytes(extended[0].rpartition(b"'")[2])
    filename = _text(raw, what=f"the file name of {what}")
    if len(filename) > MAX_NAME or _NOT_IN_FILE_NAMES.search(filename):
        raise BadForm(f"the file name of {what} is a path, or not at most {MAX_NAME} printable characters")
    return filename


def _content_type(fields: Mapping[bytes, tuple[bytes, int]], *, what: str) -> str | None:
    """Return the media type of a part. Raises `BadForm` for a form within it, and for an encoding of its bytes."""
    encoding, _ = fields.get(b"content-transfer-encoding", (b"binary", 0))
    if encoding.lower() not in _IDENTITIES:
        raise BadForm(f"{what} has a content-transfer-encoding")
    if b"content-type" not in fields:
        return None
    kind = fields[b"content-type"][0].decode("latin-1")
    if kind.lower().startswith("multipart/"):
        raise BadForm(f"{what} is itself of several parts")
    return kind


def _text(raw: bytes, *, what: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise BadForm(f"{what} is not UTF-8") from None


def _quote(name: str) -> bytes:
    if not name or _NOT_IN_NAMES.search(name):
        raise BadForm(f"no field of a form is called {name[:_SHOWN]!r}")
    return b'"' + name.encode() + b'"'


__all__ = ["MAX_HEAD_BYTES", "MAX_NAME", "MAX_PARTS", "BadForm", "Form", "Part", "boundary_of", "parse", "splice"]
