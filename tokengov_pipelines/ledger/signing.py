"""Ed25519: making keys, signing and checking the bytes of an approval (Rule 11.8).

Belongs here: the private key's file form and the arithmetic. Does not belong here: which bytes are signed and who may
sign (`domain.approval`), where approvals are kept (`approvals`), files and passphrases (`approvals_cli`).
"""

import base64
import binascii
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tokengov_pipelines.domain.approval import KEY_PREFIX, Approval, ApprovalError, key_bytes, key_text, signed_bytes
from tokengov_pipelines.ledger.errors import LedgerError

SIGNATURE_PREFIX: Final = KEY_PREFIX


class SigningKeyError(LedgerError):
    """A private key that cannot be used. The text holds nothing of the key or its passphrase."""


def new_private_key() -> Ed25519PrivateKey:
    """A new key from the system's random numbers."""
    return Ed25519PrivateKey.generate()


def private_key_pem(key: Ed25519PrivateKey, passphrase: str | None) -> bytes:
    """The key as PEM (PKCS8), encrypted where there is a passphrase."""
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        encryption = serialization.BestAvailableEncryption(passphrase.encode("utf-8"))
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def read_private_key(pem: bytes, passphrase: str | None, named: str) -> Ed25519PrivateKey:
    """The key of a PEM file; `named` is what errors call it.

    Raises:
        SigningKeyError: it is no Ed25519 key, or the passphrase is missing, wrong or too many.
    """
    try:
        key = serialization.load_pem_private_key(pem, passphrase.encode("utf-8") if passphrase else None)
    except TypeError:
        what = "has no passphrase, and one is given" if passphrase else "is encrypted, and no passphrase is given"
        message = f"{named} {what}. Fix: set TOKENGOV_SIGNING_PASSPHRASE to its passphrase, or unset it."
        raise SigningKeyError(message) from None
    except (ValueError, UnsupportedAlgorithm):
        message = f"{named} is no private key in PEM, or the passphrase is wrong. Fix: name the file of `keys new`."
        raise SigningKeyError(message) from None
    if not isinstance(key, Ed25519PrivateKey):
        message = f"{named} holds a key of another kind than Ed25519. Fix: make one with `tokengov keys new`."
        raise SigningKeyError(message)
    return key


def public_key_of(key: Ed25519PrivateKey) -> str:
    """The public key as people.csv writes it: 'ed25519:<base64 of 32 bytes>'."""
    raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return key_text(raw)


def sign(key: Ed25519PrivateKey, content: bytes) -> str:
    """The signature as 'ed25519:<base64 of 64 bytes>'; the same key and bytes give the same signature."""
    return SIGNATURE_PREFIX + base64.b64encode(key.sign(content)).decode("ascii")


def verify(public_key: str, signature: str, content: bytes) -> bool:
    """Whether `signature` is that of `content` by this public key; a key or signature of another form is none."""
    if not signature.startswith(SIGNATURE_PREFIX):
        return False
    try:
        raw = base64.b64decode(signature.removeprefix(SIGNATURE_PREFIX), validate=True)
        Ed25519PublicKey.from_public_bytes(key_bytes(public_key)).verify(raw, content)
    except (ApprovalError, binascii.Error, ValueError, InvalidSignature):
        return False
    return True


def verifies(approval: Approval) -> bool:
    """Whether an approval's signature is that of its own key over everything it says."""
    if approval.public_key is None or approval.signature is None:
        return False
    return verify(approval.public_key, approval.signature, signed_bytes(approval))
