"""YAML text becomes a tree of nodes that remember their lines.

Scalars follow YAML 1.2's core schema, so that `off`, `no` and `2024-10-21` are text. Law: nothing here knows the
settings; what comes in may be hostile, so size, depth and expansion by aliases are bounded.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from app.settings.faults import Fault

MAX_BYTES = 1024 * 1024
MAX_NODES = 100_000
MAX_DEPTH = 32

_PLAIN: tuple[tuple[re.Pattern[str], Callable[[str], Any]], ...] = (
    (re.compile(r"(null|Null|NULL|~|)$"), lambda _: None),
    (re.compile(r"(true|True|TRUE|false|False|FALSE)$"), lambda text: text[0] in "tT"),
    (re.compile(r"[-+]?[0-9]{1,4000}$"), int),
    (re.compile(r"0o[0-7]{1,4000}$|0x[0-9a-fA-F]{1,3000}$"), lambda text: int(text, 0)),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$"), float),
    (re.compile(r"[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$"), lambda text: float(text.replace(".", ""))),
)
"""What a plain scalar means by YAML 1.2's core schema. Source: yaml.org/spec/1.2.2 section 10.3.2, read 2026-11."""


class Node:
    """A value and where it was written.

    `value` is a dict of nodes, a list of nodes, or a scalar. `text` is how a plain (unquoted) scalar was written.
    `is_text` marks a scalar of the environment, which is text whatever is meant. `size` counts the nodes that a full
    expansion would have.
    """

    __slots__ = ("is_text", "line", "origin", "size", "text", "value")
    size: int

    def __init__(
        self, value: Any, *, origin: str, line: int | None = None, text: str | None = None, is_text: bool = False
    ) -> None:
        self.value = value
        self.origin = origin
        self.line = line
        self.text = text
        self.is_text = is_text
        self.size = 1 + sum(child.size for _, child in self.children(""))

    def at(self, line: int | None) -> "Node":
        """Return the same value, said to be written at `line`."""
        node = object.__new__(Node)
        node.value, node.origin, node.text = self.value, self.origin, self.text
        node.is_text, node.size, node.line = self.is_text, self.size, line
        if line is not None:
            node.origin = f"{self.origin.rpartition(':')[0]}:{line}"
        return node

    def copy(self) -> "Node":
        """Return a node whose mapping may be written to; its members are shared."""
        return Node(dict(self.value), origin=self.origin, line=self.line)

    def children(self, path: str) -> Iterator[tuple[str, "Node"]]:
        """Yield the path and the node of each member, this node being at `path`."""
        if isinstance(self.value, dict):
            for key, child in self.value.items():
                yield below(path, key), child
        elif isinstance(self.value, list):
            for index, child in enumerate(self.value):
                yield f"{path}[{index}]", child

    def plain(self) -> Any:
        """Return the value without its nodes, as JSON has it."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value


def below(path: str, key: str) -> str:
    """Return the path of the member `key` of the mapping at `path`."""
    return f"{path}.{key[:64]}" if path else key[:64]


def is_clean(text: str) -> bool:
    """Tell whether the text can be written as UTF-8 and holds no NUL, so that no file or store chokes on it."""
    return "\x00" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


class Unreadable(Exception):
    """The text is not a document; `fault` says why."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        super().__init__(str(fault))


def parse(text: str, *, name: str) -> tuple[Node, list[Fault]]:
    """Return the tree of a YAML document and the faults that do not stop it from being read, such as a key twice.

    `name` is the file's name, for origins. Raises `Unreadable` if there is no tree, or it is too deep or too large.
    """
    builder = _Builder(text, name)
    return builder.build(), builder.faults


class _Builder:
    """Makes nodes of YAML events."""

    def __init__(self, text: str, name: str) -> None:
        self.faults: list[Fault] = []
        self._name = name
        self._anchors: dict[str, Node] = {}
        self._events: Iterator[Event] = iter(yaml.parse(text, Loader=yaml.SafeLoader))
        self._nodes = 0
        self._depth = 0

    def build(self) -> Node:
        """Return the one document's root; an empty file is an empty mapping."""
        try:
            return self._document()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            self._refuse(f"is not YAML: {error.problem or error.context}", line=mark.line + 1 if mark else None)
        except (yaml.YAMLError, ValueError, OverflowError):
            self._refuse("is not YAML: it holds a character that may not stand in a text file")

    def _document(self) -> Node:
        root: Node | None = None
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                if root is not None:
                    self._refuse("holds more than one document", line=_line(event))
                root = self._node(next(self._events), path="")
        if root is None or root.value is None:
            return Node({}, origin=self._name, line=1)
        if not isinstance(root.value, dict):
            self._refuse("is not a list of `key: value` settings", line=root.line)
        return root

    def _node(self, event: Event, *, path: str) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._refuse(f"is nested deeper than {MAX_DEPTH} levels", line=_line(event))
        if isinstance(event, AliasEvent):
            self._depth -= 1
            return self._alias(event)
        if getattr(event, "tag", None) is not None:
            self._refuse("carries a YAML tag (`!…`), which no setting needs", line=_line(event))
        node = self._untagged(event, path=path)
        anchor = getattr(event, "anchor", None)
        if anchor is not None:
            self._anchors[anchor] = node
        self._count(1, event)
        self._depth -= 1
        return node

    def _alias(self, event: AliasEvent) -> Node:
        node = self._anchors.get(event.anchor or "")
        if node is None:
            self._refuse(f"uses the alias `*{event.anchor}` before its anchor is complete", line=_line(event))
        self._count(node.size, event)
        return node

    def _count(self, size: int, event: Event) -> None:
        self._nodes += size
        if self._nodes > MAX_NODES:
            self._refuse(f"has more than {MAX_NODES} values, aliases expanded", line=_line(event))

    def _untagged(self, event: Event, *, path: str) -> Node:
        line = _line(event)
        if isinstance(event, ScalarEvent):
            if not is_clean(event.value):
                self._refuse("holds a character that may not stand in text", line=line)
            is_plain = bool(event.implicit[0])
            value = _scalar(event.value) if is_plain else event.value
            return self._made(value, line=line, text=event.value if is_plain else None)
        if isinstance(event, SequenceStartEvent):
            return self._made(list(self._items(path)), line=line)
        return self._made(self._mapping(path), line=line)

    def _made(self, value: Any, *, line: int, text: str | None = None) -> Node:
        return Node(value, origin=f"{self._name}:{line}", line=line, text=text)

    def _items(self, path: str) -> Iterator[Node]:
        index = 0
        while not isinstance(event := next(self._events), SequenceEndEvent):
            yield self._node(event, path=f"{path}[{index}]")
            index += 1

    def _mapping(self, path: str) -> dict[str, Node]:
        members: dict[str, Node] = {}
        merged: dict[str, Node] = {}
        while not isinstance(event := next(self._events), MappingEndEvent):
            if not isinstance(event, ScalarEvent):
                self._refuse("has a key that is not text", line=_line(event))
            where = below(path, event.value)
            child = self._node(next(self._events), path=where)
            if event.value == "<<" and event.implicit[0]:
                self._merge(merged, child)
            else:
                self._add(members, where=where, key=event.value, child=child.at(_line(event)))
        return {**merged, **members}

    def _add(self, members: dict[str, Node], *, where: str, key: str, child: Node) -> None:
        if key in members:
            first = members[key].line
            self.faults.append(
                Fault(
                    path=where,
                    message=f"the key `{key[:64]}` is written twice, first in line {first}",
                    suggestion="keep one of them",
                    line=child.line,
                    origin=child.origin,
                )
            )
        members[key] = child

    def _merge(self, merged: dict[str, Node], child: Node) -> None:
        sources = child.value if isinstance(child.value, list) else [child]
        for source in sources:
            if not isinstance(source.value, dict):
                self._refuse("merges (`<<`) something that is not a mapping", line=child.line)
            for key, node in source.value.items():
                merged.setdefault(key, node)

    def _refuse(self, message: str, *, line: int | None = None) -> NoReturn:
        origin = self._name if line is None else f"{self._name}:{line}"
        raise Unreadable(Fault(path="", message=f"the file {message}", line=line, origin=origin)) from None


def _line(event: Event) -> int:
    return 1 if event.start_mark is None else int(event.start_mark.line) + 1


def _scalar(text: str) -> Any:
    for pattern, convert in _PLAIN:
        if pattern.match(text):
            return convert(text)
    return text
