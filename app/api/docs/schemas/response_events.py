"""The events of a streamed response. Source: OpenAI's API reference, responses streaming, read 2026-11."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.api.docs.schemas.gateway import GatewayNote
from app.api.docs.schemas.response_items import OutputContent, OutputItem, ResponseSummaryText
from app.api.docs.schemas.responses import Response


class _Event(msgspec.Struct, kw_only=True):
    sequence_number: Annotated[int, Meta(description="The event's place in the stream.")]


class _OfItem(_Event, kw_only=True):
    output_index: Annotated[int, Meta(description="The item's place in the output.")]
    item_id: str


class ResponseProgress(_Event, kw_only=True):
    """The response as it is now: it has begun, or waits to."""

    type: Literal["response.created", "response.queued", "response.in_progress"]
    response: Response


class ResponseEnded(_Event, kw_only=True):
    """The whole response, as without `stream`. It ends the stream; without it the answer was cut."""

    type: Literal["response.completed", "response.incomplete", "response.failed"]
    response: Response
    gateway: GatewayNote | UnsetType = UNSET


class ResponseItemEvent(_Event, kw_only=True):
    """An item begins, or is complete."""

    type: Literal["response.output_item.added", "response.output_item.done"]
    output_index: int
    item: OutputItem


class ResponsePartEvent(_OfItem, kw_only=True):
    """A part of an item's content begins, or is complete."""

    type: Literal["response.content_part.added", "response.content_part.done"]
    content_index: int
    part: OutputContent


class ResponseTextDelta(_OfItem, kw_only=True):
    """More text, of the refusal or of the thoughts, if the type says so."""

    type: Literal["response.output_text.delta", "response.refusal.delta", "response.reasoning_text.delta"]
    content_index: int
    delta: str
    logprobs: list[dict[str, Any]] | UnsetType = UNSET


class ResponseTextDone(_OfItem, kw_only=True):
    """A text is complete."""

    type: Literal["response.output_text.done", "response.reasoning_text.done"]
    content_index: int
    text: str
    logprobs: list[dict[str, Any]] | UnsetType = UNSET


class ResponseRefusalDone(_OfItem, kw_only=True):
    """A refusal is complete."""

    type: Literal["response.refusal.done"]
    content_index: int
    refusal: str


class ResponseAnnotationAdded(_OfItem, kw_only=True):
    """The text cites something."""

    type: Literal["response.output_text.annotation.added"]
    content_index: int
    annotation_index: int
    annotation: dict[str, Any] | None = None


class ResponseSummaryPartEvent(_OfItem, kw_only=True):
    """A part of the summary of the thoughts begins, or is complete."""

    type: Literal["response.reasoning_summary_part.added", "response.reasoning_summary_part.done"]
    summary_index: int
    part: ResponseSummaryText


class ResponseSummaryDelta(_OfItem, kw_only=True):
    """More of the summary of the thoughts."""

    type: Literal["response.reasoning_summary_text.delta"]
    summary_index: int
    delta: str


class ResponseSummaryDone(_OfItem, kw_only=True):
    """A summary of the thoughts is complete."""

    type: Literal["response.reasoning_summary_text.done"]
    summary_index: int
    text: str


class ResponseInputDelta(_OfItem, kw_only=True):
    """More of what a tool is called with."""

    type: Literal["response.function_call_arguments.delta", "response.custom_tool_call_input.delta"]
    delta: str


class ResponseArgumentsDone(_OfItem, kw_only=True):
    """The arguments of a call are complete."""

    type: Literal["response.function_call_arguments.done"]
    arguments: str


class ResponseCustomInputDone(_OfItem, kw_only=True):
    """What a tool that takes free text is called with is complete."""

    type: Literal["response.custom_tool_call_input.done"]
    input: str


class ResponseFailure(_Event, kw_only=True):
    """The answer broke; the response as failed follows."""

    type: Literal["error"]
    code: str | None = None
    message: str
    param: str | None = None


SHAPES = (
    *(ResponseProgress, ResponseEnded, ResponseItemEvent, ResponsePartEvent, ResponseTextDelta, ResponseTextDone),
    *(ResponseRefusalDone, ResponseAnnotationAdded, ResponseSummaryPartEvent, ResponseSummaryDelta),
    *(ResponseSummaryDone, ResponseInputDelta, ResponseArgumentsDone, ResponseCustomInputDone, ResponseFailure),
)
"""The events, each of the types that its `type` lists."""
