"""What a streamed answer is made of."""

from typing import Any, Literal

import msgspec

from providers.types.usage import Usage

FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "refusal", "other"]


class _Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True, gc=False):
    """Something that happened in the stream of choice `choice`."""

    choice: int = 0
    extras: dict[str, Any] = {}


class Started(_Event, frozen=True, kw_only=True, tag="started", omit_defaults=True, gc=False):
    """The provider took the request. Lifecycle only: not content. `created` is in seconds since the Unix epoch."""

    id: str
    model: str
    created: int


class TextDelta(_Event, frozen=True, kw_only=True, tag="text", omit_defaults=True, gc=False):
    """More text, or more of a refusal. `logprobs` is in the shape of OpenAI's chat completions.

    `signature` signs the part that this text belongs to.
    """

    text: str
    refusal: bool = False
    logprobs: Any = None
    signature: str | None = None


class ThinkingDelta(_Event, frozen=True, kw_only=True, tag="thinking", omit_defaults=True, gc=False):
    """More reasoning; `signature` closes a block of it."""

    text: str = ""
    signature: str | None = None
    redacted: bool = False


class ToolCallStarted(_Event, frozen=True, kw_only=True, tag="tool_call_started", omit_defaults=True, gc=False):
    """The model begins tool call number `index` of this choice; `index` and `id` stay the same to its end."""

    index: int
    id: str
    name: str
    signature: str | None = None


class ToolCallDelta(_Event, frozen=True, kw_only=True, tag="tool_call", omit_defaults=True, gc=False):
    """More of the JSON text of the arguments of tool call number `index`."""

    index: int
    arguments: str


class UsageReported(_Event, frozen=True, kw_only=True, tag="usage", omit_defaults=True, gc=False):
    """The provider's token counts so far; a later report replaces an earlier one."""

    usage: Usage


class Finished(_Event, frozen=True, kw_only=True, tag="finished", omit_defaults=True, gc=False):
    """This choice is complete. A stream that ends without it was cut."""

    reason: FinishReason


ChatEvent = Started | TextDelta | ThinkingDelta | ToolCallStarted | ToolCallDelta | UsageReported | Finished
