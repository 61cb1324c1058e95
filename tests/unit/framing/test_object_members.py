"""Members of a JSON object by byte offset, held against `json`."""

import json
import time

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.framing.members import DuplicateMember, refuse_duplicates, scan, splice

SPACE = st.text(alphabet=" \t\r\n", max_size=3)
NAMES = st.one_of(
    st.sampled_from(["a", "b", "model", "max_tokens", "", '"', "\\", "{", "}", ",", ":", '"a":1', "é", "\u2028", "😀"]),
    st.text(st.characters(codec="utf-8"), max_size=6),
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=8)
    | st.sampled_from(['{"a":1}', '","a":2', "}", "\\", '\\"']),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
FEW = settings(max_examples=40, deadline=None)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=6)


def _text(value, space) -> str:
    """Write a value with white space of its own and, at whim, with escapes."""
    return json.dumps(value, ensure_ascii=space(st.booleans()), indent=space(st.sampled_from([None, 1])))


@st.composite
def bodies(draw):
    """Draw an object, the bytes that say it, and the bytes of each member, white space included."""
    decoded = draw(OBJECTS)
    members = {
        name: draw(SPACE) + _text(name, draw) + draw(SPACE) + ":" + draw(SPACE) + _text(value, draw) + draw(SPACE)
        for name, value in decoded.items()
    }
    inner = ",".join(members.values()) if members else draw(SPACE)
    body = draw(SPACE) + "{" + inner + "}" + draw(SPACE)
    return decoded, body.encode(), {name: text.encode() for name, text in members.items()}


@st.composite
def edits(draw):
    """Draw a body and edits of members that it has and has not."""
    decoded, body, members = draw(bodies())
    names = st.sampled_from([*decoded, "new", "other"])
    put = draw(st.dictionaries(names, VALUES, max_size=3))
    drop = draw(st.sets(names, max_size=3))
    rename = draw(st.dictionaries(names, names, max_size=2))
    return decoded, body, members, put, drop, rename


def _apply(decoded, put, drop, rename):
    left = {name: value for name, value in decoded.items() if name not in drop}
    moved = {old: new for old, new in rename.items() if old in left}
    kept = {name: value for name, value in left.items() if name not in moved and name not in moved.values()}
    return kept | {moved[name]: left[name] for name in left if name in moved} | put


@FEW
@given(bodies())
def test_members_are_found_where_they_stand(case):
    decoded, body, texts = case
    members = scan(body)
    assert list(members) == list(decoded)
    for name, member in members.items():
        assert json.loads(body[member.name_start : member.name_end]) == name
        assert json.loads(body[member.value_start : member.value_end]) == decoded[name]
        assert body[member.start : member.end] == texts[name]


@FEW
@given(bodies())
def test_no_edit_changes_no_byte(case):
    _, body, _ = case
    assert splice(body, put={}) == body
    assert splice(body, put={}, drop={"absent-name"}, rename={"absent-name": "a"}) == body


@FEW
@given(edits())
def test_a_splice_decodes_to_what_the_edits_make_of_the_dict(case):
    decoded, body, _, put, drop, rename = case
    encoded = {name: json.dumps(value).encode() for name, value in put.items()}
    spliced = splice(body, put=encoded, drop=drop, rename=rename)
    pairs = json.loads(spliced, object_pairs_hook=list)
    assert len(pairs) == len({name for name, _ in pairs}), "a member stands twice"
    assert json.loads(spliced) == _apply(decoded, put, drop, rename)


@FEW
@given(edits())
def test_members_that_are_not_named_keep_their_bytes(case):
    _, body, texts, put, drop, rename = case
    encoded = {name: json.dumps(value).encode() for name, value in put.items()}
    spliced = splice(body, put=encoded, drop=drop, rename=rename)
    touched = {*put, *drop, *rename, *rename.values()}
    for name, member in scan(spliced).items():
        if name not in touched:
            assert spliced[member.start : member.end] == texts[name]


def test_white_space_around_the_object_stays():
    body = b' \n{ "a" : 1 , "b":2 }\r\n'
    assert splice(body, put={}) == body
    assert splice(body, put={"a": b"7"}) == b' \n{ "a" : 7 , "b":2 }\r\n'
    assert splice(body, put={"c": b"3"}) == b' \n{ "a" : 1 , "b":2 ,"c":3}\r\n'
    assert splice(body, put={}, drop={"a"}) == b' \n{ "b":2 }\r\n'
    assert splice(body, put={}, rename={"b": "z"}) == b' \n{ "a" : 1 , "z":2 }\r\n'


@pytest.mark.parametrize(
    "body", [b'{"max_tokens":9,"max_completion_tokens":5}', b'{"max_completion_tokens":5,"max_tokens":9}']
)
def test_a_renamed_member_replaces_the_one_of_its_new_name(body):
    assert splice(body, put={}, rename={"max_completion_tokens": "max_tokens"}) == b'{"max_tokens":5}'
    assert splice(body, put={"max_tokens": b"1"}, rename={"max_completion_tokens": "max_tokens"}) == b'{"max_tokens":1}'


def test_names_may_change_places():
    assert splice(b'{"a":1,"b":2}', put={}, rename={"a": "b", "b": "a"}) == b'{"b":1,"a":2}'


@pytest.mark.parametrize("body", [b"{}", b" { } ", b"{\n}"])
def test_an_empty_object_takes_members(body):
    assert scan(body) == {}
    assert json.loads(splice(body, put={"a": b"1"})) == {"a": 1}


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"a","model":"b"}',
        b'{"model":"a","model":"a"}',
        b'{"model":"a","mode\\u006c":"b"}',
        b'{"model":1,"model":12}',
        b'{"model":12,"model":1}',
        b'{"model":"a","x":1,"model":"a"}',
        b'{"x":1,"model":1,"model":1}',
        b'{"model":1,"model":1,"x":1}',
        b'{"a":1,"b":1,"a":1,"b":1}',
        b'{"":1,"":1}',
    ],
)
def test_a_member_that_stands_twice_is_refused(body):
    with pytest.raises(DuplicateMember):
        scan(body)
    with pytest.raises(DuplicateMember):
        refuse_duplicates(body)
    with pytest.raises(DuplicateMember):
        splice(body, put={"model": b'"c"'})


@FEW
@given(OBJECTS.filter(bool), st.data())
def test_any_member_that_stands_twice_is_refused(decoded, data):
    pairs = [(json.dumps(name), json.dumps(value)) for name, value in decoded.items()]
    twice = data.draw(st.sampled_from(pairs))
    value = data.draw(st.sampled_from([twice[1], "1", "12", '"x"', "{}"]))
    pairs.insert(data.draw(st.integers(0, len(pairs))), (twice[0], value))
    body = "{" + ",".join(f"{name}:{text}" for name, text in pairs) + "}"
    with pytest.raises(DuplicateMember):
        scan(body.encode())
    with pytest.raises(DuplicateMember):
        refuse_duplicates(body.encode())


@FEW
@given(bodies())
def test_no_other_body_is_held_to_say_a_member_twice(drawn):
    decoded, body, _ = drawn
    refuse_duplicates(body)
    refuse_duplicates(json.dumps(decoded, separators=(",", ":"), ensure_ascii=False).encode())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"1",
        b"null",
        b'"a"',
        b"{",
        b'{"a"}',
        b'{"a":1,}',
        b'{"a":1}x',
        b"{'a':1}",
        b'{"a":1} {"b":2}',
        b"\xff",
    ],
)
def test_what_is_no_object_is_refused(body):
    with pytest.raises(msgspec.DecodeError):
        scan(body)


def test_look_alikes_inside_values_are_left_alone():
    body = b'{"m":[{"model":"x","stream":true}],"t":"\\"model\\":\\"y\\",","model":"z","n":{"model":1}}'
    spliced = splice(body, put={"model": b'"q"'}, drop={"stream"})
    assert spliced == body.replace(b'"model":"z"', b'"model":"q"')


def test_an_escaped_name_is_the_name_it_means():
    assert splice(b'{"mod\\u0065l" : "a"}', put={"model": b'"b"'}) == b'{"mod\\u0065l" : "b"}'
    assert splice(b'{"a\\"b":1,"c":2}', put={}, drop={'a"b'}) == b'{"c":2}'


def test_a_body_of_thirty_kilobytes_is_spliced_quickly():
    messages = [{"role": "user", "content": f'turn {number}: "quoted" \\ text ' * 10} for number in range(100)]
    body = json.dumps({"model": "a", "messages": messages, "stream": True, "temperature": 0.5}).encode()
    assert len(body) > 30_000
    times = []
    for _ in range(50):
        started = time.process_time_ns()
        splice(body, put={"model": b'"b"', "stream_options": b'{"include_usage":true}'})
        times.append(time.process_time_ns() - started)
    assert min(times) < 1_000_000


@pytest.mark.long
@settings(max_examples=20_000, deadline=None)
@given(edits())
def test_a_splice_decodes_to_what_the_edits_make_of_the_dict_at_length(case):
    decoded, body, _, put, drop, rename = case
    encoded = {name: json.dumps(value).encode() for name, value in put.items()}
    assert json.loads(splice(body, put=encoded, drop=drop, rename=rename)) == _apply(decoded, put, drop, rename)
