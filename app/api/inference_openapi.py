"""The OpenAPI document of the gateway plane. Law: what it says is what the plane does, no more; tests hold it to that.

The shapes are the structs of `app.api.docs.schemas`, the operations those of `app.api.docs.inference`.
"""

from typing import Any

import msgspec

from app.api.docs.inference.anthropic import anthropic_paths
from app.api.docs.inference.explained import explained_paths
from app.api.docs.inference.gemini import gemini_paths
from app.api.docs.inference.openai import openai_paths
from app.api.docs.inference.operations import options_described
from app.api.docs.inference.plane import plane_paths
from app.api.docs.inference.refusals import headers_described, refusals_described
from app.api.docs.inference.relayed import relayed_paths
from app.api.docs.schemas.components import schemas

_TAGS = {
    "Chat": "Conversations, streamed or not, in OpenAI's dialect and in the gateway's own.",
    "Responses": "OpenAI's newer dialect, whose answers are kept.",
    "Messages": "Anthropic's dialect.",
    "Gemini": "Google's dialect.",
    "Embeddings": "Texts as vectors, and documents ranked.",
    "Moderation": "What is harmful.",
    "Media": "Pictures, speech and transcripts.",
    "Requests": "What became of requests, and what would become of them.",
    "Models": "What the key may use.",
    "Operation": "Health, readiness and metrics; open to everybody.",
}

_ABOUT = """\
One API before many providers of language models: in the dialects of OpenAI, Anthropic and Google, and in the gateway's
own. Each of them reaches every model.

Bodies may hold fields that are not described here: a provider of the same dialect gets them as they are. What would
redirect a request or let it pass for somebody else's (`api_base`, `base_url`, `api_key`, `custom_llm_provider`,
`extra_headers`, `metadata.user_api_key_*`) is refused. Fields that another dialect cannot carry are refused, or, where
that does no harm, left out and named in `x-gateway-dropped-params`. Money is in USD, as decimal text.
"""

_SECURITY_SCHEMES: dict[str, Any] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An inference key, `sk-gw-…`; or, where the gateway has an issuer, a JSON Web Token for one.",
    },
    "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "The same, as Anthropic's."},
    "x-goog-api-key": {
        "type": "apiKey",
        "in": "header",
        "name": "x-goog-api-key",
        "description": "The same, as Google's.",
    },
}


def inference_document(*, version: str) -> bytes:
    """Return the OpenAPI 3.1 document of the gateway plane, as JSON; `version` is the release's."""
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "LLM gateway: inference",
            "version": version,
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": about} for name, about in _TAGS.items()],
        "security": [{name: []} for name in _SECURITY_SCHEMES],
        "paths": openai_paths()
        | anthropic_paths()
        | gemini_paths()
        | relayed_paths()
        | explained_paths()
        | plane_paths(),
        "components": {
            "securitySchemes": _SECURITY_SCHEMES,
            "headers": headers_described(),
            "parameters": options_described(),
            "responses": refusals_described(),
            "schemas": schemas(),
        },
    }
    return msgspec.json.encode(document)
