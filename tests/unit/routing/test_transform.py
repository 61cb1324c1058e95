import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.routing.transform import apply_edits, transform_edits
from app.routing.vocabulary import Vocabulary, prefix_messages
from app.settings.model import Transform
from providers.framing.members import splice

names = st.sampled_from(["a", "b", "c", "d", "model", "é", 'q"'])
values = st.none() | st.integers(-9, 9) | st.text(max_size=3) | st.lists(st.integers(0, 3), max_size=2)
transforms = st.builds(
    Transform,
    default=st.dictionaries(names, values, max_size=3),
    set=st.dictionaries(names, values, max_size=3),
    drop=st.lists(names, max_size=3).map(tuple) if Transform().drop == () else st.lists(names, max_size=3),
    rename=st.dictionaries(names, names, max_size=3),
    system_prefix=st.none() | st.just("be kind"),
)


@given(transforms, st.dictionaries(names, values, max_size=6))
def test_bytes_and_decoded_bodies_change_alike(transform, document):
    document = {**document, "messages": [{"role": "user", "content": "hi"}]}
    edits = transform_edits(transform, document)
    body = json.dumps(document, ensure_ascii=False).encode()
    spliced = splice(body, put=edits.put, drop=edits.drop, rename=edits.rename)
    assert msgspec.json.decode(spliced) == apply_edits(document, edits)
    pairs = json.loads(spliced, object_pairs_hook=list)
    assert len(pairs) == len(dict(pairs))


@given(transforms, st.dictionaries(names, values, max_size=6))
def test_what_the_operator_sets_is_set(transform, document):
    changed = apply_edits(document, transform_edits(transform, document))
    assert changed | transform.set | ({"messages": changed["messages"]} if "messages" in changed else {}) == changed
    for name in set(transform.drop) - transform.default.keys() - transform.set.keys():
        assert name not in changed


def changed(document, **fields):
    return apply_edits(document, transform_edits(Transform(**fields), document))


def test_the_order_is_rename_drop_default_set():
    assert changed({"a": 1}, rename={"a": "b"}, drop=["b"], default={"b": 2}) == {"b": 2}
    assert changed({"a": 1}, rename={"a": "b"}, default={"b": 2}) == {"b": 1}
    assert changed({"a": 1}, rename={"a": "b"}, set={"b": 3}) == {"b": 3}
    assert changed({}, default={"a": 1}, set={"a": 2}) == {"a": 2}
    assert changed({"a": None}, default={"a": 1}) == {"a": None}


def test_a_rename_never_overwrites():
    assert changed({"a": 1, "b": 2}, rename={"a": "b"}) == {"a": 1, "b": 2}
    assert changed({"a": 1, "b": 2}, rename={"a": "c", "b": "c"}) == {"c": 1, "b": 2}
    assert changed({"a": 1, "b": 2}, rename={"a": "b", "b": "a"}) == {"a": 1, "b": 2}


def test_no_transform_makes_no_edits():
    edits = transform_edits(Transform(), {"a": 1})
    assert (dict(edits.put), edits.drop, dict(edits.rename)) == ({}, frozenset(), {})


@pytest.mark.parametrize(
    ("messages", "wanted"),
    [
        ([], [{"role": "system", "content": "P"}]),
        (None, [{"role": "system", "content": "P"}]),
        ([{"role": "user", "content": "u"}], [{"role": "system", "content": "P"}, {"role": "user", "content": "u"}]),
        ([{"role": "system", "content": "s"}], [{"role": "system", "content": "P\n\ns"}]),
        (
            [{"role": "developer", "content": "s", "name": "n"}],
            [{"role": "developer", "content": "P\n\ns", "name": "n"}],
        ),
        ([{"role": "system", "content": ""}], [{"role": "system", "content": "P"}]),
        (
            [{"role": "system", "content": [{"type": "text", "text": "s"}]}],
            [{"role": "system", "content": [{"type": "text", "text": "P"}, {"type": "text", "text": "s"}]}],
        ),
        (
            [{"role": "user", "content": "u"}, {"role": "system", "content": "s"}, {"role": "system", "content": "t"}],
            [
                {"role": "user", "content": "u"},
                {"role": "system", "content": "P\n\ns"},
                {"role": "system", "content": "t"},
            ],
        ),
    ],
)
def test_the_prefix_goes_before_the_first_system_text(messages, wanted):
    before = json.dumps(messages)
    assert prefix_messages({"messages": messages}, "P") == {"messages": wanted}
    assert json.dumps(messages) == before


DEEP = Vocabulary(paths={"effort": "config.thinking.level", "heat": "config.heat"})


@pytest.mark.parametrize(
    ("transform", "document", "changed"),
    [
        (Transform(set={"effort": "low"}), {"a": 1}, {"a": 1, "config": {"thinking": {"level": "low"}}}),
        (
            Transform(set={"effort": "low", "heat": 1}),
            {"config": {"thinking": {"kept": 1}, "x": 2}},
            {"config": {"thinking": {"kept": 1, "level": "low"}, "x": 2, "heat": 1}},
        ),
        (
            Transform(default={"effort": "low"}),
            {"config": {"thinking": {"level": "high"}}},
            {"config": {"thinking": {"level": "high"}}},
        ),
        (
            Transform(drop=["effort"]),
            {"config": {"thinking": {"level": None, "kept": 1}}},
            {"config": {"thinking": {"kept": 1}}},
        ),
        (Transform(drop=["effort", "heat"]), {"config": {"x": 2}}, {"config": {"x": 2}}),
        (Transform(drop=["effort"]), {"config": 7}, {"config": 7}),
    ],
)
def test_a_member_may_be_several_objects_deep(transform, document, changed):
    edits = transform_edits(transform, document, DEEP)
    assert apply_edits(document, edits) == changed
    assert bool(edits.put) == (changed != document)
