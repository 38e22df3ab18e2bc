"""Asset checks: statements that are true when green, and say in words what is wrong when red.

Belongs here: the checks, their severity and what they block. Does not belong here: the rules they ask
(`tokengov_pipelines.domain`), data tests of single models (`dbt_project`).

Blocking checks stop what is downstream, where a wrong number would reach finance. A check never turns a bug into a
failed check: what it cannot evaluate raises.

No check is partitioned, although it looks at partitions: in Dagster 1.13 a run over several days plans one evaluation a
day and can report only one, so the page of the asset would call every check of a backfill skipped or failed for ever.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import dagster as dg

from assets.ledger import open_ledger
from assets.month import gather_month, held_back
from resources.expectations import KEYS_SUITE, TEAMS_SUITE, Suite, Validator, spend_logs_suite
from resources.home import Home
from resources.lake import Lake
from resources.tables import Tables
from tokengov_pipelines.domain.charge_problems import NOT_INVOICED

SPEND_LOGS = dg.AssetKey(["raw", "litellm_spend_logs"])
MONTHLY_SPEND = dg.AssetKey(["marts", "fct_spend_monthly"])
CHARGEBACK = dg.AssetKey(["marts", "fct_chargeback_monthly"])
RECONCILIATION = dg.AssetKey(["marts", "fct_reconciliation_monthly"])


def all_checks(days: dg.DailyPartitionsDefinition, months: dg.MonthlyPartitionsDefinition) -> list[Any]:
    """Every check of the asset graph; dbt's data tests are checks of their own."""
    return [*_day_checks(days), *_snapshot_checks(), *_month_checks(months)]


def _day_checks(days: dg.DailyPartitionsDefinition) -> list[dg.AssetChecksDefinition]:
    @dg.asset_check(
        asset=SPEND_LOGS,
        description=(
            "The source still holds every row that an earlier load of the day held. Not blocking: the earlier load "
            "stays current, so nothing downstream is wrong; the close of its month is held."
        ),
    )
    def source_still_holds_the_day(context: dg.AssetCheckExecutionContext, lake: Lake) -> dg.AssetCheckResult:
        shrunk = {day: held_back(lake, day) for day in _days_of(context, days, lake)}
        return result(
            list(shrunk),
            "every earlier row is still there",
            [f"{day}: {reason}; the earlier load stays current" for day, reason in shrunk.items() if reason],
            "find out what was deleted (log retention?), or: tokengov accept-shrink DAY --reason R --accepted-by WHO",
        )

    @dg.multi_asset_check(
        name="spend_log_expectations",
        specs=[
            dg.AssetCheckSpec(
                "rows_lie_within_their_day",
                asset=SPEND_LOGS,
                blocking=True,
                description="Great Expectations: every row is timed inside its UTC day and names key and model.",
            ),
            dg.AssetCheckSpec(
                "vocabulary_is_known",
                asset=SPEND_LOGS,
                description="Great Expectations: status and cache_hit hold the words that this release knows.",
            ),
        ],
    )
    def spend_log_expectations(context: dg.AssetCheckExecutionContext, lake: Lake) -> Any:
        validator = Validator()
        structure: list[str] = []
        vocabulary: list[str] = []
        looked_at = _days_of(context, days, lake)
        for day in looked_at:
            for path in lake.current_files("litellm_spend_logs", [f"day={day}"]):
                broken, news = validator.failures(spend_logs_suite(dt.date.fromisoformat(day)), path)
                structure += [f"{day}: {text}" for text in broken]
                vocabulary += [f"{day}: {text}" for text in news]
        look = "look at the rows in the load that raw/litellm_spend_logs names"
        yield result(looked_at, "all rows lie within their day", structure, look, name="rows_lie_within_their_day")
        yield result(
            looked_at,
            "all words are known",
            vocabulary,
            look,
            name="vocabulary_is_known",
            severity=dg.AssetCheckSeverity.WARN,
        )

    return [source_still_holds_the_day, spend_log_expectations]


def _snapshot_checks() -> list[dg.AssetChecksDefinition]:
    def check(suite: Suite) -> dg.AssetChecksDefinition:
        @dg.asset_check(
            asset=dg.AssetKey(["raw", suite.table]),
            name="entities_are_identified",
            blocking=True,
            description="Great Expectations: every entity of the snapshot has an identity of its own.",
        )
        def entities_are_identified(lake: Lake) -> dg.AssetCheckResult:
            newest = lake.current_files(suite.table)[-1:]
            validator = Validator()
            return result(
                [],
                "every entity is identified",
                [text for path in newest for text in validator.failures(suite, path)[0]],
                "look at the table in LiteLLM's database",
            )

        return entities_are_identified

    return [check(TEAMS_SUITE), check(KEYS_SUITE)]


def _month_checks(months: dg.MonthlyPartitionsDefinition) -> list[dg.AssetChecksDefinition]:
    def close_check(
        name: str, asset: dg.AssetKey, codes: set[str], description: str, *, blocking: bool
    ) -> dg.AssetChecksDefinition:
        """A precondition of the close (Rule 2.4) as a check: the same rule, asked early."""

        @dg.asset_check(asset=asset, name=name, blocking=blocking, description=description)
        def precondition(
            context: dg.AssetCheckExecutionContext, home: Home, lake: Lake, tables: Tables
        ) -> dg.AssetCheckResult:
            ledger = open_ledger(home.installation)
            keys = _months_of(context, months, tables, asset)
            views = {key: gather_month(home.installation, lake, tables, key) for key in keys}
            held = {key: view.blockers(ledger, codes) for key, view in views.items()}
            blockers = [str(blocker) for each in held.values() for blocker in each]
            red = [key for key, each in held.items() if each]
            severity = dg.AssetCheckSeverity.ERROR if blocking else dg.AssetCheckSeverity.WARN
            return result(keys, name.replace("_", " "), blockers, severity=severity, red=red)

        return precondition

    @dg.asset_check(
        asset=CHARGEBACK,
        blocking=True,
        description="The charges of every invoice, read back from the table, sum to its total (Rule 6.1).",
    )
    def charges_sum_to_invoice(
        context: dg.AssetCheckExecutionContext, home: Home, lake: Lake, tables: Tables
    ) -> dg.AssetCheckResult:
        problems: list[str] = []
        keys = _months_of(context, months, tables, CHARGEBACK)
        for key in keys:
            view = gather_month(home.installation, lake, tables, key)
            charged: dict[tuple[str, str], Decimal] = {}
            for row in tables.rows("fct_chargeback_monthly", [f"billing_month={key}"]):
                if row["original_period"] != row["posting_period"]:
                    continue  # a correction of a closed month, which has its own tie
                invoice = (row["provider"], row["invoice_id"])
                charged[invoice] = charged.get(invoice, Decimal(0)) + row["amount"]
            awaited = {problem.provider for problem in view.problems if problem.code in NOT_INVOICED}
            totals = {
                (header.provider, header.invoice_id): header.total
                for header in view.invoices
                if header.provider not in awaited
            }
            totals |= {
                (each.header.provider, each.header.invoice_id): each.billed for each in view.closed.charges.billed
            }
            problems += [
                f"{key}: {provider} {invoice_id}: {charged.get((provider, invoice_id), Decimal(0))} charged of "
                f"{totals.get((provider, invoice_id), Decimal(0))} invoiced"
                for provider, invoice_id in sorted(totals | charged)
                if totals.get((provider, invoice_id)) != charged.get((provider, invoice_id))
            ]
            # A provider without an invoice is not charged yet; that holds the close, not the draft of the others.
            problems += [f"{key}: {problem}" for problem in view.problems if problem.code not in NOT_INVOICED]
        return result(keys, "charges sum to the invoices", problems)

    return [
        close_check(
            "every_day_extracted",
            MONTHLY_SPEND,
            {"missing_extract"},
            "Every day of the month is extracted or proven empty, and its usage is built from that extract (Rule 4.5).",
            blocking=True,
        ),
        close_check(
            "quarantine_is_empty_or_waived",
            MONTHLY_SPEND,
            {"quarantine_not_empty"},
            "No call of the month waits in quarantine, or two people waived it (Rule 12.2).",
            blocking=True,
        ),
        charges_sum_to_invoice,
        close_check(
            "every_provider_is_invoiced",
            CHARGEBACK,
            {"missing_invoice"},
            "Every provider with logged spend has an invoice; otherwise the close is held (Rule 2.4).",
            blocking=False,
        ),
        close_check(
            "gap_is_within_tolerance",
            CHARGEBACK,
            {"status_blocked", "status_investigate"},
            "What no cause explains stays within the tolerance of rule 4.7; otherwise the close is held.",
            blocking=False,
        ),
        close_check(
            "every_match_is_sound",
            RECONCILIATION,
            {"match_error", "price_book_not_approved"},
            "No match of the month has an error item: a day, a price or a name that is missing (Rules 4.1, 4.5).",
            blocking=False,
        ),
        close_check(
            "pricing_and_quantity_are_within_limit",
            RECONCILIATION,
            {"true_up_above_limit"},
            "Pricing and quantity differences are each small against logged spend, or waived (Rule 6.1).",
            blocking=False,
        ),
        close_check(
            "suspense_is_within_limit",
            CHARGEBACK,
            {"suspense_above_limit"},
            "Suspense stays within its limit of every invoice or is waived (Rule 2.4); otherwise the close is held.",
            blocking=False,
        ),
    ]


def _days_of(context: dg.AssetCheckExecutionContext, days: dg.DailyPartitionsDefinition, lake: Lake) -> list[str]:
    return partitions_of_the_run(context, days) or [
        day for day in days.get_partition_keys() if lake.current(SPEND_LOGS.path[-1], f"day={day}")
    ]


def _months_of(
    context: dg.AssetCheckExecutionContext, months: dg.MonthlyPartitionsDefinition, tables: Tables, asset: dg.AssetKey
) -> list[str]:
    return partitions_of_the_run(context, months) or [
        month for month in months.get_partition_keys() if tables.path(asset.path[-1], f"billing_month={month}").exists()
    ]


def partitions_of_the_run(
    context: dg.AssetCheckExecutionContext, partitions: dg.TimeWindowPartitionsDefinition
) -> list[str]:
    """The partitions that the run is about; none where a person executes a check by itself, which looks at them all."""
    if context.has_partition_key:
        return [context.partition_key]
    if context.has_partition_key_range:
        return list(partitions.get_partition_keys_in_range(context.partition_key_range))
    return []


def result(
    looked_at: Sequence[str],
    green: str,
    problems: Iterable[str],
    fix: str = "",
    *,
    name: str | None = None,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
    red: Iterable[str] = (),
) -> dg.AssetCheckResult:
    """A result whose description is a sentence: what is fine, or every problem and how to fix it.

    `looked_at` are the days or months that it is about, in order, and `red` those of them that have a problem (needed
    only where the problems do not begin with them): the alert of a day or month closes when that one is green.
    """
    span = " to ".join(dict.fromkeys((looked_at[0], looked_at[-1]))) if looked_at else ""
    about = {"looked_at": span} if span else {}
    found = list(problems)
    bad = set(red) or {problem.partition(": ")[0] for problem in found}
    if found and bad.issubset(looked_at):
        about["red"] = ", ".join(sorted(bad))
    text = "\n".join(found[:20]) + (f"\n... and {len(found) - 20} more" if len(found) > 20 else "")
    return dg.AssetCheckResult(
        passed=not found,
        check_name=name,
        severity=severity,
        description=f"{text}{f'. Fix: {fix}' if fix else ''}" if found else green,
        metadata={"problems": len(found), **about},
    )
