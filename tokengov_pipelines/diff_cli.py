"""`tokengov diff`: by how much two versions of a month differ per cost center, and because of what.

Belongs here: arguments, finding the packs, tables, exit codes. Does not belong here: the comparison
(`closing.comparison`).
"""

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from tokengov_pipelines.domain.money import exact_sum
from tokengov_pipelines.settings import HOME_VARIABLE, SettingsError, load_installation

if TYPE_CHECKING:
    from tokengov_pipelines.closing.comparison import Comparison

_RUN_HELP = "A pack's folder, or MONTH/VERSION of --home, for example 2026-10/v1."


def diff(
    run_a: Annotated[str, typer.Argument(help=_RUN_HELP, metavar="RUN_A")],
    run_b: Annotated[str, typer.Argument(help=_RUN_HELP, metavar="RUN_B")],
    home: Annotated[
        Path | None,
        typer.Option("--home", envvar=HOME_VARIABLE, help="The installation's folder.", show_default="./home"),
    ] = None,
) -> None:
    """Split the change of charges between two packs of a month into data, prices, directory, policy, ledger and code.

    Exit code 0: compared; 2: a pack cannot be read, or is not what was sealed.
    """
    from tokengov_pipelines.closing.comparison import compared
    from tokengov_pipelines.closing.input_files import read_input_files
    from tokengov_pipelines.closing.verification import read_manifest
    from tokengov_pipelines.pack.writer import PackError

    try:
        first, second = (_files(_folder(run, home)) for run in (run_a, run_b))
        inputs = read_input_files(first), read_input_files(second)
        found = compared((first, second), inputs, read_manifest(second)["version"])
    except (PackError, SettingsError) as error:
        _stop(str(error))
    _print_charges(run_a, run_b, found)
    _print_tables(found)
    for note in found.notes:
        Console(stderr=True).print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)


def _folder(run: str, home: Path | None) -> Path:
    """The folder that is named, else the version of that name among the home's packs."""
    path = Path(run)
    if path.is_dir():
        return path
    try:
        packs = load_installation(home).packs_dir
    except SettingsError as error:
        _stop(f"{run} is no folder, and there is no home to look it up in: {error}")
    if not (packs / run).is_dir():
        _stop(f"{run} is no folder, and {packs} has none of that name. Fix: write 2026-10/v1, or the folder's path.")
    return packs / run


def _files(folder: Path) -> Mapping[str, bytes]:
    """A pack's files, refused where they are not what was sealed: what was changed by hand has no cause in inputs."""
    from tokengov_pipelines.closing.verification import listed_findings, read_manifest, read_pack

    files = read_pack(folder)
    changed = listed_findings(files, read_manifest(files))
    if changed:
        _stop(f"{folder}: {changed[0].file} {changed[0].what}. Fix: tokengov verify {folder} lists what differs.")
    return files


def _print_charges(run_a: str, run_b: str, found: "Comparison") -> None:
    from tokengov_pipelines.closing.comparison import Cause

    amounts = [Column(each, justify="right") for each in ("before", *Cause, "change", "after")]
    title = f"{run_a} -> {run_b}, {found.currency}"
    table = Table("cost center", *amounts, title=title, title_justify="left")
    codes = sorted(found.parts)
    for code in codes:
        parts = [found.parts[code][cause] for cause in Cause]
        before, after = (each.get(code, Decimal(0)) for each in (found.before, found.after))
        table.add_row(Text(code), _plain(before), *map(_signed, parts), _signed(found.change(code)), _plain(after))
    table.add_section()
    before, after = (exact_sum(each.values()) for each in (found.before, found.after))
    totals = [found.total(cause) for cause in Cause]
    table.add_row("total", _plain(before), *map(_signed, totals), _signed(exact_sum([after, -before])), _plain(after))
    Console().print(table)


def _print_tables(found: "Comparison") -> None:
    console = Console()
    if not found.tables and not found.facts:
        console.print("The inputs are the same.")
        return
    if found.tables:
        numbers = [Column(each, justify="right") for each in ("rows added", "removed", "changed")]
        table = Table("table of inputs/", *numbers, title="Inputs that differ", title_justify="left")
        for each in found.tables:
            table.add_row(Text(each.table), f"{each.added:,}", f"{each.removed:,}", f"{each.changed:,}")
        console.print(table)
    for fact in found.facts:
        console.print(f"differs, too: {fact}", markup=False, highlight=False, soft_wrap=True)


def _plain(amount: Decimal) -> str:
    return f"{amount:,f}"


def _signed(amount: Decimal) -> str:
    return f"{amount:+,f}" if amount else ""


def _stop(text: str) -> NoReturn:
    Console(stderr=True).print(text, markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(2)
