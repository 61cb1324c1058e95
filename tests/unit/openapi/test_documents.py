"""The checks themselves: a check that lets everything pass would prove nothing."""

import json
from typing import Any

import pytest
from documents import check_answer, check_document
from documents.json_schema import UnknownKeyword, faults_of

_MINIMAL: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "t", "version": "1"},
    "paths": {
        "/things/{id}": {
            "get": {
                "operationId": "read",
                "summary": "Read",
                "tags": ["T"],
                "parameters": [{"name": "id", "in": "path", "description": "d", "schema": {"type": "string"}}],
                "responses": {
                    "200": {
                        "description": "d",
                        "headers": {"x-request-id": {"schema": {"type": "string"}}},
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}},
                    }
                },
            }
        }
    },
    "components": {"schemas": {"Thing": {"type": "object", "properties": {"a": {"type": "integer"}}}}},
}


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "integer"}, 1, True),
        ({"type": "integer"}, -1, 1.5),
        ({"type": "number"}, 1.5, "1"),
        ({"type": ["string", "null"]}, None, 0),
        ({"enum": ["a", 1]}, 1, True),
        ({"const": False}, False, 0),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, None, 1),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, 1.5, 1),
        ({"allOf": [{"type": "string"}, {"minLength": 2}]}, "ab", "a"),
        ({"not": {"enum": ["a", "b"]}}, "c", "a"),
        ({"properties": {"a": {"type": "string"}}}, {"b": 1}, {"a": 1}),
        ({"required": ["a"]}, {"a": None}, {}),
        ({"properties": {"a": {}}, "additionalProperties": False}, {"a": 1}, {"b": 1}),
        ({"additionalProperties": {"type": "string"}}, {"a": "x"}, {"a": 1}),
        ({"items": {"type": "string"}}, ["a"], ["a", 1]),
        ({"minimum": 1}, 1, 0),
        ({"maximum": 1}, 1, 2),
        ({"exclusiveMinimum": 1}, 1.1, 1),
        ({"exclusiveMaximum": 1}, 0.9, 1),
        ({"minLength": 1}, "a", ""),
        ({"maxLength": 1}, "a", "ab"),
        ({"pattern": "^a"}, "ab", "b"),
        ({"format": "date-time"}, "2026-11-23T10:00:00Z", "yesterday"),
        ({"format": "uuid"}, "0190b2c4-7d1e-7c3a-9f00-000000000000", "7"),
        ({"minItems": 1}, [1], []),
        ({"maxItems": 1}, [1], [1, 2]),
        ({"minProperties": 1}, {"a": 1}, {}),
        ({"maxProperties": 1}, {"a": 1}, {"a": 1, "b": 2}),
        ({"$ref": "#/components/schemas/Thing"}, {"a": 1}, {"a": "1"}),
    ],
    ids=str,
)
def test_every_keyword_lets_the_good_pass_and_finds_the_bad(schema, good, bad):
    assert faults_of(good, schema, document=_MINIMAL) == []
    assert faults_of(bad, schema, document=_MINIMAL) != []


def test_a_fault_says_where():
    schema = {"properties": {"a": {"items": {"type": "string"}}}}
    assert faults_of({"a": ["x", 1]}, schema, document={}) == ["$.a[1] is not of type string"]


def test_a_keyword_that_cannot_be_checked_is_refused():
    with pytest.raises(UnknownKeyword):
        faults_of({}, {"dependentRequired": {}}, document={})


def _changed(path: list[str], value: Any) -> dict[str, Any]:
    document = json.loads(json.dumps(_MINIMAL))
    node = document
    for name in path[:-1]:
        node = node[name]
    if value is ...:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    return document


_GET = ["paths", "/things/{id}", "get"]


def test_a_whole_document_has_no_fault():
    assert check_document(_MINIMAL) == []


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ([*_GET, "operationId"], ..., "operationId"),
        ([*_GET, "parameters"], [], "parameters"),
        (["components", "schemas", "Thing"], ..., "refers to nothing"),
        (["components", "schemas", "Other"], {"type": "string"}, "not used"),
        (["components", "schemas", "Thing", "properties", "a"], {"tpye": "string"}, "says tpye"),
        ([*_GET, "responses", "200", "description"], "", "says nothing"),
        ([*_GET, "responses", "404"], {"$ref": "https://elsewhere/x", "description": "d"}, "refers to nothing"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_broken_document_is_found_out(path, value, said):
    document = _changed(path, value)
    if "404" in path:
        document["paths"]["/things/{id}"]["get"]["responses"]["404"] = {
            "description": "d",
            "content": {"application/json": {"schema": {"$ref": "https://elsewhere/x"}}},
        }
    assert [fault for fault in check_document(document) if said in fault]


@pytest.mark.parametrize(
    ("path", "method", "status", "body", "said"),
    [
        ("/things/7", "GET", 200, b'{"a": 1}', None),
        ("/things/7/8", "GET", 200, b'{"a": 1}', None),
        ("/things/{id}", "GET", 200, b'{"a": 1}', None),
        ("/things/7", "GET", 200, b'{"a": "1"}', "not of type integer"),
        ("/things/7", "GET", 404, b"{}", "does not promise 404"),
        ("/things/7", "POST", 200, b"{}", "not described"),
        ("/others/7", "GET", 200, b"{}", "not described"),
        ("/things/7", "GET", 200, b"hello", "not promised"),
        ("/things/7", "GET", 200, b"", "not promised"),
    ],
)
def test_an_answer_is_held_to_the_document(path, method, status, body, said):
    faults = check_answer(_MINIMAL, path, method, status, body)
    assert (faults == []) if said is None else any(said in fault for fault in faults)


def test_a_header_that_is_not_described_is_found_out():
    headers = {"X-Request-Id": "1", "content-length": "3", "x-secret": "s"}
    faults = check_answer(_MINIMAL, "/things/7", "GET", 200, b"{}", headers=headers)
    assert faults == ["the header x-secret is not described"]
