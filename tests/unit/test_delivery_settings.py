"""Destinations of packs: what an address says, what is refused, and the identity that a delivery keeps."""

import pytest
from pydantic import TypeAdapter, ValidationError

from tokengov_pipelines.delivery_settings import Deliveries, DeliveryKind, DeliverySettings

PINNED = {"host_key": "SHA256:" + "A" * 43}
DIGEST = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("to", "more", "kind", "repeatable"),
    [
        ("exports", {}, DeliveryKind.FOLDER, True),
        ("/mnt/share/finance", {}, DeliveryKind.FOLDER, True),
        ("s3://bucket/finance", {}, DeliveryKind.OBJECT_STORE, True),
        ("gs://bucket", {}, DeliveryKind.OBJECT_STORE, True),
        ("abfs://box@account.dfs.core.windows.net/finance", {}, DeliveryKind.OBJECT_STORE, True),
        ("sftp://svc@host:2222/in", PINNED, DeliveryKind.SFTP, True),
        ("mailto:a@example.com", {"sender": "b@example.com"}, DeliveryKind.EMAIL, False),
        ("https://erp.example.com/hook", {}, DeliveryKind.WEBHOOK, False),
        ("http://127.0.0.1:8000/hook", {}, DeliveryKind.WEBHOOK, False),
    ],
)
def test_the_address_says_how_it_is_reached(to, more, kind, repeatable):
    settings = DeliverySettings(name="erp", to=to, **more)
    assert (settings.kind, settings.kind.is_repeatable) == (kind, repeatable)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"to": "ftp://host/in"}, "ftp:// is no address that packs are delivered to"),
        ({"to": "sftp://svc:hunter2@host/in", **PINNED}, r"to holds a password.*TOKENGOV_DELIVERY_ERP_PASSWORD"),
        ({"to": "sftp://svc@host/in"}, "SFTP checks the server's key"),
        ({"to": "sftp://svc@host/in", "known_hosts": "k", **PINNED}, "set one of known_hosts and host_key"),
        ({"to": "sftp://svc@host", **PINNED}, "to names no user, host or folder"),
        ({"to": "sftp://svc@host/in", "host_key": "MD5:00"}, "should match pattern"),
        ({"to": "http://erp.example.com/hook"}, "a webhook is reached by https://"),
        ({"to": "https://user@erp.example.com/hook"}, "without a user"),
        ({"to": "mailto:a@example.com"}, "an e-mail has a sender"),
        ({"to": "mailto:", "sender": "b@example.com"}, "to names no recipients"),
        ({"to": "mailto:a@example.com%0d%0aBcc:x@example.com", "sender": "b@example.com"}, "to names no recipients"),
        ({"to": "exports", "sender": "b@example.com"}, "sender belongs to an e-mail"),
        ({"to": "exports", **PINNED}, "known_hosts and host_key belong to SFTP"),
        ({"to": "exports", "token": "x"}, "Extra inputs are not permitted"),
    ],
)
def test_what_cannot_be_meant_is_refused(entry, words):
    with pytest.raises(ValidationError, match=words):
        DeliverySettings(name="erp", **entry)


def test_names_are_plain_and_their_own():
    for name in ("Erp", "erp_x", "", "-erp", "a" * 41):
        with pytest.raises(ValidationError):
            DeliverySettings(name=name, to="exports")
    twice = [{"name": "erp", "to": "a"}, {"name": "erp", "to": "b"}]
    with pytest.raises(ValidationError, match="two destinations have the name erp"):
        TypeAdapter(Deliveries).validate_python(twice)


def test_an_email_gets_the_workbook_and_the_report_and_all_others_everything():
    mail = DeliverySettings(name="mail", to="mailto:a@example.com, b@example.com", sender="c@example.com")
    names = ["chargeback.csv", "inputs/cells.parquet", "pack.xlsx", "summary.pdf"]
    assert mail.recipients == ("a@example.com", "b@example.com")
    assert [name for name in names if mail.wants(name)] == ["pack.xlsx", "summary.pdf"]
    assert mail.absent(["pack.xlsx"]) == ["summary.pdf"]
    folder = DeliverySettings(name="share", to="exports")
    assert [name for name in names if folder.wants(name)] == names
    assert folder.absent([]) == []
    some = DeliverySettings(name="erp", to="exports", files=["journal_*.csv", "inputs/*"])
    assert [name for name in [*names, "journal_sap_1.csv"] if some.wants(name)] == [
        "inputs/cells.parquet",
        "journal_sap_1.csv",
    ]
    assert some.absent(names) == ["journal_*.csv"]


def test_a_delivery_is_called_the_same_for_ever():
    mail = DeliverySettings(name="cfo-mail", to="mailto:a@example.com", sender="tokengov@books.example.com")
    assert mail.message_id("2026-10", 1, DIGEST) == "<tokengov-2026-10-v1-cfo-mail-0123456789ab@books.example.com>"
    hook = DeliverySettings(name="erp", to="https://erp.example.com/hook")
    assert hook.message_id("2026-10", 2, DIGEST) == "tokengov-2026-10-v2-erp-0123456789ab"
    assert hook.variable("TOKEN") == "TOKENGOV_DELIVERY_ERP_TOKEN"
    assert mail.variable("PASSWORD") == "TOKENGOV_DELIVERY_CFO_MAIL_PASSWORD"
