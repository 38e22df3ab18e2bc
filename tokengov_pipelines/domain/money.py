"""Money: the one door into Decimal, the one rounding, the one way to split and the one way to foot (rules 1.1 to 1.6).

Belongs here: exact arithmetic on amounts. Everything is done on integers or in a context that refuses to lose a digit,
so no answer depends on the caller's decimal context. Does not belong here: who pays (`allocation`), what a month is
(`period`), which rate applies (the FX table), formatting for people (`pack`).
"""

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal, Inexact, InvalidOperation, Overflow
from typing import Final, TypeVar

Label = TypeVar("Label", bound=Hashable)

INTERNAL_SCALE: Final = 12
"""Decimals of an exact amount, DECIMAL(38,12) (rule 1.1)."""

POSTING_SCALE: Final = 2
"""Decimals of a posted amount in most currencies (rule 1.1)."""

_NUMBER: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,4})?", re.ASCII)
_INTEGER_DIGITS: Final = 38 - INTERNAL_SCALE
_MOST_DECIMALS: Final = 400  # the smallest float, 5e-324, still passes; 1e-999999999 would fill the memory
_EXACT: Final = Context(prec=3000, traps=[InvalidOperation, Inexact, Overflow])
_ROUNDING: Final = Context(prec=3000, rounding=ROUND_HALF_UP, traps=[InvalidOperation, Overflow])


_ZERO: Final = Decimal(0)
_ONE: Final = Decimal(1)


class MoneyError(ValueError):
    """A value that is not an amount, or an operation on amounts that has no exact answer."""


class ZeroWeights(MoneyError):  # noqa: N818 - names the situation the caller has to decide (rules 1.4, 6.2)
    """Every weight is zero, so no share is defined: the caller decides (even split, or central)."""


def usd(value: Decimal | int | str) -> Decimal:
    """The only door into money (rule 1.2): an exact Decimal, or `MoneyError` saying what to write instead.

    A float raises: read JSON with `parse_float=Decimal`, Postgres with `spend::text`. Text is a plain or an exponent
    number ('12.50', '-3', '1.2e-05') without blanks, thousands separators or currency signs. The digits are kept as
    they are (see `quantize_internal`); only a negative zero loses its sign.
    """
    if isinstance(value, bool) or not isinstance(value, (Decimal, int, str)):
        raise MoneyError(_refusal(value))
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        message = f"{_shown(value)} is not an amount. Write digits with a decimal point, such as 1234.56 or -50.00."
        raise MoneyError(message)
    amount = Decimal(value)
    if not amount.is_finite():
        message = f"{amount} is not an amount: NaN and Infinity are rejected at the door. Quarantine the row it is in."
        raise MoneyError(message)
    exponent = int(amount.as_tuple().exponent)
    if not -_MOST_DECIMALS <= exponent <= _INTEGER_DIGITS or (amount and amount.adjusted() >= _INTEGER_DIGITS):
        message = (
            f"{_shown(str(amount))} is no amount of money: at most {_INTEGER_DIGITS} digits before the point and "
            f"{_MOST_DECIMALS} after it. Check the unit."
        )
        raise MoneyError(message)
    return amount if amount else amount.copy_abs()


def quantize_internal(amount: Decimal) -> Decimal:
    """The amount with 12 decimals, half away from zero: what a DECIMAL(38,12) column holds (rules 1.1, 1.2)."""
    return _quantize(amount, INTERNAL_SCALE)


def round_posting(amount: Decimal, scale: int = POSTING_SCALE) -> Decimal:
    """The amount as a posting line holds it: `scale` decimals, half away from zero (rule 1.3).

    Round once, here, at the end: 2.665 gives 2.67 and -2.665 gives -2.67. Never round rows and add them up.
    """
    return _quantize(amount, scale)


def to_cents(amount: Decimal, scale: int = POSTING_SCALE) -> int:
    """`round_posting` counted in minor units: 2.665 is 267 cents (rule 1.3)."""
    return int(_EXACT.scaleb(_quantize(amount, scale), scale))


def from_cents(units: int, scale: int = POSTING_SCALE) -> Decimal:
    """A number of minor units as an amount: 267 cents are 2.67."""
    return _EXACT.scaleb(Decimal(units), -scale)


def exact_sum(amounts: Iterable[Decimal | int]) -> Decimal:
    """The sum with every digit kept: the built-in sum() rounds at 28 digits, whatever the amounts need."""
    total = _ZERO
    for amount in amounts:
        # A Decimal is added as it is; what it may not be (NaN, infinite) is told by the total.
        total = _EXACT.add(total, amount if type(amount) is Decimal else usd(amount))
    if not total.is_finite():
        return usd(total)  # raises, in the words of the door
    return total if total else total.copy_abs()


def exact_product(*factors: Decimal | int) -> Decimal:
    """The product with every digit kept, such as tokens x price; round it once, at the posting line (rule 1.3)."""
    product = _ONE
    for factor in factors:
        if type(factor) is int:
            factor = Decimal(factor)
        product = _EXACT.multiply(product, factor if type(factor) is Decimal else usd(factor))
    return product if product.is_finite() else usd(product)


def allocate(
    total: Decimal | int, weights: Mapping[str, Decimal | int], *, scale: int = POSTING_SCALE
) -> dict[str, Decimal]:
    """Split `total` over the codes of `weights` by largest remainder (rule 1.4), in ascending bytewise code order.

    The parts have `scale` decimals, add up to `total` exactly, and each is within one minor unit of its exact share.
    Missing minor units go to the largest fractional parts; ties to the lowest code. A negative total mirrors the
    positive one, so a credit note reverses a charge to the cent. A code of weight zero gets zero.

    Raises `ZeroWeights` when every weight is zero, `MoneyError` when there is no code, when a weight is negative or
    not a number, or when the total is not a whole number of minor units.
    """
    units = _whole_units(usd(total), scale, "the total to allocate")
    if not weights:
        message = f"{total} cannot be allocated over no codes. Pass at least one weight."
        raise MoneyError(message)
    codes = sorted(weights, key=_bytewise)
    exact_weights = [usd(weights[code]) for code in codes]
    for code, weight in zip(codes, exact_weights, strict=True):
        if weight < 0:
            message = (
                f"the weight of {code!r} is {weight}. Weights are zero or more; foot() takes amounts of either sign."
            )
            raise MoneyError(message)
    integers, _ = _as_integers(exact_weights)
    whole = sum(integers)
    if whole == 0:
        message = (
            f"{total} cannot be allocated: all {len(codes)} weights are zero. The caller decides (rules 1.4, 6.2)."
        )
        raise ZeroWeights(message)
    shares = [divmod(abs(units) * integer, whole) for integer in integers]
    parts = _give_missing([floor for floor, _ in shares], [fraction for _, fraction in shares], abs(units))
    sign = -1 if units < 0 else 1
    return {code: from_cents(sign * part, scale) for code, part in zip(codes, parts, strict=True)}


def allocate_evenly(total: Decimal | int, codes: Iterable[str], *, scale: int = POSTING_SCALE) -> dict[str, Decimal]:
    """Split `total` evenly over the codes: the policy for explicit shared pools without weights (rule 1.4).

    100.00 over three is 33.34, 33.33, 33.33. Raises `MoneyError` for a code that is listed twice.
    """
    listed = list(codes)
    weights = dict.fromkeys(listed, 1)
    if len(weights) != len(listed):
        twice = sorted({code for code in listed if listed.count(code) > 1}, key=_bytewise)
        message = f"codes listed twice in an even split: {', '.join(twice)}. List each code once."
        raise MoneyError(message)
    return allocate(total, weights, scale=scale)


def foot(
    exacts: Sequence[tuple[Label, Decimal]], total: Decimal | int, *, scale: int = POSTING_SCALE
) -> list[tuple[Label, Decimal]]:
    """Round exact amounts of either sign so that they add up to `total` (rule 1.4b), in the listed order.

    Each amount is floored toward minus infinity; the missing minor units go one by one to the largest fractional
    parts, ties in listed order (sort by code first where the items carry codes). `total` has to be the rounded sum of
    the exact amounts; anything else raises `MoneyError`, because footing must not hide a difference.
    """
    units = _whole_units(usd(total), scale, "the total to foot to")
    integers, places = _as_integers([usd(exact) for _, exact in exacts], at_least=scale)
    one_unit = 10 ** (places - scale)
    rounded_sum = to_cents(from_cents(sum(integers), places), scale)
    if rounded_sum != units:
        message = (
            f"the {len(exacts)} amounts add up to {from_cents(rounded_sum, scale)}, not to {from_cents(units, scale)}. "
            "Find the missing line; foot() only distributes the rounding."
        )
        raise MoneyError(message)
    floors = [integer // one_unit for integer in integers]
    fractions = [integer % one_unit for integer in integers]
    parts = _give_missing(floors, fractions, units)
    return [(label, from_cents(part, scale)) for (label, _), part in zip(exacts, parts, strict=True)]


def ratio_at_least(numerator: Decimal | int, denominator: Decimal | int, threshold: Decimal | int) -> bool:
    """Whether numerator / denominator >= threshold, by cross multiplication (rule 1.3): no division, no rounding.

    `threshold` is a ratio: 80 % is Decimal('0.80'). A denominator of zero or less raises `MoneyError`: what a share of
    nothing means is the caller's rule.
    """
    return usd(numerator) >= exact_product(_whole(denominator), threshold)


def ratio_exceeds(numerator: Decimal | int, denominator: Decimal | int, threshold: Decimal | int) -> bool:
    """Whether numerator / denominator > threshold: `ratio_at_least` with the strict comparison (rule 1.3)."""
    return usd(numerator) > exact_product(_whole(denominator), threshold)


_ISO_4217: Final[Mapping[int, str]] = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: (
        "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF "
        "CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL "
        "HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU "
        "MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR "
        "SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED "
        "VES WST XCD XCG YER ZAR ZMW ZWG"
    ),
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
_MINOR_UNITS: Final = {code: scale for scale, codes in _ISO_4217.items() for code in codes.split()}


def minor_unit_scale(currency: str) -> int:
    """Decimals of the currency's ISO 4217 minor unit: USD and EUR 2, JPY 0, KWD 3 (rule 1.1).

    `currency` is the three-letter code in capitals; anything else raises `MoneyError`, never a silent 2.
    """
    scale = _MINOR_UNITS.get(currency)
    if scale is None:
        message = f"{_shown(currency)} is not an ISO 4217 currency code. Write three capitals, such as USD or EUR."
        raise MoneyError(message)
    return scale


@dataclass(frozen=True)
class ConvertedLines:
    """Charge lines in another currency: they add up to `total`, which was converted once (rule 1.6)."""

    currency: str
    total: Decimal
    lines: dict[tuple[str, str], Decimal]


def convert_lines(
    lines: Mapping[tuple[str, str], Decimal], rate: Decimal, *, from_currency: str, to_currency: str
) -> ConvertedLines:
    """Convert allocated charge lines at one rate (rule 1.6): the total once, then the lines footed to it.

    `lines` maps (charge type, cost center) to its part of the invoice, already allocated in the invoice's currency to
    its minor unit; credits may be negative. Returned in that key's bytewise order, which also breaks ties. Raises
    `MoneyError` for a rate that is missing or not positive (never assumed to be 1).
    """
    exact_rate = usd(rate)
    if exact_rate <= 0:
        message = f"the rate {from_currency} to {to_currency} is {rate}; a rate is positive. Correct the FX rate table."
        raise MoneyError(message)
    from_scale, to_scale = minor_unit_scale(from_currency), minor_unit_scale(to_currency)
    keys = sorted(lines, key=lambda key: (_bytewise(key[0]), _bytewise(key[1])))
    units = [_whole_units(usd(lines[key]), from_scale, f"the {from_currency} line {key}") for key in keys]
    total = round_posting(exact_product(from_cents(sum(units), from_scale), exact_rate), to_scale)
    exacts = [
        (key, exact_product(from_cents(unit, from_scale), exact_rate)) for key, unit in zip(keys, units, strict=True)
    ]
    return ConvertedLines(to_currency, total, dict(foot(exacts, total, scale=to_scale)))


def _quantize(amount: Decimal, scale: int) -> Decimal:
    rounded = usd(amount).quantize(Decimal(1).scaleb(-scale), context=_ROUNDING)
    return rounded if rounded else rounded.copy_abs()  # -0.004 is 0.00, not -0.00


def _whole_units(amount: Decimal, scale: int, what: str) -> int:
    if _quantize(amount, scale) != amount:
        unit = from_cents(1, scale)
        message = f"{what} is {amount}, not a whole number of units of {unit}. Round it once, with round_posting()."
        raise MoneyError(message)
    return to_cents(amount, scale)


def _as_integers(amounts: Sequence[Decimal], at_least: int = 0) -> tuple[list[int], int]:
    """The amounts times 10**places as integers, with the fewest places that keep every digit."""
    places = max((-int(amount.as_tuple().exponent) for amount in amounts), default=0)
    places = max(places, at_least)
    return [int(_EXACT.scaleb(amount, places)) for amount in amounts], places


def _give_missing(floors: Sequence[int], fractions: Sequence[int], total: int) -> list[int]:
    """Add one unit to the largest fractions until the floors add up to `total`; a stable sort, so ties by position."""
    parts = list(floors)
    missing = total - sum(parts)
    for position in sorted(range(len(parts)), key=lambda position: -fractions[position])[:missing]:
        parts[position] += 1
    return parts


def _whole(denominator: Decimal | int) -> Decimal:
    base = usd(denominator)
    if base <= 0:
        message = (
            f"a share of {denominator} is not defined. Decide before the comparison what a share of nothing means."
        )
        raise MoneyError(message)
    return base


def _bytewise(code: str) -> bytes:
    return code.encode("utf-8", "surrogatepass")


def _refusal(value: object) -> str:
    if isinstance(value, float):
        return f"{value!r} is a float, and money is exact. Pass Decimal, int or text (JSON: parse_float=Decimal)."
    if value is None:
        return "the amount is missing (None). An absent amount is not zero: quarantine the row or write 0."
    return f"{type(value).__name__} is not an amount. Pass Decimal, int or text."


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")
