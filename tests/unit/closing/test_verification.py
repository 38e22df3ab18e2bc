"""`tokengov verify` finds whatever was changed in a pack, and names the file."""

import json

import pytest

from tests.unit.closing.small_month import (
    ADA,
    CODE,
    PEOPLE,
    listed_again,
    pack_files,
    signed_off,
    small_month,
    written,
)
from tokengov_pipelines.closing.input_files import input_files
from tokengov_pipelines.closing.verification import (
    Check,
    State,
    first_difference,
    listed_findings,
    read_manifest,
    read_pack,
    signature_findings,
    verify_pack,
)
from tokengov_pipelines.ledger.signing import public_key_of
from tokengov_pipelines.pack.manifest import MANIFEST_JSON, SIGNOFF_CSV
from tokengov_pipelines.pack.writer import PackError

CHARGES = "chargeback.csv"
USAGE = "inputs/usage_cells.parquet"


def flipped(content, at=None):
    """The content with one bit of one byte turned, in the middle where no place is given."""
    at = len(content) // 2 if at is None else at
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def differing(findings):
    return [(each.check, each.file) for each in findings if each.state is State.DIFFERS]


def test_a_pack_as_it_was_sealed_is_identical_in_every_check(sealed):
    findings = verify_pack(sealed, PEOPLE, CODE)
    assert [(each.check, each.state) for each in findings] == [
        (Check.FILES, State.IDENTICAL),
        (Check.CONTENT, State.IDENTICAL),
        (Check.TOTALS, State.IDENTICAL),
        (Check.AGAIN, State.IDENTICAL),
        (Check.SIGNATURES, State.IDENTICAL),
    ]
    assert findings[-1].what == "controller Grace Hopper (signed), preparer Ada Lovelace (signed)"
    assert findings[3].what == f"{len(sealed) - 2} files made again from inputs/ have the same bytes"


def test_one_turned_bit_of_any_listed_file_is_found_and_the_file_named(sealed):
    manifest = read_manifest(sealed)
    listed = [name for name in sealed if name not in {MANIFEST_JSON, SIGNOFF_CSV}]
    assert len(listed) > 25
    for name in listed:
        for at in (0, len(sealed[name]) // 2, len(sealed[name]) - 1):
            (found,) = listed_findings({**sealed, name: flipped(sealed[name], at)}, manifest)
            assert (found.check, found.state, found.file) == (Check.FILES, State.DIFFERS, name)


def test_a_turned_bit_of_the_manifest_is_found_by_the_sign_off(sealed):
    manifest = read_manifest(sealed)
    for at in range(0, len(sealed[MANIFEST_JSON]), 101):
        changed = {**sealed, MANIFEST_JSON: flipped(sealed[MANIFEST_JSON], at)}
        assert (Check.SIGNATURES, MANIFEST_JSON) in differing(signature_findings(changed, manifest, PEOPLE))


def test_a_turned_bit_of_the_sign_off_is_found(sealed):
    manifest = read_manifest(sealed)
    for at in range(0, len(sealed[SIGNOFF_CSV]), 11):
        changed = {**sealed, SIGNOFF_CSV: flipped(sealed[SIGNOFF_CSV], at)}
        named = {file for _, file in differing(signature_findings(changed, manifest, PEOPLE))}
        assert named, at
        assert named <= {SIGNOFF_CSV, MANIFEST_JSON}


def test_a_manifest_that_is_none_cannot_be_read(sealed):
    with pytest.raises(PackError, match=r"manifest\.json cannot be read"):
        verify_pack({**sealed, MANIFEST_JSON: b"{"}, None, CODE)
    for part in ({"version": "1"}, {"period": "October"}, {"files": [{}]}):
        wrong = json.dumps(json.loads(sealed[MANIFEST_JSON]) | part).encode()
        with pytest.raises(PackError, match=r"manifest\.json"):
            read_manifest({MANIFEST_JSON: wrong})


def test_an_input_that_differs_is_named_and_never_parsed(sealed):
    findings = verify_pack({**sealed, USAGE: b"no parquet"}, PEOPLE, CODE)
    assert (Check.FILES, USAGE) in differing(findings)
    (again,) = [each for each in findings if each.check is Check.AGAIN]
    assert (again.state, again.what) == (State.NOTE, f"not made again: {USAGE} is not what was sealed")


def test_a_changed_amount_is_named_with_its_row_and_column(sealed):
    changed = sealed[CHARGES].replace(b",4.50,USD", b",4.51,USD")
    assert changed != sealed[CHARGES]
    findings = verify_pack({**sealed, CHARGES: changed}, PEOPLE, CODE)
    (again,) = [each for each in findings if each.check is Check.AGAIN]
    assert (again.file, again.what) == (CHARGES, "row 3, amount: sealed '4.51', made again '4.50'")
    assert (Check.CONTENT, "") in differing(findings)
    assert (Check.SIGNATURES, SIGNOFF_CSV) in differing(findings)


def test_files_that_are_missing_or_too_many_are_named(sealed):
    fewer = {name: content for name, content in sealed.items() if name != USAGE}
    findings = verify_pack({**fewer, "notes.txt": b"hello"}, PEOPLE, CODE)
    assert [each.what for each in findings if each.file == USAGE] == ["is missing"]
    assert [each.what for each in findings if each.file == "notes.txt"] == ["is not listed in manifest.json"]


def test_changed_inputs_with_fitting_hashes_make_other_files_and_lose_their_signatures(sealed):
    other = input_files(small_month(lab_owner="CC-100"))["inputs/provider_keys.parquet"]
    findings = verify_pack(listed_again({**sealed, "inputs/provider_keys.parquet": other}), PEOPLE, CODE)
    assert all(each.state is State.IDENTICAL for each in findings[:3])
    assert (Check.AGAIN, CHARGES) in differing(findings)
    assert (Check.SIGNATURES, MANIFEST_JSON) in differing(findings)


@pytest.mark.parametrize(
    ("name", "content"),
    [(USAGE, b"no parquet"), ("inputs/facts.json", b"{}"), ("inputs/policy.yaml", b"chargeback: [")],
)
def test_inputs_that_cannot_be_read_with_fitting_hashes_are_a_finding(sealed, name, content):
    findings = verify_pack(listed_again({**sealed, name: content}), PEOPLE, CODE)
    (again,) = [each for each in findings if each.check is Check.AGAIN]
    assert again.state is State.DIFFERS
    assert again.what.startswith("cannot be made again: ")


def test_totals_that_do_not_tie_are_told_even_where_every_hash_fits(sealed):
    changed = sealed[CHARGES].replace(b",4.50,USD", b",4.51,USD")
    findings = verify_pack(listed_again({**sealed, CHARGES: changed}), PEOPLE, CODE)
    told = [each.what for each in findings if each.check is Check.TOTALS]
    assert any("is not the file that control_totals.json counted" in each or "does not tie" in each for each in told)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (b'"rows": 11,', b'"rows": 12,', "says another files than the files"),
        (b'"period": "2026-10"', b'"period": "2026-11"', "says another period than the files"),
        (b'"status": "closed"', b'"status": "draft"', "calls version 1 draft"),
        (b'\n  "status"', b'\n   "status"', "has other bytes than its content is written in"),
    ],
)
def test_what_the_manifest_says_of_the_files_is_made_again(sealed, old, new, says):
    changed = sealed[MANIFEST_JSON].replace(old, new, 1)
    assert changed != sealed[MANIFEST_JSON]
    findings = verify_pack({**sealed, MANIFEST_JSON: changed}, PEOPLE, CODE)
    assert says in [each.what for each in findings if each.check is Check.TOTALS]


def test_a_manifest_or_totals_without_what_they_have_to_say_are_a_finding(sealed):
    manifest = {name: each for name, each in json.loads(sealed[MANIFEST_JSON]).items() if name != "run_id"}
    changed = {**sealed, MANIFEST_JSON: json.dumps(manifest, indent=2, ensure_ascii=False).encode() + b"\n"}
    assert (Check.TOTALS, MANIFEST_JSON) in differing(verify_pack(changed, PEOPLE, CODE))
    emptied = listed_again({**sealed, "control_totals.json": b'{"version": 1, "period": "2026-10"}'})
    assert (Check.TOTALS, "control_totals.json") in differing(verify_pack(emptied, PEOPLE, CODE))


def test_another_code_version_is_a_note(sealed):
    findings = verify_pack(sealed, PEOPLE, "1.2.3")
    assert differing(findings) == []
    assert f"sealed by code version {CODE}, made again by 1.2.3" in [each.what for each in findings]


def test_a_draft_needs_no_signature_and_a_closed_pack_does(sealed):
    draft = verify_pack(pack_files(version=0), None, CODE)
    assert draft[-1].what == "a draft: nobody has signed it, and it may still change"
    assert differing(draft) == []
    unsigned = {name: content for name, content in sealed.items() if name != SIGNOFF_CSV}
    assert differing(signature_findings(unsigned, read_manifest(sealed), None)) == [(Check.SIGNATURES, SIGNOFF_CSV)]


def test_without_people_the_fingerprints_are_named_and_with_others_they_are_refused(sealed):
    manifest = read_manifest(sealed)
    alone = list(signature_findings(sealed, manifest, None))
    assert differing(alone) == []
    assert any("was not looked up" in each.what for each in alone)
    others = [PEOPLE[0], type(PEOPLE[1])("grace@example.com", "Grace Hopper", "finance", None, PEOPLE[1].interval)]
    assert differing(signature_findings(sealed, manifest, others)) != []
    assert public_key_of(ADA) == PEOPLE[0].signing_key


def test_a_sign_off_of_another_content_does_not_count(sealed):
    other = {**sealed, CHARGES: sealed[CHARGES] + b"\n"}
    changed = {**sealed, SIGNOFF_CSV: signed_off(other, 1)}
    assert (Check.SIGNATURES, SIGNOFF_CSV) in differing(signature_findings(changed, read_manifest(sealed), PEOPLE))


def test_a_folder_without_a_manifest_is_no_pack(sealed, tmp_path):
    with pytest.raises(PackError, match="is no folder"):
        read_pack(tmp_path / "none")
    with pytest.raises(PackError, match=r"has no manifest\.json"):
        read_pack(tmp_path)
    assert read_pack(written(sealed, tmp_path / "v1")) == sealed


@pytest.mark.parametrize(
    ("name", "one", "other", "says"),
    [
        ("a.csv", b"x,y\n1,2\n", b"x,y\n1,3\n", "row 2, y: sealed '2', made again '3'"),
        ("a.csv", b"x,y\n1,2\n", b"x,y\n", "has 2 rows with the header, made again 1"),
        ("a.csv", b"x,y\n1\n", b"x,y\n1,2\n", "row 2 has 1 columns, made again 2"),
        ("a.csv", b"x\r\n1\n", b"x\n1\n", "byte 2 is the first that differs"),
        ("a.csv", b"\xff", b"x\n", "byte 1 is the first that differs"),
        ("a.json", b"{\n1}", b"{\n2}", "line 2 is the first that differs"),
        ("a.pdf", b"\xff\x00", b"\xff", "byte 2 is the first that differs"),
        ("a.csv", None, b"", "is only made again, and was not sealed"),
        ("a.csv", b"", None, "was sealed, and is not made again"),
    ],
)
def test_the_first_difference_is_said_in_the_words_of_the_file(name, one, other, says):
    assert first_difference(name, one, other) == says
