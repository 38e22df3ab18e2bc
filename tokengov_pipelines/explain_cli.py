"""`tokengov explain`: a cost center's charge of a month as a tree, from the total down to cells of use and calls.

Belongs here: arguments, which pack is explained, the printed tree, exit codes. Does not belong here: the tree
(`closing.explanation`), the calls (`assets.charged_calls`).
"""

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from tokengov_pipelines.domain.money import MoneyError, minor_unit_scale, round_posting
from tokengov_pipelines.domain.period import BillingMonth, InvoicePeriod, PeriodError
from tokengov_pipelines.settings import HOME_VARIABLE, Installation, SettingsError, load_installation

if TYPE_CHECKING:
    from tokengov_pipelines.closing.closed_month import ClosedMonth
    from tokengov_pipelines.closing.explanation import Node


def explain(
    cost_center: Annotated[str, typer.Option("--cost-center", help="Whose charge, for example CC-100.")],
    period: Annotated[
        str | None, typer.Option("--period", help="Billing month of --home, for example 2026-10.")
    ] = None,
    provider: Annotated[str | None, typer.Option("--provider", help="Only what this provider billed.")] = None,
    version: Annotated[
        int | None, typer.Option("--version", min=0, help="The version.", show_default="the newest; 0 is the draft")
    ] = None,
    pack: Annotated[
        Path | None, typer.Option("--pack", help="A pack's folder, instead of --period and --home.")
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="How many of each long list are shown.")] = 5,
    calls: Annotated[int, typer.Option("--calls", min=0, help="Show so many of the largest calls, from the lake.")] = 0,
    home: Annotated[
        Path | None,
        typer.Option("--home", envvar=HOME_VARIABLE, help="The installation's folder.", show_default="./home"),
    ] = None,
) -> None:
    """Show what a cost center's charge is made of: invoices, pools, weights, cells of use. Every sum is checked."""
    from tokengov_pipelines.closing.closed_month import close_month
    from tokengov_pipelines.closing.explained_pools import pool_node
    from tokengov_pipelines.closing.explained_weights import WeightNodes
    from tokengov_pipelines.closing.explanation import ExplanationError, explained, require_sealed_charges
    from tokengov_pipelines.closing.input_files import read_input_files
    from tokengov_pipelines.closing.verification import listed_findings, read_manifest, read_pack
    from tokengov_pipelines.pack.writer import PackError

    try:
        folder = pack or _folder(load_installation(home), period, version)
        files = read_pack(folder)
        manifest = read_manifest(files)
        changed = listed_findings(files, manifest)
        if changed:
            _stop(
                f"{folder}: {changed[0].file} {changed[0].what}. Fix: tokengov verify {folder} lists what differs.", 2
            )
        closed = close_month(read_input_files(files), manifest["version"])
        require_sealed_charges(closed, files)
        of_calls = _calls(closed, load_installation(home), cost_center, calls) if calls else {}
        weights = WeightNodes(of_calls)
        tree = explained(closed, cost_center, pool=pool_node, weight=weights, provider=provider, top=top)
    except (PackError, SettingsError, PeriodError) as error:
        _stop(str(error), 2)
    except (ExplanationError, MoneyError) as error:
        _stop(str(error), 1)
    Console().print(_branch(tree, Tree(_line(tree), guide_style="dim")))


def _folder(installation: Installation, period: str | None, version: int | None) -> Path:
    """The pack of a month in the home: the version asked for, else the last closed one, else the draft."""
    if period is None:
        _stop("no month is named. Fix: --period 2026-10, or --pack FOLDER.", 2)
    month = BillingMonth.parse(period)
    packs = installation.packs_dir / str(month)
    wanted = version
    if wanted is None:
        known = [int(each.name[1:]) for each in packs.glob("v*") if each.name[1:].isdecimal()]
        wanted = max(known, default=0)
    folder = packs / f"v{wanted}"
    if not folder.is_dir():
        _stop(f"{folder} is not there. Fix: tokengov prepare {month} makes the draft, tokengov close {month} v1.", 2)
    return folder


def _calls(closed: "ClosedMonth", installation: Installation, cost_center: str, count: int) -> "dict[str, Node]":
    """The largest calls of each provider, under what the proxy logged for the cost center."""
    from assets.charged_calls import largest_calls
    from resources.lake import Lake
    from resources.tables import Tables
    from tokengov_pipelines.closing.explained_weights import calls_node, logged_calls

    lake = Lake(root=installation.lake_url, cache_dir=str(installation.home / "cache"))
    tables = Tables(root=str(installation.tables_dir))
    unit, found = closed.inputs.policy.money.functional_currency, {}
    for billed in closed.charges.billed:
        provider, period, month = billed.header.provider, billed.header.period, closed.month
        days = InvoicePeriod(max(period.start, month.first_day), min(period.end, month.next().first_day))
        calls = largest_calls(lake, tables, provider=provider, cost_center=cost_center, days=days, count=count)
        labelled = [
            (f"{each.started_at:%Y-%m-%d %H:%M:%S}Z {each.request_id} {each.model}, {each.tokens:,} tokens", each.spend)
            for each in calls
        ]
        if labelled:
            found[provider] = calls_node(logged_calls(closed, provider, cost_center, days), labelled, unit)
    return found


def _branch(node: "Node", tree: Tree) -> Tree:
    for each in node.children:
        _branch(each, tree.add(_line(each)))
    for each in node.basis:
        _branch(each, tree.add(_line(each, "of ")))
    return tree


def _line(node: "Node", prefix: str = "") -> Text:
    shown, exact = _amounts(node)
    line = Text.assemble((f"{prefix}{node.label}", "italic" if prefix else "bold" if node.children else ""), "  ")
    line.append(shown, "cyan")
    if exact:
        line.append(f"  exactly {exact}", "dim")
    if node.note:
        line.append(f"  {node.note}", "dim")
    return line


def _amounts(node: "Node") -> tuple[str, str]:
    """The amount in minor units of its currency, and the exact one where that is another."""
    try:
        scale = minor_unit_scale(node.unit)
    except MoneyError:  # tokens, shares
        return f"{_plain(node.amount)} {node.unit}".strip(), ""
    shown = round_posting(node.amount, scale)
    exact = "" if shown == node.amount else f"{node.amount.normalize():f}"
    return f"{shown:,f} {node.unit}", exact


def _plain(amount: Decimal) -> str:
    return f"{amount.normalize():,f}"


def _stop(text: str, code: int) -> NoReturn:
    Console(stderr=True).print(text, markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(code)
