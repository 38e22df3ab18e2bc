"""How amounts, shares and months read on the report, the same in every locale (Rule 11.6).

Belongs here: numbers and names as text for people. Does not belong here: which figures are shown (`report_words`).
"""

from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from tokengov_pipelines.domain.period import BillingMonth

MINUS: Final = "\N{MINUS SIGN}"
NOTHING: Final = "\N{EN DASH}"
"""Stands where there is no figure; 0.00 is a figure."""

_MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_STEPS: Final = ((Decimal(10) ** 9, "bn"), (Decimal(10) ** 6, "m"), (Decimal(10) ** 3, "k"))


def money(amount: Decimal, *, signed: bool = False) -> str:
    """An amount with the decimals that it has, thousands apart and a real minus sign: 12,345.67."""
    sign = "+" if signed and amount else ""
    return f"{amount:{sign},f}".replace("-", MINUS)


def compact(amount: Decimal) -> str:
    """An amount in at most five characters or so, for an axis: 950, 12.3k, 1.5m."""
    for size, word in _STEPS:
        if abs(amount) >= size:
            scaled = amount / size
            places = Decimal("0.1") if abs(scaled) < 100 else Decimal(1)
            return f"{scaled.quantize(places, ROUND_HALF_UP):f}".removesuffix(".0").replace("-", MINUS) + word
    places = Decimal("0.01") if amount and abs(amount) < 10 else Decimal(1)
    return f"{amount.quantize(places, ROUND_HALF_UP):f}".replace("-", MINUS)


def month_name(month: BillingMonth) -> str:
    """'October 2026'."""
    return f"{_MONTHS[month.month - 1]} {month.year}"


def short_month(month: BillingMonth) -> str:
    """'Oct'."""
    return _MONTHS[month.month - 1][:3]


def shortened(text: str, length: int) -> str:
    """The text without unprintable characters, cut at `length` with an ellipsis."""
    clean = "".join(each for each in text if each.isprintable())
    return clean if len(clean) <= length else f"{clean[: length - 1].rstrip()}…"


def plural(count: int, one: str, many: str = "") -> str:
    """'1 invoice', '3 invoices'."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
