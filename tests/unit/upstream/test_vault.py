"""Envelopes: what is sealed opens where it was sealed for, under its own secret, and nowhere else."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.upstream.vault import Binding, Unreadable, Vault
from providers.types import Secret

OLD, NEW = Secret("the old master secret of 32 bytes"), Secret("the new master secret of 32 bytes")
BINDING = Binding("installation", UUID(int=7), "https://api.example:443", 1)
SECRETS = {"api_keys": ["one", "two"], "headers": {"x-team": "a"}}


def test_what_is_sealed_opens() -> None:
    envelope = Vault(OLD).seal(SECRETS, binding=BINDING)
    assert Vault(OLD).open(envelope, binding=BINDING) == SECRETS
    assert b"one" not in envelope.sealed + envelope.wrapped_key
    assert envelope.kid == Vault(OLD).kid


def test_no_two_envelopes_share_a_key_or_a_nonce() -> None:
    first, second = (Vault(OLD).seal(SECRETS, binding=BINDING) for _ in range(2))
    assert first.sealed[:12] != second.sealed[:12]
    with pytest.raises(Unreadable):
        Vault(OLD).open(first._replace(sealed=second.sealed), binding=BINDING)


@given(part=st.sampled_from(["wrapped_key", "sealed"]), place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_no_bit_can_be_changed(part: str, place: int, bit: int) -> None:
    envelope = Vault(OLD).seal(SECRETS, binding=BINDING)
    data = bytearray(getattr(envelope, part))
    data[place % len(data)] ^= 1 << bit
    with pytest.raises(Unreadable):
        Vault(OLD).open(envelope._replace(**{part: bytes(data)}), binding=BINDING)


@pytest.mark.parametrize("part", ["wrapped_key", "sealed"])
@pytest.mark.parametrize("length", [0, 5, 12, 27])
def test_what_was_cut_does_not_open(part: str, length: int) -> None:
    envelope = Vault(OLD).seal(SECRETS, binding=BINDING)
    with pytest.raises(Unreadable):
        Vault(OLD).open(envelope._replace(**{part: getattr(envelope, part)[:length]}), binding=BINDING)


@pytest.mark.parametrize(
    "other",
    [
        BINDING._replace(organization="another"),
        BINDING._replace(provider_id=UUID(int=8)),
        BINDING._replace(audience="https://evil.example:443"),
        BINDING._replace(version=2),
    ],
)
def test_another_binding_does_not_open(other: Binding) -> None:
    envelope = Vault(OLD).seal(SECRETS, binding=BINDING)
    with pytest.raises(Unreadable):
        Vault(OLD).open(envelope, binding=other)


def test_two_secrets_open_what_is_under_either_and_seal_under_the_new() -> None:
    old, both, new = Vault(OLD), Vault(NEW, old_master=OLD), Vault(NEW)
    envelope = old.seal(SECRETS, binding=BINDING)
    with pytest.raises(Unreadable):
        new.open(envelope, binding=BINDING)
    assert both.open(envelope, binding=BINDING) == SECRETS
    rewrapped = both.rewrap(envelope, binding=BINDING)
    assert (rewrapped.kid, rewrapped.sealed) == (new.kid, envelope.sealed)
    assert new.open(rewrapped, binding=BINDING) == SECRETS
    with pytest.raises(Unreadable):
        old.open(rewrapped, binding=BINDING)
    assert both.seal(SECRETS, binding=BINDING).kid == new.kid


def test_a_row_that_was_moved_is_not_rewrapped() -> None:
    envelope = Vault(OLD).seal(SECRETS, binding=BINDING)
    with pytest.raises(Unreadable):
        Vault(NEW, old_master=OLD).rewrap(envelope, binding=BINDING._replace(version=2))


def test_marks_tell_apart_and_are_keyed() -> None:
    assert Vault(OLD).mark("a") == Vault(OLD).mark("a") != Vault(OLD).mark("b")
    assert Vault(OLD).mark("a") != Vault(NEW).mark("a")
    assert len(Vault(OLD).mark("a")) == 8
