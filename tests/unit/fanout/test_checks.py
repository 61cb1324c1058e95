"""What an answer must pass."""

import time

import pytest
from scripted_legs import answer, refusal

from app.fanout.checks import read_check
from app.fanout.documents import document_in
from app.kernel.errors import InvalidRequest

PERSON = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}
FENCED = 'Here you are:\n```json\n{"name": "Ada"}\n```\nAnything else?'


@pytest.mark.parametrize(
    ("check", "said", "expected"),
    [
        ({"json_schema": PERSON}, answer('{"name": "Ada"}'), True),
        ({"json_schema": PERSON}, answer(' \n{"name": "Ada"}\n'), True),
        ({"json_schema": PERSON}, answer(FENCED), True),
        ({"json_schema": PERSON}, answer(FENCED + FENCED), False),
        ({"json_schema": PERSON}, answer('```\n{"name": "Ada"}\n```'), True),
        ({"json_schema": PERSON}, answer("```python\nx = {}\n```\n" + FENCED), True),
        ({"json_schema": PERSON}, answer('```python\n{"name": "Ada"}\n```'), False),
        ({"json_schema": PERSON}, answer('{"name": 1}'), False),
        ({"json_schema": PERSON}, answer("Ada"), False),
        ({"json_schema": PERSON}, answer('{"name": "Ada"'), False),
        ({"json_schema": PERSON}, refusal(), False),
        ({"json_schema": PERSON}, answer(""), False),
        ({"json_schema": True}, answer("[" * 50_000), False),
        ({"json_schema": True}, answer("1" * (1 << 19)), False),
        ({"regex": "^[0-9]+$"}, answer("42"), True),
        ({"regex": "^[0-9]+$"}, answer("forty-two"), False),
        ({"regex": "two"}, answer("forty-two"), True),
        ({"regex": "."}, refusal(), False),
        ({"tool": "find"}, answer("", calls=[("find", "{}")]), True),
        ({"tool": "find"}, answer("", calls=[("seek", "{}")]), False),
        ({"tool": "find"}, answer("find {}"), False),
        ({"tool": "find"}, answer("", calls=[("find", "[]")]), False),
        ({"tool": "find"}, answer("", calls=[("find", "{")]), False),
        ({"tool": "find"}, answer("", calls=[("find", "{}")] * 40), False),
        ({"tool": "find", "json_schema": PERSON}, answer("", calls=[("find", '{"name": "Ada"}')]), True),
        ({"tool": "find", "json_schema": PERSON}, answer("", calls=[("find", "{}")]), False),
        (
            {"tool": "find", "json_schema": PERSON},
            answer("", calls=[("find", '{"name": "Ada"}'), ("find", "{}"), ("seek", "")]),
            False,
        ),
        ({"json_schema": PERSON, "regex": "Ada"}, answer('{"name": "Bob"}'), False),
        ({"json_schema": PERSON, "regex": "Ada"}, answer('{"name": "Ada"}'), True),
        ({"json_schema": PERSON, "regex": None, "tool": None}, answer('{"name": "Ada"}'), True),
    ],
)
def test_what_passes(check, said, expected):
    assert read_check(check, label="check").passes(said) is expected


@pytest.mark.parametrize(
    ("check", "param"),
    [
        ([], "fanout.check"),
        ({}, "fanout.check"),
        ({"regex": None}, "fanout.check"),
        ({"schema": {}}, "fanout.check.schema"),
        ({"regex": "("}, "fanout.check.regex"),
        ({"regex": 1}, "fanout.check.regex"),
        ({"regex": "a" * 2_000}, "fanout.check.regex"),
        ({"json_schema": {"type": "text"}}, "fanout.check.json_schema"),
        ({"json_schema": {"$ref": "https://example.com/"}}, "fanout.check.json_schema"),
        ({"tool": ""}, "fanout.check.tool"),
        ({"tool": {"name": "x"}}, "fanout.check.tool"),
    ],
)
def test_what_is_no_check(check, param):
    with pytest.raises(InvalidRequest) as caught:
        read_check(check, label="fanout.check")
    assert caught.value.param == param


@pytest.mark.parametrize(
    "pattern",
    ["^(a+)+$", "(a|aa)+$", r"^(\w+\s?)*$", "(x+x+)+y", "(?R)?b", r"(a?){500}a{500}b", "((a{1,99}){1,99}){1,99}b"],
)
def test_no_pattern_holds_the_process(pattern):
    check = read_check({"regex": pattern}, label="check")
    began_s = time.thread_time()
    assert not check.passes(answer("x" * 2_000 + "a" * 2_000 + "!"))
    assert time.thread_time() - began_s < 0.5


def test_a_fence_without_end_is_read_in_linear_time():
    text = "```json\n" * 20_000
    began_s = time.thread_time()
    with pytest.raises(ValueError, match="Expecting value"):
        document_in(text)
    assert time.thread_time() - began_s < 1
