"""What a match finds: components in waterfall order, cells, and the evidence under each component (Rule 4.2).

Belongs here: the words and records of the answer. Does not belong here: how it is computed (`waterfall`,
`invoice_match`), what it means for the close (`reconciliation`), how it is written (`pack.reconciliation_csv`).
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from tokengov_pipelines.domain.attribution import CallClass
from tokengov_pipelines.domain.money import exact_product
from tokengov_pipelines.domain.pricing import PriceStatus


class Component(StrEnum):
    """The causes of a gap, in the order of the waterfall; each is a state less the one before (Rule 4.2)."""

    TIMING = "timing"
    PROXY_PRICING = "proxy_pricing"
    VOLUME = "volume"
    MIX = "mix"
    TIER_DISCOUNT = "tier_discount"
    UNPROXIED = "unproxied"
    PROVIDER_RATE = "provider_rate"
    NON_TOKEN = "non_token"  # noqa: S105 - no secret
    COMMITMENT = "commitment"
    CREDITS_DISCOUNTS = "credits_discounts"
    TAX = "tax"
    ROUNDING = "rounding"
    UNEXPLAINED = "unexplained"

    @property
    def state(self) -> str:
        """The state that it leads to: 'W1' for timing, 'W3a' for volume, 'W12' for unexplained."""
        return STATES[list(Component).index(self) + 1]


STATES = ("W0", "W1", "W2", "W3a", "W3", "W4", "W5", "W6", "W7", "W8", "W9", "W10", "W11", "W12")
"""The states of rule 4.2: W0 is the proxy's log (A), W12 the invoice (C)."""


class MatchMode(StrEnum):
    """How many legs there are: without a cost report the invoice is compared with usage at price-book price."""

    THREE_WAY = "three_way"
    TWO_WAY = "two_way"


class ErrorCode(StrEnum):
    """What keeps a match from being trusted: an error item, never a zero and never a guess (Rules 4.1, 4.5)."""

    MISSING_EXTRACT = "missing_extract"  # days without the proxy's log, or a registered key and an empty log
    MISSING_REPORT = "missing_report"  # days without the provider's usage or cost report
    UNMAPPED_MODEL = "unmapped_model"  # no alias says which model of the price book a name is
    MISSING_PRICE = "missing_price"  # the price book has no price for tokens that were used
    UNMAPPED_LINE_ITEM = "unmapped_line_item"  # a cost line of a kind that no seed explains
    UNIT_SUSPECTED = "unit_suspected"  # reported cost is about 100 times, or a hundredth of, usage at list price
    BILLED_WITHOUT_USAGE = "billed_without_usage"  # token cost on a day of which no usage row is known
    CONTRADICTORY_USAGE = "contradictory_usage"  # a negative count, e.g. more cached than input tokens
    SEVERAL_ACCOUNTS = "several_accounts"  # the log cannot be split over the invoices of two accounts


@dataclass(frozen=True)
class MatchError:
    """One error item: `key` names the model, day or line; `tokens` and `amount` say its size where it has one."""

    code: ErrorCode
    key: str
    what: str
    fix: str
    tokens: int = 0
    amount: Decimal = Decimal(0)

    def __str__(self) -> str:
        return f"{self.what}. Fix: {self.fix}"


@dataclass(frozen=True, slots=True)
class CellMatch:
    """One cell of rule 4.2 in one tier: proxy tokens, provider tokens on own and on other keys, and their prices.

    `model` is the price book's name, or the reported name after a '?' where no alias maps it. Prices are USD of one
    token and None where the book has none. `cutoff_shift_tokens` is the part of own - proxy tokens that a neighbouring
    day offsets (Rule 4.3); `band_inferred` says that the provider's band is the proxy's mix.
    """

    day: dt.date
    provider: str
    model: str
    token_type: str
    tier: str
    over_tokens: int
    geo: str
    speed: str
    proxy_tokens: int
    own_tokens: int
    other_tokens: int
    usd_per_token: Decimal | None
    standard_usd_per_token: Decimal | None
    price_status: PriceStatus
    band_inferred: bool = False
    cutoff_shift_tokens: int = 0

    @property
    def proxy_amount(self) -> Decimal:
        """Its part of W2: proxy tokens at the price of their tier."""
        return exact_product(self.proxy_tokens, self.usd_per_token or 0)

    @property
    def quantity_amount(self) -> Decimal:
        """Its part of volume + mix: own less proxy tokens at the standard price."""
        return exact_product(self.own_tokens - self.proxy_tokens, self.standard_usd_per_token or 0)

    @property
    def tier_amount(self) -> Decimal:
        """Its part of tier_discount: own less proxy tokens at the difference between tier and standard price."""
        difference = (self.usd_per_token or Decimal(0)) - (self.standard_usd_per_token or Decimal(0))
        return exact_product(self.own_tokens - self.proxy_tokens, difference)

    @property
    def unproxied_amount(self) -> Decimal:
        """Its part of unproxied: tokens on other keys at the price of their tier."""
        return exact_product(self.other_tokens, self.usd_per_token or 0)


class PricingCause(StrEnum):
    """Why a group of logged rows was logged at another amount than the price book's (Rule 4.4)."""

    UNPRICED = "unpriced"
    PRICE_DIFFERS = "price_differs"
    FAILED_SPEND = "failed_spend"
    CACHE_HIT_SPEND = "cache_hit_spend"
    SUBSCRIPTION = "subscription"
    NO_TOKENS = "no_tokens"  # logged with spend and without tokens: tools, guardrails, images


@dataclass(frozen=True, slots=True)
class PricingGap:
    """Rows of one day, model, tier, band and class that were logged too low or too high; never netted (Rule 4.8)."""

    day: dt.date
    provider: str
    model: str
    tier: str
    over_tokens: int
    call_class: CallClass
    cause: PricingCause
    calls: int
    tokens: int
    logged: Decimal
    repriced: Decimal

    @property
    def amount(self) -> Decimal:
        """repriced - logged: positive where the proxy logged too little."""
        return self.repriced - self.logged


KeyOf = tuple[str, str | None, str | None]
"""Who used it, as the reports say: account, provider key id, workspace id."""


@dataclass(frozen=True, slots=True)
class RateCell:
    """A cell of the cost report against usage at list price, by key: whose rate variance it is (Rule 5.2).

    `tier` and `workspace_id` are None where the report does not tell them apart.
    """

    day: dt.date
    provider: str
    model: str
    token_type: str
    tier: str | None
    workspace_id: str | None
    reported: Decimal
    listed: Mapping[KeyOf, Decimal]

    @property
    def variance(self) -> Decimal:
        """reported - listed: its part of provider_rate."""
        return self.reported - sum(self.listed.values(), Decimal(0))


class LineOutcome(StrEnum):
    """What the difference of an invoice line from its report group is."""

    ROUNDING = "rounding"
    PROVIDER_RATE = "provider_rate"  # two-way only: the same quantity at another price
    UNEXPLAINED = "unexplained"
    NOT_REPORTED = "not_reported"  # a line with no report group; unexplained
    NOT_INVOICED = "not_invoiced"  # a report group with no line; unexplained


@dataclass(frozen=True, slots=True)
class LineDifference:
    """Invoice lines of one grain against their report group.

    `label` names the grain; `line_numbers` are its lines, none for a group that was not invoiced.
    """

    label: str
    line_numbers: tuple[int, ...]
    invoiced: Decimal
    reported: Decimal
    outcome: LineOutcome

    @property
    def amount(self) -> Decimal:
        """invoiced - reported."""
        return self.invoiced - self.reported


@dataclass(frozen=True)
class Evidence:
    """Figures under the components, for the reviewer; none of them is added to anything.

    `quantity_usd` is volume + mix; `cutoff_shift_usd` the part of it that neighbouring days offset, in absolute value;
    `straddling_usd` logged spend of calls that began before midnight of the period's end and ended after it, less those
    of its start (Rule 2.1); `lost_usd` and `surplus_usd` the positive and negative cells of quantity_usd.
    """

    own_tokens: int = 0
    proxy_tokens: int = 0
    other_tokens: int = 0
    own_list_usd: Decimal = Decimal(0)
    other_list_usd: Decimal = Decimal(0)
    lost_usd: Decimal = Decimal(0)
    surplus_usd: Decimal = Decimal(0)
    cutoff_shift_usd: Decimal = Decimal(0)
    straddling_usd: Decimal = Decimal(0)
    band_inferred_tokens: int = 0
    unpriced_calls: int = 0
    unpriced_usd: Decimal = Decimal(0)
    calls: int = 0
    calls_without_usage: int = 0
    notes: tuple[str, ...] = field(default_factory=tuple)
