"""Where a body speaks of something outside itself: state at a vendor, an address to fetch, an operator's account.

Law: a vendor acts on such words wherever they stand, so that they are looked for everywhere but in what the client
names as it likes; a place that nobody has heard of is looked into as well.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

STATE = frozenset(
    {
        "cachedContent",
        "cached_content",
        "comparison_response_id",
        "container_id",
        "fileSearchStoreNames",
        "file_id",
        "file_ids",
        "file_search_store_names",
        "previous_response_id",
        "skill_id",
        "tunnel_id",
        "vector_store_ids",
    }
)
"""Members that name what a vendor stores."""
PLACED = frozenset({"container", "conversation", "data_sources", "previous_message_id", "prompt"})
"""Members that name it in some places, and mean something else in others."""
ACCOUNT = frozenset(
    {
        *("apiKeySecret", "api_key_secret", "externalApi", "external_api"),
        *("googleServiceAccountConfig", "google_service_account_config"),
        *("s3Location", "s3_location", "vertexAiSearch", "vertex_ai_search", "vertexRagStore", "vertex_rag_store"),
    }
)
"""Members by which a vendor reads what belongs to the owner of the account, with the owner's rights."""
ADDRESSES = frozenset(
    {
        *("audio_url", "documentUrl", "document_url", "file_data", "fileUri", "file_uri", "file_url"),
        *("imageUrl", "image_url", "server_url", "uri", "url", "video_url"),
    }
)
"""Members that name what a vendor fetches."""
_WORDS = STATE | PLACED | ACCOUNT | ADDRESSES
_OF_CLIENT = frozenset(
    {
        *("args", "arguments", "chat_template_kwargs", "custom", "function", "input", "labels", "metadata", "schema"),
        *("input_schema", "json_schema", "parameters", "parametersJsonSchema", "parameters_json_schema", "response"),
        *("responseJsonSchema", "responseSchema", "response_json_schema", "response_schema"),
        *("annotations", "citations", "logprobs", "outputs", "results"),
    }
)
"""Objects whose members the client names as it likes, and notes on what a vendor once answered."""
_TURNS = "input"
"""At the top of a body it is no tool's input but the conversation."""
_OWN_RESULT = "code_execution_tool_result"


class Mention(NamedTuple):
    """A member that speaks of something outside the body: its path, name and value.

    `within` is the member that the object stands in, none at the top; `holder` is the object itself.
    """

    path: str
    name: str
    value: Any
    within: str
    holder: Mapping[str, Any]


def find_mentions(document: Mapping[str, Any]) -> list[Mention]:
    """Return what a body speaks of, in any dialect; nothing for nearly all bodies."""
    return list(_mentions(document, "", "")) if _may_mention(document) else []


def _may_mention(document: Mapping[str, Any]) -> bool:
    """Whether any object in a body has a member that could matter, wherever it stands."""
    if not _WORDS.isdisjoint(document):
        return True
    waiting: list[Any] = [value for name, value in document.items() if name not in _OF_CLIENT or name == _TURNS]
    while waiting:
        value = waiting.pop()
        if type(value) is list:
            waiting += [item for item in value if type(item) is dict or type(item) is list]
        elif type(value) is dict:
            if not _WORDS.isdisjoint(value):
                return True
            waiting += [inner for name, inner in value.items() if _is_looked_into(name, inner)]
    return False


def _is_looked_into(name: str, value: Any) -> bool:
    return (type(value) is dict or type(value) is list) and name not in _OF_CLIENT


def _mentions(value: Any, path: str, within: str) -> Iterator[Mention]:
    if isinstance(value, list):
        for position, item in enumerate(value):
            yield from _mentions(item, f"{path}[{position}]", within)
    elif isinstance(value, dict):
        yield from _mentions_in(value, path, within)


def _mentions_in(value: dict[str, Any], path: str, within: str) -> Iterator[Mention]:
    if str(value.get("type", "")).endswith(_OWN_RESULT):
        return
    for name, inner in value.items():
        place = f"{path}.{name}" if path else name
        if name in _WORDS and inner is not None:
            yield Mention(place, name, inner, within, value)
        if _is_looked_into(name, inner) or (not path and name == _TURNS):
            yield from _mentions(inner, place, name)


__all__ = ["ACCOUNT", "ADDRESSES", "PLACED", "STATE", "Mention", "find_mentions"]
