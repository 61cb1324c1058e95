import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kernel.errors import InvalidRequest
from app.pipeline.options import NO_OPTIONS, Options, read_options

GOOD = [
    ("timeout_s", "5", 5, {"timeout_s": 5.0}),
    ("timeout_s", "0.25", 0.25, {"timeout_s": 0.25}),
    ("timeout_s", "86400", 86_400, {"timeout_s": 86_400.0}),
    ("max_cost", "0.05", "0.05", {"max_cost_nusd": 50_000_000}),
    ("max_cost", "0", "0", {"max_cost_nusd": 0}),
    ("cache", "refresh", "refresh", {"cache": "refresh"}),
    ("cache_ttl_s", "600", 600, {"cache_ttl_s": 600}),
    ("tags", "team=blue, run=7", {"team": "blue", "run": "7"}, {"tags": {"team": "blue", "run": "7"}}),
    ("tags", "team=blue,run=7", {"team": "blue", "run": 7}, {"tags": {"team": "blue", "run": "7"}}),
    ("tags", "a=-1", {"a": -1}, {"tags": {"a": "-1"}}),
    ("tags", "a=", {"a": ""}, {"tags": {"a": ""}}),
    ("tags", "a=b=c", {"a": "b=c"}, {"tags": {"a": "b=c"}}),
    ("fallbacks", "a, b", ["a", "b"], {"fallbacks": ("a", "b")}),
    ("session", "s-1", "s-1", {"session": "s-1"}),
    ("route", "openai/gpt-4o", "openai/gpt-4o", {"route": ("openai", "gpt-4o")}),
    ("route", "local/a/b", "local/a/b", {"route": ("local", "a/b")}),
    ("include", "cost", ["cost"], {"includes_cost": True}),
]
BAD_TEXTS = {
    "timeout_s": ["", "0", "-1", "x", "nan", "inf", "1e3", "1_0", "+5", "86401", "5s", "٣", "9" * 400],
    "max_cost": ["", "-1", "1e2", "1_0", "x", "0.0000000001", "9000001", "$1"],
    "cache": ["", "on", "EXACT", "exact,off"],
    "cache_ttl_s": ["0", "-5", "1.5", "x", "31536001"],
    "tags": ["x", "=v", ",".join(f"t{i}=v" for i in range(17)), "n" * 65 + "=v", "n=" + "v" * 257, "a=\x07"],
    "session": ["", "s" * 257, "a\tb"],
    "route": ["", "openai", "/gpt", "openai/", "p/" + "m" * 300],
    "include": ["everything", "cost,secrets"],
}
BAD_VALUES = {
    "timeout_s": [0, -1, True, False, [], {}, 10**400, 1e300, ["5"]],
    "max_cost": [0.05, 1, True, [], {}],
    "cache": [[], {}, 1, True, ["off"]],
    "cache_ttl_s": [0, 1.5, True, [], 10**400],
    "tags": [
        [],
        5,
        {"a": True},
        {"a": 1.5},
        {"a": 10**400},
        {"a": [7]},
        {"": "v"},
        {"a": None},
        {"a": "\n"},
        {f"t{i}": "v" for i in range(17)},
    ],
    "fallbacks": [5, {}, [1], [None], True],
    "session": [5, [], {}, "", "\x00"],
    "route": [5, ["openai", "gpt"], {}],
    "include": [5, {}, [1], ["secrets"], True],
}


def header(name, text):
    return {b"x-gateway-" + name.replace("_", "-").encode(): text.encode("latin-1", "replace")}


@pytest.mark.parametrize(("name", "text", "value", "wanted"), GOOD)
def test_an_option_is_read_from_its_header_and_from_the_body(name, text, value, wanted):
    assert read_options(header(name, text), None) == Options(**wanted)
    assert read_options({}, {name: value}) == Options(**wanted, in_body=frozenset({name}))


def test_every_option_is_in_the_tables():
    assert {name for name, *_ in GOOD} == set(BAD_VALUES)


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in BAD_TEXTS.items() for text in texts])
def test_a_bad_header_is_named(name, text):
    with pytest.raises(InvalidRequest) as caught:
        read_options(header(name, text), None)
    label = "x-gateway-" + name.replace("_", "-")
    assert caught.value.param == label
    assert label in caught.value.message


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, values in BAD_VALUES.items() for value in values],
    ids=lambda v: repr(v)[:20],
)
def test_a_bad_field_is_named(name, value):
    with pytest.raises(InvalidRequest) as caught:
        read_options({}, {name: value})
    assert caught.value.param == f"gateway.{name}"
    assert f"gateway.{name}" in caught.value.message


def test_the_header_wins_over_the_body_option_by_option():
    options = read_options(header("timeout_s", "7"), {"timeout_s": 5, "cache": "off"})
    assert (options.timeout_s, options.cache) == (7.0, "off")


def test_a_header_wins_even_over_a_body_that_is_wrong():
    assert read_options(header("timeout_s", "7"), {"timeout_s": "soon"}).timeout_s == 7.0


def test_null_in_the_body_is_absent():
    assert read_options({}, dict.fromkeys(BAD_VALUES)) == NO_OPTIONS


@pytest.mark.parametrize("given", [[], "timeout_s=5", 5, True])
def test_the_gateway_member_is_an_object(given):
    with pytest.raises(InvalidRequest) as caught:
        read_options({}, given)
    assert caught.value.param == "gateway"


def test_an_unknown_field_is_refused_and_an_unknown_header_is_not():
    with pytest.raises(InvalidRequest) as caught:
        read_options({}, {"timeout": 5})
    assert (caught.value.code, caught.value.param) == ("unknown_parameter", "gateway.timeout")


def test_a_long_name_is_not_said_in_full():
    with pytest.raises(InvalidRequest) as caught:
        read_options({}, {"x" * 10_000: 1})
    assert len(caught.value.message) < 200
    assert read_options({b"x-gateway-timeout": b"5", b"x-gateway-": b"", b"authorization": b"x"}, None) is NO_OPTIONS


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(sorted(BAD_VALUES)), anything, max_size=3), st.binary(max_size=12))
def test_nothing_else_is_raised_whatever_is_sent(given, text):
    try:
        said = msgspec.json.encode(read_options({b"x-gateway-timeout-s": text}, given))
    except InvalidRequest as error:
        said = error.param
    assert said


def test_an_option_is_called_what_its_caller_calls_it():
    options = read_options({b"x-gateway-max-cost": b"1"}, {"max_cost": "2", "timeout_s": 5, "route": None})
    assert [options.label(name) for name in ("max_cost", "timeout_s", "route")] == [
        "x-gateway-max-cost",
        "gateway.timeout_s",
        "x-gateway-route",
    ]
