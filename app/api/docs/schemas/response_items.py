"""What a response reads and writes, item by item. Source: OpenAI's API reference, responses, read 2026-11."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.api.docs.schemas.messages import InputAudio, OtherContent
from app.api.docs.schemas.references import a, any_of

# -- content ----------------------------------------------------------------------------------------------------------


class ResponseInputText(msgspec.Struct, kw_only=True):
    """Text to read."""

    type: Literal["input_text"]
    text: str


class ResponseInputImage(msgspec.Struct, kw_only=True):
    """An image to look at, in the request itself, somewhere else, or stored at the provider."""

    type: Literal["input_image"]
    image_url: Annotated[str | None, Meta(description="An http or https URL with a public host, or a data: URL.")] = (
        None
    )
    file_id: str | None = None
    detail: Annotated[str | None, Meta(description="How closely to look.", examples=["low", "high", "auto"])] = None


class ResponseInputFile(msgspec.Struct, kw_only=True):
    """A document to read, in the request itself, somewhere else, or stored at the provider."""

    type: Literal["input_file"]
    file_data: Annotated[str | None, Meta(description="The document as a data: URL.")] = None
    file_url: str | None = None
    file_id: str | None = None
    filename: str | None = None


class ResponseInputAudio(msgspec.Struct, kw_only=True):
    """Sound to listen to."""

    type: Literal["input_audio"]
    input_audio: InputAudio


class ResponseOutputText(msgspec.Struct, kw_only=True):
    """Text that the model wrote."""

    type: Literal["output_text"]
    text: str
    annotations: Annotated[list[dict[str, Any]], Meta(description="What the text cites.")]
    logprobs: list[dict[str, Any]] | None = None


class ResponseRefusal(msgspec.Struct, kw_only=True):
    """Why the model does not answer."""

    type: Literal["refusal"]
    refusal: str


class ResponseSummaryText(msgspec.Struct, kw_only=True):
    """A summary of the model's thoughts."""

    type: Literal["summary_text"]
    text: str


class ResponseReasoningText(msgspec.Struct, kw_only=True):
    """The model's thoughts themselves."""

    type: Literal["reasoning_text"]
    text: str


InputContent = Annotated[
    Any,
    any_of(
        *("ResponseInputText", "ResponseInputImage", "ResponseInputFile", "ResponseInputAudio"),
        *("ResponseOutputText", "ResponseRefusal", "OtherContent"),
    ),
]
OutputContent = Annotated[Any, a("ResponseOutputContent")]
OUTPUT_CONTENT = {
    "output_text": ResponseOutputText,
    "refusal": ResponseRefusal,
    "reasoning_text": ResponseReasoningText,
}

# -- items ------------------------------------------------------------------------------------------------------------

ItemId = Annotated[str | None, Meta(description="The item's own id.")]
CallId = Annotated[str, Meta(description="What the tool's result must name.")]
Status = Annotated[str | None, Meta(examples=["in_progress", "completed", "incomplete"])]


class ResponseMessage(msgspec.Struct, kw_only=True):
    """One turn of a conversation; an assistant's as it came, or in short."""

    role: Literal["user", "assistant", "system", "developer"]
    content: Annotated[str | list[InputContent], Meta(description="What is said.")]
    type: Literal["message"] | UnsetType = UNSET
    id: ItemId = None
    status: Status = None


class ResponseOutputMessage(msgspec.Struct, kw_only=True):
    """What the model says."""

    type: Literal["message"]
    id: str
    role: Literal["assistant"]
    content: list[OutputContent]
    status: Status = None


class ResponseReasoning(msgspec.Struct, kw_only=True):
    """What the model thought. Give it back as it came, with the tool calls behind it."""

    type: Literal["reasoning"]
    summary: list[ResponseSummaryText]
    id: ItemId = None
    content: list[ResponseReasoningText] | None = None
    encrypted_content: Annotated[
        str | None, Meta(description="The thoughts for the provider alone, if `include` asks for them.")
    ] = None
    status: Status = None


class ResponseFunctionCall(msgspec.Struct, kw_only=True):
    """The model's wish to call a function."""

    type: Literal["function_call"]
    call_id: CallId
    name: str
    arguments: Annotated[str, Meta(description="JSON, exactly as the model wrote it.")]
    id: ItemId = None
    status: Status = None


class ResponseFunctionOutput(msgspec.Struct, kw_only=True):
    """What a function came to."""

    type: Literal["function_call_output"]
    call_id: Annotated[str, Meta(description="The call that this answers.")]
    output: str | list[InputContent]
    id: ItemId = None
    status: Status = None


class ResponseCustomCall(msgspec.Struct, kw_only=True):
    """The model's wish to use a tool that takes free text."""

    type: Literal["custom_tool_call"]
    call_id: CallId
    name: str
    input: str
    id: ItemId = None


class ResponseCustomOutput(msgspec.Struct, kw_only=True):
    """What a tool that takes free text came to."""

    type: Literal["custom_tool_call_output"]
    call_id: Annotated[str, Meta(description="The call that this answers.")]
    output: str | list[InputContent]
    id: ItemId = None


InputItem = Annotated[
    Any,
    any_of(
        *("ResponseMessage", "ResponseReasoning", "ResponseFunctionCall", "ResponseFunctionOutput"),
        *("ResponseCustomCall", "ResponseCustomOutput", "OtherContent"),
    ),
]
OutputItem = Annotated[Any, a("ResponseOutputItem")]
OUTPUT_ITEMS = {
    "message": ResponseOutputMessage,
    "reasoning": ResponseReasoning,
    "function_call": ResponseFunctionCall,
    "custom_tool_call": ResponseCustomCall,
}
"""What a model writes, by its `type`."""

MODELS = (
    *(ResponseInputText, ResponseInputImage, ResponseInputFile, ResponseInputAudio),
    *(OUTPUT_CONTENT.values()),
    *(ResponseMessage, ResponseFunctionOutput, ResponseCustomOutput, OtherContent),
    *(OUTPUT_ITEMS.values()),
)
