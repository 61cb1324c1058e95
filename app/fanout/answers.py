"""What a whole answer amounts to: its words, its calls, and whether it says anything. Law: pure.

Only the first choice counts: a leg is asked for one answer.
"""

from providers.stream import OPAQUE_PART
from providers.types import (
    ChatEvent,
    Completion,
    Part,
    RefusalPart,
    TextDelta,
    TextPart,
    ThinkingDelta,
    ThinkingPart,
    ToolCallDelta,
    ToolCallPart,
    ToolCallStarted,
)

_REFUSED = frozenset({"content_filter", "refusal"})


def text_of(completion: Completion) -> str:
    """Return the text of an answer, without its reasoning and without a refusal."""
    return "".join(part.text for part in _parts(completion) if isinstance(part, TextPart))


def calls_of(completion: Completion) -> list[ToolCallPart]:
    """Return the calls of tools that an answer makes."""
    return [part for part in _parts(completion) if isinstance(part, ToolCallPart)]


def shown(completion: Completion) -> str:
    """Return an answer as somebody may read it who compares it with others: its text, then its calls."""
    calls = (f"{call.name}({call.arguments})" for call in calls_of(completion))
    return "\n".join(filter(None, (text_of(completion), *calls)))


def is_empty(completion: Completion) -> bool:
    """Whether an answer says nothing: neither text nor a call, a picture, or a refusal."""
    return not any(_says_something(part) for part in _parts(completion))


def is_refusal(completion: Completion) -> bool:
    """Whether the model refused to answer, or its answer was filtered."""
    if not completion.choices:
        return False
    choice = completion.choices[0]
    if choice.finish_reason in _REFUSED:
        return True
    refuses = any(isinstance(part, RefusalPart) and part.text.strip() for part in choice.content)
    return refuses and not text_of(completion).strip() and not calls_of(completion)


def may_win(event: ChatEvent) -> bool:
    """Whether a live answer with this event is more than white space and a refusal.

    Reasoning counts, as everywhere in a stream: its reader is not to wait for the answer behind it.
    """
    match event:
        case ToolCallStarted() | ToolCallDelta():
            return True
        case ThinkingDelta():
            return event.redacted or bool(event.text.strip())
        case TextDelta():
            return OPAQUE_PART in event.extras or (not event.refusal and bool(event.text.strip()))
        case _:
            return False


def _parts(completion: Completion) -> list[Part]:
    return completion.choices[0].content if completion.choices else []


def _says_something(part: Part) -> bool:
    if isinstance(part, TextPart | RefusalPart):
        return bool(part.text.strip())
    return not isinstance(part, ThinkingPart)
