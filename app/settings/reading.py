"""Nodes become structs, guided by msgspec's type information; every fault is kept and reading goes on.

A field that cannot be read keeps its default, so that later checks still see the rest. Law: knows types and forms
(`app.settings.forms`), no setting by name; `app.settings.loading` adds what is special to one struct.
"""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
from msgspec import inspect

from app.settings import scalars
from app.settings.document import Node, below
from app.settings.faults import Fault
from app.settings.references import BadReference, is_reference, resolve
from app.settings.scalars import Refused
from app.settings.store_url import StoreUrl
from app.settings.suggestions import did_you_mean, one_of, shown
from providers.types import Secret

StructReader = Callable[[inspect.StructType, Node, str], Any]

FAILED: Any = object()
"""Stands for a value that could not be read; its fault is recorded."""


class Reader:
    """Reads one document. `faults` grows as it reads; `marks` holds the node of every path that was written.

    `special` names the structs that are read by a function of their own.
    """

    def __init__(self, *, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.faults: list[Fault] = []
        self.marks: dict[str, Node] = {}
        self.special: dict[type, StructReader] = {}
        self._readers: dict[type, Callable[[Any, Node, str], Any]] = {
            inspect.Metadata: self._read_form,
            inspect.StructType: self._read_struct,
            inspect.UnionType: self._read_union,
            inspect.DictType: self._read_mapping,
            inspect.VarTupleType: self._read_list,
            inspect.ListType: self._read_list,
            inspect.FrozenSetType: self._read_list,
            inspect.CustomType: self._read_custom,
        }

    def fault(self, path: str, message: str, *, node: Node | None = None, suggestion: str | None = None) -> Any:
        """Record an error at `path` and return `FAILED`."""
        where = node or self.marks.get(path)
        self.faults.append(
            Fault(
                path=path,
                message=message,
                suggestion=suggestion,
                line=where.line if where else None,
                origin=where.origin if where else None,
            )
        )
        return FAILED

    def read(self, info: inspect.Type, node: Node, path: str) -> Any:
        """Return the node's value as the type wants it, or `FAILED`."""
        self.marks[path] = node
        if isinstance(info, inspect.AnyType):
            self._mark_below(node, path)
        special = self._readers.get(type(info))
        if special is not None:
            return special(info, node, path)
        try:
            return _scalar(info, node)
        except Refused as refusal:
            return self.fault(path, refusal.message, node=node, suggestion=refusal.suggestion)

    def _mark_below(self, node: Node, path: str) -> None:
        for where, child in node.children(path):
            self.marks[where] = child
            self._mark_below(child, where)

    # -- containers ---------------------------------------------------------------------------------------------------

    def _read_struct(self, info: inspect.StructType, node: Node, path: str) -> Any:
        special = self.special.get(info.cls)
        if special is not None:
            return special(info, node, path)
        members = self.members(node, path)
        if members is None:
            return FAILED
        known = file_fields(info)
        misspelt = self.refuse_unknown(members, known=known, path=path)
        return self.build(info, members, path=path, misspelt=misspelt)

    def members(self, node: Node, path: str) -> dict[str, Node] | None:
        """Return the members of a mapping; nothing at all (a section with all its lines commented out) is empty."""
        if isinstance(node.value, dict):
            return node.value
        if node.value is None:
            return {}
        self.fault(path, f"must be an object, not {scalars.named_kind(node)}", node=node)
        return None

    def refuse_unknown(self, members: Mapping[str, Node], *, known: Iterable[str], path: str) -> set[str]:
        """Record a fault for each member that is not known; return the known names that were probably meant."""
        names = [*known]
        meant: set[str] = set()
        for key, node in members.items():
            if key in names:
                continue
            free = [name for name in names if name not in members]
            hint = did_you_mean(key, free)
            meant.update(name for name in free if hint == f"did you mean `{name}`?")
            listed = f"the keys here are {one_of(names)}" if names else "there are no keys here"
            self.fault(below(path, key), f"there is no setting {shown(key)}", node=node, suggestion=hint or listed)
        return meant

    def build(
        self, info: inspect.StructType, members: Mapping[str, Node], *, path: str, misspelt: Iterable[str] = ()
    ) -> Any:
        """Return the struct of the members, or `FAILED` if a required one is absent or wrong.

        Absent members that are in `misspelt` have their fault already.
        """
        values: dict[str, Any] = {}
        is_complete = True
        for key, field in file_fields(info).items():
            value = self._read_field(field, members.get(key), below(path, key), is_excused=key in misspelt)
            if value is not FAILED:
                values[field.name] = value
            elif field.required:
                is_complete = False
        if not is_complete:
            return FAILED
        return self._made(info.cls, values, path)

    def _read_field(self, field: inspect.Field, node: Node | None, path: str, *, is_excused: bool) -> Any:
        if node is not None:
            return self.read(field.type, node, path)
        if field.required and not is_excused:
            parent = self.marks.get(path.rpartition(".")[0])
            self.fault(path, "is required", node=parent)
        return FAILED

    def _made(self, cls: type, values: dict[str, Any], path: str) -> Any:
        try:
            return cls(**values)
        except (TypeError, ValueError) as error:
            return self.fault(path, str(error))

    def _read_mapping(self, info: inspect.DictType, node: Node, path: str) -> Any:
        members = self.members(node, path)
        if members is None:
            return FAILED
        values = {key: self.read(info.value_type, child, below(path, key)) for key, child in members.items()}
        return {key: value for key, value in values.items() if value is not FAILED}

    def _read_list(
        self, info: inspect.VarTupleType | inspect.ListType | inspect.FrozenSetType, node: Node, path: str
    ) -> Any:
        items = [] if node.value is None else node.value
        if not isinstance(items, list):
            return self.fault(path, f"must be a list, not {scalars.named_kind(node)}", node=node)
        if info.min_length is not None and len(items) < info.min_length:
            return self.fault(path, "must not be empty", node=node)
        values = [self.read(info.item_type, child, f"{path}[{index}]") for index, child in enumerate(items)]
        kept = [value for value in values if value is not FAILED]
        if isinstance(info, inspect.FrozenSetType):
            return frozenset(kept)
        return kept if isinstance(info, inspect.ListType) else tuple(kept)

    def _read_union(self, info: inspect.UnionType, node: Node, path: str) -> Any:
        """Read a union: of nothing and one type, or of scalars, whose first that fits is taken."""
        has_none = any(isinstance(member, inspect.NoneType) for member in info.types)
        if has_none and (node.value is None or (node.is_text and node.value == "null")):
            return None
        members = [member for member in info.types if not isinstance(member, inspect.NoneType)]
        if len(members) == 1:
            return self.read(members[0], node, path)
        for member in members:
            try:
                return _scalar(member, node)
            except Refused:
                continue
        return self.fault(path, "is of no kind that fits here", node=node)

    # -- forms --------------------------------------------------------------------------------------------------------

    def _read_form(self, info: inspect.Metadata, node: Node, path: str) -> Any:
        extra = info.extra or {}
        kind = extra.get("kind")
        if kind == "header":
            return self._read_secret(node, path, may_be_literal=True)
        if kind in {"usd", "quantity"}:
            return self._read_number_form(kind, node, path)
        if extra.get("off") and (node.value is False or (node.is_text and node.value == "false")):
            return None
        if "word" in extra and not isinstance(node.value, dict):
            return self._read_word(extra["word"], info, node, path=path)
        if "list_as" in extra and isinstance(node.value, list):
            return self._read_list_as(extra["list_as"], info, node, path=path)
        return self.read(info.type, node, path)

    def _read_number_form(self, kind: str, node: Node, path: str) -> Any:
        parent = self.marks.get(path.rpartition(".")[0])
        siblings = parent.value if parent is not None and isinstance(parent.value, dict) else {}
        try:
            value = scalars.usd_of(node) if kind == "usd" else scalars.quantity_of(node, siblings=siblings)
        except Refused as refusal:
            return self.fault(path, refusal.message, node=node, suggestion=refusal.suggestion)
        return value

    def _read_word(self, word: str, info: inspect.Metadata, node: Node, *, path: str) -> Any:
        if node.value != word:
            return self.fault(path, f"must be `{word}` or an object", node=node)
        return self._made(_struct(info).cls, {}, path)

    def _read_list_as(self, key: str, info: inspect.Metadata, node: Node, *, path: str) -> Any:
        """Read a list that stands for an object; its faults have the path that was written, its marks both."""
        field = file_fields(_struct(info))[key]
        value = self.read(field.type, node, path)
        self.marks.update(node.children(below(path, key)))
        return FAILED if value is FAILED else self._made(_struct(info).cls, {field.name: value}, path)

    # -- secrets ------------------------------------------------------------------------------------------------------

    def _read_custom(self, info: inspect.CustomType, node: Node, path: str) -> Any:
        if info.cls is Secret:
            return self._read_secret(node, path, may_be_literal=False)
        if info.cls is StoreUrl:
            found = self._read_secret(node, path, may_be_literal=True)
            return FAILED if found is FAILED else StoreUrl(found.reveal())
        raise TypeError(f"settings cannot hold a {info.cls.__name__}")

    def _read_secret(self, node: Node, path: str, *, may_be_literal: bool) -> Any:
        try:
            return self.secret_of(scalars.text_of(node), may_be_literal=may_be_literal)
        except (Refused, BadReference) as refusal:
            return self.fault(path, refusal.message, node=node, suggestion=refusal.suggestion)

    def secret_of(self, text: str, *, may_be_literal: bool) -> Secret:
        """Return the secret that a text of the document stands for; raises `BadReference`."""
        if may_be_literal and not is_reference(text):
            return Secret(text)
        return Secret(resolve(text, environ=self.environ))


def file_fields(info: inspect.StructType) -> dict[str, inspect.Field]:
    """Return the struct's fields that are keys of the file, by their name there."""
    return {field.encode_name: field for field in info.fields if not _is_derived(field)}


def _is_derived(field: inspect.Field) -> bool:
    return isinstance(field.type, inspect.Metadata) and (field.type.extra or {}).get("kind") == "derived"


@functools.cache
def struct_info(cls: type[msgspec.Struct]) -> inspect.StructType:
    """Return msgspec's description of a struct; kept, as making it takes milliseconds and structs are few."""
    return _struct(inspect.type_info(cls))


def _struct(info: inspect.Type) -> inspect.StructType:
    inner = bare(info)
    if not isinstance(inner, inspect.StructType):
        raise TypeError(f"{inner!r} is not a struct")
    return inner


def bare(info: inspect.Type) -> inspect.Type:
    """Return the type without its annotations and without its being optional."""
    while isinstance(info, (inspect.Metadata, inspect.UnionType)):
        if isinstance(info, inspect.Metadata):
            info = info.type
            continue
        members = [member for member in info.types if not isinstance(member, inspect.NoneType)]
        if len(members) != 1:
            return info
        info = members[0]
    return info


def _scalar(info: inspect.Type, node: Node) -> Any:
    """Return the node's value as the scalar type wants it; raise `Refused` if it is not so."""
    if isinstance(info, inspect.Metadata):
        return _scalar(info.type, node)
    if isinstance(info, inspect.AnyType):
        return scalars.anything_of(node)
    if isinstance(info, inspect.StrType):
        text = scalars.text_of(node)
        scalars.long_enough(text, info)
        return text
    if isinstance(info, (inspect.IntType, inspect.FloatType)):
        value = scalars.integer_of(node) if isinstance(info, inspect.IntType) else scalars.number_of(node)
        scalars.within(value, info)
        return value
    return _choice(info, node)


def _choice(info: inspect.Type, node: Node) -> Any:
    if isinstance(info, inspect.BoolType):
        return scalars.boolean_of(node)
    if isinstance(info, inspect.LiteralType):
        return scalars.choice_of(node, choices=info.values)
    if isinstance(info, inspect.EnumType):
        return info.cls(scalars.choice_of(node, choices=tuple(member.value for member in info.cls)))
    raise TypeError(f"settings cannot hold a {type(info).__name__}")
