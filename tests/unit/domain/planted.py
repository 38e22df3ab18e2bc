"""A clean month of one provider, and causes of a gap planted into it with known dollars (rule 4.2).

Belongs here: the truth of a month (what was used, what the proxy logged of it, what was reported and billed), planting,
and what the match has to find. Nothing here asks the product for a price or a state: prices are this file's own table,
dollars are counted where they are planted.

Overlaps are planted in the order of rule 4.2: a lost row that was logged at a stale price is quantity at book price,
one in a batch is quantity at standard price and tier_discount for the rest.
"""

import dataclasses
import datetime as dt
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction

from tokengov_pipelines.domain.attribution import CallClass
from tokengov_pipelines.domain.intervals import Interval
from tokengov_pipelines.domain.invoice import Invoice, InvoiceLine
from tokengov_pipelines.domain.legs import (
    KeyDecides,
    KeyRegistry,
    KeyRole,
    Legs,
    LoggedUsage,
    ProviderUsage,
    RegisteredKey,
    ReportedCost,
)
from tokengov_pipelines.domain.match_result import Component
from tokengov_pipelines.domain.period import BillingMonth, InvoicePeriod
from tokengov_pipelines.domain.pricing import Alias, GeoFactor, PriceBook, PriceRow, band_label, price_book
from tokengov_pipelines.domain.reconcile import MatchRules, reconcile
from tokengov_pipelines.domain.reconciliation import Reconciliation, Tolerances

PROVIDER = "anthropic"
ACCOUNT = "acme-prod"
OCTOBER = BillingMonth(2026, 10)
ALWAYS = Interval(dt.date(2026, 1, 1))
OWN_KEY, SECOND_OWN_KEY, CI_KEY, STRAY_KEY = "apikey-proxy", "apikey-proxy-2", "apikey-ci", "apikey-stray"
OWN_WORKSPACE, CI_WORKSPACE = "wrkspc-proxy", "wrkspc-ci"
TOKEN_TYPES = ("uncached_input", "cache_read", "cache_write_5m", "cache_write_1h", "output")
TIERS = ("standard", "batch", "priority")
LONG = 200_000
WINDOWS = {0: "0-200k", LONG: "200k-1M"}
RULES = MatchRules(tolerances=Tolerances())
ZERO = Decimal(0)
MTOK = 1_000_000


def total(amounts: Iterable[Decimal]) -> Decimal:
    """A sum with every digit kept."""
    with localcontext(prec=60):
        return sum(amounts, ZERO)


def cents(amount: Decimal) -> Decimal:
    """Half away from zero, by hand."""
    return amount.quantize(Decimal("0.01"), rounding=ROUND_HALF_UP)


@dataclass(frozen=True)
class Prices:
    """USD per million tokens by (model, token type, tier, band), each with the day it begins; the last one begun holds.

    `names` are the names of each model: as the proxy logs it, as the provider reports it, as the invoice prints it.
    """

    dated: Mapping[tuple[str, str, str, int], tuple[tuple[dt.date, Decimal], ...]]
    names: Mapping[str, tuple[str, str, str]]

    def of(self, model: str, token_type: str, tier: str, over: int, day: dt.date) -> Decimal:
        """USD of one token."""
        begun = [price for since, price in self.dated[model, token_type, tier, over] if since <= day]
        return begun[-1].scaleb(-6)

    def bands(self, model: str) -> list[int]:
        """The lower bounds of the model's context bands."""
        return sorted({over for name, _, _, over in self.dated if name == model})

    def book(self, *, geo: str | None = None, factor: Decimal = Decimal(1)) -> PriceBook:
        """The same prices as the product's price book, `factor` times as much in `geo`; it has no problem."""
        rows = []
        for (model, token_type, tier, over), begun in self.dated.items():
            bands = self.bands(model)
            above = bands[bands.index(over) + 1] if over != bands[-1] else None
            ends = [since for since, _ in begun[1:]] + [None]
            for (since, price), until in zip(begun, ends, strict=True):
                rows.append(
                    PriceRow(
                        provider=PROVIDER,
                        model=model,
                        token_type=token_type,
                        service_tier=tier,
                        context_band=band_label(over, above),
                        context_over_tokens=over,
                        usd_per_mtok=price,
                        valid=Interval(since, until),
                        source="planted",
                        source_version="1",
                    )
                )
        aliases = [
            Alias(name.lower().removeprefix("anthropic/"), PROVIDER, model)
            for model, names in self.names.items()
            for name in sorted({name.lower().removeprefix("anthropic/") for name in names})
        ]
        factors = [GeoFactor(PROVIDER, model, geo, factor, ALWAYS, "planted", "1") for model in self.names if geo]
        book, problems = price_book(rows, aliases, {"anthropic": PROVIDER}, factors)
        assert problems == []
        return book


@dataclass
class Use:
    """What the provider metered: tokens of one model, tier and band on a day, on a key."""

    day: dt.date
    model: str
    tier: str
    over: int
    tokens: dict[str, int]
    key_id: str | None = OWN_KEY
    workspace: str | None = OWN_WORKSPACE


@dataclass
class Row:
    """What the proxy logged; `tier` and `tokens` as it believed them."""

    day: dt.date
    model: str
    tier: str
    over: int
    tokens: dict[str, int]
    logged: Decimal
    call_class: CallClass = CallClass.CALL
    calls: int = 1
    name: str | None = None  # another name than the model's usual one


@dataclass
class Month:
    """One provider's month. Plant with the functions below; `planted` holds their dollars, by component.

    Lost, duplicated and misclassified rows are planted as `quantity` (volume + mix).
    """

    prices: Prices
    month: BillingMonth = OCTOBER
    period: InvoicePeriod = field(default_factory=lambda: InvoicePeriod(dt.date(2026, 10, 1), dt.date(2026, 11, 1)))
    uses: list[Use] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    non_token: list[ReportedCost] = field(default_factory=list)
    rates: list[tuple[Use, str, Decimal]] = field(default_factory=list)
    extra_lines: list[InvoiceLine] = field(default_factory=list)
    increases: dict[tuple[str, str, str, str | None], Decimal] = field(default_factory=dict)
    missing_lines: set[tuple[str, str, str, str | None]] = field(default_factory=set)
    to_cents: bool = False
    registry: KeyRegistry = field(default_factory=lambda: registry())
    planted: dict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    untouched: list[tuple[Row, Use]] = field(default_factory=list)
    missing_log_days: frozenset[dt.date] = frozenset()
    missing_report_days: frozenset[dt.date] = frozenset()

    def value(self, at: Row | Use, tier: str | None = None) -> Decimal:
        """USD at book price, at its own tier or at another."""
        tier = at.tier if tier is None else tier
        return total(
            n * self.prices.of(at.model, token_type, tier, at.over, at.day) for token_type, n in at.tokens.items()
        )

    def plant(self, component: str, amount: Decimal) -> None:
        """Remember dollars."""
        self.planted[component] = total([self.planted[component], amount])

    def call(
        self, day: dt.date, model: str, tokens: Mapping[str, int], *, tier: str = "standard", over: int = 0
    ) -> Row:
        """A clean call: metered on the proxy's key, and logged as metered at book price."""
        use = Use(day, model, tier, over, dict(tokens))
        row = Row(day, model, tier, over, dict(tokens), ZERO)
        row.logged = self.value(row)
        self.uses.append(use)
        self.rows.append(row)
        self.untouched.append((row, use))
        return row

    def legs(self) -> Legs:
        """Legs A and B."""
        return Legs(
            PROVIDER,
            [self._logged(row) for row in self.rows],
            [usage for use in self.uses for usage in self._metered(use)],
            self.costs(),
            self.missing_log_days,
            self.missing_report_days,
        )

    def costs(self) -> list[ReportedCost]:
        """The cost report: one line a day, workspace, model, token type, tier and context window, without keys (F2)."""
        amounts: dict[tuple[dt.date, str | None, str, str, str, int], Decimal] = defaultdict(Decimal)
        for use in self.uses:
            for token_type, n in use.tokens.items():
                price = self.prices.of(use.model, token_type, use.tier, use.over, use.day)
                at = (use.day, use.workspace, use.model, token_type, use.tier, use.over)
                amounts[at] = total([amounts[at], n * price])
        for use, token_type, change in self.rates:
            at = (use.day, use.workspace, use.model, token_type, use.tier, use.over)
            amounts[at] = total([amounts[at], change])
        lines = [
            ReportedCost(
                day=day,
                provider=PROVIDER,
                account=ACCOUNT,
                key_id=None,
                workspace_id=workspace,
                model=self.prices.names[model][1],
                cost_type="tokens",
                token_type=token_type,
                tier=tier,
                amount=amount,
                context_window=WINDOWS[over],
            )
            for (day, workspace, model, token_type, tier, over), amount in amounts.items()
        ]
        return [*lines, *self.non_token]

    def invoice(self) -> Invoice:
        """Leg C: one line a workspace, model, token type and tier of the period, then the others."""
        lines = [*self._usage_lines(), *self.extra_lines]
        numbered = tuple(dataclasses.replace(line, line_no=number) for number, line in enumerate(lines, 1))
        return invoice_of(numbered, self.period)

    def billed(self) -> dict[tuple[str, str, str, str | None], Decimal]:
        """What the report says of each invoice line: (model, token type, tier, workspace) to exact USD."""
        by_name = {names[1]: model for model, names in self.prices.names.items()}
        groups: dict[tuple[str, str, str, str | None], Decimal] = defaultdict(Decimal)
        for cost in self.costs():
            if cost.cost_type == "tokens" and self.period.contains(cost.day):
                at = (by_name[cost.model or ""], cost.token_type or "", cost.tier or "", cost.workspace_id)
                groups[at] = total([groups[at], cost.amount])
        return dict(groups)

    def expected(self) -> dict[Component, Decimal]:
        """The planted dollars as components; how quantity splits into volume and mix is worked out with fractions."""
        planted = dict(self.planted)
        quantity = planted.pop("quantity", ZERO)
        volume = self._volume(quantity)
        found = {component: planted.pop(component.value, ZERO) for component in Component}
        assert planted == {}
        found[Component.VOLUME] = volume
        found[Component.MIX] = total([quantity, -volume])
        return found

    def _volume(self, quantity: Decimal) -> Decimal:
        delivered = [row for row in self.rows if self.period.contains(row.day) and counts(row)]
        logged_tokens = sum(sum(row.tokens.values()) for row in delivered)
        own = [use for use in self.uses if self.period.contains(use.day) and use.key_id in (OWN_KEY, SECOND_OWN_KEY)]
        metered_tokens = sum(sum(use.tokens.values()) for use in own)
        if logged_tokens == 0:
            return quantity
        at_standard = Fraction(total(self.value(row, "standard") for row in delivered))
        w2 = Fraction(total(self.value(row) for row in delivered))
        w3a = w2 + Fraction(metered_tokens - logged_tokens) * at_standard / logged_tokens
        return _half_away(w3a) - _half_away(w2)

    def _logged(self, row: Row) -> LoggedUsage:
        return LoggedUsage(
            day=row.day,
            provider=PROVIDER,
            model=row.name or self.prices.names[row.model][0],
            tier=row.tier,
            over_tokens=row.over,
            call_class=row.call_class,
            calls=row.calls,
            tokens=dict(row.tokens),
            logged=row.logged,
            cost_center="CC-100",
        )

    def _metered(self, use: Use) -> list[ProviderUsage]:
        return [
            ProviderUsage(
                day=use.day,
                provider=PROVIDER,
                account=ACCOUNT,
                key_id=use.key_id,
                workspace_id=use.workspace,
                model=self.prices.names[use.model][1],
                tier=use.tier,
                token_type=token_type,
                tokens=n,
                context_window=WINDOWS[use.over],
            )
            for token_type, n in use.tokens.items()
        ]

    def _usage_lines(self) -> list[InvoiceLine]:
        quantities: dict[tuple[str, str, str, str | None], int] = defaultdict(int)
        for use in self.uses:
            if self.period.contains(use.day):
                for token_type, n in use.tokens.items():
                    quantities[use.model, token_type, use.tier, use.workspace] += n
        lines = []
        for at, exact in self.billed().items():
            if at in self.missing_lines:
                continue
            model, token_type, tier, workspace = at
            amount = total([exact, self.increases.get(at, ZERO)])
            lines.append(
                InvoiceLine(
                    line_no=0,
                    kind="usage",
                    amount=cents(amount) if self.to_cents else amount,
                    description=f"{model}, {token_type}, {tier}",
                    model=self.prices.names[model][2],
                    token_type=token_type,
                    service_tier=tier,
                    workspace=workspace,
                    quantity=Decimal(quantities[at]),
                    unit="tokens",
                )
            )
        return lines


def _half_away(exact: Fraction) -> Decimal:
    """Twelve decimals, half away from zero."""
    whole = int(abs(exact) * 10**12 + Fraction(1, 2))
    return Decimal(whole if exact >= 0 else -whole).scaleb(-12)


def counts(row: Row) -> bool:
    """Whether its tokens are proxy tokens (rule 4.4), by this file's own list."""
    return row.call_class in (CallClass.CALL, CallClass.UNPRICED, CallClass.PARTIAL)


def invoice_of(lines: tuple[InvoiceLine, ...], period: InvoicePeriod, **stated: object) -> Invoice:
    """An invoice of October whose totals are those of its lines."""
    sums = {
        kind: total(line.amount for line in lines if line.kind in kinds)
        for kind, kinds in (
            ("lines_total", ("usage", "non_token", "commitment", "seat")),
            ("credits_total", ("credit",)),
            ("tax_total", ("tax",)),
        )
    }
    fields: dict[str, object] = {
        "source_file": "ant-2026-10.json",
        "provider": PROVIDER,
        "account": ACCOUNT,
        "invoice_id": "ANT-2026-10",
        "invoice_date": period.end,
        "period_start": period.start,
        "period_last_day": period.last_day,
        "currency": "USD",
        "lines": lines,
        **sums,
        "total": total(sums.values()),
    }
    return Invoice(**{**fields, **stated})  # type: ignore[arg-type]


def registry(*more: RegisteredKey, decides: KeyDecides = KeyDecides.KEY_ID) -> KeyRegistry:
    """Two keys of the proxy and one registered key of somebody else."""
    mine = [
        RegisteredKey(PROVIDER, ACCOUNT, key_id, KeyRole.PROXY, ALWAYS, workspace=OWN_WORKSPACE)
        for key_id in (OWN_KEY, SECOND_OWN_KEY)
    ]
    other = RegisteredKey(
        PROVIDER, ACCOUNT, CI_KEY, KeyRole.OTHER, ALWAYS, workspace=CI_WORKSPACE, owner_cost_center="CC-300"
    )
    return KeyRegistry([*mine, other, *more], {PROVIDER: decides})


def match(month: Month, *, legs: Legs | None = None, rules: MatchRules = RULES) -> Reconciliation:
    """The product's answer for the month."""
    return reconcile(
        month.month,
        legs if legs is not None else month.legs(),
        month.invoice(),
        registry=month.registry,
        book=month.prices.book(),
        rules=rules,
    )


def misses(found: Reconciliation, expected: Mapping[Component, Decimal]) -> list[str]:
    """Every bucket that did not recover its planted dollars exactly, and a sum that is not the gap."""
    wrong = [
        f"{component.value}: planted {expected[component]}, recovered {found.components.get(component)}"
        for component in Component
        if found.components.get(component) != expected[component]
    ]
    if total(found.components.values()) != total([found.states["W12"], -found.states["W0"]]):
        wrong.append(f"the components add up to {total(found.components.values())}, not to C - A")
    if total(expected.values()) != found.gap:
        wrong.append(f"planted {total(expected.values())} in all, and the gap is {found.gap}")
    if total(amount for _, amount in found.footed) != cents(found.gap):
        wrong.append("the components in cents do not foot to the gap in cents")
    return wrong


# --- a clean month -----------------------------------------------------------------------------------------------


def some_prices(rng: random.Random, models: int, change_on: dt.date) -> Prices:
    """Random prices with six decimals; every other model has two bands, and about half of the prices change once."""
    dated: dict[tuple[str, str, str, int], tuple[tuple[dt.date, Decimal], ...]] = {}
    names = {}
    for number in range(models):
        model = f"model-{number}"
        names[model] = (f"anthropic/Model-{number}", f"model-{number}-20260101", f"model-{number}")
        for over in (0, LONG) if number % 2 else (0,):
            for token_type in TOKEN_TYPES:
                for tier in TIERS:
                    first = _price(rng)
                    begun = [(ALWAYS.valid_from, first)]
                    if rng.random() < 0.5:
                        begun.append((change_on, _price(rng, besides=first)))
                    dated[model, token_type, tier, over] = tuple(begun)
    return Prices(dated, names)


def _price(rng: random.Random, besides: Decimal = ZERO) -> Decimal:
    while True:
        price = Decimal(rng.randint(10_000, 90_000_000)).scaleb(-6)
        if price != besides:
            return price


def clean_month(seed: int, *, days: int = 4, models: int = 3, calls: int = 30) -> Month:
    """A month in which the three legs agree to the last digit, with rows that must not count: cache hits, failures
    without spend, other months' days."""
    rng = random.Random(seed)
    middle = [dt.date(2026, 10, day) for day in sorted(rng.sample(range(6, 27), days))]
    month = Month(some_prices(rng, models, change_on=middle[len(middle) // 2]))
    for number in range(calls):
        _random_call(month, rng, middle[number % len(middle)], tier="standard" if number % 3 else rng.choice(TIERS))
    for day in (dt.date(2026, 8, 20), dt.date(2026, 12, 9)):  # in no month of the match
        _random_call(month, rng, day)
    month.untouched = [pair for pair in month.untouched if pair[0].day in middle]
    for call_class in (CallClass.CACHE_HIT, CallClass.FAILURE):
        like = rng.choice(month.untouched)[0]
        month.rows.append(dataclasses.replace(like, tokens=dict(like.tokens), logged=ZERO, call_class=call_class))
    rng.shuffle(month.untouched)
    return month


def _random_call(month: Month, rng: random.Random, day: dt.date, tier: str = "standard") -> Row:
    model = rng.choice(sorted(month.prices.names))
    over = rng.choice(month.prices.bands(model))
    tokens = {token_type: rng.randint(1, 3 * MTOK) for token_type in TOKEN_TYPES}
    return month.call(day, model, tokens, tier=tier, over=over)


def _take(month: Month, tier: str | None = "standard") -> tuple[Row, Use]:
    """A clean call that nothing was planted on yet."""
    for pair in month.untouched:
        if tier is None or pair[0].tier == tier:
            month.untouched.remove(pair)
            return pair
    message = "the month has too few calls to plant on"
    raise AssertionError(message)


# --- a small month by hand -----------------------------------------------------------------------------------------

SONNET, HAIKU = "claude-sonnet-4-6", "claude-haiku-4-5"
DAY = dt.date(2026, 10, 14)
LIST = {
    SONNET: {"uncached_input": "3", "cache_read": "0.30", "cache_write_5m": "3.75", "output": "15"},
    HAIKU: {"uncached_input": "1", "cache_read": "0.10", "cache_write_5m": "1.25", "output": "5"},
}


def list_prices() -> Prices:
    """Sonnet and Haiku at list, a batch at half; Sonnet has a second band at twice the price."""
    dated = {
        (model, token_type, tier, over): ((ALWAYS.valid_from, Decimal(price) * factor * long),)
        for model, prices in LIST.items()
        for token_type, price in prices.items()
        for tier, factor in (("standard", Decimal(1)), ("batch", Decimal("0.5")))
        for over, long in (((0, 1), (LONG, 2)) if model == SONNET else ((0, 1),))
    }
    names = {SONNET: (f"anthropic/{SONNET}", SONNET, SONNET), HAIKU: (f"anthropic/{HAIKU}", f"{HAIKU}-20251001", HAIKU)}
    return Prices(dated, names)


def new_month() -> Month:
    """An empty October of Sonnet and Haiku."""
    return Month(list_prices())


def other(key_id: str | None, workspace: str | None = CI_WORKSPACE, model: str = SONNET, **tokens: int) -> Use:
    """Usage on a key that the proxy has no row of."""
    return Use(DAY, model, "standard", 0, tokens, key_id, workspace)


def line(kind: str, amount: str, description: str) -> InvoiceLine:
    """An invoice line that is not usage."""
    return InvoiceLine(line_no=0, kind=kind, amount=Decimal(amount), description=description)


def non_token(amount: str, cost_type: str = "web_search", line_item: str | None = None) -> ReportedCost:
    """A reported cost beside tokens."""
    return ReportedCost(
        day=DAY,
        provider=PROVIDER,
        account=ACCOUNT,
        key_id=None,
        workspace_id=OWN_WORKSPACE,
        model=None,
        cost_type=cost_type,
        token_type=None,
        tier=None,
        amount=Decimal(amount),
        line_item=line_item,
    )


def parts(found: Reconciliation) -> dict[str, Decimal]:
    """The components that are not zero, by name."""
    return {component.value: amount for component, amount in found.components.items() if amount}


def quantities(found: Reconciliation) -> dict[str, Decimal]:
    """The same with volume and mix taken together as quantity, as they are reported (rule 4.2)."""
    named = parts(found)
    both = total([named.pop("volume", ZERO), named.pop("mix", ZERO)])
    return {**({"quantity": both} if both else {}), **named}


# --- planting ----------------------------------------------------------------------------------------------------


def timing(month: Month, rng: random.Random) -> None:
    """The invoice bills [4 Oct, 4 Nov): the first days of October are in the log alone, those of November in the
    invoice alone; one of November's was logged at a stale price."""
    month.period = InvoicePeriod(dt.date(2026, 10, 4), dt.date(2026, 11, 4))
    for day in (dt.date(2026, 10, 1), dt.date(2026, 10, 3)):
        row = _random_call(month, rng, day)
        row.logged = _stale(month, row, rng)
        month.plant("timing", -row.logged)
    for day in (dt.date(2026, 11, 1), dt.date(2026, 11, 3)):
        row = _random_call(month, rng, day)
        if day.day == 1:
            book = month.value(row)
            row.logged = _stale(month, row, rng)
            month.plant("proxy_pricing", book - row.logged)
        month.plant("timing", row.logged)
    month.untouched = [pair for pair in month.untouched if pair[0].day.day not in (1, 3)]


def stale_price(month: Month, rng: random.Random) -> None:
    """The proxy's price map had yesterday's price."""
    row, _ = _take(month)
    book = month.value(row)
    row.logged = _stale(month, row, rng)
    month.plant("proxy_pricing", book - row.logged)


def margin(month: Month, rng: random.Random) -> None:
    """The proxy adds ten percent to what it logs."""
    row, _ = _take(month)
    extra = (row.logged / 10).quantize(Decimal("1e-12"))
    row.logged = total([row.logged, extra])
    month.plant("proxy_pricing", -extra)


def unpriced(month: Month, rng: random.Random) -> None:
    """Success and tokens, without spend."""
    row, _ = _take(month, tier=None)
    month.plant("proxy_pricing", row.logged)
    row.logged = ZERO
    row.call_class = CallClass.UNPRICED


def failed_spend(month: Month, rng: random.Random) -> None:
    """A failed call that was logged with spend; its tokens are estimates and the provider metered nothing."""
    like = rng.choice([row for row in month.rows if month.period.contains(row.day)])
    spent = Decimal(rng.randint(1, 10**9)).scaleb(-9)
    month.rows.append(
        dataclasses.replace(like, tokens={"uncached_input": 25}, logged=spent, call_class=CallClass.FAILED_SPEND)
    )
    month.plant("proxy_pricing", -spent)


def cache_hit_spend(month: Month, rng: random.Random) -> None:
    """Served by the proxy's own cache and logged with spend all the same."""
    like = rng.choice([row for row in month.rows if counts(row) and month.period.contains(row.day)])
    month.rows.append(dataclasses.replace(like, tokens=dict(like.tokens), call_class=CallClass.CACHE_HIT))
    month.plant("proxy_pricing", -like.logged)


def subscription_call(month: Month, rng: random.Random) -> None:
    """A call on a person's own plan: in the log with tokens and spend, on no invoice of the organisation."""
    like = rng.choice([row for row in month.rows if month.period.contains(row.day)])
    spent = Decimal(rng.randint(1, 10**7)).scaleb(-6)
    month.rows.append(
        dataclasses.replace(like, tokens=dict(like.tokens), logged=spent, call_class=CallClass.SUBSCRIPTION)
    )
    month.plant("proxy_pricing", -spent)


def tool_spend(month: Month, rng: random.Random) -> None:
    """A tool or guardrail of the proxy: spend and no tokens."""
    like = rng.choice([row for row in month.rows if month.period.contains(row.day)])
    month.rows.append(dataclasses.replace(like, tokens={}, logged=Decimal("0.01"), call_class=CallClass.CALL))
    month.plant("proxy_pricing", Decimal("-0.01"))


def lost_row(month: Month, rng: random.Random) -> None:
    """The provider metered a call that the proxy has no row of."""
    row, use = _take(month)
    month.rows.remove(row)
    month.plant("quantity", month.value(use, "standard"))


def lost_row_at_a_stale_price(month: Month, rng: random.Random) -> None:
    """The row would have been logged too low; it is not there, so all of it is quantity at book price."""
    row, use = _take(month)
    row.logged = _stale(month, row, rng)
    month.rows.remove(row)
    month.plant("quantity", month.value(use, "standard"))


def lost_row_of_a_batch(month: Month, rng: random.Random) -> None:
    """Quantity at the standard price, and the batch price less the standard price in tier_discount (W3, W4)."""
    row, use = _take(month)
    use.tier = row.tier = "batch"
    month.rows.remove(row)
    standard = month.value(use, "standard")
    month.plant("quantity", standard)
    month.plant("tier_discount", month.value(use, "batch") - standard)


def duplicated_row(month: Month, rng: random.Random) -> None:
    """The proxy has two rows of one call."""
    row, _ = _take(month)
    month.rows.append(dataclasses.replace(row, tokens=dict(row.tokens)))
    month.plant("quantity", -month.value(row, "standard"))


def duplicated_row_at_a_stale_price(month: Month, rng: random.Random) -> None:
    """Both rows are logged at the stale price; the second one's tokens are surplus at book price."""
    row, _ = _take(month)
    book = month.value(row)
    row.logged = _stale(month, row, rng)
    month.rows.append(dataclasses.replace(row, tokens=dict(row.tokens)))
    month.plant("proxy_pricing", total([book - row.logged, book - row.logged]))
    month.plant("quantity", -book)


def misclassified_cache(month: Month, rng: random.Random) -> None:
    """The proxy took tokens read from the provider's cache for uncached input: the total is right, the mix is not."""
    row, use = _take(month)
    moved = rng.randint(1, row.tokens["cache_read"])
    row.tokens["cache_read"] -= moved
    row.tokens["uncached_input"] += moved
    row.logged = month.value(row)
    month.plant("quantity", month.value(use, "standard") - month.value(row, "standard"))


def misclassified_cache_of_a_batch(month: Month, rng: random.Random) -> None:
    """The same in a batch: what the batch price adds or takes is tier_discount."""
    row, use = _take(month)
    row.tier = use.tier = "batch"
    moved = rng.randint(1, row.tokens["cache_read"])
    row.tokens["cache_read"] -= moved
    row.tokens["cache_write_5m"] += moved
    row.logged = month.value(row)
    quantity = month.value(use, "standard") - month.value(row, "standard")
    month.plant("quantity", quantity)
    month.plant("tier_discount", month.value(use, "batch") - month.value(row, "batch") - quantity)


def batch_unknown_to_the_proxy(month: Month, rng: random.Random) -> None:
    """A batch at the provider, logged at the standard price."""
    _, use = _take(month)
    use.tier = "batch"
    month.plant("tier_discount", month.value(use, "batch") - month.value(use, "standard"))


def batch_unknown_to_the_provider(month: Month, rng: random.Random) -> None:
    """The reverse: logged as a batch, delivered and billed as standard."""
    row, _ = _take(month)
    standard = month.value(row, "standard")
    row.tier = "batch"
    row.logged = month.value(row)
    month.plant("tier_discount", standard - row.logged)


def other_key(month: Month, rng: random.Random) -> None:
    """Usage on a key that is registered as somebody else's, in somebody else's workspace."""
    _bypass(month, rng, CI_KEY, CI_WORKSPACE)


def stray_key_in_our_workspace(month: Month, rng: random.Random) -> None:
    """A key that nobody registered, in the proxy's workspace: the key decides."""
    _bypass(month, rng, STRAY_KEY, OWN_WORKSPACE)


def null_key(month: Month, rng: random.Random) -> None:
    """The provider's console: no key, whatever the workspace."""
    _bypass(month, rng, None, rng.choice([OWN_WORKSPACE, CI_WORKSPACE]))


def contract_discount(month: Month, rng: random.Random) -> None:
    """The report bills some cells below list and one above."""
    mine = [use for use in month.uses if month.period.contains(use.day)]
    for percent, use in zip((-12, -30, 7), rng.sample(mine, 3), strict=True):
        for token_type in rng.sample(TOKEN_TYPES, 2):
            price = month.prices.of(use.model, token_type, use.tier, use.over, use.day)
            change = (use.tokens[token_type] * price * percent / 100).quantize(Decimal("1e-12"))
            month.rates.append((use, token_type, change))
            month.plant("provider_rate", change)


def web_search(month: Month, rng: random.Random) -> None:
    """Charges that are not tokens, reported by day and billed on a line of their own."""
    amounts = [Decimal(rng.randint(1, 5000)).scaleb(-2) for _ in range(3)]
    for number, amount in enumerate(amounts):
        month.non_token.append(
            ReportedCost(
                day=dt.date(2026, 10, 10 + number),
                provider=PROVIDER,
                account=ACCOUNT,
                key_id=None,
                workspace_id=OWN_WORKSPACE,
                model=None,
                cost_type="web_search",
                token_type=None,
                tier=None,
                amount=amount,
            )
        )
    month.extra_lines.append(line("non_token", str(total(amounts)), "web search"))
    month.plant("non_token", total(amounts))


def commitment(month: Month, rng: random.Random) -> None:
    """A minimum and seats: lines that no report carries."""
    for kind in ("commitment", "seat"):
        amount = Decimal(rng.randint(1, 90_000)).scaleb(-2)
        month.extra_lines.append(line(kind, str(amount), f"{kind} of the month"))
        month.plant("commitment", amount)


def credit(month: Month, rng: random.Random) -> None:
    """A promotional credit."""
    amount = -Decimal(rng.randint(1, 90_000)).scaleb(-2)
    month.extra_lines.append(line("credit", str(amount), "promotional credit"))
    month.plant("credits_discounts", amount)


def tax(month: Month, rng: random.Random) -> None:
    """Sales tax."""
    amount = Decimal(rng.randint(1, 90_000)).scaleb(-2)
    month.extra_lines.append(line("tax", str(amount), "sales tax"))
    month.plant("tax", amount)


def rounding(month: Month, rng: random.Random) -> None:
    """The invoice prints each usage line in cents; planted last, when the lines are final."""
    month.to_cents = True
    billed = month.billed()
    for at, exact in billed.items():
        if at in month.missing_lines:
            continue
        increase = month.increases.get(at, ZERO)
        difference = cents(total([exact, increase])) - exact
        if increase:
            month.plant("unexplained", difference - increase)
        else:
            month.plant("rounding", difference)


def line_increased(month: Month, rng: random.Random) -> None:
    """The provider bills a line higher than it reports; nobody knows why."""
    at = rng.choice(sorted(month.billed(), key=str))
    amount = Decimal(rng.randint(2, 5000)).scaleb(-2)
    month.increases[at] = amount
    month.plant("unexplained", amount)


CAUSES: dict[str, Callable[[Month, random.Random], None]] = {
    plant.__name__: plant
    for plant in (
        stale_price,
        margin,
        unpriced,
        failed_spend,
        cache_hit_spend,
        subscription_call,
        tool_spend,
        lost_row,
        lost_row_at_a_stale_price,
        lost_row_of_a_batch,
        duplicated_row,
        duplicated_row_at_a_stale_price,
        misclassified_cache,
        misclassified_cache_of_a_batch,
        batch_unknown_to_the_proxy,
        batch_unknown_to_the_provider,
        other_key,
        stray_key_in_our_workspace,
        null_key,
        timing,
        contract_discount,
        web_search,
        commitment,
        credit,
        tax,
        line_increased,
        rounding,
    )
}
"""In the order in which they are planted: what changes uses before what changes reports, lines last."""


def planted_month(seed: int, causes: Iterable[str], **shape: int) -> Month:
    """A clean month with causes planted, each once."""
    month = clean_month(seed, **shape)
    wanted = set(causes)
    for name, plant in CAUSES.items():
        if name in wanted:
            plant(month, random.Random(f"{seed}-{name}"))
    return month


def _bypass(month: Month, rng: random.Random, key_id: str | None, workspace: str | None) -> None:
    like = rng.choice([use for use in month.uses if month.period.contains(use.day)])
    use = dataclasses.replace(
        like,
        tokens={token_type: rng.randint(1, MTOK) for token_type in TOKEN_TYPES},
        key_id=key_id,
        workspace=workspace,
    )
    month.uses.append(use)
    month.plant("unproxied", month.value(use))


def _stale(month: Month, row: Row, rng: random.Random) -> Decimal:
    """The row's value at prices that are a quarter to three quarters of the book's."""
    return total(
        n * (month.prices.of(row.model, token_type, row.tier, row.over, row.day) * rng.choice((250, 500, 750)) / 1000)
        for token_type, n in row.tokens.items()
    ).quantize(Decimal("1e-12"))
