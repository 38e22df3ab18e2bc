"""Everything that a month's close is computed from: tables at cell grain, facts, and the policy (Rule 11.1, `inputs/`).

Belongs here: the record, and nothing that computes. Does not belong here: gathering it from an installation
(`assets.month_inputs`), its files (`input_files`), the close itself (`closed_month`).

No user, e-mail, key secret or author of a pull request is in it: it is sealed in the pack and goes wherever that goes.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

import pyarrow as pa

from tokengov_pipelines.closing.leg_tables import COST_COLUMNS, DRILL_GRAIN, LOG_GRAIN, LOG_SUMS, USAGE_COLUMNS
from tokengov_pipelines.domain.bypass_exception import BypassException, KeyIdentity
from tokengov_pipelines.domain.chargeback import PriorPeriodCharge
from tokengov_pipelines.domain.dispute import DisputeMove
from tokengov_pipelines.domain.open_item import ReconcilingItem
from tokengov_pipelines.domain.period import BillingMonth, InvoicePeriod
from tokengov_pipelines.domain.pull_requests import PullRequestCounts
from tokengov_pipelines.domain.resolutions import Reopening, Resolution
from tokengov_pipelines.pack.control_totals import SourceTotals
from tokengov_pipelines.pack.report_figures import HistoryMonth
from tokengov_pipelines.policy import Policy

USAGE_CELLS: Final = "usage_cells"
PROVIDER_USAGE: Final = "provider_usage"
PROVIDER_COSTS: Final = "provider_costs"
INVOICES: Final = "invoices"
PRICE_BOOK: Final = "price_book"
PRICE_BOOK_ALIASES: Final = "price_book_aliases"
PRICE_BOOK_GEO_FACTORS: Final = "price_book_geo_factors"
COST_CENTERS: Final = "cost_centers"
TEAMS: Final = "teams"
PROVIDER_KEYS: Final = "provider_keys"
WORKSPACES: Final = "workspaces"
KEY_LISTS: Final = "key_lists"
KEY_CREATORS: Final = "key_creators"
GL_ACCOUNTS: Final = "gl_accounts"
FX_RATES: Final = "fx_rates"
PREPAID_STATEMENTS: Final = "prepaid_statements"
SEAT_ASSIGNMENTS: Final = "seat_assignments"

TABLE_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    USAGE_CELLS: (*LOG_GRAIN, *DRILL_GRAIN, *LOG_SUMS),
    PROVIDER_USAGE: USAGE_COLUMNS,
    PROVIDER_COSTS: COST_COLUMNS,
    INVOICES: (),
    PRICE_BOOK: (),
    PRICE_BOOK_ALIASES: (),
    PRICE_BOOK_GEO_FACTORS: (),
    COST_CENTERS: ("code", "name", "legal_entity", "successor", "valid_from", "valid_to"),
    TEAMS: ("team_id", "team_name", "cost_center", "valid_from", "valid_to"),
    PROVIDER_KEYS: (
        "provider",
        "account",
        "provider_key_id",
        "workspace",
        "role",
        "owner_cost_center",
        "valid_from",
        "valid_to",
    ),
    WORKSPACES: ("provider", "workspace_id", "workspace_name"),
    KEY_LISTS: (
        "provider",
        "account",
        "provider_key_id",
        "key_name",
        "workspace_id",
        "created_by_id",
        "created_at",
    ),
    KEY_CREATORS: ("provider", "person_id", "cost_center", "valid_from", "valid_to"),
    GL_ACCOUNTS: (),
    FX_RATES: ("from_currency", "to_currency", "rate_date", "rate", "source"),
    PREPAID_STATEMENTS: (),
    SEAT_ASSIGNMENTS: ("provider", "seat_id", "cost_center", "valid_from", "valid_to", "source_row"),
}
"""The tables of `inputs/` with the columns that are read of each; () is every column that the table has."""


@dataclass(frozen=True)
class KnownSince:
    """When a key was first seen outside the proxy, by the months before."""

    key: KeyIdentity
    first_seen: dt.date


@dataclass(frozen=True)
class MidnightSpend:
    """Logged spend of calls that began on a day and ended after it (Rule 2.1)."""

    provider: str
    day: dt.date
    logged: Decimal


@dataclass(frozen=True)
class MergedPullRequests:
    """The month's counted pull requests by team; `is_complete` says that GitHub was read after the month's end."""

    counts: PullRequestCounts
    is_complete: bool


@dataclass(frozen=True)
class PublishedCharge:
    """What an older invoice charged a cost center, which is how a credit memo to it is split (Rule 1.7)."""

    provider: str
    invoice_id: str
    original_month: BillingMonth
    cost_center: str
    amount: Decimal


@dataclass(frozen=True)
class ApprovedAccrual:
    """An accrual that two people approved, because the invoice is not there yet (Rules 2.2, 2.4)."""

    provider: str
    amount: Decimal
    currency: str
    method: str


@dataclass(frozen=True)
class MonthFacts:
    """What is no table: completeness, what people decided, earlier months, control totals of the sources.

    `days` are those that the tables hold; `as_of` and `exceptions_on` are the days that ages of keys and exceptions are
    asked for. `policy_sha256` is the policy's hash when the month was closed: a later release may know more keys.
    `previous_files` are suspense.csv and chargeback.csv of the closed month before. `reporting` are
    providers with usage and cost reports; their missing days are by provider.
    """

    month: BillingMonth
    days: InvoicePeriod
    as_of: dt.date
    exceptions_on: dt.date
    reporting: tuple[str, ...]
    missing_log_days: tuple[dt.date, ...]
    missing_report_days: dict[str, tuple[dt.date, ...]]
    over_midnight: tuple[MidnightSpend, ...]
    policy_sha256: str = ""
    known_since: tuple[KnownSince, ...] = ()
    exceptions: tuple[BypassException, ...] = ()
    resolutions: tuple[Resolution, ...] = ()
    reopenings: tuple[Reopening, ...] = ()
    carried_items: tuple[ReconcilingItem, ...] = ()
    corrections: tuple[PriorPeriodCharge, ...] = ()
    listed_corrections: tuple[PriorPeriodCharge, ...] = ()
    disputes: tuple[DisputeMove, ...] = ()
    accruals: tuple[ApprovedAccrual, ...] = ()
    published: tuple[PublishedCharge, ...] = ()
    pull_requests: MergedPullRequests | None = None
    history: tuple[HistoryMonth, ...] = ()
    previous_files: dict[str, str] = field(default_factory=dict)
    sources: tuple[SourceTotals, ...] = ()


@dataclass(frozen=True)
class MonthInputs:
    """The whole of it. `tables` maps the names above to their rows; `slugs` are the proxy's words for providers."""

    facts: MonthFacts
    policy: Policy
    tables: Mapping[str, pa.Table]
    slugs: Mapping[str, str]

    @property
    def month(self) -> BillingMonth:
        """The month that is closed."""
        return self.facts.month

    def table(self, name: str) -> pa.Table | None:
        """A table, None where the installation has none."""
        return self.tables.get(name)

    def rows(self, name: str) -> list[dict[str, Any]]:
        """A table as rows; none where there is no such table."""
        content = self.tables.get(name)
        return [] if content is None else content.to_pylist()
