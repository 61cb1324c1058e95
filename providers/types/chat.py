"""A chat request and a finished answer."""

from typing import Any, Literal

import msgspec

from providers.types.content import Part
from providers.types.events import FinishReason
from providers.types.usage import Usage

Role = Literal["system", "developer", "user", "assistant", "tool"]


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One turn. A `tool` message holds only tool results; an `assistant` one may hold tool calls and thinking."""

    role: Role
    content: list[Part]
    name: str | None = None
    extras: dict[str, Any] = {}


class Tool(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A function that the model may call; `parameters` is a JSON Schema, `None` for a vendor's built-in tool.

    A built-in tool keeps its whole declaration in `extras` and its vendor's type name in `kind`.
    """

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    kind: str = "function"
    extras: dict[str, Any] = {}


class ToolChoice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whether the model must call a tool; `name` with mode `named`."""

    mode: Literal["auto", "none", "required", "named"]
    name: str | None = None


class ResponseFormat(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The form that the answer must have; `schema` with kind `json_schema`."""

    kind: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None
    description: str | None = None


class ReasoningOptions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How long to think: an `effort` word, or a token budget; `include` asks for the thoughts themselves.

    `adaptive` asks in so many words to let the model decide when to think, which is the default of most vendors.
    """

    effort: str | None = None
    budget_tokens: int | None = None
    include: bool | None = None
    adaptive: bool = False


class Sampling(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How tokens are chosen. Ranges are the vendor's to refuse."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    seed: int | None = None
    stop: list[str] = []


class WireFields(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Fields of the provider's own wire that the operator adds to its body, by name, a dot before each inner member.

    `put` are written in any case, `default` where the body says nothing of the kind.
    """

    default: dict[str, Any] = {}
    put: dict[str, Any] = {}


NO_WIRE_FIELDS = WireFields()


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A conversation to continue.

    `extras` are the top-level fields that have no canonical name, as the client sent them, in the dialect named by
    `dialect`; a dialect that meets its own name may send them on, another must drop or refuse each by name. `wire` is
    not the client's: whoever sends the request adds it to what the dialect has written.
    """

    model: str
    messages: list[Message]
    dialect: str
    tools: list[Tool] = []
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    sampling: Sampling = Sampling()
    reasoning: ReasoningOptions | None = None
    max_output_tokens: int | None = None
    n: int = 1
    stream: bool = False
    user: str | None = None
    metadata: dict[str, str] = {}
    extras: dict[str, Any] = {}
    wire: WireFields = NO_WIRE_FIELDS


class Choice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One of the `n` answers. `logprobs` is in the shape of OpenAI's chat completions."""

    index: int
    content: list[Part]
    finish_reason: FinishReason
    logprobs: Any = None
    extras: dict[str, Any] = {}


class Completion(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A finished answer. `created` is in seconds since the Unix epoch. `usage` is absent if the provider sent none."""

    id: str
    model: str
    created: int
    choices: list[Choice]
    usage: Usage | None = None
    extras: dict[str, Any] = {}
