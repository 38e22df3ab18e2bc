"""A month of one provider with three models, whose proxy log, keys and report a test changes one by one."""

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from tokengov_pipelines.domain.attribution import CallClass
from tokengov_pipelines.domain.bypass import BypassFinding, UnproxiedKey
from tokengov_pipelines.domain.bypass_findings import findings
from tokengov_pipelines.domain.bypass_keys import OwnerSources, UnproxiedRules, unproxied_keys
from tokengov_pipelines.domain.intervals import Interval
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
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.domain.pricing import Alias, PriceBook, PriceRow, price_book
from tokengov_pipelines.domain.reconcile import reconcile
from tokengov_pipelines.domain.reconciliation import Reconciliation

OCTOBER = BillingMonth(2026, 10)
ACCOUNT = "acme-prod"
PROXY_KEY, CI_KEY = "apikey-proxy-0001", "apikey-ci-runner"
PROXY_WORKSPACE, CI_WORKSPACE = "wrkspc-proxy", "wrkspc-ci"
OPUS, SONNET, HAIKU = "claude-opus-4-5", "claude-sonnet-4-6", "claude-haiku-4-5"
PER_MTOK = {
    OPUS: {"uncached_input": "5", "cache_read": "0.5", "output": "25"},
    SONNET: {"uncached_input": "3", "cache_read": "0.3", "output": "15"},
    HAIKU: {"uncached_input": "1", "cache_read": "0.1", "output": "5"},
}
OWNERS = OwnerSources(central="CC-990-CENTRAL", valid_cost_center=lambda code, _day: code)
RULES = UnproxiedRules(as_of=dt.date(2026, 10, 31))


def oct_(day: int) -> dt.date:
    """A day of October 2026."""
    return dt.date(2026, 10, day)


def book(provider: str = "anthropic") -> PriceBook:
    """Three models at two tiers (a batch costs half), each under its own name."""
    rows = [
        PriceRow(
            provider=provider,
            model=model,
            token_type=token_type,
            service_tier=tier,
            context_band="all",
            context_over_tokens=0,
            usd_per_mtok=Decimal(price) * factor,
            valid=Interval(dt.date(2026, 1, 1)),
            source="test",
            source_version="1",
        )
        for model, prices in PER_MTOK.items()
        for token_type, price in prices.items()
        for tier, factor in (("standard", Decimal(1)), ("batch", Decimal("0.5")))
    ]
    found, problems = price_book(rows, [Alias(model, provider, model) for model in PER_MTOK], {})
    assert problems == []
    return found


def proxy_key(key_id: str = PROXY_KEY, *, since: dt.date = dt.date(2026, 1, 1), until: dt.date | None = None, **more):
    """A registered key of the proxy."""
    row = {"provider": "anthropic", "workspace": PROXY_WORKSPACE} | more
    return RegisteredKey(account=ACCOUNT, key_id=key_id, role=KeyRole.PROXY, valid=Interval(since, until), **row)


@dataclass
class Month:
    """What happened. `rates` are factors on list by (day, model); `costs` follow from the usage unless set to None."""

    provider: str = "anthropic"
    decides: KeyDecides = KeyDecides.KEY_ID
    registered: list[RegisteredKey] = field(default_factory=lambda: [proxy_key()])
    logged: list[LoggedUsage] = field(default_factory=list)
    usage: list[ProviderUsage] = field(default_factory=list)
    rates: dict[tuple[dt.date, str], Decimal] = field(default_factory=dict)
    missing_log_days: frozenset[dt.date] = frozenset()
    has_cost_report: bool = True

    def used(
        self,
        day: dt.date,
        model: str,
        tokens: Mapping[str, int],
        *,
        key_id: str | None = PROXY_KEY,
        workspace_id: str | None = PROXY_WORKSPACE,
        tier: str = "standard",
    ) -> None:
        """The provider counted it."""
        self.usage += [
            ProviderUsage(day, self.provider, ACCOUNT, key_id, workspace_id, model, tier, token_type, count)
            for token_type, count in tokens.items()
        ]

    def log(
        self,
        day: dt.date,
        model: str,
        tokens: Mapping[str, int],
        *,
        calls: int = 100,
        tier: str = "standard",
        call_class: CallClass = CallClass.CALL,
        spend: Decimal | None = None,
    ) -> None:
        """The proxy logged it, at book price unless `spend` says another."""
        if spend is None:
            factor = Decimal("0.5") if tier == "batch" else Decimal(1)
            listed = (Decimal(PER_MTOK[model][kind]) * n / 1_000_000 for kind, n in tokens.items())
            spend = sum(listed, Decimal(0)) * factor
        self.logged.append(LoggedUsage(day, self.provider, model, tier, 0, call_class, calls, tokens, spend))

    def busy(self, days: range = range(1, 32), *, lost: Mapping[int, Mapping[str, int]] | None = None) -> "Month":
        """A million input and 0.2 million output tokens of each model and day, in 100 calls less those `lost`."""
        for number in days:
            for model in PER_MTOK:
                gone = (lost or {}).get(number, {}).get(model, 0)
                self.used(oct_(number), model, {"uncached_input": 1_000_000, "output": 200_000})
                kept = {"uncached_input": 10_000 * (100 - gone), "output": 2_000 * (100 - gone)}
                if gone < 100:
                    self.log(oct_(number), model, kept, calls=100 - gone)
        return self

    def registry(self) -> KeyRegistry:
        """The registered keys."""
        return KeyRegistry(self.registered, {self.provider: self.decides})

    def legs(self) -> Legs:
        """Both legs."""
        return Legs(
            self.provider,
            self.logged,
            self.usage,
            self._costs() if self.has_cost_report else None,
            self.missing_log_days,
        )

    def match(self) -> Reconciliation:
        """The product's match of October."""
        return reconcile(OCTOBER, self.legs(), None, registry=self.registry(), book=book(self.provider))

    def key_rows(self, **more) -> list[UnproxiedKey]:
        """The product's key report of October."""
        arguments = {"owners": OWNERS, "rules": RULES} | more
        return unproxied_keys(
            OCTOBER,
            [self.legs()],
            self.match().rate_cells,
            registry=self.registry(),
            book=book(self.provider),
            **arguments,
        )

    def found(self, **more) -> list[BypassFinding]:
        """The product's findings of October."""
        return findings(
            self.match(), self.key_rows(**more), self.legs(), registry=self.registry(), book=book(self.provider)
        )

    def _costs(self) -> list[ReportedCost]:
        amounts: dict[tuple[dt.date, str | None, str, str, str], Decimal] = defaultdict(Decimal)
        for each in self.usage:
            factor = self.rates.get((each.day, each.model), Decimal(1)) * (
                Decimal("0.5") if each.tier == "batch" else Decimal(1)
            )
            price = Decimal(PER_MTOK.get(each.model, PER_MTOK[OPUS])[each.token_type]) / 1_000_000
            amounts[each.day, each.workspace_id, each.model, each.token_type, each.tier] += each.tokens * price * factor
        return [
            ReportedCost(day, self.provider, ACCOUNT, None, workspace, model, "tokens", token_type, tier, amount)
            for (day, workspace, model, token_type, tier), amount in amounts.items()
        ]
