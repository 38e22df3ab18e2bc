"""Rules 1.1 to 1.6: every worked example of the rule book, and the laws of splitting and footing."""

import decimal
import time
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokengov_pipelines.domain.money import (
    MoneyError,
    ZeroWeights,
    allocate,
    allocate_evenly,
    convert_lines,
    exact_product,
    exact_sum,
    foot,
    from_cents,
    minor_unit_scale,
    quantize_internal,
    ratio_at_least,
    ratio_exceeds,
    round_posting,
    to_cents,
    usd,
)

D = Decimal


class TestTheDoor:
    @pytest.mark.parametrize(
        ("value", "amount"),
        [
            ("12.50", D("12.50")),
            ("-3", D(-3)),
            ("+0.1", D("0.1")),
            ("1.2e-05", D("0.000012")),
            (".5", D("0.5")),
            ("5.", D(5)),
            (7, D(7)),
            (D("1.855"), D("1.855")),
            ("5e-324", D("5e-324")),
        ],
    )
    def test_takes_exact_values_as_they_are(self, value, amount):
        assert usd(value) == amount

    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            (1.0, "is a float"),
            (float("nan"), "is a float"),
            (None, "missing"),
            (True, "bool"),
            (False, "bool"),
            (b"1", "bytes"),
            ([1], "list"),
            (D("NaN"), "NaN"),
            (D("sNaN"), "NaN"),
            (D("Infinity"), "Infinity"),
            (D("-Infinity"), "Infinity"),
            ("NaN", "is not an amount"),
            ("inf", "is not an amount"),
            ("", "is not an amount"),
            (" 1", "is not an amount"),
            ("1\n", "is not an amount"),
            ("1,000.00", "is not an amount"),
            ("1_000", "is not an amount"),
            ("$5", "is not an amount"),
            ("١٢", "is not an amount"),
            ("0x10", "is not an amount"),
            ("1e99", "at most 26 digits"),
            ("1e-9999", "at most 26 digits"),
            (D("1e999999"), "at most 26 digits"),
            (D("0e999999"), "at most 26 digits"),
            (10**26, "at most 26 digits"),
        ],
    )
    def test_refuses_everything_else_and_says_why(self, value, reason):
        with pytest.raises(MoneyError, match=reason):
            usd(value)

    def test_the_largest_amount_of_a_decimal_38_12_passes(self):
        assert usd("9" * 26 + "." + "9" * 12)

    def test_a_negative_zero_loses_its_sign(self):
        assert str(usd("-0.00")) == "0.00"
        assert str(round_posting(D("-0.004"))) == "0.00"

    def test_a_long_value_is_not_repeated_in_full(self):
        with pytest.raises(MoneyError) as caught:
            usd("x" * 10_000)
        assert len(str(caught.value)) < 200

    def test_a_float_that_python_added_up_comes_out_clean(self):
        """Rule 1.2: 0.1 + 0.2 as rows is 0.300000000000."""
        assert str(quantize_internal(usd(repr(0.1 + 0.2)))) == "0.300000000000"
        assert str(quantize_internal(exact_sum([usd(repr(0.1)), usd(repr(0.2))]))) == "0.300000000000"


class TestRounding:
    @pytest.mark.parametrize(
        ("exact", "posted"),
        [("2.665", "2.67"), ("-2.665", "-2.67"), ("0.005", "0.01"), ("-0.005", "-0.01"), ("2", "2.00")],
    )
    def test_is_half_away_from_zero(self, exact, posted):
        """Rule 1.3."""
        assert str(round_posting(D(exact))) == posted

    def test_rounds_once_at_the_posting_line(self):
        """Rule 1.3: eight rows of 4.211605390123 are 4.21; rounding each row and adding up gives 4.20."""
        rows = [D("0.524")] * 4 + [D("0.529")] * 3 + [D("0.528605390123")]
        assert exact_sum(rows) == D("4.211605390123")
        assert round_posting(exact_sum(rows)) == D("4.21")
        assert exact_sum(round_posting(row) for row in rows) == D("4.20")

    def test_to_twelve_decimals_is_half_away_from_zero_too(self):
        assert quantize_internal(D("0.0000000000005")) == D("0.000000000001")

    def test_other_minor_units(self):
        assert str(round_posting(D("1234.5"), 0)) == "1235"
        assert str(round_posting(D("1.2345"), 3)) == "1.235"

    def test_counts_minor_units_and_back(self):
        assert to_cents(D("2.665")) == 267
        assert to_cents(D("-2.665")) == -267
        assert from_cents(267) == D("2.67")
        assert from_cents(-5, 3) == D("-0.005")

    def test_does_not_depend_on_the_callers_decimal_context(self):
        with decimal.localcontext(decimal.Context(prec=4, rounding=decimal.ROUND_DOWN)):
            assert round_posting(D("123456.785")) == D("123456.79")
            assert exact_sum([D("123456.78"), D("0.000000000001")]) == D("123456.780000000001")
            assert exact_product(D("123456.78"), D("1.0837")) == D("133790.112486")
            assert allocate(D("123456.78"), {"a": 1, "b": 1})["a"] == D("61728.39")


class TestAllocate:
    @pytest.mark.parametrize(
        ("total", "weights", "parts"),
        [
            ("100.00", (1, 1, 1), ("33.34", "33.33", "33.33")),
            ("0.05", (30, 70), ("0.02", "0.03")),
            ("10.00", (1, 2, 4), ("1.43", "2.86", "5.71")),
            ("300.00", (170, 140), ("164.52", "135.48")),  # rule 2.2
            ("1234.56", (50, 30, 20), ("617.28", "370.37", "246.91")),  # rule 1.6
            ("162.34", (100, 50), ("108.23", "54.11")),  # rule 2.5
            ("162.34", (D("112.34"), 50), ("112.34", "50.00")),  # rule 2.5
            ("0.00", (1, 2), ("0.00", "0.00")),
        ],
    )
    def test_worked_examples(self, total, weights, parts):
        """Rule 1.4."""
        codes = [f"CC-{number}00" for number in range(1, len(weights) + 1)]
        expected = dict(zip(codes, map(D, parts), strict=True))
        assert allocate(D(total), dict(zip(codes, weights, strict=True))) == expected

    def test_ties_go_to_the_lowest_code_bytewise_whatever_the_order(self):
        # U+FF21 sorts before U+10000 by code point and in UTF-8; UTF-16 would turn the two around
        assert allocate(D("0.01"), {"\U00010000": 1, "\uff21": 1}) == {"\uff21": D("0.01"), "\U00010000": D("0.00")}
        assert allocate(D("0.01"), {"b": 1, "a": 1, "B": 1}) == {"B": D("0.01"), "a": D(0), "b": D(0)}
        assert list(allocate(D(1), {"b": 1, "a": 1, "B": 1})) == ["B", "a", "b"]

    def test_a_credit_note_mirrors_the_charge(self):
        charge = allocate(D("10.00"), {"a": 1, "b": 2, "c": 4})
        credit = allocate(D("-10.00"), {"a": 1, "b": 2, "c": 4})
        assert credit == {code: -part for code, part in charge.items()}
        assert str(allocate(D("-0.01"), {"a": 1, "b": 0})["b"]) == "0.00"

    def test_other_minor_units(self):
        assert allocate(100, {"a": 1, "b": 1, "c": 1}, scale=0) == {"a": D(34), "b": D(33), "c": D(33)}
        assert allocate(D("0.001"), {"a": 1, "b": 1}, scale=3) == {"a": D("0.001"), "b": D(0)}

    def test_all_zero_weights_are_the_callers_decision(self):
        with pytest.raises(ZeroWeights, match="all 2 weights are zero"):
            allocate(D(1), {"a": 0, "b": D("0.00")})

    @pytest.mark.parametrize(
        ("total", "weights", "reason"),
        [
            (D("1.005"), {"a": 1}, "not a whole number of units of 0.01"),
            (D(1), {}, "no codes"),
            (D(1), {"a": -1, "b": 2}, "the weight of 'a' is -1"),
            (D(1), {"a": 0.5}, "is a float"),
            (1.0, {"a": 1}, "is a float"),
            (D(1), {"a": D("NaN")}, "NaN"),
        ],
    )
    def test_refuses_what_has_no_exact_answer(self, total, weights, reason):
        with pytest.raises(MoneyError, match=reason) as caught:
            allocate(total, weights)
        assert not isinstance(caught.value, ZeroWeights)

    def test_evenly(self):
        assert allocate_evenly(D("100.00"), ["c", "b", "a"]) == {"a": D("33.34"), "b": D("33.33"), "c": D("33.33")}
        with pytest.raises(MoneyError, match="listed twice in an even split: a"):
            allocate_evenly(D(1), ["a", "a", "b"])

    def test_a_hundred_thousand_lines(self):
        weights = {f"CC-{number:06d}": D(number % 977) / 8 for number in range(100_000)}
        started = time.perf_counter()
        parts = allocate(D("1234567.89"), weights)
        assert time.perf_counter() - started < 20
        assert exact_sum(parts.values()) == D("1234567.89")


class TestFoot:
    def test_worked_example(self):
        """Rule 1.4b."""
        exacts = [("a", D("1.005")), ("b", D("-1.005")), ("c", D("0.333"))]
        assert foot(exacts, D("0.33")) == [("a", D("1.01")), ("b", D("-1.01")), ("c", D("0.33"))]

    def test_ties_go_in_listed_order(self):
        assert foot([("b", D("0.005")), ("a", D("0.005"))], D("0.01")) == [("b", D("0.01")), ("a", D("0.00"))]

    def test_labels_may_repeat_and_nothing_foots_to_zero(self):
        assert foot([("x", D("0.5")), ("x", D("0.5"))], 1) == [("x", D("0.50")), ("x", D("0.50"))]
        assert foot([], D(0)) == []

    def test_does_not_hide_a_difference(self):
        with pytest.raises(MoneyError, match=r"add up to 0.33, not to 0.34"):
            foot([("a", D("0.333"))], D("0.34"))

    def test_the_total_is_whole_cents(self):
        with pytest.raises(MoneyError, match="not a whole number"):
            foot([("a", D("0.333"))], D("0.333"))


class TestRatios:
    def test_are_compared_without_dividing(self):
        """Rule 1.3: spend x 100 >= budget x 80."""
        assert ratio_at_least(D("79.99"), D("99.9875"), D("0.80"))
        assert not ratio_at_least(D("79.98"), D("99.9875"), D("0.80"))
        third = D("33.333333333333")
        assert not ratio_at_least(third, 100, exact_product(third, D("0.01")) + D("1e-20"))

    def test_strictly(self):
        """Suspense of exactly 2 % is allowed (rule 2.4)."""
        assert not ratio_exceeds(D("2.00"), D("100.00"), D("0.02"))
        assert ratio_exceeds(D("50.53"), D("928.08"), D("0.02"))

    @pytest.mark.parametrize("denominator", [0, D("0.00"), D(-1)])
    def test_a_share_of_nothing_is_not_defined(self, denominator):
        with pytest.raises(MoneyError, match="is not defined"):
            ratio_at_least(1, denominator, D("0.8"))


class TestCurrencies:
    @pytest.mark.parametrize(
        ("code", "scale"), [("USD", 2), ("EUR", 2), ("JPY", 0), ("KWD", 3), ("CLF", 4), ("XOF", 0)]
    )
    def test_minor_units(self, code, scale):
        assert minor_unit_scale(code) == scale

    @pytest.mark.parametrize("code", ["usd", "", "XXX", "BTC", "US"])
    def test_unknown_codes_are_refused(self, code):
        with pytest.raises(MoneyError, match="ISO 4217"):
            minor_unit_scale(code)

    def test_worked_example(self):
        """Rule 1.6: EUR 1234.56 x 1.0837; the total converts once and the lines foot to it."""
        parts = allocate(D("1234.56"), {"CC-100": 50, "CC-200": 30, "CC-300": 20})
        lines = {("direct", code): part for code, part in parts.items()}
        converted = convert_lines(lines, D("1.0837"), from_currency="EUR", to_currency="USD")
        assert exact_product(D("1234.56"), D("1.0837")) == D("1337.892672")
        assert converted.total == D("1337.89")
        assert list(converted.lines.items()) == [
            (("direct", "CC-100"), D("668.94")),
            (("direct", "CC-200"), D("401.37")),
            (("direct", "CC-300"), D("267.58")),
        ]
        paid = round_posting(exact_product(D("1234.56"), D("1.0901")))
        assert paid == D("1345.79")
        assert paid - converted.total == D("7.90")

    def test_a_cost_center_in_credit_is_no_special_case(self):
        lines = {("direct", "CC-1"): D("10.01"), ("credits", "CC-1"): D("-20.01"), ("direct", "CC-2"): D("5.55")}
        converted = convert_lines(lines, D("1.0837"), from_currency="EUR", to_currency="USD")
        assert list(converted.lines) == [("credits", "CC-1"), ("direct", "CC-1"), ("direct", "CC-2")]
        assert exact_sum(converted.lines.values()) == converted.total == D("-4.82")

    def test_into_a_currency_without_cents(self):
        converted = convert_lines({("direct", "a"): D("0.50")}, D("149.3"), from_currency="USD", to_currency="JPY")
        assert (str(converted.total), converted.currency) == ("75", "JPY")

    @pytest.mark.parametrize("rate", [D(0), D(-1), None, 1.08])
    def test_a_rate_is_never_assumed(self, rate):
        with pytest.raises(MoneyError):
            convert_lines({("direct", "a"): D(1)}, rate, from_currency="EUR", to_currency="USD")

    def test_lines_are_whole_minor_units(self):
        with pytest.raises(MoneyError, match="EUR line"):
            convert_lines({("direct", "a"): D("1.005")}, D(1), from_currency="EUR", to_currency="USD")


cents = st.integers(-(10**12), 10**12).map(from_cents)
weight = st.one_of(st.just(D(0)), st.decimals(0, 10**9, places=12, allow_nan=False), st.integers(0, 10**15))
weights = st.dictionaries(st.text(max_size=8), weight, min_size=1, max_size=40)
exact = st.decimals(-(10**9), 10**9, places=12, allow_nan=False)


@given(cents, weights)
def test_allocate_keeps_the_total_and_each_share(total, by_code):
    if not any(by_code.values()):
        with pytest.raises(ZeroWeights):
            allocate(total, by_code)
        return
    parts = allocate(total, by_code)
    whole = sum(Fraction(value) for value in by_code.values())
    assert exact_sum(parts.values()) == total
    assert parts.keys() == by_code.keys()
    for code, part in parts.items():
        share = Fraction(total) * Fraction(by_code[code]) / whole
        assert abs(Fraction(part) - share) < Fraction(1, 100)
        assert part == 0 or by_code[code] != 0
    assert allocate(-total, by_code) == {code: -part for code, part in parts.items()}
    assert allocate(total, dict(reversed(by_code.items()))) == parts


@given(cents, weights, st.integers(1, 10**6))
def test_allocate_looks_at_the_proportions_only(total, by_code, factor):
    if any(by_code.values()):
        scaled = {code: exact_product(value, factor) for code, value in by_code.items()}
        assert allocate(total, scaled) == allocate(total, by_code)


@given(st.lists(exact, max_size=60))
def test_foot_keeps_the_total_and_each_amount(exacts):
    total = round_posting(exact_sum(exacts))
    footed = foot([(position, value) for position, value in enumerate(exacts)], total)
    assert exact_sum(part for _, part in footed) == total
    assert [position for position, _ in footed] == list(range(len(exacts)))
    for (_, part), value in zip(footed, exacts, strict=True):
        assert abs(part - value) < D("0.01")


@given(st.lists(exact, max_size=20), st.integers(-5, 5).filter(bool))
def test_foot_refuses_any_other_total(exacts, off):
    with pytest.raises(MoneyError):
        foot([("x", value) for value in exacts], round_posting(exact_sum(exacts)) + from_cents(off))


@settings(max_examples=50)
@given(weights, st.decimals("0.0001", 1000, places=6, allow_nan=False), cents)
def test_converted_lines_add_up_to_the_converted_total(by_code, rate, total):
    if any(by_code.values()):
        lines = {("direct", code): part for code, part in allocate(total, by_code).items()}
        converted = convert_lines(lines, rate, from_currency="EUR", to_currency="USD")
        assert exact_sum(converted.lines.values()) == converted.total == round_posting(exact_product(total, rate))
