"""Before anything leaves the house: the folder is what was closed, a destination gets what it asked for, no more."""

import hashlib
import hmac
import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.pack_delivery import DeliveryRun, verified_pack
from resources.delivery_folder import FolderDelivery
from resources.delivery_mail import message_of
from resources.delivery_parcel import DeliveryRefusedError, Parcel, their_words
from resources.delivery_webhook import body_of, signature_of
from tests.integration.delivering_run import FILES, MONTH, closed_home, manifest_of, opened, run
from tokengov_pipelines.delivery_settings import DeliverySettings
from tokengov_pipelines.ledger.errors import LedgerBusyError
from tokengov_pipelines.ledger.outbox import DeliveryState


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home" / "share").mkdir(parents=True)
    closed_home(tmp_path / "home")
    return tmp_path / "home"


def parcel(**changes) -> Parcel:
    values = {
        "month": "2026-10",
        "version": 1,
        "content_sha256": "ab" * 32,
        "message_id": "<tokengov-2026-10-v1-mail-abababababab@example.com>",
        "files": {"b.csv": b"2", "a.csv": b"1"},
        "totals": {"USD": Decimal("1234567.80")},
        "lines": 12,
    }
    return Parcel(**(values | changes))


def one(home: Path, **settings):
    (done,) = run(home, DeliverySettings(name="share", to="share", **settings))
    return done


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("chargeback.csv", b"period,amount,currency\n", "the hash of its content"),
        ("pack.xlsx", b"other", "pack.xlsx"),
        ("extra.csv", b"a\n", "the hash of its content"),
        ("notes.txt", b"a\n", "notes.txt"),
        ("manifest.json", b"{}", "manifest.json"),
        ("manifest.json", b"no json", "manifest.json"),
    ],
)
def test_a_pack_that_was_touched_goes_nowhere(name, content, named, home):
    (home / "packs/2026-10/v1" / name).write_bytes(content)
    done = one(home)
    assert (done.delivery.state, done.delivery.attempts) == (DeliveryState.FAILED, 0)
    assert done.said.startswith(f"packs/2026-10/v1 is not what was closed: {named} differ from the ledger or manifest")
    assert list((home / "share").iterdir()) == []


def test_signatures_may_be_added_after_the_manifest(home):
    (home / "packs/2026-10/v1/signoff.csv").write_text("role\n")
    assert one(home).arrived
    assert (home / "share/2026-10/v1/signoff.csv").read_text() == "role\n"


def test_a_pack_that_is_gone_or_whose_manifest_is_another_is_refused(home):
    (closed,) = opened(home).versions(MONTH)
    with pytest.raises(DeliveryRefusedError, match="is not what was closed"):
        verified_pack(home, replace(closed, pack_path="packs/2026-10/v7"))
    with pytest.raises(DeliveryRefusedError, match=r"manifest\.json differ"):
        verified_pack(home, replace(closed, manifest_sha256="0" * 64))


def test_a_destination_gets_its_files_and_a_list_of_them(home):
    assert one(home, files=("chargeback.csv", "inputs/*")).said == "files 3, written 3"
    target = home / "share/2026-10/v1"
    listed = json.loads((target / "manifest.json").read_bytes())
    assert [each["name"] for each in listed["files"]] == ["chargeback.csv", "inputs/policy.yaml"]
    assert (target / "inputs/policy.yaml").read_bytes() == FILES["inputs/policy.yaml"]
    assert not (target / "pack.xlsx").exists()


def test_a_pattern_that_fits_nothing_is_a_failure_before_anything_is_sent(home):
    done = one(home, files=("chargeback.csv", "journal_sap*.csv"))
    assert done.said == "packs/2026-10/v1 has no journal_sap*.csv. Fix: correct files of share."
    assert (done.delivery.attempts, list((home / "share").iterdir())) == (0, [])


def test_other_bytes_at_the_destination_are_somebodys_and_stay(home):
    target = home / "share/2026-10/v1"
    target.mkdir(parents=True)
    (target / "chargeback.csv").write_text("theirs")
    done = one(home)
    assert "is there already and holds other bytes (chargeback.csv, inputs/policy.yaml, pack.xlsx" in done.said
    assert (target / "chargeback.csv").read_text() == "theirs"


def test_a_folder_that_is_not_mounted_is_not_made(home):
    (home / "share").rmdir()
    assert one(home).said == f"there is no folder {home}/share. Fix: make it, or mount it; it is never made here."
    with pytest.raises(DeliveryRefusedError):
        FolderDelivery(home / "share").deliver(parcel(), lambda _: None)


def test_one_run_delivers_at_a_time(home):
    share = DeliverySettings(name="share", to="share")
    inner: list[str] = []

    def meanwhile(step: str) -> None:
        if step == "attempt":
            second = DeliveryRun(opened(home), home, [share], "service", "run-3", lock_seconds=0)
            with pytest.raises(LedgerBusyError, match="another run is delivering") as refused:
                second.deliver(MONTH)
            inner.append(str(refused.value))

    (done,) = DeliveryRun(opened(home), home, [share], "service", "run-2", on_step=meanwhile).deliver(MONTH)
    assert (done.arrived, len(inner)) == (True, 1)


def test_the_manifest_is_the_last_file_and_the_packs_own_where_it_is_sent():
    assert list(parcel().with_manifest()) == ["a.csv", "b.csv", "manifest.json"]
    own = parcel(files={"manifest.json": b"{}", "z.csv": b"1"}).with_manifest()
    assert (list(own), own["manifest.json"]) == (["z.csv", "manifest.json"], b"{}")
    assert json.loads(manifest_of({"a": b"1"}))["files"][0]["bytes"] == 1


def test_the_message_says_totals_and_no_more():
    mail = message_of(parcel(), "tokengov@example.com", ("a@example.com",))
    assert mail["Subject"] == "AI token spend of 2026-10: 1,234,567.80 USD (closed, v1)"
    assert mail["Message-ID"] == parcel().message_id
    text = mail.get_body(("plain",)).get_content()
    assert text.splitlines()[2] == "Charged in total: 1,234,567.80 USD, in 12 lines."
    assert "CC-" not in text


def test_the_body_of_the_news_and_its_signature():
    body = body_of(parcel(files={"a.csv": b"1"}))
    assert json.loads(body)["totals"] == {"USD": "1234567.80"}
    assert body == body_of(parcel(files={"a.csv": b"1"}))
    assert signature_of(body, "key") == "sha256=" + hmac.new(b"key", body, hashlib.sha256).hexdigest()


@given(st.text(max_size=400), st.sampled_from(["hunter2", "p@ss w0rd", "x" * 40]))
def test_their_words_are_one_short_line_without_our_secret(text, secret):
    said = their_words(f"{text}{secret}{text} of ana@example.com", [secret])
    assert secret not in said
    assert "ana@example.com" not in said
    assert len(said) <= 300
    assert "\n" not in said
