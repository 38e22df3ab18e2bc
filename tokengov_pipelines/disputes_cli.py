"""`tokengov disputes`: a cost center says that a charge is somebody else's; the decision; the list (Rule 6.8).

Belongs here: arguments, the charges that are disputed, tables, exit codes. Does not belong here: what may be raised and
decided (`domain.dispute`), the record (`ledger.disputes`), posting what a decision moves (the close).
"""

import csv
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Column, Table
from rich.text import Text

from tokengov_pipelines.console import HomeOption, fail, opened_ledger, say
from tokengov_pipelines.console import show as show_table
from tokengov_pipelines.domain.dispute import ConsentKind, Decision, Dispute, DisputedLine, Route, route_of
from tokengov_pipelines.domain.intervals import Interval
from tokengov_pipelines.domain.money import exact_sum, usd
from tokengov_pipelines.domain.period import BillingMonth, PeriodError
from tokengov_pipelines.settings import Installation

if TYPE_CHECKING:
    from tokengov_pipelines.ledger.ledger import Ledger

app = typer.Typer(help="Raise, decide and list disputes about charges.", no_args_is_help=True)

LineKey = tuple[str, str, str]

MonthArgument = Annotated[str, typer.Argument(help="Billing month, for example 2026-10.", metavar="MONTH")]


def _errors() -> tuple[type[Exception], ...]:
    """What these commands refuse in words; reading the directory is what makes them start slowly."""
    from resources.directory import DirectoryError

    return (PeriodError, DirectoryError)


@app.command("raise")
def raise_dispute(
    month: MonthArgument,
    cost_center: Annotated[str, typer.Argument(help="The cost center that was charged.", metavar="COST_CENTER")],
    line: Annotated[
        list[str], typer.Option(help="PROVIDER:INVOICE:CHARGE_TYPE:AMOUNT of chargeback.csv; may be repeated.")
    ],
    owner: Annotated[str, typer.Option(help="The cost center whose charge it is.")],
    reason: Annotated[str, typer.Option(help="Why.")],
    evidence: Annotated[str, typer.Option(help="Where that can be seen.")],
    by: Annotated[str, typer.Option(help="Who raises it (a name).")],
    home: HomeOption = None,
) -> None:
    """Dispute a charge, until 30 days after the close: by the end of BD4 the month changes, later the next one does."""
    with opened_ledger(home, *_errors()) as (installation, ledger):
        billing_month = BillingMonth.parse(month)
        try:
            lines = [DisputedLine.parse(text) for text in line]
        except ValueError as error:
            fail(str(error), 2)
        _require_cost_center(installation, billing_month, owner)
        charged, currency = _charges(installation, ledger, billing_month, cost_center, lines)
        dispute = ledger.disputes.raise_dispute(
            billing_month,
            cost_center,
            lines,
            currency=currency,
            reason=reason,
            claimed_owner=owner,
            evidence=evidence,
            raised_by=by,
            charged=charged,
            days_after_close=installation.policy.chargeback.dispute_days_after_close,
        )
        closed_at = ledger.period(billing_month).closed_at
    say(
        f"raised {dispute.dispute_id}: {dispute.amount:f} {currency} of {dispute.cost_center}, claimed to be "
        f"{dispute.claimed_owner}'s. If accepted now it posts {_where(route_of(dispute, closed_at))}."
    )
    say(f"Next: tokengov disputes decide {dispute.dispute_id} --decision accepted|rejected --reason ... --by ...")


@app.command()
def decide(
    dispute_id: Annotated[str, typer.Argument(help="The dispute's id in the list.", metavar="DISPUTE")],
    decision: Annotated[Decision, typer.Option(help="How it ends.")],
    reason: Annotated[str, typer.Option(help="Why.")],
    by: Annotated[str, typer.Option(help="Who decides; not who raised it, unless it is withdrawn (a name).")],
    consent_by: Annotated[
        str | None, typer.Option(help="To accept: who agreed for the receiving cost center, or the VP (a name).")
    ] = None,
    consent_kind: Annotated[ConsentKind | None, typer.Option(help="To accept: as its owner, or as the VP.")] = None,
    home: HomeOption = None,
) -> None:
    """Accept, reject or withdraw a dispute; accepting takes the receiving owner's consent or the VP's decision."""
    with opened_ledger(home, *_errors()) as (_, ledger):
        dispute = ledger.disputes.decide(
            dispute_id, decision, reason=reason, by=by, consent_by=consent_by, consent_kind=consent_kind
        )
        closed_at = ledger.period(dispute.month).closed_at
    say(f"{dispute.dispute_id}: {dispute.decision} by {dispute.decided_by}")
    if dispute.awaits_posting:
        moved = f"{dispute.amount:f} {dispute.currency} moves from {dispute.cost_center} to {dispute.claimed_owner}"
        say(f"{moved}, {_where(route_of(dispute, closed_at))}.")


@app.command("list")
def list_disputes(
    month: Annotated[
        str | None, typer.Argument(help="Only disputes about this billing month.", metavar="MONTH", show_default="all")
    ] = None,
    show_all: Annotated[bool, typer.Option("--all", help="Show those that are over, too.")] = False,
    home: HomeOption = None,
) -> None:
    """List the disputes that are undecided, or accepted and not posted."""
    with opened_ledger(home, *_errors()) as (_, ledger):
        known = ledger.disputes.of(BillingMonth.parse(month)) if month else ledger.disputes.all()
    shown = [each for each in known if show_all or each.decision is None or each.awaits_posting]
    if shown:
        _print_disputes(shown)
    else:
        say("No dispute was ever raised." if not known else "No dispute is open.")


def _require_cost_center(installation: Installation, month: BillingMonth, code: str) -> None:
    """Whoever is claimed to owe the amount has to be a cost center on the last day of the month."""
    from resources.directory import OrgDirectory

    attribution, directory = installation.policy.attribution, installation.settings.directory
    found = OrgDirectory(
        url=installation.resolve(directory.url),
        schema_version=directory.schema_version,
        suspense=attribution.suspense,
        central=attribution.central,
        max_successor_chain=attribution.max_successor_chain,
    ).load()
    rows = [row for row in found.tables["cost_centers"].to_pylist() if row["code"] == code]
    if not any(Interval(row["valid_from"], row["valid_to"]).valid_on(month.last_day) for row in rows):
        fail(f"{code} is no cost center on {month.last_day} (directory/cost_centers.csv). Fix: correct --owner.")


def _charges(
    installation: Installation, ledger: "Ledger", month: BillingMonth, cost_center: str, lines: Sequence[DisputedLine]
) -> tuple[dict[LineKey, Decimal], str]:
    """What a cost center was charged in a month, by line: as closed, else as drafted; and the currency of `lines`."""
    period = ledger.period(month)
    charged: list[tuple[LineKey, Decimal, str]] = []
    if period.version:
        charged = [
            ((each.provider, each.invoice_id, each.charge_type), each.amount, each.currency)
            for each in ledger.postings(month, period.version)
            if each.cost_center == cost_center and not each.original_month
        ]
    else:
        drafts = [version for version in ledger.versions(month) if version.status == "draft"]
        path = installation.home / drafts[0].pack_path / "chargeback.csv" if drafts else None
        if path is None or not path.is_file():
            fail(f"{month} has no draft whose charges could be disputed. Fix: tokengov prepare {month}")
        with path.open(encoding="utf-8", newline="") as file:
            charged = [
                ((row["provider"], row["invoice_id"], row["charge_type"]), usd(row["amount"]), row["currency"])
                for row in csv.DictReader(file)
                if row["cost_center"] == cost_center and row["original_period"] == str(month)
            ]
    wanted = {line.key for line in lines}
    currencies = sorted({currency for key, _, currency in charged if key in wanted})
    if len(currencies) > 1:
        fail(f"the lines are in {' and '.join(currencies)}. Fix: raise one dispute for each currency.", 2)
    by_line = {key: exact_sum(amount for other, amount, _ in charged if other == key) for key, _, _ in charged}
    return by_line, currencies[0] if currencies else installation.policy.money.functional_currency


def _where(route: Route) -> str:
    return "in the month's own close" if route is Route.THIS_CLOSE else "in the next open month, as prior_period lines"


def _print_disputes(disputes: Sequence[Dispute]) -> None:
    table = Table(
        "id",
        "from",
        "to",
        Column("amount", justify="right"),
        "lines",
        "why",
        "raised",
        "decision",
        "posted",
        title="Disputes",
        title_justify="left",
    )
    for each in disputes:
        decided = f"{each.decision} by {each.decided_by}" if each.decision else "undecided"
        table.add_row(
            each.dispute_id,
            Text(each.cost_center),
            Text(each.claimed_owner),
            f"{each.amount:,.2f} {each.currency}",
            Text("\n".join(f"{line.provider} {line.invoice_id} {line.charge_type}" for line in each.lines)),
            Text(each.reason),
            Text(f"{each.raised_at:%Y-%m-%d} by {each.raised_by}"),
            Text(decided),
            each.posting_ref or "",
        )
    show_table(table)
