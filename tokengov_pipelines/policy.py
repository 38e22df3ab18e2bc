"""`policy.yaml`: the parameters of the rules, each with the rule that reads it (rule book 0.2).

Belongs here: keys, defaults and ranges, and what may differ for one provider. Does not belong here: settings of an
installation (`settings`), the rules (`domain`). A key appears when the rule that reads it is built.
"""

import hashlib
import json
from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MoneyPolicy(_Strict):
    """Rule 1."""

    functional_currency: str = "USD"


class AttributionPolicy(_Strict):
    """Rule 3."""

    suspense: str = "CC-900-SUSPENSE"
    central: str = "CC-990-CENTRAL"
    suspense_owner: str = Field(default="platform", description="a role or a team, no e-mail (Rule 6.3)")
    placeholder_users: tuple[str, ...] = ("", "default_user_id", "litellm-internal-health-check")
    max_suspense_pct: Decimal = Decimal("2.0")
    max_successor_chain: int = Field(default=5, ge=0, le=20)
    taxonomy: tuple[str, ...] = ("autocomplete", "code-review", "refactor", "autonomous-agent")


class ReconPolicy(_Strict):
    """Rule 4."""

    billing_mode: Literal["invoice", "prepaid"] = "invoice"
    rounding_tol_per_line: Decimal = Decimal("0.005")
    rounding_abs: Decimal = Decimal("0.05")
    abs_floor: Decimal = Decimal("1.00")
    rel: Decimal = Decimal("0.005")
    cap: Decimal = Decimal("100.00")
    block_multiple: int = Field(default=3, ge=1)


class PricingPolicy(_Strict):
    """Rule 4.1: the price book. Nothing stands in for a missing price unless it is named here."""

    fallback_tiers: tuple[str, ...] = Field(
        default=(), description="tiers whose standard price stands in where they have none, marked as fallback"
    )


class AlertPolicy(_Strict):
    """Rules 4.7, 4.8, 5.4: when a component of the gap is somebody's alarm."""

    unproxied_pct: Decimal = Decimal("1.0")
    unproxied_day_usd: Decimal = Decimal("100.00")
    unpriced_rows_pct: Decimal = Decimal("0.1")
    unpriced_usd: Decimal = Decimal("25.00")
    provider_rate_pct: Decimal = Decimal("0.5")
    quantity_pct: Decimal = Decimal("1.0")
    credits_expiry_days: int = Field(default=60, ge=1)
    item_min_usd: Decimal = Decimal("1.00")
    write_off_controller_usd: Decimal = Decimal("100.00")
    coverage_target_pct: Decimal = Decimal("98.0")


class UnproxiedPolicy(_Strict):
    """Rule 5: spend that bypassed the proxy."""

    provider_key_decides: Literal["key_id", "key_id_else_project"] = "key_id"
    unproxied_value: Literal["actual", "list"] = "actual"
    bypass_tol_abs: Decimal = Decimal("1.00")
    bypass_tol_rel: Decimal = Decimal("0.10")
    exception_max_days: int = Field(default=90, ge=1, le=90)
    action_due_days: int = Field(default=14, ge=1, description="days from first seen until the action is due")


class SharedPoolPolicy(_Strict):
    """Rule 6.4: `shares` are ratios that add up to exactly 1 (fixed), or weights such as headcount (weighted)."""

    method: Literal["proportional", "even", "fixed", "weighted"] = "proportional"
    shares: dict[str, Decimal] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _can_split(self) -> "SharedPoolPolicy":
        total = sum(self.shares.values(), Decimal(0))
        if any(share < 0 for share in self.shares.values()):
            message = "a share is below zero"
            raise ValueError(message)
        if self.method == "fixed" and total != 1:
            message = f"the shares of a fixed method add up to {total}, not to 1"
            raise ValueError(message)
        if self.method == "weighted" and not total:
            message = "a weighted method needs a weight above zero"
            raise ValueError(message)
        return self


class ChargebackPolicy(_Strict):
    """Rule 6."""

    mode: Literal["showback", "chargeback"] = "showback"
    direct_weights: Literal["repriced_proxy_spend", "logged_proxy_spend"] = "repriced_proxy_spend"
    shared_pools: dict[Literal["non_token", "commitment"], SharedPoolPolicy] = Field(
        default_factory=dict, description="pools that are not split by direct use (Rule 6.4)"
    )
    tax_recoverable: bool = Field(default=False, description="VAT or GST that is a claim and no cost (Rule 1.7)")
    true_up_block_pct: Decimal = Field(default=Decimal("2.0"), description="of the logged direct spend (Rule 6.1)")
    dispute_days_after_close: int = Field(default=30, ge=0, le=90)
    invoiced_entity: str = Field(default="", description="who is invoiced; empty: the central cost center's entity")
    expense_account: str = "6420"
    clearing_account: str = Field(default="2150", description="what payables debit when they book the invoice")
    prepaid_account: str = Field(default="1450", description="the asset of prepaid credits (Rule 4.9)")
    accrued_account: str = Field(default="2160", description="accrued AI cost (Rule 2.2)")
    due_from_account: str = Field(default="1850", description="intercompany, at the invoiced entity")
    due_to_account: str = Field(default="2850", description="intercompany, at the other entity")
    input_tax_account: str = Field(default="1460", description="recoverable tax (Rule 1.7)")


class JournalPolicy(_Strict):
    """Rule 6.5: the target systems of the journal, and what their files need that no rule can know."""

    formats: tuple[Literal["netsuite", "xero", "qbo", "sap", "oracle"], ...] = (
        "netsuite",
        "xero",
        "qbo",
        "sap",
        "oracle",
    )
    values: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="by format: its own settings and tables (docs/journal.md)"
    )
    xero_tax_rate: str = "Tax Exempt"
    xero_amount_sign: Literal["debit_positive", "credit_positive"] = "debit_positive"


class PackPolicy(_Strict):
    """Rule 11.5."""

    focus_category_map: dict[str, str] = Field(
        default_factory=lambda: {
            "direct": "Usage",
            "true_up": "Usage",
            "unproxied": "Usage",
            "non_token": "Usage",
            "commitment": "Purchase",
            "seat": "Purchase",
            "prepaid": "Purchase",
            "credit": "Credit",
            "tax": "Tax",
            "central": "Adjustment",
            "prior_period": "Adjustment",
        }
    )


class CostPerPrPolicy(_Strict):
    """Rule 9.2."""

    agent_logins: tuple[str, ...] = Field(default=(), description="bots that are AI agents; their work counts")
    default_branch_only: bool = True


class PeriodPolicy(_Strict):
    """Rule 2.3."""

    late_log_watermark_days: int = Field(default=3, ge=0, le=30, description="days until a day is settled")
    provisional_days: int = Field(default=30, ge=0, le=90, description="provider figures younger than this may move")
    min_adjustment_usd: Decimal = Field(
        default=Decimal("1.00"), description="smaller corrections are listed (Rule 2.5)"
    )
    materiality_reopen_usd: Decimal = Field(
        default=Decimal("5000.00"), description="larger batches of corrections need the controller (Rule 2.5)"
    )


class ControlsPolicy(_Strict):
    """Rule 12."""

    future_skew_max_seconds: int = Field(default=3600, ge=0)
    end_before_start_max_seconds: int = Field(default=5, ge=0)


class Policy(_Strict):
    """The content of `policy.yaml`: versioned, and its SHA-256 goes into every pack."""

    money: MoneyPolicy = MoneyPolicy()
    attribution: AttributionPolicy = AttributionPolicy()
    recon: ReconPolicy = ReconPolicy()
    pricing: PricingPolicy = PricingPolicy()
    alerts: AlertPolicy = AlertPolicy()
    unproxied: UnproxiedPolicy = UnproxiedPolicy()
    chargeback: ChargebackPolicy = ChargebackPolicy()
    journal: JournalPolicy = JournalPolicy()
    pack: PackPolicy = PackPolicy()
    cost_per_pr: CostPerPrPolicy = CostPerPrPolicy()
    period: PeriodPolicy = PeriodPolicy()
    controls: ControlsPolicy = ControlsPolicy()
    providers: dict[str, dict[str, Any]] = Field(
        default_factory=lambda: {"openai": {"provider_key_decides": "key_id_else_project"}},
        description="leaves of recon, alerts, unproxied and chargeback that differ for one provider",
    )

    @model_validator(mode="after")
    def _overrides_are_known(self) -> "Policy":
        for provider in self.providers:
            self.of_provider(provider)
        return self

    def of_provider(self, provider: str) -> "Policy":
        """The policy with the provider's own leaves in place (rule book 0.2: those marked *)."""
        own = dict(self.providers.get(provider, {}))
        changed = {}
        for group in ("recon", "alerts", "unproxied", "chargeback"):
            section = getattr(self, group)
            mine = {name: own.pop(name) for name in list(own) if name in type(section).model_fields}
            if mine:
                changed[group] = type(section).model_validate(section.model_dump() | mine)
        if own:
            message = f"{', '.join(sorted(own))}: no leaf of that name may be set for one provider"
            raise ValueError(message)
        return self.model_copy(update=changed)

    def sha256(self) -> str:
        """Hash of the policy in force (defaults included), so that a default that moves is a change of policy."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def for_dbt(self) -> dict[str, Any]:
        """The leaves that per-call SQL reads; names equal the `vars:` of dbt_project.yml."""
        return {
            "suspense": self.attribution.suspense,
            "placeholder_users": list(self.attribution.placeholder_users),
            "taxonomy": list(self.attribution.taxonomy),
            "max_successor_chain": self.attribution.max_successor_chain,
            "future_skew_max_seconds": self.controls.future_skew_max_seconds,
            "end_before_start_max_seconds": self.controls.end_before_start_max_seconds,
            "fallback_tiers": list(self.pricing.fallback_tiers),
        }
