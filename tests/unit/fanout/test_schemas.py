"""JSON Schemas of callers: what is valid, what is refused, and that nothing takes long."""

import json
import time

import pytest

from app.fanout.documents import NotJson, read
from app.fanout.patterns import Allowance
from app.fanout.schemas import BadSchema, Schema
from app.fanout.validation import is_valid

NODE = {
    "type": "object",
    "properties": {"next": {"$ref": "#"}, "n": {"type": "integer"}},
    "additionalProperties": False,
}
ADDRESS = {
    "$defs": {"city": {"$anchor": "city", "type": "string", "minLength": 2}},
    "properties": {"a": {"$ref": "#city"}},
}

VALID = [
    ({"type": "integer"}, "1.0", True),
    ({"type": "integer"}, "1.5", False),
    ({"type": "integer"}, "true", False),
    ({"type": ["string", "null"]}, "null", True),
    ({"type": "number"}, "1e3", True),
    ({"enum": [1, "a", {"x": [1.0]}]}, '{"x": [1]}', True),
    ({"enum": [1]}, "true", False),
    ({"const": False}, "0", False),
    ({"const": 100}, "1e2", True),
    ({"multipleOf": 0.01}, "19.99", True),
    ({"multipleOf": 0.01}, "19.999", False),
    ({"minimum": 0.1}, "0.1", True),
    ({"exclusiveMinimum": 0.1}, "0.1", False),
    ({"maximum": 9007199254740993}, "9007199254740993", True),
    ({"maximum": 9007199254740992}, "9007199254740993", False),
    ({"maxLength": 1}, '"\\ud83d\\ude00"', True),
    ({"pattern": "b+"}, '"abba"', True),
    ({"pattern": "^b"}, '"abba"', False),
    ({"uniqueItems": True}, "[1, true, 1.5]", True),
    ({"uniqueItems": True}, "[1, 1.0]", False),
    ({"uniqueItems": True}, '[{"a": 1, "b": 2}, {"b": 2, "a": 1}]', False),
    ({"prefixItems": [{"type": "string"}], "items": {"type": "integer"}}, '["a", 1, 2]', True),
    ({"prefixItems": [{"type": "string"}], "items": {"type": "integer"}}, '["a", "b"]', False),
    ({"items": [{"type": "string"}], "additionalItems": False}, '["a", 1]', False),
    ({"contains": {"const": 1}, "maxContains": 1}, "[1, 2, 1]", False),
    ({"contains": {"const": 1}, "minContains": 0}, "[2]", True),
    ({"required": ["a"]}, '{"b": 1}', False),
    ({"required": ["a"]}, "[]", True),
    ({"properties": {"a": {"type": "string"}}, "additionalProperties": False}, '{"a": "x", "b": 1}', False),
    ({"patternProperties": {"^n_": {"type": "integer"}}, "additionalProperties": False}, '{"n_a": 1}', True),
    ({"patternProperties": {"^n_": {"type": "integer"}}}, '{"n_a": "x"}', False),
    ({"propertyNames": {"maxLength": 2}}, '{"abc": 1}', False),
    ({"dependentRequired": {"a": ["b"]}}, '{"a": 1}', False),
    ({"dependentSchemas": {"a": {"required": ["b"]}}}, '{"a": 1, "b": 2}', True),
    ({"dependencies": {"a": ["b"], "c": {"required": ["d"]}}}, '{"c": 1}', False),
    ({"allOf": [{"minimum": 1}, {"maximum": 3}]}, "4", False),
    ({"anyOf": [{"minimum": 5}, {"maximum": 3}]}, "4", False),
    ({"oneOf": [{"minimum": 1}, {"maximum": 3}]}, "2", False),
    ({"not": {"type": "string"}}, '"a"', False),
    ({"if": {"required": ["a"]}, "then": {"required": ["b"]}, "else": False}, '{"a": 1}', False),
    ({"if": {"required": ["a"]}, "then": {"required": ["b"]}}, "{}", True),
    ({"allOf": [{"properties": {"a": {}}}], "unevaluatedProperties": False}, '{"a": 1}', True),
    ({"allOf": [{"properties": {"a": {}}}], "unevaluatedProperties": False}, '{"a": 1, "b": 2}', False),
    ({"unevaluatedProperties": False, "anyOf": [{"properties": {"a": {}}, "required": ["a"]}, {}]}, '{"a": 1}', True),
    ({"prefixItems": [{}], "unevaluatedItems": False}, "[1, 2]", False),
    (NODE, '{"next": {"next": {"n": 1}}}', True),
    (NODE, '{"next": {"next": {"m": 1}}}', False),
    (ADDRESS, '{"a": "x"}', False),
    ({"definitions": {"a/b": {"const": 1}}, "$ref": "#/definitions/a~1b"}, "2", False),
    ({"custom": {"deep": {"pattern": "^a"}}, "$ref": "#/custom/deep"}, '"b"', False),
    ({"format": "email", "title": "x", "unknown": 1}, '"no address"', True),
    (True, "1", True),
    (False, "1", False),
]


@pytest.mark.parametrize(("schema", "text", "expected"), VALID)
def test_what_is_valid(schema, text, expected):
    assert is_valid(read(text), Schema(schema), allowance=Allowance()) is expected


def deep(levels):
    schema = {}
    for _ in range(levels):
        schema = {"not": schema}
    return schema


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ("a string", "is an object"),
        ([], "is an object"),
        ({"type": "text"}, "at #: type must be"),
        ({"type": []}, "type must be"),
        ({"properties": []}, "#/properties: an object of schemas"),
        ({"properties": {"a": 1}}, "#/properties/a: a schema is an object"),
        ({"items": {"minimum": "1"}}, "at #/items: minimum must be a number"),
        ({"minimum": True}, "must be a number"),
        ({"minLength": -1}, "whole number"),
        ({"minLength": 1.5}, "whole number"),
        ({"multipleOf": 0}, "above 0"),
        ({"required": "a"}, "list of names"),
        ({"enum": {}}, "a list"),
        ({"anyOf": []}, "at least one"),
        ({"anyOf": {}}, "a list of at least one"),
        ({"prefixItems": {}}, "a list of schemas"),
        ({"pattern": "("}, "at #: the pattern"),
        ({"patternProperties": {"[": {}}}, "the pattern"),
        ({"pattern": "a" * 2_000}, "at most 1024 characters"),
        ({"anyOf": [{"pattern": f"{at}" + "a" * 1_000} for at in range(9)]}, "8192 characters together"),
        ({"$ref": "https://example.com/schema.json"}, "only lead inside"),
        ({"$ref": "file:///etc/passwd"}, "only lead inside"),
        ({"$ref": "other.json#/a"}, "only lead inside"),
        ({"$ref": "#/$defs/none"}, "leads to no schema"),
        ({"$ref": "#/enum/9", "enum": [{}]}, "leads to no schema"),
        ({"$ref": "#/enum/-1", "enum": [{}]}, "leads to no schema"),
        ({"$ref": "#/title", "title": "x"}, "leads to no schema"),
        ({"x": {"y": {"type": 5}}, "$ref": "#/x/y"}, "type must be"),
        ({"$ref": 5}, "$ref must be text"),
        ({"items": {"$id": "https://example.com/"}}, "$id is not supported"),
        ({"$dynamicRef": "#a"}, "not supported"),
        ({"description": "x" * 70_000}, "65536 bytes"),
        (deep(40), "32 levels"),
        (deep(30_000), "32 levels"),
    ],
)
def test_what_is_no_schema(schema, told):
    with pytest.raises(BadSchema, match=told.replace("$", r"\$").replace("(", r"\(")):
        Schema(schema)


def doubled():
    """Each definition asks the next one twice: 2^29 steps for whoever does not count."""
    definitions = {f"d{at}": {"allOf": [{"$ref": f"#/$defs/d{at + 1}"}] * 2} for at in range(29)}
    return {"$defs": {**definitions, "d29": {}}, "$ref": "#/$defs/d0"}


MANY_NAMES = {f"{'a' * 40}{at}": 1 for at in range(500)}
COSTLY = [
    ({"$ref": "#"}, "1"),
    ({"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}, "1"),
    (doubled(), "1"),
    ({"pattern": "^(a+)+$"}, json.dumps("a" * 5_000 + "!")),
    ({"patternProperties": {f"^(a+)+{at}$": {} for at in range(50)}}, json.dumps(MANY_NAMES)),
    ({"items": {"pattern": "^(a|a)*$"}}, json.dumps(["a" * 30 + "!"] * 1_000)),
    ({"items": {"anyOf": [False] * 1_000}}, json.dumps([1] * 10_000)),
    ({"items": {"enum": [1]}, "uniqueItems": True}, json.dumps(list(range(50_000)))),
    ({"allOf": [{"const": list(range(5_000))}] * 2, "uniqueItems": True}, json.dumps([[n] for n in range(30_000)])),
    ({"items": {"required": [f"n{at}" for at in range(5_000)]}}, json.dumps([{}] * 20_000)),
    ({"items": {"multipleOf": 1e-300}}, json.dumps([1] * 60_000)),
    ({"uniqueItems": True}, json.dumps([at * (2**61 - 1) for at in range(60_000)])[: 1 << 18].rsplit(",", 1)[0] + "]"),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "text"), COSTLY)
def test_what_costs_too_much_is_not_valid_and_is_soon_given_up(schema, text):
    read_schema, document = Schema(schema), read(text)
    began_s = time.thread_time()
    is_valid(document, read_schema, allowance=Allowance())
    assert time.thread_time() - began_s < 1


@pytest.mark.parametrize(("schema", "text"), COSTLY[:4])
def test_what_cannot_be_found_out_is_not_valid(schema, text):
    assert not is_valid(read(text), Schema(schema), allowance=Allowance())


def test_a_large_answer_of_the_usual_kind_is_no_cost():
    names = [f"p{at}" for at in range(10)]
    row = {
        "type": "object",
        "properties": {name: {"type": "string", "maxLength": 20} for name in names},
        "required": names,
    }
    text = json.dumps([dict.fromkeys(names, "x")] * 1_000)
    assert is_valid(read(text), Schema({"type": "array", "items": row}), allowance=Allowance())


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "[" * 100 + "]" * 100,
        '{"a":' * 70 + "1" + "}" * 70,
        "9" * 2_000,
        "1." + "1" * 2_000,
        "1e500",
        "1e-500",
        "1e99999999999",
        "NaN",
        "-Infinity",
        '{"a": 1, "a": 2}',
        "",
        "{",
        "'a'",
        "1 2",
        "\ufeff1",
    ],
)
def test_what_is_no_document(text):
    with pytest.raises(NotJson):
        read(text)
