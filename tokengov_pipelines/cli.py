"""`tokengov`, the command line: every command's arguments, what it prints and its exit code.

Belongs here: parsing, Rich output, exit codes. Does not belong here: work; a command calls one function and prints.
"""

import datetime as dt
import logging
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tokengov_pipelines import (
    accruals_cli,
    alerts_cli,
    approvals_cli,
    cloud_bills_cli,
    delivery_cli,
    diff_cli,
    disputes_cli,
    doctor_cli,
    explain_cli,
    invoice_cli,
    prices_cli,
    publish_cli,
    reconciliation_cli,
    unproxied_cli,
    verify_cli,
)
from tokengov_pipelines.console import (
    HomeOption,
    MonthArgument,
    complain,
    fail,
    installation_of,
    opened_ledger,
    refusals,
    say,
    show,
)
from tokengov_pipelines.domain.close import WaiverSubject
from tokengov_pipelines.domain.money import usd
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.settings import Installation

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
app.add_typer(accruals_cli.app, name="accruals")
app.add_typer(disputes_cli.app, name="disputes")
app.add_typer(approvals_cli.keys, name="keys")
app.command("sign")(approvals_cli.sign)
app.add_typer(approvals_cli.app, name="approvals")
app.command("doctor")(doctor_cli.doctor)
app.command("deliver")(delivery_cli.deliver)
app.command("publish")(publish_cli.publish)
app.command("verify")(verify_cli.verify)
app.command("explain")(explain_cli.explain)
app.command("diff")(diff_cli.diff)


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
        with demo_environment(installation.home), Console().status(named) as status:
            # Read again: a demo's providers have told the environment where they are.
            report = run_job(
                installation_of(installation.home),
                job,
                first=first,
                last=last,
                config=config,
                progress=lambda step: status.update(f"{job}: {step}"),
            )
    except (RunRefusedError, DagsterHomeError) as error:
        fail(str(error))
    for check in report.failed_checks:
        say(Text.assemble(("check failed", "yellow"), f" {check}"))
    for reason in report.reasons:
        say(reason)
    for problem in report.alert_problems:
        complain(Text(problem, style="yellow"))
    for failure in report.failures:
        complain(Text.assemble(("failed", "red"), f" {failure}"))
    if not report.succeeded:
        raise typer.Exit(1)
    say(Text.assemble(("done", "green"), f" {named} (run {report.run_id[:8]})"))


@app.command()
def load(
    first: Annotated[dt.datetime, typer.Argument(formats=["%Y-%m-%d"], help="First UTC day.")],
    last: Annotated[dt.datetime | None, typer.Argument(formats=["%Y-%m-%d"], help="Last UTC day.")] = None,
    home: HomeOption = None,
) -> None:
    """Read days of the proxy's log and rebuild their usage (the job `load_days_job`)."""
    from tokengov_pipelines.jobs import LOAD_DAYS

    _run(installation_of(home), LOAD_DAYS, f"{first:%Y-%m-%d}", f"{last or first:%Y-%m-%d}")


@app.command("load-providers")
def load_providers(
    first: Annotated[dt.datetime, typer.Argument(formats=["%Y-%m-%d"], help="First UTC day.")],
    last: Annotated[dt.datetime | None, typer.Argument(formats=["%Y-%m-%d"], help="Last UTC day.")] = None,
    home: HomeOption = None,
) -> None:
    """Read days of the providers' reports and keys, and match them with the log (the job `load_providers_job`)."""
    from tokengov_pipelines.jobs import LOAD_PROVIDERS

    _run(installation_of(home), LOAD_PROVIDERS, f"{first:%Y-%m-%d}", f"{last or first:%Y-%m-%d}")


@app.command("load-pull-requests")
def load_pull_requests(home: HomeOption = None) -> None:
    """Read the merged pull requests that changed since the last reading (the job `load_pull_requests_job`)."""
    from tokengov_pipelines.jobs import LOAD_PULL_REQUESTS

    _run(installation_of(home), LOAD_PULL_REQUESTS)


@app.command("load-cloud-bills")
def load_cloud_bills(home: HomeOption = None) -> None:
    """Read the bills of AWS, Google and Azure from their folder (the job `load_cloud_bills_job`)."""
    from tokengov_pipelines.jobs import LOAD_CLOUD_BILLS

    _run(installation_of(home), LOAD_CLOUD_BILLS)


@app.command()
def prepare(month: MonthArgument, home: HomeOption = None) -> None:
    """Reconcile a month and prepare its pack as a draft (the job `prepare_month_job`)."""
    from tokengov_pipelines.jobs import PREPARE_MONTH

    _run(installation_of(home), PREPARE_MONTH, str(month))


@app.command()
def close(
    month: MonthArgument,
    preparer: Annotated[str, typer.Option(help="Who prepared the month (e-mail).")],
    approver: Annotated[str, typer.Option(help="Who approves it; another person (e-mail).")],
    home: HomeOption = None,
) -> None:
    """Test the preconditions of a close and seal the month (the job `close_month_job`)."""
    from tokengov_pipelines.jobs import CLOSE_MONTH

    people = {"ops": {"finance__closed_month": {"config": {"preparer": preparer, "approver": approver}}}}
    _run(installation_of(home), CLOSE_MONTH, str(month), config=people)


@app.command()
def waive(
    month: MonthArgument,
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
    with opened_ledger(home, ValueError) as (_, ledger):
        waiver = ledger.grant_waiver(
            month,
            subject,
            provider=provider,
            reason=reason,
            requested_by=requested_by,
            approved_by=approved_by,
            limit_amount=None if limit is None else usd(limit),
        )
    done = f" {month} {subject} (waiver {waiver.id}). Next: tokengov close {month} ..."
    say(Text.assemble(("waived", "green"), done))


@app.command("accept-shrink")
def accept_shrink(
    day: Annotated[dt.datetime, typer.Argument(formats=["%Y-%m-%d"], help="UTC day whose log became smaller.")],
    reason: Annotated[str, typer.Option(help="Why the smaller log is right; goes into the audit trail.")],
    accepted_by: Annotated[str, typer.Option(help="Who accepts it (e-mail).")],
    home: HomeOption = None,
) -> None:
    """Make the smaller load of a day current; without this, evidence never shrinks."""
    from resources.lake import Lake, LakeError

    installation = installation_of(home)
    lake = Lake(root=installation.lake_url, cache_dir=str(installation.home / "cache"))
    partition = f"day={day:%Y-%m-%d}"
    if not reason.strip() or not accepted_by.strip():
        fail("a smaller log is accepted by a person, for a reason. Fix: fill in --accepted-by and --reason.")
    with opened_ledger(home, ValueError) as (_, ledger):
        before = lake.current("litellm_spend_logs", partition)
        with refusals(LakeError):
            record = lake.held_back("litellm_spend_logs", partition)
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
    done = f" {day:%Y-%m-%d}: {record.rows} rows. Next: tokengov load {day:%Y-%m-%d}"
    say(Text.assemble(("accepted", "green"), done))


@app.command()
def periods(home: HomeOption = None) -> None:
    """Show the state of every month in the ledger."""
    table = Table("month", "state", "version", "closed at", "preparer", "approver", "content sha256")
    with opened_ledger(home, ValueError) as (_, ledger):
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
    show(table)


@app.command()
def demo(
    home: Annotated[Path, typer.Option("--home", help="Where the demo lives.")] = Path(".demo"),
    calls: Annotated[int, typer.Option(min=2000, help="Calls of the seeded organisation.")] = 200_000,
    seed: Annotated[int, typer.Option(help="Seed of the organisation.")] = 20261105,
) -> None:
    """Seed an organisation in a real Postgres and close its last months with the production jobs."""
    from tokengov_pipelines.demo.run import run_demo

    raise typer.Exit(run_demo(home.resolve(), calls=calls, seed=seed, console=Console()))


@app.command()
def ui(
    home: HomeOption = None,
    port: Annotated[int, typer.Option(help="Port of the Dagster UI on 127.0.0.1.")] = 3000,
) -> None:
    """Start Dagster (UI and daemon) on an installation; a demo's Postgres is started with it. Ctrl-C stops all."""
    from tokengov_pipelines.servers import serve

    raise typer.Exit(serve(installation_of(home), port=port, console=Console()))


def main() -> None:
    """Entry point of the console script."""
    logging.getLogger("dagster").setLevel(logging.CRITICAL)
    app()
