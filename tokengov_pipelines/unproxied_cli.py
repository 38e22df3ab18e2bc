"""`tokengov unproxied`: which provider keys bypass the proxy, who should act, and the register of exceptions.

Belongs here: arguments, tables, exit codes. Does not belong here: how a key gets its row (`domain.bypass_keys`), what
refuses an exception (`domain.bypass_exception`), where exceptions are kept (`ledger.bypass_exceptions`).
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.table import Column, Table
from rich.text import Text

from tokengov_pipelines.console import HomeOption, fail, opened_ledger, say, show
from tokengov_pipelines.domain.bypass import KeyStatus, in_usd
from tokengov_pipelines.domain.bypass_exception import BypassException, ExceptionState, KeyIdentity
from tokengov_pipelines.domain.money import exact_sum, round_posting
from tokengov_pipelines.domain.period import BillingMonth, PeriodError, accounting_day

app = typer.Typer(help="Show keys that bypass the proxy, and the register of exceptions.", no_args_is_help=True)

TABLE = "fct_unproxied_keys"

_STYLES = {
    KeyStatus.NEW: "red",
    KeyStatus.OPEN: "yellow",
    KeyStatus.EXCEPTED: "green",
    KeyStatus.EXCEPTION_EXPIRED: "red",
}


@app.command("list")
def list_keys(
    month: Annotated[str, typer.Argument(help="Billing month, for example 2026-10.", metavar="MONTH")],
    home: HomeOption = None,
) -> None:
    """List the keys that were used outside the proxy in a month, the most expensive first."""
    from resources.tables import MissingTableError, Tables

    with opened_ledger(home, PeriodError) as (installation, _):
        tables = Tables(root=str(installation.tables_dir))
        try:
            rows = tables.rows(TABLE, [f"billing_month={BillingMonth.parse(month)}"])
        except MissingTableError as error:
            fail(f"{error} The command is: tokengov prepare {month}")
    if not rows:
        say(f"No key bypassed the proxy in {month}.")
        return
    _print_keys(month, sorted(rows, key=lambda row: (-row["cost_usd"], row["provider"], row["account"])))


@app.command("except")
def grant(
    provider: Annotated[str, typer.Argument(help="The provider, for example anthropic.")],
    key: Annotated[
        str, typer.Argument(help="The key's id as the list shows it; workspace:ID or workspace:default for no key.")
    ],
    reason: Annotated[str, typer.Option(help="Why it cannot go through the proxy yet; goes into the audit trail.")],
    requested_by: Annotated[str, typer.Option(help="Who asks (a name).")],
    approved_by: Annotated[str, typer.Option(help="Who approves; another person (a name).")],
    until: Annotated[dt.datetime, typer.Option(formats=["%Y-%m-%d"], help="Last day (UTC) on which it holds.")],
    account: Annotated[str | None, typer.Option(help="The provider's account.", show_default="tokengov.yaml")] = None,
    home: HomeOption = None,
) -> None:
    """Approve an exception for a key: no alert until then; it stays charged, and counts as unproxied."""
    with opened_ledger(home) as (installation, ledger):
        section = getattr(installation.settings, provider, None)
        owner = account or getattr(section, "account", None)
        if owner is None:
            fail(
                f"tokengov.yaml names no account of {provider}. Fix: --account NAME, as the invoices write it.", code=2
            )
        try:
            identity = KeyIdentity.parse(provider, owner, key)
        except ValueError as error:
            fail(str(error), code=2)
        exception = ledger.bypass_exceptions.grant(
            identity,
            reason=reason,
            requested_by=requested_by,
            approved_by=approved_by,
            last_day=until.date(),
            max_days=installation.policy.of_provider(provider).unproxied.exception_max_days,
        )
    say(
        f"exception {exception.number}: {provider} {owner} {identity.word} until {exception.last_day}. It stays "
        "charged. Next: tokengov prepare MONTH, for every month whose list should show it"
    )


@app.command("exceptions")
def list_exceptions(
    show_all: Annotated[bool, typer.Option("--all", help="Show those that are over, too.")] = False,
    home: HomeOption = None,
) -> None:
    """List the exceptions in force."""
    with opened_ledger(home) as (installation, ledger):
        today = accounting_day(installation.settings.now())
        known = ledger.bypass_exceptions.all()
    shown = [each for each in known if show_all or each.state_on(today) is ExceptionState.IN_FORCE]
    if shown:
        _print_exceptions(shown, today)
    else:
        say("No exception was ever granted." if show_all or not known else "No exception is in force.")


@app.command()
def withdraw(
    number: Annotated[int, typer.Argument(help="The exception's number in the list.")],
    by: Annotated[str, typer.Option(help="Who withdraws it (a name).")],
    reason: Annotated[str, typer.Option(help="Why it ends before its day.")],
    home: HomeOption = None,
) -> None:
    """End an exception today."""
    with opened_ledger(home) as (_, ledger):
        exception = ledger.bypass_exceptions.withdraw(number, by=by, reason=reason)
    say(f"withdrew exception {exception.number}: {exception.key.provider} {exception.key.word} is open again.")


def _print_keys(month: str, rows: Sequence[Mapping[str, Any]]) -> None:
    total = exact_sum(row["cost_usd"] for row in rows)
    table = Table(
        "key",
        "id, or workspace of no key",
        Column("USD", justify="right"),
        "owner (by)",
        "action",
        "due",
        "status",
        title=f"Used outside the proxy in {month}: {in_usd(total)}",
        title_justify="left",
    )
    for row in rows:
        identity = KeyIdentity.of(row["provider"], row["account"], row["provider_key_id"], row["workspace_id"])
        status = KeyStatus(row["status"])
        table.add_row(
            Text(row["key_label"]),
            Text(identity.word),
            f"{round_posting(row['cost_usd']):,}",
            Text(f"{row['suggested_owner']} ({row['owner_basis']})"),
            row["action"].replace("_", " "),
            f"{row['due_date']}",
            Text(status, style=_STYLES[status]),
        )
    show(table)


def _print_exceptions(exceptions: Sequence[BypassException], today: dt.date) -> None:
    table = Table(
        "no.",
        "provider",
        "account",
        "key",
        "from",
        "until",
        "state",
        "why",
        "who",
        title="Exceptions",
        title_justify="left",
    )
    for each in exceptions:
        table.add_row(
            str(each.number),
            each.key.provider,
            Text(each.key.account),
            Text(each.key.word),
            f"{each.granted_on}",
            f"{each.last_day}",
            each.state_on(today) or "",
            Text(each.reason),
            Text(f"{each.requested_by}, approved by {each.approved_by}"),
        )
    show(table)
