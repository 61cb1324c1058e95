"""The paths of Google's dialect."""

from app.api.docs.inference.openai import MODEL
from app.api.docs.inference.operations import EVENTS, Title, body, inference, parameter, shaped
from app.api.docs.inference.refusals import GEMINI, JSON, Object
from app.api.docs.schemas.headers import TEXT
from app.api.docs.schemas.references import reference

_QUESTION: Object = {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}
_FUNCTION: Object = {
    "name": "search",
    "description": "Searches the library.",
    "parametersJsonSchema": {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]},
}
_TOOL: Object = {
    "tools": [{"functionDeclarations": [_FUNCTION]}],
    "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
}
_ALSO = "Under `/v1/models/` it is served as well, for clients that ask for version 1."
_MODEL = parameter("model", "The model's public name.", TEXT | {"examples": [MODEL]}, place="path")
_ALT = parameter(
    "alt",
    "`sse`: the stream as server-sent events; otherwise it is a JSON array that grows.",
    {"type": "string", "enum": ["sse"]},
    place="query",
)


def gemini_paths() -> Object:
    """Return the descriptions of these paths."""
    return {
        "/v1beta/models/{model}:generateContent": {"post": _generate()},
        "/v1beta/models/{model}:streamGenerateContent": {"post": _stream()},
    }


def _generate() -> Object:
    return inference(
        Title("Gemini", "generateContent", "Continue a conversation, in Google's dialect", _ALSO),
        request=body("GeminiRequest", {"A question": _QUESTION, "A tool": _QUESTION | _TOOL}),
        content=shaped(json="GeminiAnswer"),
        speech=GEMINI,
        parameters=[_MODEL],
    )


def _stream() -> Object:
    pieces = {"type": "array", "items": reference("GeminiAnswer")}
    return inference(
        Title("Gemini", "streamGenerateContent", "Continue a conversation piece by piece, in Google's dialect", _ALSO),
        request=body("GeminiRequest", {"A question": _QUESTION}),
        content={EVENTS: {"schema": reference("GeminiAnswer")}, JSON: {"schema": pieces}},
        says=(
            "The pieces of the answer, of which the last says why it ends. An answer that breaks ends with a piece "
            "that says the error; its array is not closed."
        ),
        speech=GEMINI,
        parameters=[_MODEL, _ALT],
    )
