"""Two versions of a month compared: by how much each cost center's charge moved, and because of what (Rule 2.6).

Belongs here: exchanging one group of inputs after the other, and which rows differ. Does not belong here: the close
(`closed_month`), corrections that are posted (`restate`), finding the packs and printing (`diff_cli`).

Every cause is the difference of two successive states, so the causes of a cost center add up to its change exactly.
What a cause comes to depends on the order, which is fixed: data, prices, directory, policy, ledger; code is what
separates the sealed files from what their inputs make here.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise
from typing import Any, Final

from tokengov_pipelines.closing import inputs as names
from tokengov_pipelines.closing.charges import charge_inputs
from tokengov_pipelines.closing.findings import judge
from tokengov_pipelines.closing.inputs import TABLE_COLUMNS, MonthFacts, MonthInputs
from tokengov_pipelines.closing.leg_tables import COST_COLUMNS, DRILL_GRAIN, LOG_GRAIN, USAGE_COLUMNS
from tokengov_pipelines.closing.match import match_month_inputs
from tokengov_pipelines.domain.money import MoneyError, exact_sum
from tokengov_pipelines.pack.chargeback_csv import CHARGEBACK_CSV
from tokengov_pipelines.pack.read_back import rows_of
from tokengov_pipelines.pack.writer import PackError

Charges = Mapping[str, Decimal]
"""What each cost center is charged, in the functional currency."""


class Cause(StrEnum):
    """Why a charge moved, in the order in which the inputs are exchanged; code is taken at both ends."""

    DATA = "data"
    PRICES = "prices"
    DIRECTORY = "directory"
    POLICY = "policy"
    LEDGER = "ledger"
    CODE = "code"


GROUPS: Final[Mapping[Cause, tuple[str, ...]]] = {
    Cause.DATA: (
        names.USAGE_CELLS,
        names.PROVIDER_USAGE,
        names.PROVIDER_COSTS,
        names.INVOICES,
        names.PREPAID_STATEMENTS,
    ),
    Cause.PRICES: (names.PRICE_BOOK, names.PRICE_BOOK_ALIASES, names.PRICE_BOOK_GEO_FACTORS),
    Cause.DIRECTORY: (
        names.COST_CENTERS,
        names.TEAMS,
        names.PROVIDER_KEYS,
        names.WORKSPACES,
        names.KEY_LISTS,
        names.KEY_CREATORS,
        names.GL_ACCOUNTS,
        names.FX_RATES,
        names.SEAT_ASSIGNMENTS,
    ),
}
"""The tables of inputs/ by cause: every table is in one of them."""

_DATA_FACTS: Final = ("days", "reporting", "missing_log_days", "missing_report_days", "over_midnight", "sources")
"""What of the facts says how complete the data are; the others are of the ledger and of earlier months."""

_ROW_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    names.USAGE_CELLS: (*LOG_GRAIN, *DRILL_GRAIN),
    names.PROVIDER_USAGE: USAGE_COLUMNS[:-1],
    names.PROVIDER_COSTS: tuple(each for each in COST_COLUMNS if not each.endswith("amount_usd")),
    names.INVOICES: ("provider", "invoice_id", "line_no"),
    names.PRICE_BOOK: ("provider", "model", "token_type", "service_tier", "context_over_tokens", "valid_from"),
    names.PRICE_BOOK_ALIASES: ("provider", "alias"),
    names.PRICE_BOOK_GEO_FACTORS: ("provider", "model", "inference_geo", "valid_from"),
    names.COST_CENTERS: ("code", "valid_from"),
    names.TEAMS: ("team_id", "valid_from"),
    names.PROVIDER_KEYS: ("provider", "account", "provider_key_id", "workspace", "valid_from"),
    names.WORKSPACES: ("provider", "workspace_id"),
    names.KEY_LISTS: ("provider", "account", "provider_key_id"),
    names.KEY_CREATORS: ("provider", "person_id", "valid_from"),
    names.GL_ACCOUNTS: ("legal_entity", "provider", "valid_from"),
    names.FX_RATES: ("from_currency", "to_currency", "rate_date"),
    names.PREPAID_STATEMENTS: ("provider", "account", "month"),
    names.SEAT_ASSIGNMENTS: ("provider", "seat_id", "valid_from"),
}
"""What makes a row of a table the same row in both; where several rows share it, a change is an exchange of rows."""


@dataclass(frozen=True)
class TableChange:
    """How many rows of a table of inputs/ are only in the second, only in the first, or in both with other values."""

    table: str
    added: int
    removed: int
    changed: int

    @property
    def is_different(self) -> bool:
        """Whether anything differs."""
        return bool(self.added or self.removed or self.changed)

    def __str__(self) -> str:
        return f"{self.added} rows added, {self.removed} removed, {self.changed} changed"


@dataclass(frozen=True)
class Comparison:
    """The change of every cost center's charge by cause, in the functional currency; `before` and `after` as sealed.

    `tables` are the tables that differ, `facts` the other inputs that do, `notes` what could not be told apart.
    """

    currency: str
    before: Charges
    after: Charges
    parts: Mapping[str, Mapping[Cause, Decimal]]
    tables: tuple[TableChange, ...]
    facts: tuple[str, ...]
    notes: tuple[str, ...]

    def change(self, code: str) -> Decimal:
        """By how much a cost center's charge moved."""
        return exact_sum([self.after.get(code, Decimal(0)), -self.before.get(code, Decimal(0))])

    def total(self, cause: Cause) -> Decimal:
        """What a cause came to over all cost centers."""
        return exact_sum(parts[cause] for parts in self.parts.values())


def compared(
    sealed: tuple[Mapping[str, bytes], Mapping[str, bytes]], inputs: tuple[MonthInputs, MonthInputs], version: int
) -> Comparison:
    """Compare two versions of one month: their files, and the inputs read from them.

    Raises:
        PackError: they are of different months or currencies, or the parts do not add up (a defect).
    """
    first, second = inputs
    if first.month != second.month:
        message = (
            f"{first.month} and {second.month} are two months: what separates them is not the inputs of one. "
            "Fix: compare two versions of one month; the report shows the change from month to month."
        )
        raise PackError(message)
    currency = second.policy.money.functional_currency
    if first.policy.money.functional_currency != currency:
        message = f"the packs are in {first.policy.money.functional_currency} and {currency}. Fix: there is no change."
        raise PackError(message)
    before, after = (sealed_charges(each) for each in sealed)
    states: list[tuple[Cause, Charges]] = [(Cause.CODE, before)]
    notes: list[str] = []
    known = first
    charges = _charged(known, version, "the first pack's inputs", notes)
    states.append((Cause.CODE, before if charges is None else charges))
    for cause in (Cause.DATA, Cause.PRICES, Cause.DIRECTORY, Cause.POLICY, Cause.LEDGER):
        following = exchanged(known, second, cause)
        charges = states[-1][1]
        if following != known:
            found = _charged(following, version, f"the inputs with the second pack's {cause}", notes)
            charges = charges if found is None else found
        states.append((cause, charges))
        known = following
    states.append((Cause.CODE, after))
    parts = _parts(states)
    comparison = Comparison(
        currency=currency,
        before=before,
        after=after,
        parts=parts,
        tables=tuple(each for each in table_changes(first, second) if each.is_different),
        facts=tuple(_other_changes(first, second)),
        notes=tuple(notes),
    )
    for code, causes in parts.items():
        if exact_sum(causes.values()) != comparison.change(code):
            message = f"the causes of {code} do not add up to its change. Fix: report it, this is a defect."
            raise PackError(message)
    return comparison


def sealed_charges(files: Mapping[str, bytes]) -> dict[str, Decimal]:
    """What a pack charges each cost center, from its chargeback.csv."""
    try:
        return _summed(
            (row["cost_center"], Decimal(row["amount_functional"])) for row in rows_of(files, CHARGEBACK_CSV)
        )
    except (KeyError, ArithmeticError, TypeError) as error:
        message = f"{CHARGEBACK_CSV} cannot be read: {error!r}. Fix: tokengov verify says what was changed."
        raise PackError(message) from error


def exchanged(known: MonthInputs, other: MonthInputs, cause: Cause) -> MonthInputs:
    """`known` with the group of a cause taken from `other`; with `Cause.LEDGER` it is `other` in all but its code."""
    if cause is Cause.POLICY:
        return replace(known, policy=other.policy)
    if cause is Cause.LEDGER:
        return replace(known, facts=other.facts)
    group = GROUPS[cause]
    tables = {name: table for name, table in known.tables.items() if name not in group}
    tables |= {name: table for name, table in other.tables.items() if name in group}
    facts = known.facts
    if cause is Cause.DATA:
        facts = replace(facts, **{name: getattr(other.facts, name) for name in _DATA_FACTS})
    slugs = other.slugs if cause is Cause.PRICES else known.slugs
    return replace(known, tables=tables, facts=facts, slugs=slugs)


def table_changes(first: MonthInputs, second: MonthInputs) -> list[TableChange]:
    """The rows that differ, table by table, in the order of `inputs.TABLE_COLUMNS`."""
    found = []
    for name in TABLE_COLUMNS:
        one, other = first.table(name), second.table(name)
        if one is not None and other is not None and one.equals(other):
            found.append(TableChange(name, 0, 0, 0))
        elif one is not None or other is not None:
            found.append(_row_changes(name, first.rows(name), second.rows(name)))
    return found


def _row_changes(name: str, first: Sequence[dict[str, Any]], second: Sequence[dict[str, Any]]) -> TableChange:
    one, other = (Counter(tuple(sorted(row.items())) for row in rows) for rows in (first, second))
    only_first, only_second = one - other, other - one
    keys = [Counter(_key_of(row, name) for row in rows.elements()) for rows in (only_first, only_second)]
    changed = (keys[0] & keys[1]).total()
    return TableChange(name, only_second.total() - changed, only_first.total() - changed, changed)


def _key_of(row: tuple[tuple[str, Any], ...], name: str) -> tuple[Any, ...]:
    return tuple(value for column, value in row if column in _ROW_KEYS[name])


def _charged(inputs: MonthInputs, version: int, what: str, notes: list[str]) -> Charges | None:
    """The charges of some inputs; None, with a note, where such a mixture cannot be charged."""
    try:
        match = match_month_inputs(inputs)
        charges = charge_inputs(inputs, match, judge(inputs, match), version)
    except (MoneyError, PackError, LookupError, ValueError) as error:
        notes.append(f"{what} cannot be charged by themselves, so their part is in the next cause: {error}")
        return None
    notes += [f"{what}: {problem.provider} is not charged: {problem.what}" for problem in charges.problems]
    return _summed((line.cost_center, line.amount_functional) for line in charges.lines)


def _parts(states: Sequence[tuple[Cause, Charges]]) -> dict[str, dict[Cause, Decimal]]:
    codes = sorted({code for _, charges in states for code in charges})
    parts = {code: dict.fromkeys(Cause, Decimal(0)) for code in codes}
    for (_, before), (cause, after) in pairwise(states):
        for code in codes:
            step = exact_sum([after.get(code, Decimal(0)), -before.get(code, Decimal(0))])
            parts[code][cause] = exact_sum([parts[code][cause], step])
    return parts


def _other_changes(first: MonthInputs, second: MonthInputs) -> Iterable[str]:
    for each in fields(MonthFacts):
        if getattr(first.facts, each.name) != getattr(second.facts, each.name):
            yield f"facts: {each.name}"
    if first.slugs != second.slugs:
        yield "the proxy's words for providers"
    one, other = (_leaves(each.policy.model_dump(mode="json")) for each in (first, second))
    for name in sorted({*one, *other}):
        if one.get(name) != other.get(name):
            yield f"policy: {name} {one.get(name, 'absent')} -> {other.get(name, 'absent')}"


def _leaves(value: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, each in value.items():
        if isinstance(each, dict):
            found |= _leaves(each, f"{path}{name}.")
        else:
            found[f"{path}{name}"] = each
    return found


def _summed(amounts: Iterable[tuple[str, Decimal]]) -> dict[str, Decimal]:
    found: dict[str, list[Decimal]] = defaultdict(list)
    for code, amount in amounts:
        found[code].append(amount)
    return {code: exact_sum(found[code]) for code in sorted(found)}
