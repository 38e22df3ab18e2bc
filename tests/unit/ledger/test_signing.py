"""Ed25519: a signature is right for its key and bytes, and for nothing else."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.domain.test_approval import PREPARED
from tokengov_pipelines.domain.approval import key_text, signed_bytes
from tokengov_pipelines.ledger.signing import (
    SigningKeyError,
    new_private_key,
    private_key_pem,
    public_key_of,
    read_private_key,
    sign,
    verifies,
    verify,
)

SEED = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"  # RFC 8032, 7.1
KEY = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(SEED))


def test_the_first_example_of_rfc_8032_comes_out():
    raw = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    assert public_key_of(KEY) == key_text(raw)
    assert sign(KEY, b"") == (
        "ed25519:5VZDAMNgrHKQhuLMgG6CioSHfx645dl02HPgZSJJAVVfuIIVkKM7rMYeOXAc+bRr0lv18FlbviRlUUFDjnoQCw=="
    )
    assert verify(public_key_of(KEY), sign(KEY, b""), b"")


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_a_signature_is_of_its_bytes_alone(content, other):
    signature = sign(KEY, content)
    assert verify(public_key_of(KEY), signature, content)
    assert verify(public_key_of(KEY), signature, other) == (content == other)
    assert not verify(public_key_of(new_private_key()), signature, content)


@pytest.mark.parametrize("signature", ["", "ed25519:", "ed25519:!!", "c2ln", "ed25519:c2ln"])
def test_what_is_no_signature_is_not_right(signature):
    assert not verify(public_key_of(KEY), signature, b"")


def test_what_is_no_key_verifies_nothing():
    assert not verify("ed25519:c2ln", sign(KEY, b""), b"")


@pytest.mark.parametrize("passphrase", [None, "öpen sesame"])
def test_a_private_key_is_read_back_from_its_file(passphrase):
    pem = private_key_pem(KEY, passphrase)
    assert (b"ENCRYPTED" in pem) == (passphrase is not None)
    assert public_key_of(read_private_key(pem, passphrase, "ada.pem")) == public_key_of(KEY)


def test_a_key_that_cannot_be_used_says_why_and_shows_nothing():
    curve = generate_private_key(SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    cases = [
        (private_key_pem(KEY, "right"), None, "ada.pem is encrypted, and no passphrase is given"),
        (private_key_pem(KEY, "right"), "wr0ng", "or the passphrase is wrong"),
        (private_key_pem(KEY, None), "right", "ada.pem has no passphrase, and one is given"),
        (b"-----BEGIN", None, "ada.pem is no private key in PEM"),
        (curve, None, "ada.pem holds a key of another kind than Ed25519"),
    ]
    for pem, passphrase, says in cases:
        with pytest.raises(SigningKeyError, match=says) as caught:
            read_private_key(pem, passphrase, "ada.pem")
        assert "wr0ng" not in str(caught.value)
        assert "Fix: " in str(caught.value)


def test_an_approval_is_right_until_a_word_of_it_changes():
    unsigned = replace(PREPARED, public_key=public_key_of(KEY))
    signed = replace(unsigned, signature=sign(KEY, signed_bytes(unsigned)))
    assert verifies(signed)
    assert not verifies(replace(signed, name="Eve"))
    assert not verifies(replace(signed, signature=None))
    assert not verifies(replace(signed, public_key=public_key_of(new_private_key())))
