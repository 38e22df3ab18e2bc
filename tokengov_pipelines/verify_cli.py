"""`tokengov verify`: whether a pack is what was sealed and what its own inputs make, on any machine.

Belongs here: arguments, the table, exit codes, reading people.csv. Does not belong here: the checks
(`closing.verification`), what the lake holds now (`assets.lake_partitions`, `assets.month_inputs`).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tokengov_pipelines.domain.approval import ApprovalError, Person
from tokengov_pipelines.domain.csv_rows import read_csv
from tokengov_pipelines.domain.directory import TABLES, check_header, read_rows
from tokengov_pipelines.settings import HOME_VARIABLE, SettingsError, load_installation

if TYPE_CHECKING:
    from tokengov_pipelines.closing.verification import Finding

DIFFERS: Final = 1
UNREADABLE: Final = 2
_STYLES: Final = {"identical": "green", "differs": "red", "moved since the close": "yellow", "note": "dim"}


def verify(
    pack: Annotated[Path, typer.Argument(help="The pack's folder, for example packs/2026-10/v1.", metavar="PACK")],
    deep: Annotated[
        bool, typer.Option("--deep", help="Compare with what lake, tables and ledger of --home hold now, too.")
    ] = False,
    people: Annotated[
        Path | None, typer.Option("--people", help="people.csv: names, roles and keys are looked up in it.")
    ] = None,
    home: Annotated[
        Path | None,
        typer.Option("--home", envvar=HOME_VARIABLE, help="An installation: its people.csv, and its lake for --deep."),
    ] = None,
) -> None:
    """Check a pack's bytes, hashes, ties and signatures, and make every file again from its inputs/.

    Needs no lake, no ledger and no network. Exit code 0: identical; 1: something differs; 2: it cannot be read.
    """
    from tokengov_pipelines.closing.verification import State, read_pack, verify_pack
    from tokengov_pipelines.pack.code_version import code_version
    from tokengov_pipelines.pack.writer import PackError

    if deep and home is None:
        _stop("--deep compares with an installation. Fix: name it with --home.")
    try:
        files = read_pack(pack)
        register = _register(people, home)
        findings = verify_pack(files, register, code_version())
        # What is not what was sealed is compared with nothing else.
        if deep and home is not None and all(each.state is not State.DIFFERS for each in findings):
            findings += _deep(files, home)
    except (PackError, SettingsError, ApprovalError) as error:
        _stop(str(error))
    _print(pack, findings)
    if any(each.state is State.DIFFERS for each in findings):
        raise typer.Exit(DIFFERS)


def _deep(files: Mapping[str, bytes], home: Path) -> "list[Finding]":
    from assets.lake_partitions import lake_partitions
    from assets.month_inputs import gather_month_inputs
    from assets.reconciliation_inputs import MissingPriceBookError, read_invoices
    from resources.lake import Lake, LakeError
    from resources.tables import MissingTableError, Tables
    from tokengov_pipelines.closing.input_files import read_input_files
    from tokengov_pipelines.closing.lake_comparison import ledger_findings, moved_findings
    from tokengov_pipelines.closing.verification import read_manifest
    from tokengov_pipelines.ledger.errors import LedgerError
    from tokengov_pipelines.ledger.ledger import Ledger

    installation = load_installation(home)
    lake = Lake(root=installation.lake_url, cache_dir=str(installation.home / "cache"))
    tables = Tables(root=str(installation.tables_dir))
    manifest, sealed = read_manifest(files), read_input_files(files)
    try:
        ledger = Ledger(installation.ledger_url, installation.settings.now)
        ledger.upgrade()
        versions = ledger.versions(sealed.month)
        now = lake_partitions(lake, tables, sealed.facts.days, read_invoices(lake))
        current = gather_month_inputs(installation, lake, tables, ledger, sealed.month)
    except (LedgerError, LakeError, MissingTableError, MissingPriceBookError) as error:
        _stop(str(error))
    return [*ledger_findings(files, manifest, versions), *moved_findings(manifest, sealed, now, current)]


def _register(people: Path | None, home: Path | None) -> list[Person] | None:
    """The people of --people, else of the home's directory; None where neither is given."""
    path = people
    if path is None and home is not None:
        installation = load_installation(home)
        beside = Path(installation.resolve(installation.settings.directory.url)) / "people.csv"
        path = beside if beside.exists() else None
    if path is None:
        return None
    try:
        content = path.read_bytes()
    except OSError as error:
        _stop(f"{path} cannot be read: {error.strerror}. Fix: name the people.csv of the organisation.")
    table, read = TABLES["people"], read_csv(content, path.name)
    problems = [*read.problems, *check_header(table, read.header)]
    if not problems:
        records, problems = read_rows(table, read.rows)
    if problems:
        _stop("\n".join(map(str, problems)))
    return [Person.of(record.values) for record in records]


def _print(pack: Path, findings: "Sequence[Finding]") -> None:
    table = Table("result", "check", "file", "what", title=f"{pack}", title_justify="left")
    for each in findings:
        table.add_row(Text(each.state, style=_STYLES[each.state]), Text(each.check), Text(each.file), Text(each.what))
    Console().print(table)
    differing = [each for each in findings if each.state == "differs"]
    if not differing:
        _say("identical: the pack is what was sealed, and what its inputs make.")
        return
    named = ", ".join(dict.fromkeys(each.file or str(each.check) for each in differing))
    fix = "take the pack from where it was delivered from, and ask who changed this one"
    if all(each.check == "made again" for each in differing):
        fix = "the files are those that were sealed; make them again with the code version that the manifest names"
    _say(f"differs: {named}. Fix: {fix}.")


def _say(text: str) -> None:
    Console().print(text, markup=False, highlight=False, soft_wrap=True)


def _stop(text: str) -> NoReturn:
    Console(stderr=True).print(text, markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(UNREADABLE)
