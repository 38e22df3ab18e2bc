"""A cloud's bill as leg B of the match: what the cloud metered and charged, by the caller where the bill names it.

Belongs here: charges as `ProviderUsage` and `ReportedCost`, and which charges are neither. Does not belong here:
reading bills (`cloud_charge`), which keys are the proxy's own (`legs.KeyRegistry`), the match (`waterfall`).

Amazon Bedrock: the key is the caller's role or user (rule 5.1), the workspace the account that used it. Vertex AI and
Azure name no caller: the workspace, a project or a resource, decides (policy `key_id_else_project`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tokengov_pipelines.domain.cloud_charge import Charge
from tokengov_pipelines.domain.cloud_meters import AZURE
from tokengov_pipelines.domain.legs import ProviderUsage, ReportedCost

TOKENS: Final = "tokens"
UNMAPPED: Final = "unmapped"


@dataclass(frozen=True)
class BilledUsage:
    """Charges as leg B. Every charge is in exactly one of `costs`, `not_usage` and `other_currency`.

    `without_tokens` are charges in `costs` whose token type or count the bill does not say: items, not zero.
    `not_usage` (purchases, credits, tax, adjustments) belongs to the invoice, leg C. `caller_unknown` are charges of
    exports without the caller's column: their null key means nobody asked, not that it was the console.
    """

    usage: tuple[ProviderUsage, ...]
    costs: tuple[ReportedCost, ...]
    without_tokens: tuple[Charge, ...]
    not_usage: tuple[Charge, ...]
    other_currency: tuple[Charge, ...]
    caller_unknown: tuple[Charge, ...]


def principal_usage(charges: Iterable[Charge], currency: str = "USD") -> BilledUsage:
    """Charges in the books' currency as provider usage and reported cost, a record a charge, in the given order."""
    listed = list(charges)
    in_currency = [charge for charge in listed if charge.currency == currency]
    usage = [charge for charge in in_currency if charge.charge_category == "Usage"]
    return BilledUsage(
        usage=tuple(_usage(charge) for charge in usage if _is_counted(charge)),
        costs=tuple(_cost(charge) for charge in usage),
        without_tokens=tuple(charge for charge in usage if not _is_counted(charge)),
        not_usage=tuple(charge for charge in in_currency if charge.charge_category != "Usage"),
        other_currency=tuple(charge for charge in listed if charge.currency != currency),
        caller_unknown=tuple(charge for charge in usage if not charge.has_principal_column),
    )


def workspace_of(charge: Charge) -> str | None:
    """What a registry can name where no caller is known: the using account, the project, or Azure's resource."""
    return (charge.resource_id or charge.sub_account) if charge.provider == AZURE else charge.sub_account


def _is_counted(charge: Charge) -> bool:
    return charge.token_type is not None and charge.tokens is not None


def _usage(charge: Charge) -> ProviderUsage:
    return ProviderUsage(
        day=charge.usage_date,
        provider=charge.provider,
        account=charge.account,
        key_id=charge.principal,
        workspace_id=workspace_of(charge),
        model=charge.model,
        tier=charge.tier,
        token_type=charge.token_type or "",
        tokens=charge.tokens or 0,
    )


def _cost(charge: Charge) -> ReportedCost:
    return ReportedCost(
        day=charge.usage_date,
        provider=charge.provider,
        account=charge.account,
        key_id=charge.principal,
        workspace_id=workspace_of(charge),
        model=charge.model,
        cost_type=TOKENS if charge.token_type else UNMAPPED,
        token_type=charge.token_type,
        tier=charge.tier,
        amount=charge.billed_amount,
        line_item=charge.sku_meter,
        list_amount=charge.list_amount,
    )
