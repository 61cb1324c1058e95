import contextlib
import random
import time

import pytest

from app.settings.document import MAX_DEPTH, Unreadable, parse


def plain(text):
    root, faults = parse(text, name="f.yaml")
    assert faults == []
    return root.plain()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("off", "off"),
        ("no", "no"),
        ("yes", "yes"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("12", 12),
        ("-3", -3),
        ("0o17", 15),
        ("0xff", 255),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("2024-10-21", "2024-10-21"),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        (".inf", float("inf")),
        ('"12"', "12"),
        ("'true'", "true"),
        ("|\n  two\n  lines\n", "two\nlines\n"),
    ],
)
def test_scalars_follow_the_core_schema_of_yaml_1_2(text, value):
    assert plain(f"key: {text}") == {"key": value}


def test_every_value_knows_the_line_of_its_key():
    root, _ = parse("a: 1\nb:\n  c:\n    - x\n    - y\n", name="f.yaml")
    assert root.value["a"].line == 1
    assert root.value["b"].line == 2
    assert root.value["b"].value["c"].line == 3
    assert root.value["b"].value["c"].value[1].line == 5
    assert root.value["b"].value["c"].value[1].origin == "f.yaml:5"


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "~"])
def test_an_empty_file_is_an_empty_mapping(text):
    assert plain(text) == {}


def test_anchors_and_merge_keys_are_expanded_and_own_keys_win():
    text = "base: &b {x: 1, y: 2}\nuse:\n  <<: *b\n  y: 3\nlist: [*b, *b]\nboth: {<<: [{y: 9}, *b]}\n"
    assert plain(text) == {
        "base": {"x": 1, "y": 2},
        "use": {"x": 1, "y": 3},
        "list": [{"x": 1, "y": 2}, {"x": 1, "y": 2}],
        "both": {"x": 1, "y": 9},
    }


def test_a_key_written_twice_is_a_fault_with_both_lines():
    _, faults = parse("a:\n  b: 1\n  c: 2\n  b: 3\n", name="f.yaml")
    assert [(fault.path, fault.line) for fault in faults] == [("a.b", 4)]
    assert "line 2" in faults[0].message


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a: [1, 2\n", 2, "is not YAML"),
        ("a: 1\n\tb: 2\n", 2, "is not YAML"),
        ("a: 1\n b: 2\n", 2, "is not YAML"),
        ("- a\n- b\n", 1, "not a list of `key: value`"),
        ("text", 1, "not a list of `key: value`"),
        ("a: 1\n---\nb: 2\n", 2, "more than one document"),
        ("a: !!python/object/apply:os.system [id]\n", 1, "tag"),
        ("a: !!str 1\n", 1, "tag"),
        ("a: &x [*x]\n", 1, "before its anchor"),
        ("a: *nowhere\n", 1, "before its anchor"),
        ("? [1, 2]\n: 3\n", 1, "key that is not text"),
        ("a: {<<: 7}\n", 1, "merges"),
        ('a: "\\ud800"\n', 1, "may not stand in text"),
        ('a: "\\0"\n', 1, "may not stand in text"),
        ('a: "\\UFFFFFFFF"\n', None, "is not YAML"),
        ("a: \x01\n", None, "may not stand"),
    ],
)
def test_what_is_no_plain_document_is_refused_with_its_line(text, line, said):
    with pytest.raises(Unreadable) as caught:
        parse(text, name="f.yaml")
    assert said in caught.value.fault.message
    assert caught.value.fault.line == line


def test_aliases_that_multiply_are_refused_before_they_do():
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    started = time.monotonic()
    with pytest.raises(Unreadable, match="aliases expanded"):
        parse("\n".join(levels), name="f.yaml")
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_deep_nesting_is_refused_rather_than_recursed_into(opening):
    with pytest.raises(Unreadable, match=rf"nested deeper than {MAX_DEPTH}|is not YAML"):
        parse("a: " + opening * 10_000 if opening != "- " else opening * 10_000, name="f.yaml")


def test_any_bytes_give_a_tree_or_a_refusal():
    rng = random.Random(20261123)
    alphabet = "ab:-[]{}&*!|>'\"#%@`,?~<\n \t01.\\u\\x\0\ufeff\u2028"
    for _ in range(1500):
        text = "".join(rng.choice(alphabet) for _ in range(rng.randrange(40)))
        with contextlib.suppress(Unreadable):
            root, _ = parse(text, name="f.yaml")
            assert isinstance(root.value, dict)
