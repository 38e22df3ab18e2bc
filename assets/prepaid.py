"""The month's roll-forward of prepaid credits, which stands where an invoice would (Rule 4.9).

Belongs here: which providers are prepaid, their statements and their month's usage. Does not belong here: the rule
(`domain.prepaid`), the match of the usage (`assets.month_reconciliation`).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pyarrow.parquet as pq

from resources.lake import Lake
from tokengov_pipelines.domain.legs import Legs
from tokengov_pipelines.domain.money import exact_sum
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.domain.prepaid import (
    PrepaidCode,
    PrepaidProblem,
    PrepaidRollForward,
    PrepaidStatement,
    prepaid_statements,
    roll_forward,
)
from tokengov_pipelines.domain.reconciliation import ReconciliationStatus, Tolerances
from tokengov_pipelines.settings import Installation


def read_statements(lake: Lake) -> list[PrepaidStatement]:
    """Every statement of prepaid_statements.csv, as the directory's current load holds it."""
    rows: list[Any] = [
        row
        for path in lake.current_files("directory_prepaid_statements")
        for row in pq.read_table(path, partitioning=None).to_pylist()
    ]
    return prepaid_statements(rows)


def roll_forwards(
    installation: Installation, lake: Lake, legs: Mapping[str, Legs], month: BillingMonth
) -> dict[str, PrepaidRollForward]:
    """The roll-forward of every provider whose billing mode is prepaid, by provider."""
    found = {}
    statements = read_statements(lake)
    for provider, mine in legs.items():
        policy = installation.policy.of_provider(provider)
        if policy.recon.billing_mode != "prepaid":
            continue
        recon = policy.recon
        accounts = sorted(
            {each.account for each in statements if each.provider == provider}
            | {each.account for each in mine.costs or ()}
        )
        is_whole = mine.costs is not None and not any(day in mine.missing_report_days for day in month.days())
        usage = exact_sum(each.amount for each in mine.costs or () if month.contains(each.day)) if is_whole else None
        rolled = roll_forward(
            month,
            provider,
            accounts[0] if accounts else "",
            usage,
            statements,
            Tolerances(recon.rounding_abs, recon.abs_floor, recon.rel, recon.cap, recon.block_multiple),
            currency=installation.policy.money.functional_currency,
        )
        if len(accounts) > 1:
            named = ", ".join(accounts)
            what = f"{provider} {month}: the credits of {len(accounts)} accounts ({named}) are not told apart"
            problem = PrepaidProblem(PrepaidCode.SEVERAL_ACCOUNTS, what, "hold the month, or keep one account prepaid")
            rolled = replace(rolled, status=ReconciliationStatus.BLOCKED, problems=(*rolled.problems, problem))
        found[provider] = rolled
    return found
