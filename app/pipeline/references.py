"""References to state that a vendor stored: files, earlier answers, conversations, threads, containers, cached prompts.

Whoever knows an id at a vendor can use it with the vendor's key, so an id may be another tenant's. What a vendor reads
with the account's own rights, such as a bucket, is a reference as well.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from app.pipeline.mentions import ACCOUNT, ADDRESSES, STATE, Mention
from app.routing.vocabulary import member

ITEM_REFERENCE, ITEM = "item_reference", "item"
"""An item that says by its type that it is a reference; an item that an id alone could stand for."""
_CALL = "code_interpreter_call"
_LOADED_BY_ID = {"reasoning": "encrypted_content", "image_generation_call": "result"}
"""Items that a vendor loads by their id where the member is missing that holds all of them."""
_TOOLS = frozenset({"tools", ""})
_IN_STORAGE = ("files/", "gs://", "s3://")
_GOOGLE = ("generativelanguage.googleapis.com", "-generativelanguage.googleapis.com")
_IDENTITIES = ("system_assigned_managed_identity", "user_assigned_managed_identity")


class Reference(NamedTuple):
    """A reference that a body makes: the path of its field, what kind it is, and the id, where it is a single one."""

    path: str
    kind: str
    id: str | None


def find_references(document: Mapping[str, Any], mentions: Sequence[Mention]) -> list[Reference]:
    """Return the references that a body makes, given all that it mentions; none for nearly all bodies."""
    found = [reference for mention in mentions for reference in _made(mention)]
    for position, item in enumerate(_listed(document.get("input"))):
        if type(item) is dict:
            found += _in_item(item, f"input[{position}]")
    return found


def is_in_storage(address: str) -> bool:
    """Whether an address names a file of Gemini's Files API or in a bucket, where the account itself reads it."""
    if address.startswith(_IN_STORAGE):
        return True
    try:
        host = (urlsplit(address).hostname or "").rstrip(".")
    except ValueError:
        return False
    return host.endswith(_GOOGLE)


def _made(mention: Mention) -> Iterator[Reference]:
    """Yield the references that a member makes: perhaps none."""
    path, name, value, within, holder = mention
    if name in STATE:
        if name == "skill_id" and not _is_own_skill(holder):
            return
        kind = ITEM if name == "container_id" and holder.get("type") == _CALL else name
        yield from _named(path, kind, value)
    elif name in ADDRESSES:
        if isinstance(value, str) and is_in_storage(value):
            yield Reference(path, "file_id", value)
    elif name in ACCOUNT:
        yield Reference(path, name, None)
    elif name == "data_sources":
        if not within and _uses_identity(value):
            yield Reference(path, name, None)
    elif _is_placed(name, value, within):
        yield from _named(path, "thread" if within == "thread" else name, value)


def _is_placed(name: str, value: Any, within: str) -> bool:
    """Whether a member whose name has several meanings stands where it refers."""
    if name == "container":
        return within in _TOOLS
    if name == "previous_message_id":
        return within == "thread"
    return not within and (name == "conversation" or isinstance(value, dict))


def _uses_identity(sources: Any) -> bool:
    """Whether one of Azure's data sources is to be read with the resource's own identity, not with a client's key."""
    return any(member(source, "parameters.authentication.type") in _IDENTITIES for source in _listed(sources))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_own_skill(holder: Mapping[str, Any]) -> bool:
    """Whether a skill is one that somebody brought, and not one of the vendor's."""
    return holder.get("type") == "custom" or str(holder.get("skill_id")).startswith("skill_")


def _in_item(item: Mapping[str, Any], path: str) -> Iterator[Reference]:
    """Yield the reference that an item is itself."""
    kind = item.get("type")
    if kind == ITEM_REFERENCE:
        yield from _named(f"{path}.id", ITEM_REFERENCE, item.get("id"))
    elif isinstance(kind, str) and kind in _LOADED_BY_ID and not item.get(_LOADED_BY_ID[kind]):
        yield from _named(f"{path}.id", ITEM, item.get("id"))


def _named(path: str, kind: str, value: Any) -> Iterator[Reference]:
    """Yield what a field that refers names: an id, several, or an object that has one.

    An object without an id asks for something new (`{"type": "auto"}`), perhaps out of files that it names.
    """
    if isinstance(value, str):
        yield Reference(path, kind, value)
    elif isinstance(value, list):
        yield from (Reference(path, kind, item if isinstance(item, str) else None) for item in value)
    elif isinstance(value, dict):
        if value.get("id") is not None:
            yield from _named(path, kind, value["id"])
    elif value is not None:
        yield Reference(path, kind, None)


__all__ = ["ITEM", "ITEM_REFERENCE", "Reference", "find_references", "is_in_storage"]
