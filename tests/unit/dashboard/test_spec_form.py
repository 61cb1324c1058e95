"""Settings as JSON in a form: what is sent of a change, and what is never in the text."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.dashboard.providers import _settings_of
from app.api.dashboard.spec_form import changed, read_named_spec, read_spec, settings_of, written
from app.domain.ensembles.schemas import CreateEnsemble
from app.domain.upstream.schemas import Described
from app.kernel.errors import InvalidRequest

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)
DOCUMENTS = st.dictionaries(st.sampled_from("abcd"), VALUES, max_size=4)


@given(before=DOCUMENTS, after=DOCUMENTS)
def test_a_patch_makes_what_was_written_and_touches_nothing_else(before, after):
    defaults = {"a": "usual"}
    patch = changed(before, after, defaults=defaults)
    assert {**before, **patch} == after | {name: defaults.get(name) for name in before if name not in after}
    assert all(name not in before or before[name] != value or name not in after for name, value in patch.items())


@given(settings=DOCUMENTS)
def test_what_is_shown_is_read_again(settings):
    assert read_spec({"spec": written(settings)}) == settings


def test_only_what_differs_from_the_defaults_is_shown_and_nothings_are_left_out():
    described = {
        "name": "x",
        "retries": 2,
        "balance": "cost",
        "timeouts": {"total_s": 5, "idle_s": None},
        "price": None,
    }
    usual = {"retries": 2, "balance": "weighted", "timeouts": {"total_s": None, "idle_s": None}, "price": None}
    shown = settings_of(described, usual, hidden=frozenset({"name"}))
    assert shown == {"balance": "cost", "timeouts": {"total_s": 5}}


def test_a_providers_credential_is_no_part_of_its_text():
    shown = _settings_of(
        Described(adapter="openai", api_key={"set": True}, credentials=[{"fingerprint": "12345678"}], headers={})
    )
    assert shown == {"adapter": "openai"}


def test_the_name_is_taken_from_its_own_field_only():
    assert read_named_spec({"name": "n", "spec": '{"strategy": "race"}'}) == {"name": "n", "strategy": "race"}
    with pytest.raises(InvalidRequest) as refused:
        read_named_spec({"name": "n", "spec": '{"name": "m"}'})
    assert refused.value.param == "spec.name"


def test_an_empty_text_says_nothing():
    assert read_spec({}) == {}
    assert "name" not in read_named_spec({})


@pytest.mark.parametrize("text", ["{", "[1]", "1", '"x"', "{} {}", '{"a": 1,}', "NaN", '{"a": Infinity}', "\ufeff{}"])
def test_what_is_no_object_is_refused_and_named(text):
    with pytest.raises(InvalidRequest) as refused:
        read_spec({"spec": text})
    assert refused.value.param == "spec"
    assert json.dumps(refused.value.message)


def test_every_optional_field_of_an_ensemble_has_a_default_to_go_back_to():
    from app.api.dashboard.ensembles import _defaults  # noqa: PLC0415 - beside its one use

    assert set(CreateEnsemble.__struct_fields__) - set(_defaults()) == {"name", "strategy", "members"}
