"""Delivery of the news to a webhook: what was closed, which files with which hashes, signed by a shared secret.

Belongs here: the body, its signature, one POST, and what each answer means. Does not belong here: the files themselves,
which travel by the other ways.

A 4xx is a refusal. Any 5xx, and silence after the request was sent, may hide that it was taken: uncertain.
"""

import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Final

import httpx

from resources.delivery_parcel import (
    DeliveryRefusedError,
    DeliveryUncertainError,
    OnStep,
    Parcel,
    Receipt,
    required_secret,
    their_words,
)

SIGNATURE_HEADER: Final = "X-Tokengov-Signature"
KEY_HEADER: Final = "Idempotency-Key"

_NEVER_SENT: Final = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)


@dataclass(frozen=True)
class WebhookDelivery:
    """An address, and the variable that holds the secret that the body is signed with."""

    url: str
    token_variable: str
    seconds: float = 30

    def deliver(self, parcel: Parcel, on_step: OnStep) -> Receipt:
        """POST once, follow no redirect, and take any 2xx for a receipt.

        Raises:
            DeliveryRefusedError: 3xx or 4xx, or the server was never reached or is not the one it says.
            DeliveryUncertainError: 5xx, or the connection ended before an answer.
        """
        secret, body = required_secret(self.token_variable), body_of(parcel)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "tokengov-pipelines",
            KEY_HEADER: parcel.message_id,
            SIGNATURE_HEADER: signature_of(body, secret),
        }
        host = httpx.URL(self.url).host
        try:
            with httpx.Client(timeout=self.seconds, follow_redirects=False) as client:
                answer = client.post(self.url, content=body, headers=headers)
        except _NEVER_SENT as error:
            message = f"{host} was not reached: {their_words(error, [secret])}. Fix: check the address and the server."
            raise DeliveryRefusedError(message) from error
        except httpx.HTTPError as error:
            message = f"{host}: the connection ended after sending began and before an answer ({type(error).__name__})"
            raise DeliveryUncertainError(message) from error
        said = f"{answer.status_code} {their_words(answer.text, [secret])}".strip()
        if answer.is_success:
            return {"status": answer.status_code, "bytes": len(body), "server": said}
        message = f"{host} answered {said}"
        if answer.is_server_error:
            raise DeliveryUncertainError(message)
        raise DeliveryRefusedError(message)


def body_of(parcel: Parcel) -> bytes:
    """The JSON that is sent: {month, version, content_sha256, files: [{name, sha256, bytes}], totals: {USD: text}}."""
    content = {
        "month": parcel.month,
        "version": parcel.version,
        "content_sha256": parcel.content_sha256,
        "files": parcel.listed,
        "totals": {currency: f"{amount:f}" for currency, amount in sorted(parcel.totals.items())},
    }
    return json.dumps(content, separators=(",", ":"), sort_keys=True).encode()


def signature_of(body: bytes, secret: str) -> str:
    """`sha256=` and the HMAC-SHA256 of the body, hexadecimal."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
