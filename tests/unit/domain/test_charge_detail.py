"""The drill table: teams, models and use cases that add up to every line, in both currencies (Rule 6.9)."""

from collections import defaultdict
from dataclasses import replace
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.charges import CENTERS, CENTRAL, CODES, OCTOBER, POLICY, SUSPENSE, basis, billed, charged, header
from tokengov_pipelines.domain.attribution import Rung
from tokengov_pipelines.domain.charge_detail import UsedBy, detail_lines, detail_order
from tokengov_pipelines.domain.chargeback import PriorPeriodCharge, charge_month
from tokengov_pipelines.domain.money import exact_sum, from_cents, round_posting
from tokengov_pipelines.domain.period import BillingMonth

D = Decimal
NAMES = {"t-1": "Payments", "t-2": "Search"}
OPUS, HAIKU = "claude-opus-4-8", "claude-haiku-4-5"


def used(team, logged, repriced=None, model=OPUS, use_case="refactor", tokens=0, rung=Rung.TEAM_METADATA):
    return UsedBy(team, model, use_case, rung, D(logged), D(logged if repriced is None else repriced), tokens)


def of_invoice(by_center, provider="anthropic", invoice_id="INV-19"):
    return {(provider, invoice_id, code): rows for code, rows in by_center.items()}


def detail(lines, by_center):
    return detail_lines(lines, of_invoice(by_center), NAMES)


def shown(lines, charge_type):
    return [
        (line.cost_center, line.team_id, line.model, line.use_case, str(line.amount))
        for line in lines
        if line.charge_type == charge_type
    ]


def sums(lines):
    """Both amounts by line of chargeback.csv, as exact sums."""
    found = defaultdict(list)
    for line in lines:
        key = (line.provider, line.invoice_id, line.original_period, line.cost_center, line.charge_type)
        found[key].append(line)
    return {
        key: (exact_sum(line.amount for line in mine), exact_sum(line.amount_functional for line in mine))
        for key, mine in found.items()
    }


LINES = charged(
    billed(
        header("331.00"), basis({"CC-100": "300", SUSPENSE: "0.05"}), tokens={"CC-100": 60}, tax="20.00", central="1.00"
    )
)  # direct 310.00, so a true-up of 9.95
USED = {
    "CC-100": [
        used("t-2", "150", "100", tokens=30),
        used("t-1", "100", "100", tokens=20),
        used("t-1", "25", "50", HAIKU, "code-review", 4),
        used("t-1", "25", "50", HAIKU, "code-review", 6, Rung.DIRECTORY_USER),
    ],
    SUSPENSE: [used(None, "0.05", rung=Rung.SUSPENSE)],
}


def test_direct_is_split_by_what_was_logged_with_its_tokens_and_rungs():
    found = detail(LINES, USED)
    assert shown(found, "direct") == [
        ("CC-100", "t-1", HAIKU, "code-review", "50.00"),
        ("CC-100", "t-1", OPUS, "refactor", "100.00"),
        ("CC-100", "t-2", OPUS, "refactor", "150.00"),
        (SUSPENSE, None, OPUS, "refactor", "0.05"),
    ]
    (first, *_) = [line for line in found if line.charge_type == "direct"]
    assert (first.quantity_tokens, first.rung, first.team_alias) == (10, "team_metadata;directory_user", "Payments")
    assert (first.direct_logged_exact, first.allocation_weight, first.allocation_base) == (D(50), D(50), D(300))


def test_a_true_up_is_split_by_repriced_value_and_a_tax_over_teams_alone():
    found = detail(LINES, USED)
    # true-up of CC-100: 310.00 x 300/300.05 = 309.9483 -> 309.95, less 300.00: 9.95, over 100/100/100
    assert shown(found, "true_up")[:3] == [
        ("CC-100", "t-1", HAIKU, "code-review", "3.32"),
        ("CC-100", "t-1", OPUS, "refactor", "3.32"),
        ("CC-100", "t-2", OPUS, "refactor", "3.31"),
    ]
    # no log says which model a tax is of: t-1 has 200 of 300
    assert shown(found, "tax")[:2] == [
        ("CC-100", "t-1", None, None, "13.33"),
        ("CC-100", "t-2", None, None, "6.67"),
    ]


def test_central_corrections_and_lines_without_use_stay_whole():
    late = PriorPeriodCharge(BillingMonth(2026, 9), "anthropic", "INV-19", "CC-100", D("4.11"), "USD", "late_rows")
    lines = charge_month(OCTOBER, [billed(header("9.00"), basis({"CC-100": "9"}))], CENTERS, POLICY, 1, [late])
    found = detail(lines, {"CC-100": [used("t-1", "9")], CENTRAL: [used("t-1", "9")]})
    assert {line.charge_type: line.team_id for line in found} == {
        "direct": "t-1",
        "central": None,
        "prior_period": None,
    }
    assert detail(lines, {}) == lines
    assert detail(lines, {"CC-100": [used("t-1", "0")]}) == lines  # nothing to split by


def test_use_of_another_invoice_is_not_this_ones():
    found = detail_lines(LINES, of_invoice(USED, invoice_id="INV-18"), NAMES)
    assert found == tuple(sorted(LINES, key=detail_order))


def test_use_that_cost_nothing_stays_visible_in_direct_alone():
    found = detail(LINES, {**USED, "CC-100": [*USED["CC-100"], used("t-2", "0", model=HAIKU, tokens=77)]})
    assert ("CC-100", "t-2", HAIKU, "refactor", "0.00") in shown(found, "direct")
    assert not [row for row in shown(found, "true_up") if row[1:3] == ("t-2", HAIKU)]


def test_a_team_without_a_name_has_no_alias_and_no_person_is_told():
    found = detail(LINES, {"CC-100": [used("t-9", "300")]})
    assert {(line.team_id, line.team_alias) for line in found if line.cost_center == "CC-100"} == {("t-9", None)}
    assert not {"user", "user_id", "email"} & set(vars(found[0]))


def test_the_order_of_the_use_changes_nothing():
    backwards = {code: list(reversed(rows)) for code, rows in reversed(USED.items())}
    assert detail(LINES, backwards) == detail(LINES, USED)


def test_an_invoice_in_another_currency_is_split_in_both():
    """EUR 331.00 x 1.0837 = 358.7047 -> 358.70."""
    lines = charged(billed(header("331.00", currency="EUR"), basis({"CC-100": "300"}), fx_rate="1.0837", tax="20.00"))
    found = detail(lines, USED)
    assert sums(found) == sums(lines)
    assert exact_sum(line.amount_functional for line in found) == D("358.70")
    assert {line.amount_functional.as_tuple().exponent for line in found} == {-2}


def test_a_currency_without_cents_is_split_into_whole_units_and_its_dollars_into_cents():
    by = basis({"CC-100": "900"})
    lines = charged(billed(header("1001", currency="JPY"), by, fx_rate="0.0067", tax="101", central="0"))
    rows = [replace(each, logged=each.logged * 3, repriced=each.repriced * 3) for each in USED["CC-100"]]
    found = detail(lines, {"CC-100": rows})
    assert sums(found) == sums(lines)
    assert all(line.amount == line.amount.to_integral_value() for line in found)
    assert all(line.amount_functional.as_tuple().exponent >= -2 for line in found)


def test_books_in_a_currency_without_cents_get_no_cents_from_a_dollar_invoice():
    yen = replace(POLICY, functional_currency="JPY")
    lines = charged(billed(header("331.00"), basis({"CC-100": "300"}), fx_rate="149.25", tax="20.00"), policy=yen)
    found = detail(lines, USED)
    assert sums(found) == sums(lines)
    assert all(line.amount_functional == line.amount_functional.to_integral_value() for line in found)


def test_a_hundred_thousand_rows_take_seconds():
    rows = [used(f"t-{n % 400}", f"{n % 97 + 1}.000000000001", model=f"m-{n // 400}") for n in range(100_000)]
    logged = exact_sum(row.logged for row in rows)
    total = exact_sum([round_posting(logged), D("33333.33")])
    lines = charged(billed(header(total), basis({"CC-100": logged}), tax="33333.33"))
    found = detail(lines, {"CC-100": rows})
    assert len([line for line in found if line.charge_type == "direct"]) == 100_000
    assert sums(found) == sums(lines)


amount = st.integers(0, 10**12).map(lambda n: from_cents(n, 9))
row = st.builds(
    UsedBy,
    team_id=st.sampled_from(["t-1", "t-2", "t-9", None, ""]),
    model=st.sampled_from([OPUS, HAIKU]),
    use_case=st.sampled_from(["", "refactor"]),
    rung=st.sampled_from(list(Rung)),
    logged=amount,
    repriced=amount,
    tokens=st.integers(0, 10**9),
)


@settings(max_examples=60)
@given(
    by_center=st.dictionaries(st.sampled_from(CODES), st.lists(row, max_size=6)),
    total=st.integers(-(10**7), 10**7).map(from_cents),
    others=st.fixed_dictionaries(
        {name: st.integers(-(10**5), 10**5).map(from_cents) for name in ("credits", "tax", "unproxied", "non_token")}
    ),
    rate=st.sampled_from(["1", "1.0837"]),
)
def test_the_parts_of_every_line_add_up_to_it_in_both_currencies(by_center, total, others, rate):
    by = basis(
        {code: exact_sum(each.logged for each in rows) for code, rows in by_center.items()},
        {code: exact_sum(each.repriced for each in rows) for code, rows in by_center.items()},
    )
    currency = "USD" if rate == "1" else "EUR"
    tokens = {code: sum(each.tokens for each in rows) for code, rows in by_center.items()}
    lines = charged(billed(header(total, currency=currency), by, tokens=tokens, fx_rate=rate, **others))
    found = detail(lines, by_center)
    assert sums(found) == sums(lines)
    assert len({detail_order(line) for line in found}) == len(found)
    for name in ("quantity_tokens", "direct_logged_exact"):
        one, other = (exact_sum(getattr(line, name) or 0 for line in each) for each in (found, lines))
        assert one == other
