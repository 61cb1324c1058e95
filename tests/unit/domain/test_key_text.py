import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.keys.secrets import KeyKind, derive, derive_pepper, key_mac, make_key, parse_key
from providers.types import Secret

KINDS: list[KeyKind] = ["inference", "admin"]


def known(prefix: str) -> bytes:
    """A key whose checksum is computed here by other means than in the product."""
    stem = f"{prefix}0123456789-{'A-_b' * 10}xyz"
    rest, digits = zlib.crc32(stem.encode()), ""
    alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    while rest:
        rest, digit = divmod(rest, 62)
        digits = alphabet[digit] + digits
    return (stem + digits.rjust(6, "0")).encode()


@pytest.mark.parametrize("kind", KINDS)
def test_a_made_key_parses(kind: KeyKind) -> None:
    made = make_key(kind)
    parsed = parse_key(made.text.reveal().encode())
    assert parsed == (kind, made.public_id)
    assert made.public_id.isalnum()
    assert len(made.text.reveal()) == {"inference": 66, "admin": 72}[kind]


@pytest.mark.parametrize(("prefix", "kind"), [("sk-gw-", "inference"), ("sk-gw-admin-", "admin")])
def test_the_format_is_fixed(prefix: str, kind: KeyKind) -> None:
    assert parse_key(known(prefix)) == (kind, "0123456789")


def test_keys_differ_and_hide_their_text() -> None:
    made = {make_key("inference").text.reveal() for _ in range(500)}
    assert len(made) == 500
    assert make_key("inference").text.reveal() not in repr(make_key("inference"))
    assert "sk-gw" not in repr(make_key("admin"))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"sk-gw-",
        b"' OR 1=1--",
        b"\xff\xfe",
        known("sk-gw-") + b"\n",
        b" " + known("sk-gw-"),
        known("sk-gw-")[:-1],
        known("sk-gw-") + b"0",
        known("sk-gw-").upper(),
        known("sk-gw-").replace(b"0123456789", b"012345678-"),
        known("sk-gw-").replace(b"0123456789", "01234567é".encode()),
        known("sk-gw-admin-").replace(b"admin", b"adm1n"),
        b"0" * 64,
    ],
)
def test_anything_else_is_refused(text: bytes) -> None:
    assert parse_key(text) is None


@given(position=st.integers(0, 71), byte=st.integers(0, 255))
def test_one_wrong_byte_is_found(position: int, byte: int) -> None:
    text = bytearray(known("sk-gw-admin-"))
    changed = text[position] != byte
    text[position] = byte
    assert (parse_key(bytes(text)) is None) == changed


@given(st.binary(max_size=90))
def test_no_bytes_raise(text: bytes) -> None:
    assert parse_key(text) is None


def test_a_mac_depends_on_pepper_and_text() -> None:
    text = known("sk-gw-")
    macs = {key_mac(b"a", text), key_mac(b"b", text), key_mac(b"a", text[:-1])}
    assert len(macs) == 3
    assert all(len(mac) == 32 for mac in macs)


def test_derived_keys_are_stable_and_apart() -> None:
    master = Secret("m" * 32)
    assert derive_pepper(master) == derive_pepper(Secret("m" * 32))
    assert derive_pepper(master).kid != derive_pepper(Secret("n" * 32)).kid
    assert derive_pepper(master).key != derive(master, purpose="other")
    assert len(derive_pepper(master).kid) == 16
