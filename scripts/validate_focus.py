"""Run the official FOCUS validator on a file of a pack: focus_1_2.csv is to pass FOCUS 1.2.

    python -m scripts.validate_focus packs/2026-10/v1/focus_1_2.csv
    python -m scripts.validate_focus FILE --criteria TAGGING_SUPPORTED

Exit status: 0 when every rule passes but the known contradiction, 1 when a rule fails, 2 when the validator cannot run.

The validator (focus-validator 2.2.1) needs an environment of its own: Python 3.12 and an older numpy than ours. It is
made once in a cache folder. What else it takes, and why the result is read from its text (docs/focus.md):

- it pins numpy below 2 and leaves pyarrow open, whose newest releases refuse that numpy: pyarrow is held below 21;
- it opens its list of currencies relative to the working folder, which therefore is the folder it is installed in;
- its exit status is 0 although rules fail;
- it runs both halves of an either-or (InvoiceId is null, InvoiceId is not null) as rules on all rows, so one of them
  fails on every file, and both with what rests on them where some rows have an invoice and some have none yet.

Belongs here: making that environment, running it, reading what it says. Does not belong here: the file
(`tokengov_pipelines.pack.focus_csv`).
"""

import argparse
import csv
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

REQUIREMENTS: Final = ("focus-validator==2.2.1", "pyarrow<21")
NULL_RULE: Final = "InvoiceId-C-004-C"
"""InvoiceId is null where there is no invoice; the validator runs it on rows that have one."""

NOT_NULL_RULE: Final = "InvoiceId-C-005-C"
"""InvoiceId is not null where there is an invoice; the validator runs it on rows that have none."""

BOTH_RULES: Final = frozenset({NULL_RULE, NOT_NULL_RULE, "InvoiceId-C-003-C", "InvoiceId-C-000-O"})
"""What fails where a file has rows of both kinds: the two, their either-or, and the column as a whole."""

_WANTED_VERSION: Final = "3.12"
_TOTALS: Final = re.compile(r"^Total: (\d+) \| Pass: (\d+) \| Fail: (\d+) \| Skipped: (\d+)$", re.MULTILINE)
_FAILED_RULE: Final = re.compile(r"^(?:❌|\[FAIL\]) (\S+): FAIL", re.MULTILINE)
_FAILURES: Final = "--- Failures ---"
_INSTALL_SECONDS: Final = 900
_RUN_SECONDS: Final = 240


class ValidatorUnavailableError(RuntimeError):
    """The validator cannot be run here; the text says what is missing."""


@dataclass(frozen=True)
class Validation:
    """What the validator said of a file: numbers of rules, the names of those that failed, and its whole text.

    `known` are the failures that are the validator's own contradiction on this file.
    """

    total: int
    passed: int
    failed: int
    skipped: int
    failed_rules: tuple[str, ...]
    known: frozenset[str]
    text: str

    @property
    def unexpected(self) -> tuple[str, ...]:
        """The failures that no file has to have."""
        return tuple(rule for rule in self.failed_rules if rule not in self.known)


def cache_folder() -> Path:
    """Where the environment is kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tokengov" / "focus-validator-2.2.1"


def contradictions(file: Path) -> frozenset[str]:
    """The rules that fail on this file whatever it holds: it follows from which rows have an InvoiceId."""
    with file.open(encoding="utf-8", newline="") as opened:
        has_invoice = {bool(row["InvoiceId"]) for row in csv.DictReader(opened)}
    if len(has_invoice) == 2:
        return BOTH_RULES
    return frozenset({NULL_RULE if True in has_invoice else NOT_NULL_RULE})


def find_python(path: str | None = None) -> str:
    """A Python 3.12 that runs. A version manager's stand-in for one that is not switched on is none.

    Raises:
        ValidatorUnavailableError: there is none on the search path.
    """
    for folder in (path or os.environ.get("PATH", "")).split(os.pathsep):
        found = shutil.which(f"python{_WANTED_VERSION}", path=folder)
        if found and _answers(found, "import sys; print('%d.%d' % sys.version_info[:2])") == _WANTED_VERSION:
            return found
    message = f"there is no python{_WANTED_VERSION} that runs on the search path; the validator needs Python 3.12"
    raise ValidatorUnavailableError(message)


def prepare(python: str, folder: Path) -> Path:
    """The environment's Python in `folder`, made with pip where it is not there yet.

    Raises:
        ValidatorUnavailableError: it cannot be made, such as without a package index.
    """
    ours, ready = folder / "bin" / "python", folder / "ready"
    if ready.exists() and _answers(str(ours), "import focus_validator; print('ok')") == "ok":
        return ours
    folder.mkdir(parents=True, exist_ok=True)
    _run([python, "-m", "venv", "--clear", str(folder)])
    _run([str(ours), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *REQUIREMENTS])
    ready.touch()
    return ours


def validate(python: Path, file: Path, criteria: str = "") -> Validation:
    """Validate a CSV file against FOCUS 1.2 with the environment's Python; nothing is downloaded.

    `criteria` names what the provider supports (comma-separated), which switches conditional rules on.

    Raises:
        ValidatorUnavailableError: the validator broke off without a result.
    """
    site = _answers(
        str(python), "import focus_validator, pathlib; print(pathlib.Path(focus_validator.__file__).parents[1])"
    )
    command = [str(python), "-m", "focus_validator.main", "--data-file", str(file.resolve())]
    command += ["--validate-version", "1.2", "--focus-dataset", "CostAndUsage", "--block-download", "--show-violations"]
    command += ["--applicability-criteria", criteria] if criteria else []
    utf8 = os.environ | {"PYTHONIOENCODING": "utf-8", "PYTHONUTF8": "1"}
    done = subprocess.run(
        command, cwd=site, env=utf8, capture_output=True, encoding="utf-8", timeout=_RUN_SECONDS, check=False
    )
    totals = _TOTALS.search(done.stdout)
    if totals is None:
        message = f"the validator gave no result on {file.name}: {(done.stderr or done.stdout).strip()[-1500:]}"
        raise ValidatorUnavailableError(message)
    total, passed, failed, skipped = map(int, totals.groups())
    rules = tuple(sorted(_FAILED_RULE.findall(done.stdout)))
    return Validation(total, passed, failed, skipped, rules, contradictions(file), done.stdout)


def _answers(python: str, code: str) -> str:
    try:
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip()[-600:]
        message = f"the validator's environment could not be made ({' '.join(command[1:4])}): {said}"
        raise ValidatorUnavailableError(message) from error


def main(arguments: list[str] | None = None) -> int:
    """Validate a file and print what it came to."""
    parser = argparse.ArgumentParser(description="Validate a FOCUS 1.2 file with the official validator.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--criteria", default="", help="what the provider supports, comma-separated")
    parser.add_argument("--python", help="a Python 3.12; else the first on the search path")
    parser.add_argument("--cache", type=Path, default=None, help="where the validator's environment is kept")
    parser.add_argument("--all", action="store_true", help="print the validator's whole text")
    options = parser.parse_args(arguments)
    if not options.file.is_file():
        sys.stderr.write(f"{options.file} is no file. Fix: name focus_1_2.csv of a pack.\n")
        return 2
    try:
        python = prepare(options.python or find_python(), options.cache or cache_folder())
        result = validate(python, options.file, options.criteria)
    except ValidatorUnavailableError as error:
        sys.stderr.write(f"{error}.\n")
        return 2
    if options.all or result.unexpected:
        sys.stdout.write(result.text if options.all else result.text[result.text.index(_FAILURES) :])
    sys.stdout.write(
        f"{result.total} rules: {result.passed} pass, {result.failed} fail, {result.skipped} do not apply.\n"
    )
    known = [rule for rule in result.failed_rules if rule in result.known]
    if known:
        sys.stdout.write(f"The validator's own contradiction, which no file escapes: {', '.join(known)}.\n")
    sys.stdout.write(
        f"Fails: {', '.join(result.unexpected)}\n" if result.unexpected else "The file passes FOCUS 1.2.\n"
    )
    return 1 if result.unexpected else 0


if __name__ == "__main__":
    raise SystemExit(main())
