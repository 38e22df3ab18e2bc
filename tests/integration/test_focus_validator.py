"""The official FOCUS validator on files of a pack: skipped without Python 3.12 or, the first time, a package index."""

import sys
from pathlib import Path

import pytest

from scripts.validate_focus import (
    BOTH_RULES,
    NOT_NULL_RULE,
    NULL_RULE,
    Validation,
    ValidatorUnavailableError,
    cache_folder,
    find_python,
    main,
    prepare,
    validate,
)
from tests.unit.pack.focus_month import CORRECTIONS, EXAMPLE, OTHERS, charge, direct, month, statement
from tokengov_pipelines.pack.focus_csv import focus_csv
from tokengov_pipelines.pack.focus_inputs import FocusInputs

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def validator(pytestconfig) -> Path:
    """The validator's Python, in pytest's cache folder so that it is made once."""
    cache = getattr(pytestconfig, "cache", None)
    folder = cache_folder() if cache is None else cache.mkdir("focus-validator-2.2.1")
    try:
        return prepare(find_python(), folder)
    except ValidatorUnavailableError as error:
        pytest.skip(str(error))


def validated(validator: Path, folder: Path, inputs: FocusInputs, criteria: str = "") -> Validation:
    file = folder / "focus_1_2.csv"
    file.write_bytes(focus_csv(inputs, inputs.lines))
    return validate(validator, file, criteria)


def test_a_month_of_invoices_with_every_charge_type_passes(validator, tmp_path):
    found = validated(validator, tmp_path, month(*EXAMPLE, *CORRECTIONS, *OTHERS[:2]))
    assert found.failed_rules == (NULL_RULE,), found.text[-3000:]
    assert (found.total, found.failed, found.unexpected) == (578, 1, ())
    assert found.passed == found.total - found.skipped - 1 > 130


def test_accruals_and_prepaid_credits_beside_invoices_bring_the_other_half_of_the_contradiction(validator, tmp_path):
    found = validated(validator, tmp_path, month(prepaid=(statement("1000.00", refunds="20.00"),)))
    assert (set(found.failed_rules), found.unexpected) == (BOTH_RULES, ()), found.text[-3000:]


def test_a_month_without_any_invoice_passes(validator, tmp_path):
    found = validated(validator, tmp_path, month(*OTHERS[2:], prepaid=(statement("1000.00"),)))
    assert (found.failed_rules, found.unexpected) == ((NOT_NULL_RULE,), ()), found.text[-3000:]


def test_a_month_of_corrections_alone_passes(validator, tmp_path):
    found = validated(validator, tmp_path, month(*CORRECTIONS))
    assert found.failed_rules == (NULL_RULE,), found.text[-3000:]


def test_names_that_are_not_ascii_pass_and_so_do_tags_where_they_are_claimed(validator, tmp_path):
    lines = (direct("1.00", 5, "modèle", team_alias='Köln "A"'), charge("tax", "0.19", cost_center="CC-Ü"))
    found = validated(validator, tmp_path, month(*lines), "TAGGING_SUPPORTED,ACCOUNT_NAMING_SUPPORTED")
    assert found.unexpected == (), found.text[-3000:]


def test_a_broken_file_fails_by_name_and_by_exit_status(validator, tmp_path, capsys):
    inputs = month(*CORRECTIONS)
    file = tmp_path / "focus_1_2.csv"
    file.write_bytes(focus_csv(inputs, inputs.lines).replace(b",Correction,", b",Corrected,"))
    environment = validator.parents[1]
    assert main([str(file), "--cache", str(environment), "--python", sys.executable]) == 1
    assert "Fails: ChargeClass-C-000-M, ChargeClass-C-005-C\n" in capsys.readouterr().out


class TestWithoutTheValidator:
    def test_no_python_is_a_reason(self, tmp_path):
        with pytest.raises(ValidatorUnavailableError, match=r"there is no python3\.12 that runs on the search path"):
            find_python(str(tmp_path))

    def test_a_stand_in_that_does_not_run_is_no_python(self, tmp_path):
        shim = tmp_path / "python3.12"
        shim.write_text("#!/bin/sh\necho 'pyenv: python3.12: command not found' >&2\nexit 127\n")
        shim.chmod(0o755)
        with pytest.raises(ValidatorUnavailableError):
            find_python(str(tmp_path))

    def test_an_environment_that_cannot_be_made_is_a_reason(self, tmp_path):
        broken = tmp_path / "python3.12"
        broken.write_text("#!/bin/sh\necho 'no venv here' >&2\nexit 1\n")
        broken.chmod(0o755)
        with pytest.raises(ValidatorUnavailableError, match="no venv here"):
            prepare(str(broken), tmp_path / "cache")

    def test_a_file_that_is_not_there_ends_with_2(self, tmp_path):
        assert main([str(tmp_path / "focus_1_2.csv")]) == 2
