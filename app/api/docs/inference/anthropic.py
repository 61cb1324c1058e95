"""The paths of Anthropic's dialect."""

from app.api.docs.inference.openai import MODEL, STREAM
from app.api.docs.inference.operations import Title, body, inference, parameter, shaped, until
from app.api.docs.inference.refusals import ANTHROPIC, Object
from app.api.docs.schemas.headers import TEXT

_QUESTION: Object = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}
_MESSAGE: Object = _QUESTION | {"max_tokens": 256}
_TOOL: Object = {
    "name": "search",
    "description": "Searches the library.",
    "input_schema": {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]},
}
_VERSION = parameter("anthropic-version", "Goes on to a provider of this dialect.", TEXT | {"examples": ["2023-06-01"]})
_BETA = parameter("anthropic-beta", "Names of what is being tried out; goes on to a provider of this dialect.", TEXT)


def anthropic_paths() -> Object:
    """Return the descriptions of these paths."""
    return {
        "/v1/messages": {"post": _message()},
        "/v1/messages/count_tokens": {"post": _count()},
    }


def _message() -> Object:
    return inference(
        Title("Messages", "createMessage", "Continue a conversation, in Anthropic's dialect"),
        request=body(
            "AnthropicRequest",
            {
                "A question": _MESSAGE,
                "A stream": _MESSAGE | STREAM,
                "A tool": _MESSAGE | {"tools": [_TOOL], "tool_choice": {"type": "any"}},
            },
        ),
        content=shaped(json="AnthropicMessage", events="AnthropicEvent"),
        says=until("message_stop"),
        speech=ANTHROPIC,
        parameters=[_VERSION, _BETA],
    )


def _count() -> Object:
    return inference(
        Title(
            "Messages",
            "countMessageTokens",
            "Count the tokens of a conversation",
            "Where the provider cannot count, the number is an estimate.",
        ),
        request=body("AnthropicCountRequest", {"A question": _QUESTION}),
        content=shaped(json="AnthropicCount"),
        speech=ANTHROPIC,
        parameters=[_VERSION, _BETA],
    )
