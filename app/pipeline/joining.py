"""One answer made of several, where a client gets all of them. Law: what they used is added up."""

from collections.abc import Sequence

import msgspec

from app.fanout.answers import text_of
from app.pipeline.leg import Leg
from providers.types import Choice, Completion, TextPart, Usage

_COUNTS = tuple(field.name for field in msgspec.structs.fields(Usage) if field.type is int)


def joined(legs: Sequence[Leg], *, has_choices: bool) -> Completion:
    """Return all answers as one."""
    found = [(leg.route.name, leg.completion) for leg in legs if leg.completion is not None]
    first = found[0][1]
    if has_choices:
        choices = [
            msgspec.structs.replace(completion.choices[0], index=index) for index, (_, completion) in enumerate(found)
        ]
    else:
        text = "\n\n".join(f"## {name}\n\n{text_of(completion)}" for name, completion in found)
        choices = [Choice(index=0, content=[TextPart(text=text)], finish_reason="stop")]
    usages = [completion.usage for _, completion in found if completion.usage is not None]
    return msgspec.structs.replace(first, choices=choices, usage=_sum(usages) if usages else None)


def _sum(usages: Sequence[Usage]) -> Usage:
    """Return what several answers used together."""
    counts = {name: sum(getattr(usage, name) for usage in usages) for name in _COUNTS}
    return Usage(**counts, estimated=any(usage.estimated for usage in usages))
