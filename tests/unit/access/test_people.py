"""What an issuer's claims say of a person."""

import pytest

from app.domain.access.people import read_person
from app.kernel.errors import Unauthenticated


@pytest.mark.parametrize(
    ("claims", "role_claim", "values"),
    [
        ({"roles": ["a", "b"]}, "roles", ["a", "b"]),
        ({"roles": "a"}, "roles", ["a"]),
        ({"realm_access": {"roles": ["a"]}}, "realm_access.roles", ["a"]),
        ({"https://example.com/roles": ["a"]}, "https://example.com/roles", ["a"]),
        ({"a.b": ["x"], "a": {"b": ["y"]}}, "a.b", ["x"]),
        ({"roles": [1, None, "", "a\0", "x" * 256, ["a"], {"a": 1}, "b"]}, "roles", ["b"]),
        ({"roles": {"a": 1}}, "roles", []),
        ({"realm": "x"}, "realm.roles", []),
        ({}, "roles", []),
        ({"roles": [str(number) for number in range(300)]}, "roles", [str(number) for number in range(200)]),
    ],
)
def test_the_values_of_the_role_claim(claims, role_claim, values):
    assert read_person({"sub": "ada", **claims}, role_claim=role_claim).values == values


@pytest.mark.parametrize("subject", [None, "", 7, ["ada"], "a" * 256, "ada\0", "ada\n"])
def test_without_a_subject_there_is_nobody(subject):
    with pytest.raises(Unauthenticated):
        read_person({"sub": subject}, role_claim="roles")


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"name": "Ada", "email": "a@example.com"}, "Ada"),
        ({"name": " ", "preferred_username": "ada.l"}, "ada.l"),
        ({"email": "a@example.com"}, "a@example.com"),
        ({}, "sub"),
        ({"name": "A\x1b[2Jda\n"}, "A[2Jda"),
        ({"name": "\n\x7f\x00"}, "sub"),
        ({"name": "x" * 500}, "x" * 200),
    ],
)
def test_the_name_is_one_that_may_be_shown(claims, name):
    assert read_person({"sub": "sub", **claims}, role_claim="roles").name == name


def test_the_name_in_the_audit_is_of_bounded_length_and_one_persons():
    ids = {read_person({"sub": "a" * length}, role_claim="r").principal_id for length in (1, 59, 60, 255)}
    assert len(ids) == 4
    assert max(map(len, ids)) <= 64
    assert all(text.startswith("oidc:") for text in ids)
