"""The canonical vocabulary in which all dialects meet: frozen structs, no behaviour beyond reading themselves.

Law: hub, not pairs. Every inbound and outbound translator speaks these types; what they cannot say rides in `extras`.
"""

from providers.types.chat import (
    NO_WIRE_FIELDS,
    ChatRequest,
    Choice,
    Completion,
    Message,
    ReasoningOptions,
    ResponseFormat,
    Role,
    Sampling,
    Tool,
    ToolChoice,
    WireFields,
)
from providers.types.content import (
    AudioPart,
    FilePart,
    ImagePart,
    OpaquePart,
    Part,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
)
from providers.types.embeddings import EmbeddingRequest, Embeddings
from providers.types.events import (
    ChatEvent,
    Finished,
    FinishReason,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallStarted,
    UsageReported,
)
from providers.types.secret import Secret
from providers.types.target import Target, Timeouts
from providers.types.usage import Usage
from providers.types.wire import Edits, Headers, RelayRequest, UpstreamRequest

__all__ = [
    "NO_WIRE_FIELDS",
    "AudioPart",
    "ChatEvent",
    "ChatRequest",
    "Choice",
    "Completion",
    "Edits",
    "EmbeddingRequest",
    "Embeddings",
    "FilePart",
    "FinishReason",
    "Finished",
    "Headers",
    "ImagePart",
    "Message",
    "OpaquePart",
    "Part",
    "ReasoningOptions",
    "RefusalPart",
    "RelayRequest",
    "ResponseFormat",
    "Role",
    "Sampling",
    "Secret",
    "Started",
    "Target",
    "TextDelta",
    "TextPart",
    "ThinkingDelta",
    "ThinkingPart",
    "Timeouts",
    "Tool",
    "ToolCallDelta",
    "ToolCallPart",
    "ToolCallStarted",
    "ToolChoice",
    "ToolResultPart",
    "UpstreamRequest",
    "Usage",
    "UsageReported",
    "WireFields",
]
