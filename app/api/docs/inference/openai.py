"""The paths of OpenAI's dialect that any provider can serve, and of the gateway's own."""

from app.api.docs.inference.operations import (
    UNTIL_DONE,
    Title,
    answer,
    body,
    inference,
    parameter,
    shaped,
    titled,
    until,
)
from app.api.docs.inference.refusals import AT_EVERY_DOOR, OF_PROVIDERS, Object, refusals
from app.api.docs.schemas.headers import TEXT
from app.kernel import errors

MODEL = "echo"
"""What examples name: the built-in provider, so that whoever tries them needs no other."""
STREAM = {"stream": True}
_CONVERSATION: Object = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}
_RACE: Object = {"fanout": {"strategy": "race", "models": [MODEL, MODEL]}}
_COMPLETION: Object = {"model": MODEL, "prompt": "Once upon a time"}
_RESPONSE: Object = {"model": MODEL, "input": "Hello"}
_FUNCTION: Object = {
    "name": "search",
    "description": "Searches the library.",
    "parameters": {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]},
}
_TOOLS: Object = {"tools": [{"type": "function", "function": _FUNCTION}], "tool_choice": "required"}
_RESPONSE_TOOLS: Object = {"tools": [{"type": "function", **_FUNCTION}], "tool_choice": "required"}


def openai_paths() -> Object:
    """Return the descriptions of these paths."""
    return {
        "/v1/chat/completions": {"post": _chat()},
        "/v1/completions": {"post": _completion()},
        "/v1/responses": {"post": _response()},
        "/v1/responses/{id}": {"get": _read_response(), "delete": _delete_response()},
        "/v1/llm/chat": {"post": _own_chat()},
        "/v1/embeddings": {"post": _embeddings()},
    }


def _chat() -> Object:
    return inference(
        Title("Chat", "createChatCompletion", "Continue a conversation, in OpenAI's dialect"),
        request=body(
            "ChatCompletionRequest",
            {
                "A question": _CONVERSATION,
                "A stream": _CONVERSATION | STREAM | {"stream_options": {"include_usage": True}},
                "A tool": _CONVERSATION | _TOOLS,
            },
        ),
        content=shaped(json="ChatCompletion", events="ChatCompletionChunk"),
        says=UNTIL_DONE,
    )


def _completion() -> Object:
    return inference(
        Title("Chat", "createCompletion", "Go on with a text, in OpenAI's legacy dialect"),
        request=body("CompletionRequest", {"A text": _COMPLETION, "A stream": _COMPLETION | STREAM}),
        content=shaped(json="TextCompletion", events="TextCompletion"),
        says=UNTIL_DONE,
    )


def _own_chat() -> Object:
    return inference(
        Title("Chat", "createLlmChat", "Continue a conversation, in the gateway's own dialect"),
        request=body(
            "LlmChatRequest",
            {"A question": _CONVERSATION, "A stream": _CONVERSATION | STREAM, "Several models": _CONVERSATION | _RACE},
        ),
        content=shaped(json="LlmChatAnswer", events="LlmEvent"),
        says=UNTIL_DONE,
    )


def _embeddings() -> Object:
    example = {"model": MODEL, "input": "Hello"}
    return inference(
        Title("Embeddings", "createEmbeddings", "Embed texts"),
        request=body("EmbeddingRequest", {"A text": example, "Several": example | {"input": ["Hello", "world"]}}),
        content=shaped(json="EmbeddingList"),
    )


# -- responses --------------------------------------------------------------------------------------------------------

_RESPONSE_ID = parameter("id", "The response's id.", TEXT, place="path")
_OF_KEPT = refusals((*AT_EVERY_DOOR, errors.NotFound, *OF_PROVIDERS))


def _response() -> Object:
    return inference(
        Title(
            "Responses",
            "createResponse",
            "Answer, in OpenAI's newer dialect",
            "With every provider the response is kept for 30 days, unless `store` is `false`, and can be gone on from "
            "by `previous_response_id`: where the provider has no store of its own, the gateway keeps it, encrypted.",
        ),
        request=body(
            "ResponseRequest",
            {"A question": _RESPONSE, "A stream": _RESPONSE | STREAM, "A tool": _RESPONSE | _RESPONSE_TOOLS},
        ),
        content=shaped(json="Response", events="ResponseEvent"),
        says=until("response.completed", "response.incomplete", "response.failed"),
    )


def _read_response() -> Object:
    return {
        **titled(Title("Responses", "readResponse", "Read a response that was kept")),
        "parameters": [_RESPONSE_ID],
        "responses": {"200": answer("The response.", shaped(json="Response")), **_OF_KEPT},
    }


def _delete_response() -> Object:
    return {
        **titled(Title("Responses", "deleteResponse", "Delete a response that was kept")),
        "parameters": [_RESPONSE_ID],
        "responses": {"200": answer("It is gone.", shaped(json="ResponseDeleted")), **_OF_KEPT},
    }
