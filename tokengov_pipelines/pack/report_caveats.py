"""What has to be said beside the report's figures, so that nobody takes them for more than they are (Rules 11.6, 11.9).

Belongs here: the sentences, most serious first, from the pack's own files. Does not belong here: the figures
(`report_figures`) and what holds a close (`domain.close`).
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from tokengov_pipelines.domain.allocation import ChargeType
from tokengov_pipelines.domain.attribution import Rung
from tokengov_pipelines.domain.money import exact_sum
from tokengov_pipelines.domain.reconciliation import ReconciliationStatus
from tokengov_pipelines.domain.unit_cost import Status
from tokengov_pipelines.pack.chargeback_csv import CHARGEBACK_CSV
from tokengov_pipelines.pack.cost_per_pr_csv import COST_PER_PR_CSV
from tokengov_pipelines.pack.read_back import Row, rows_of
from tokengov_pipelines.pack.reconciliation_csv import RECONCILIATION_CSV

TWO_WAY: Final = "_two_way"
CLOSED: Final = "closed"


def caveats(
    files: Mapping[str, bytes], totals: Mapping[str, Any], *, status: str, currency: str, notes: Sequence[str] = ()
) -> list[str]:
    """The caveats of a pack; `notes` are sentences that the files do not know and stand before the others."""
    found = list(notes)
    if status != CLOSED:
        found.append("Draft: nobody has approved these figures, and they may change until the month is closed.")
    found += _not_charged(totals)
    found += _reconciliation(rows_of(files, RECONCILIATION_CSV), totals)
    found += _charges(rows_of(files, CHARGEBACK_CSV), currency)
    found += _pull_requests(rows_of(files, COST_PER_PR_CSV))
    return found


def _not_charged(totals: Mapping[str, Any]) -> list[str]:
    problems = totals.get("not_charged", [])
    return [f"{each['provider']} is not charged: {each['what']}." for each in problems]


def _reconciliation(statement: Sequence[Row], totals: Mapping[str, Any]) -> list[str]:
    found = []
    says = {
        ReconciliationStatus.BLOCKED: "Blocked match, its causes are not to be trusted yet: {}.",
        ReconciliationStatus.MISSING_INVOICE: "No invoice yet, so the part ends with what is explained so far: {}.",
        ReconciliationStatus.INVESTIGATE: "Unexplained above the tolerance: {}.",
    }
    for status, sentence in says.items():
        found += _about(
            sentence, {row["provider"] for row in statement if row["status"].removesuffix(TWO_WAY) == status}
        )
    found += _about(
        "Matched two-way, usage at price-book prices against the invoice, for want of a cost report: {}.",
        {row["provider"] for row in statement if row["status"].endswith(TWO_WAY)},
    )
    found += _about("An invoice was not reconciled: {}.", {e["provider"] for e in totals.get("not_reconciled", [])})
    return found


def _charges(charges: Sequence[Row], currency: str) -> list[str]:
    found = []
    showback = {row["provider"] for row in charges if row["mode"] == "showback"}
    everyone = showback == {row["provider"] for row in charges}
    found += _about("Showback, charges inform and are not posted: {}.", {"all providers"} if everyone else showback)
    prior = [row for row in charges if row["charge_type"] == ChargeType.PRIOR_PERIOD]
    if prior:
        months = ", ".join(sorted({row["original_period"] for row in prior}))
        size = exact_sum(abs(Decimal(row["amount_functional"])) for row in prior)
        net = exact_sum(Decimal(row["amount_functional"]) for row in prior)
        found.append(f"Corrections of {months} are in these charges: net {net:,f}, gross {size:,f} {currency}.")
    suspended = {row["cost_center"] for row in charges if Rung.SUSPENSE in row["rung"].split(";")}
    if suspended:
        amount = exact_sum(Decimal(row["amount_functional"]) for row in charges if row["cost_center"] in suspended)
        found.append(
            f"{amount:,f} {currency} stand in suspense at {', '.join(sorted(suspended))}: nobody owns them yet."
        )
    others = sorted({row["currency"] for row in charges} - {currency})
    if others:
        found.append(f"Invoices in {', '.join(others)} are converted to {currency}; the waterfall leaves them out.")
    return found


def _pull_requests(rows: Sequence[Row]) -> list[str]:
    found = []
    if any(row["status"] == Status.PROVISIONAL for row in rows):
        found.append("The cost per merged pull request is provisional.")
    few = sum(row["status"] == Status.FEW for row in rows)
    if few:
        word = "team has" if few == 1 else "teams have"
        found.append(f"{few} {word} fewer than five merged pull requests: their cost per pull request is not ranked.")
    return found


def _about(sentence: str, names: set[str]) -> list[str]:
    """The sentence about the names, in one line; nothing without a name."""
    return [sentence.format(", ".join(sorted(names)))] if names else []
