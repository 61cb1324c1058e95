import pytest

from app.domain.keys.sealing import Cipher
from app.domain.keys.secrets import Derived, MasterSecrets, derive
from providers.types import Secret

OLD, NEW = b"o" * 32, b"n" * 32


def test_what_either_key_sealed_opens_by_its_name():
    old, both, new = Cipher(Derived(OLD)), Cipher(Derived(NEW, OLD)), Cipher(Derived(NEW))
    assert (both.kid, both.kid == new.kid, both.kid == old.kid) == (new.kid, True, False)
    for sealed, kid, openers in (
        (old.seal(b"plain", bound_to=b"x"), old.kid, {old, both}),
        (both.seal(b"plain", bound_to=b"x"), both.kid, {both, new}),
    ):
        opened = {cipher for cipher in (old, both, new) if cipher.open(sealed, kid=kid, bound_to=b"x") == b"plain"}
        assert opened == openers


@pytest.mark.parametrize("length", [0, 5, 12, 20])
def test_what_was_cut_off_does_not_open(length: int):
    cipher = Cipher(Derived(NEW, OLD))
    sealed = cipher.seal(b"plain", bound_to=b"x")
    assert cipher.open(sealed[:length], kid=cipher.kid, bound_to=b"x") is None


def test_what_belongs_elsewhere_or_names_another_key_does_not_open():
    cipher = Cipher(Derived(NEW, OLD))
    sealed = cipher.seal(b"plain", bound_to=b"x")
    assert cipher.open(sealed, kid=cipher.kid, bound_to=b"y") is None
    for kid in (None, "", "0" * 16, Cipher(Derived(OLD)).kid):
        assert cipher.open(sealed, kid=kid, bound_to=b"x") is None


def test_both_master_secrets_give_a_key_for_each_purpose():
    old, new = Secret("o" * 32), Secret("n" * 32)
    assert MasterSecrets(new).derive(purpose="p") == Derived(derive(new, purpose="p"))
    assert MasterSecrets(new, old).derive(purpose="p") == Derived(derive(new, purpose="p"), derive(old, purpose="p"))
    assert MasterSecrets(new).peppers().old is None
