"""How a client's dialect names what the gateway itself must speak of. Law: data; one value for each dialect.

Operators write transforms, and writers name what cannot be carried, in the words of OpenAI's chat completions; a
vocabulary says them in the words of the body at hand.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

SystemPrefix = Callable[[Mapping[str, Any], str], dict[str, Any]]
"""Returns the top-level members to put so that a body begins with the operator's instructions."""

_SYSTEM_ROLES = ("system", "developer")


def prefix_messages(document: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Put `prefix` before the first system message's text, or as a new system message."""
    messages = document.get("messages")
    kept = list(messages) if isinstance(messages, list) else []
    for position, message in enumerate(kept):
        if message.get("role") in _SYSTEM_ROLES:
            kept[position] = {**message, "content": prefix_text(message.get("content"), prefix)}
            return {"messages": kept}
    return {"messages": [{"role": "system", "content": prefix}, *kept]}


def prefix_text(content: Any, prefix: str) -> Any:
    """Return text, or a list of parts with text, that begins with `prefix`."""
    if isinstance(content, list):
        return [{"type": "text", "text": prefix}, *content]
    return f"{prefix}\n\n{content}" if content else prefix


class Vocabulary(msgspec.Struct, frozen=True, kw_only=True):
    """A dialect's words.

    `paths` maps a name in OpenAI's chat completions to the path of the same in this dialect's bodies, a dot before each
    inner member (`generationConfig.topK`); names that are not there are the same. `lacks` are names for which the
    dialect has no word at all. `caps` are the paths of the fields
    that cap the output, the usual one first, and `choices` of those that ask for several answers. `rivals` are fields
    that some server takes for the cap, whatever those say. `spellings` are the ways in which a member may be written,
    where there is more than one.
    """

    paths: Mapping[str, str] = {}
    lacks: frozenset[str] = frozenset()
    caps: tuple[str, ...] = ("max_completion_tokens", "max_tokens")
    choices: tuple[str, ...] = ("n",)
    rivals: tuple[str, ...] = ()
    system_prefix: SystemPrefix = prefix_messages
    spellings: Callable[[str], tuple[str, ...]] | None = None

    def path(self, name: str) -> str:
        """Return the path of a field that is called `name` in OpenAI's chat completions."""
        return self.paths.get(name, name)

    def path_in(self, document: Mapping[str, Any], name: str) -> str:
        """Return the path of a field as a body spells it, or would."""
        path = self.path(name)
        if self.spellings is None:
            return path
        spelt, there = [], document
        for each in path.split("."):
            found = next((one for one in self.spellings(each) if one in there), each)
            spelt.append(found)
            inner = there.get(found)
            there = inner if isinstance(inner, Mapping) else {}
        return ".".join(spelt)

    def asked_cap(self, document: Mapping[str, Any]) -> int | None:
        """Return the output cap that the client asked for, in tokens; the largest, if its fields disagree."""
        largest = None
        for path in self.caps:
            value = member(document, path)
            if _is_count(value) and (largest is None or value > largest):
                largest = value
        return largest

    def odd_cap(self, document: Mapping[str, Any]) -> str | None:
        """Return the path of a cap of 0 or less, which some servers take for no limit at all."""
        for path in self.caps:
            value = member(document, path)
            if isinstance(value, int) and value <= 0:
                return path
        return None

    def rival_cap(self, document: Mapping[str, Any]) -> str | None:
        """Return the path of a field that may stand for another cap than is seen."""
        for path in self.rivals:
            if member(document, path) is not None:
                return path
        return None

    def asked_choices(self, document: Mapping[str, Any]) -> int:
        """Return how many answers are asked for; the most, if its fields disagree."""
        most = 0
        for path in self.choices:
            value = member(document, path)
            if _is_count(value) and value > most:
                most = value
        return most or 1


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and value > 0


def member(document: Any, path: str) -> Any:
    """Return the value at a path of members; `None` where there is none."""
    if "." not in path:
        return document.get(path) if isinstance(document, Mapping) else None
    for name in path.split("."):
        document = document.get(name) if isinstance(document, Mapping) else None
    return document


CHAT = Vocabulary(rivals=("n_predict",))
