"""Documents and answers, held against each other."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from documents.json_schema import KEYWORDS, faults_of, resolve

_METHODS = frozenset({"get", "put", "post", "delete", "options", "head", "patch", "trace"})
_EVENTS = "text/event-stream"
_DONE = b"[DONE]"
_LAST: dict[str, frozenset[str]] = {
    "ResponseEvent": frozenset({"response.completed", "response.incomplete", "response.failed"}),
    "AnthropicEvent": frozenset({"message_stop"}),
    "ImageEvent": frozenset({"image_generation.completed"}),
    "SpeechEvent": frozenset({"speech.audio.done"}),
    "TranscriptEvent": frozenset({"transcript.text.done"}),
}
"""The types of the events that end a stream, by what its events are; streams of others end with `[DONE]`."""
_UNENDED = frozenset({"GeminiAnswer"})
"""What says in itself why it is the last."""
_NAMED = frozenset({"ResponseEvent", "AnthropicEvent"})
"""Events whose clients read their names as well."""


def check_answer(
    document: Mapping[str, Any],
    path: str,
    method: str,
    status: int,
    body: bytes,
    *,
    content_type: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> list[str]:
    """Return what an answer has that the document does not promise, or lacks; nothing if all is well.

    `path` is the one that was asked, or its template. Without a `content_type` the body tells it. The document must
    know every `x-`, `request-id` and `retry-after` header among `headers`. A streamed answer is checked event by event.
    """
    operation = _operation(document, path, method)
    if operation is None:
        return [f"{method} {path} is not described"]
    promised = operation["responses"].get(str(status))
    if promised is None:
        return [f"{method} {path} does not promise {status}"]
    promised = _follow(promised, document)
    kind = (content_type or _kind_of(body)).partition(";")[0].strip()
    content = promised.get("content", {})
    faults = _unknown_headers(headers or {}, promised)
    found = content.get(kind) or content.get(kind.partition("/")[0] + "/*")
    if found is None and (body or content):
        return [*faults, f"{kind} is not promised, only {sorted(content)}"]
    if kind == _EVENTS:
        refused = _follow(operation["responses"]["400"], document)["content"]["application/json"]["schema"]
        return faults + _check_events(body, content[kind]["schema"], error=refused, document=document)
    if kind.endswith("json"):
        return faults + faults_of(json.loads(body), content[kind]["schema"], document=document)
    return faults


def check_request(
    document: Mapping[str, Any], path: str, method: str, body: Any, *, content_type: str = "application/json"
) -> list[str]:
    """Return what is wrong with a decoded body according to the document; of a form, its fields by name."""
    operation = _operation(document, path, method)
    if operation is None:
        return [f"{method} {path} is not described"]
    return faults_of(body, operation["requestBody"]["content"][content_type]["schema"], document=document)


def examples_of(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Yield every example of a request: the path, what the example shows, and the body."""
    for path, _, operation in _operations(document):
        for content in operation.get("requestBody", {}).get("content", {}).values():
            for about, example in content.get("examples", {}).items():
                yield path, about, example["value"]


def check_document(document: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a document in itself: dangling references, unknown keywords, missing parts."""
    faults = [
        f"{where} refers to nothing: {ref}" for where, ref in _references(document) if _is_dangling(ref, document)
    ]
    faults += _unused_components(document)
    seen: set[str] = set()
    for path, method, operation in _operations(document):
        name = f"{method} {path}"
        faults += [
            f"{name} lacks {part}" for part in ("operationId", "summary", "tags", "responses") if part not in operation
        ]
        faults += [f"{name} repeats an operationId"] if operation.get("operationId") in seen else []
        seen.add(operation.get("operationId", ""))
        faults += _check_parameters(name, path, operation, document)
        for status, response in operation["responses"].items():
            faults += [] if _follow(response, document).get("description") else [f"{name} {status} says nothing"]
    for where, schema in _schemas(document):
        faults += [f"{where} says {keyword}" for keyword in schema.keys() - KEYWORDS]
    return faults


# -- operations -------------------------------------------------------------------------------------------------------


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    for path, item in document["paths"].items():
        for method in item.keys() & _METHODS:
            yield path, method, item[method]


def _operation(document: Mapping[str, Any], path: str, method: str) -> Any:
    """Return the operation of a path, or of the template that fits it; a parameter may hold slashes."""
    item = document["paths"].get(path)
    if item is None:
        fitting = [found for template, found in document["paths"].items() if _pattern(template).fullmatch(path)]
        item = fitting[0] if fitting else {}
    return item.get(method.lower())


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(
        "".join(".+" if part[:1] == "{" else re.escape(part) for part in re.split(r"(\{[^}]*\})", template))
    )


def _check_parameters(name: str, path: str, operation: Any, document: Mapping[str, Any]) -> list[str]:
    given = [_follow(parameter, document) for parameter in operation.get("parameters", [])]
    in_path = {parameter["name"] for parameter in given if parameter["in"] == "path"}
    faults = [] if in_path == set(re.findall(r"\{([^}:]*)", path)) else [f"{name} has other parameters than its path"]
    return faults + [f"{name} does not describe {p['name']}" for p in given if not p.get("description")]


def _follow(item: Any, document: Mapping[str, Any]) -> Any:
    return resolve(item["$ref"], document) if "$ref" in item else item


# -- answers ----------------------------------------------------------------------------------------------------------


def _kind_of(body: bytes) -> str:
    start = body.lstrip()[:1]
    if body.startswith((b"data:", b":", b"event:")):
        return _EVENTS
    return "application/json" if start in {b"{", b"["} else "text/plain"


def _unknown_headers(headers: Mapping[str, str], promised: Any) -> list[str]:
    ours = {name.lower() for name in headers if name.lower().startswith(("x-", "request-id", "retry-after"))}
    return [f"the header {name} is not described" for name in sorted(ours - promised.get("headers", {}).keys())]


def _check_events(body: bytes, schema: Any, *, error: Any, document: Mapping[str, Any]) -> list[str]:
    """Check each event; the last ends the stream in the manner of its dialect, or says an error."""
    events = [event for frame in body.replace(b"\r\n", b"\n").split(b"\n\n") if (event := _event_of(frame)) is not None]
    if not events:
        return ["there is no event"]
    kind = schema["$ref"].rpartition("/")[2]
    name, last = events.pop()
    faults = []
    if last == _DONE:
        faults += [f"{kind} does not end with [DONE]"] if kind in _LAST or kind in _UNENDED else []
    else:
        said = json.loads(last)
        is_error = not faults_of(said, error, document=document)
        events += [] if is_error else [(name, last)]
        faults += [] if is_error or _ends(said, kind) else ["the stream has no end"]
    for number, (name, data) in enumerate(events):
        said = json.loads(data)
        faults += faults_of(said, schema, document=document, path=f"event[{number}]")
        if kind in _NAMED and name != said["type"]:
            faults.append(f"event[{number}] is named {name}, not {said['type']}")
    return faults


def _event_of(frame: bytes) -> tuple[str | None, bytes] | None:
    """Return the name and the data of an event; nothing for a comment."""
    fields = [line.partition(b":")[::2] for line in frame.split(b"\n")]
    data = [value.strip() for field, value in fields if field == b"data"]
    names = [value.strip().decode() for field, value in fields if field == b"event"]
    return (names[0] if names else None, b"\n".join(data)) if data else None


def _ends(event: Any, kind: str) -> bool:
    if kind in _UNENDED:
        return "promptFeedback" in event or any("finishReason" in item for item in event.get("candidates", []))
    return event.get("type") in _LAST.get(kind, ()) or "error" in event or event.get("type") == "error"


# -- the document in itself -------------------------------------------------------------------------------------------


def _references(node: Any, where: str = "#") -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield where, node["$ref"]
        for name, value in node.items():
            yield from _references(value, f"{where}/{name}")
        for kind, reference in (node.get("discriminator") or {}).get("mapping", {}).items() if "oneOf" in node else ():
            yield f"{where}/discriminator/{kind}", reference
    elif isinstance(node, list):
        for position, value in enumerate(node):
            yield from _references(value, f"{where}/{position}")


def _is_dangling(reference: str, document: Mapping[str, Any]) -> bool:
    if not reference.startswith("#/"):
        return True
    try:
        resolve(reference, document)
    except KeyError:
        return True
    return False


def _unused_components(document: Mapping[str, Any]) -> list[str]:
    used = {reference for _, reference in _references(document)}
    components = document.get("components", {})
    kinds = [kind for kind in components if kind != "securitySchemes"]
    places = [f"#/components/{kind}/{name}" for kind in kinds for name in components[kind]]
    return [f"{place} is not used" for place in places if place not in used]


def _schemas(node: Any, where: str = "#") -> Iterator[tuple[str, Any]]:
    """Yield every schema of the document, however deep, with its place."""
    if isinstance(node, list):
        for position, value in enumerate(node):
            yield from _schemas(value, f"{where}/{position}")
    if not isinstance(node, dict):
        return
    for name, value in node.items():
        if name == "schema":
            yield from _nested(value, f"{where}/{name}")
        elif name == "schemas":
            for key, schema in value.items():
                yield from _nested(schema, f"{where}/{name}/{key}")
        else:
            yield from _schemas(value, f"{where}/{name}")


def _nested(schema: Any, where: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(schema, dict):
        return
    yield where, schema
    for name, value in schema.get("properties", {}).items():
        yield from _nested(value, f"{where}/properties/{name}")
    for keyword in ("items", "additionalProperties", "not"):
        yield from _nested(schema.get(keyword), f"{where}/{keyword}")
    for keyword in ("anyOf", "oneOf", "allOf"):
        for position, value in enumerate(schema.get(keyword, [])):
            yield from _nested(value, f"{where}/{keyword}/{position}")
