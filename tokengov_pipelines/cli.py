"""`tokengov`, the command line: every command's arguments, what it prints and its exit code.

Belongs here: parsing, Rich output, exit codes. Does not belong here: work; a command calls one function and prints.
"""

import datetime as dt
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tokengov_pipelines import (
    alerts_cli,
    cloud_bills_cli,
    doctor_cli,
    invoice_cli,
    prices_cli,
    reconciliation_cli,
    unproxied_cli,
)
from tokengov_pipelines.domain.close import WaiverSubject
from tokengov_pipelines.domain.money import usd
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.settings import HOME_VARIABLE, Installation, SettingsError, load_installation

if TYPE_CHECKING:
    from tokengov_pipelines.ledger.ledger import Ledger

app = typer.Typer(
    name="tokengov",
    help="Closes the books on AI token spend: proxy logs against provider invoices, to the cent, per cost center.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(invoice_cli.app, name="invoice")
app.add_typer(cloud_bills_cli.app, name="cloud-bill")
app.add_typer(prices_cli.app, name="prices")
app.add_typer(reconciliation_cli.app, name="recon")
app.add_typer(unproxied_cli.app, name="unproxied")
app.add_typer(alerts_cli.app, name="alerts")
app.command("doctor")(doctor_cli.doctor)
console = Console(file=sys.stdout)
errors = Console(file=sys.stderr)

HomeOption = Annotated[
    Path | None,
    typer.Option("--home", envvar=HOME_VARIABLE, help="The installation's folder.", show_default="./home"),
]
Month = Annotated[str, typer.Argument(help="Billing month, for example 2026-10.", metavar="MONTH")]


def _installation(home: Path | None) -> Installation:
    try:
        return load_installation(home)
    except SettingsError as error:
        _fail(error, code=2)


def _fail(error: Exception, code: int = 1) -> NoReturn:
    _print(errors, Text(str(error), style="red"))
    raise typer.Exit(code) from None


def _print(target: Console, text: Text) -> None:
    """Print a message as it is: unwrapped, so that commands can be copied, and with its square brackets."""
    target.print(text, soft_wrap=True)


@contextmanager
def _ledger_of(home: Path | None) -> Iterator["Ledger"]:
    """The ledger of an installation; its refusals end the command with their own words."""
    from tokengov_pipelines.ledger.errors import LedgerError
    from tokengov_pipelines.ledger.ledger import Ledger

    installation = _installation(home)
    try:
        ledger = Ledger(installation.ledger_url, installation.settings.now)
        ledger.upgrade()
        yield ledger
    except (LedgerError, ValueError) as error:
        _fail(error)


def _run(
    installation: Installation,
    job: str,
    first: str | None = None,
    last: str | None = None,
    config: dict[str, Any] | None = None,
) -> None:
    """Run a job with a spinner; print what failed in words and leave with exit code 1."""
    from tokengov_pipelines.dagster_home import DagsterHomeError
    from tokengov_pipelines.demo.environment import demo_environment
    from tokengov_pipelines.runner import RunRefusedError, run_job

    named = " ".join(filter(None, (job, first, f"to {last}" if last else "")))
    try:
        with demo_environment(installation.home), console.status(named) as status:
            report = run_job(
                _installation(installation.home),  # again: a demo's providers have told the environment where they are
                job,
                first=first,
                last=last,
                config=config,
                progress=lambda step: status.update(f"{job}: {step}"),
            )
    except (RunRefusedError, DagsterHomeError) as error:
        _fail(error)
    for check in report.failed_checks:
        _print(console, Text.assemble(("check failed", "yellow"), f" {check}"))
    for reason in report.reasons:
        _print(console, Text(reason))
    for problem in report.alert_problems:
        _print(errors, Text(problem, style="yellow"))
    for failure in report.failures:
        _print(errors, Text.assemble(("failed", "red"), f" {failure}"))
    if not report.succeeded:
        raise typer.Exit(1)
    _print(console, Text.assemble(("done", "green"), f" {named} (run {report.run_id[:8]})"))


@app.command()
def load(
    first: Annotated[dt.datetime, typer.Argument(formats=["%Y-%m-%d"], help="First UTC day.")],
    last: Annotated[dt.datetime | None, typer.Argument(formats=["%Y-%m-%d"], help="Last UTC day.")] = None,
    home: HomeOption = None,
) -> None:
    """Read days of the proxy's log and rebuild their usage (the job `load_days_job`)."""
    from tokengov_pipelines.jobs import LOAD_DAYS

    _run(_installation(home), LOAD_DAYS, f"{first:%Y-%m-%d}", f"{last or first:%Y-%m-%d}")


@app.command("load-providers")
def load_providers(
    first: Annotated[dt.datetime, typer.Argument(formats=["%Y-%m-%d"], help="First UTC day.")],
    last: Annotated[dt.datetime | None, typer.Argument(formats=["%Y-%m-%d"], help="Last UTC day.")] = None,
    home: HomeOption = None,
) -> None:
    """Read days of the providers' reports and keys, and match them with the log (the job `load_providers_job`)."""
    from tokengov_pipelines.jobs import LOAD_PROVIDERS

    _run(_installation(home), LOAD_PROVIDERS, f"{first:%Y-%m-%d}", f"{last or first:%Y-%m-%d}")


@app.command("load-pull-requests")
def load_pull_requests(home: HomeOption = None) -> None:
    """Read the merged pull requests that changed since the last reading (the job `load_pull_requests_job`)."""
    from tokengov_pipelines.jobs import LOAD_PULL_REQUESTS

    _run(_installation(home), LOAD_PULL_REQUESTS)


@app.command("load-cloud-bills")
def load_cloud_bills(home: HomeOption = None) -> None:
    """Read the bills of AWS, Google and Azure from their folder (the job `load_cloud_bills_job`)."""
    from tokengov_pipelines.jobs import LOAD_CLOUD_BILLS

    _run(_installation(home), LOAD_CLOUD_BILLS)


@app.command()
def prepare(month: Month, home: HomeOption = None) -> None:
    """Reconcile a month and prepare its pack as a draft (the job `prepare_month_job`)."""
    from tokengov_pipelines.jobs import PREPARE_MONTH

    _run(_installation(home), PREPARE_MONTH, month)


@app.command()
def close(
    month: Month,
    preparer: Annotated[str, typer.Option(help="Who prepared the month (e-mail).")],
    approver: Annotated[str, typer.Option(help="Who approves it; another person (e-mail).")],
    home: HomeOption = None,
) -> None:
    """Test the preconditions of a close and seal the month (the job `close_month_job`)."""
    from tokengov_pipelines.jobs import CLOSE_MONTH

    people = {"ops": {"finance__closed_month": {"config": {"preparer": preparer, "approver": approver}}}}
    _run(_installation(home), CLOSE_MONTH, month, config=people)


@app.command()
def waive(
    month: Month,
    subject: Annotated[WaiverSubject, typer.Argument(help="What is let pass.")],
    reason: Annotated[str, typer.Option(help="Why this is acceptable; goes into the audit trail.")],
    requested_by: Annotated[str, typer.Option(help="Who asks (e-mail).")],
    approved_by: Annotated[str, typer.Option(help="Who approves; another person (e-mail).")],
    provider: Annotated[
        str | None, typer.Option(help="Only for this provider (suspense, investigate, true_up).")
    ] = None,
    limit: Annotated[str | None, typer.Option(help="Up to this amount, for example 100.00.")] = None,
    home: HomeOption = None,
) -> None:
    """Waive one precondition of a close, with a reason and two names."""
    with _ledger_of(home) as ledger:
        waiver = ledger.grant_waiver(
            BillingMonth.parse(month),
            subject,
            provider=provider,
            reason=reason,
            requested_by=requested_by,
            approved_by=approved_by,
            limit_amount=None if limit is None else usd(limit),
        )
    console.print(f"[green]waived[/green] {month} {subject} (waiver {waiver.id}). Next: tokengov close {month} ...")


@app.command("accept-shrink")
def accept_shrink(
    day: Annotated[dt.datetime, typer.Argument(formats=["%Y-%m-%d"], help="UTC day whose log became smaller.")],
    reason: Annotated[str, typer.Option(help="Why the smaller log is right; goes into the audit trail.")],
    accepted_by: Annotated[str, typer.Option(help="Who accepts it (e-mail).")],
    home: HomeOption = None,
) -> None:
    """Make the smaller load of a day current; without this, evidence never shrinks."""
    from resources.lake import Lake, LakeError

    installation = _installation(home)
    lake = Lake(root=installation.lake_url, cache_dir=str(installation.home / "cache"))
    partition = f"day={day:%Y-%m-%d}"
    if not reason.strip() or not accepted_by.strip():
        _fail(
            ValueError("a smaller log is accepted by a person, for a reason. Fix: fill in --accepted-by and --reason.")
        )
    with _ledger_of(home) as ledger:
        before = lake.current("litellm_spend_logs", partition)
        try:
            record = lake.held_back("litellm_spend_logs", partition)
        except LakeError as error:
            _fail(error)
        # Said first and done second: a pointer that moved without a word would be worse than a word without a move.
        ledger.record_event(
            "shrink.accepted",
            accepted_by,
            {
                "table": "litellm_spend_logs",
                "partition": partition,
                "reason": reason,
                "load": record.load,
                "rows": record.rows,
                "sums": dict(record.sums),
                "replaced_load": before.load if before else None,
            },
            BillingMonth.of(day.date()),
        )
        lake.accept("litellm_spend_logs", partition)
    console.print(f"[green]accepted[/green] {day:%Y-%m-%d}: {record.rows} rows. Next: tokengov load {day:%Y-%m-%d}")


@app.command()
def periods(home: HomeOption = None) -> None:
    """Show the state of every month in the ledger."""
    table = Table("month", "state", "version", "closed at", "preparer", "approver", "content sha256")
    with _ledger_of(home) as ledger:
        for period in ledger.periods():
            table.add_row(
                str(period.month),
                period.state,
                f"v{period.version}",
                f"{period.closed_at:%Y-%m-%d %H:%M}Z" if period.closed_at else "",
                period.preparer or "",
                period.approver or "",
                (period.content_sha256 or "")[:16],
            )
    console.print(table)


@app.command()
def demo(
    home: Annotated[Path, typer.Option("--home", help="Where the demo lives.")] = Path(".demo"),
    calls: Annotated[int, typer.Option(min=2000, help="Calls of the seeded organisation.")] = 200_000,
    seed: Annotated[int, typer.Option(help="Seed of the organisation.")] = 20261105,
) -> None:
    """Seed an organisation in a real Postgres and close its last months with the production jobs."""
    from tokengov_pipelines.demo.run import run_demo

    raise typer.Exit(run_demo(home.resolve(), calls=calls, seed=seed, console=console))


@app.command()
def ui(
    home: HomeOption = None,
    port: Annotated[int, typer.Option(help="Port of the Dagster UI on 127.0.0.1.")] = 3000,
) -> None:
    """Start Dagster (UI and daemon) on an installation; a demo's Postgres is started with it. Ctrl-C stops all."""
    from tokengov_pipelines.servers import serve

    raise typer.Exit(serve(_installation(home), port=port, console=console))


def main() -> None:
    """Entry point of the console script."""
    logging.getLogger("dagster").setLevel(logging.CRITICAL)
    app()
