"""recon_items.csv and unproxied.csv: ages, order, and nothing that a pack may not hold."""

import csv
import datetime as dt
import io
from decimal import Decimal

from tests.reconciliations import reconciled
from tokengov_pipelines.domain.bypass import EvidenceLevel, KeyAction, KeyStatus, OwnerBasis, UnproxiedKey
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.domain.reconciling_items import reconciling_items
from tokengov_pipelines.domain.resolutions import Resolution, ResolutionCode, apply_events
from tokengov_pipelines.pack.recon_items_csv import recon_items_csv
from tokengov_pipelines.pack.unproxied_csv import unproxied_csv

D = Decimal
OCTOBER = BillingMonth(2026, 10)


def key(name, cost, **changes):
    values = {
        "provider": "anthropic",
        "account": "acme-prod",
        "workspace_id": "wrkspc_ci",
        "workspace_name": "ci-lab",
        "key_id": f"apikey_01{name}",
        "key_name": name,
        "created_by": "Noor Haddad",
        "created_at": dt.datetime(2026, 9, 1, 23, 30, tzinfo=dt.timezone(-dt.timedelta(hours=4))),
        "first_seen": dt.date(2026, 10, 4),
        "last_seen": dt.date(2026, 10, 30),
        "days_active": 12,
        "models": ("claude-haiku-4-5", "claude-sonnet-4-6"),
        "tokens": {"uncached_input": 2_000_000, "output": 500_000},
        "list_usd": D(cost),
        "actual_usd": D(cost),
        "cost_usd": D(cost),
        "cost_last_30d_usd": D(cost),
        "largest_day_usd": D(cost),
        "evidence": EvidenceLevel.E1,
        "suggested_owner": "CC-300",
        "owner_basis": OwnerBasis.WORKSPACE,
        "action": KeyAction.MOVE_TO_PROXY,
        "due_date": dt.date(2026, 10, 18),
        "status": KeyStatus.NEW,
    }
    return UnproxiedKey(**(values | changes))


def rows_of(content):
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def test_a_key_is_one_row_and_the_dearest_is_first():
    rows = rows_of(unproxied_csv([key("cheap", "1.00"), key("ci-runner", "13.50")]))
    assert rows[0] == {
        "rank": "1",
        "provider": "anthropic",
        "account": "acme-prod",
        "workspace": "ci-lab",
        "api_key": "...nner",
        "key_name": "ci-runner",
        "created_by": "Noor Haddad",
        "created_at": "2026-09-02",
        "first_seen": "2026-10-04",
        "last_seen": "2026-10-30",
        "days_active": "12",
        "models": "claude-haiku-4-5 claude-sonnet-4-6",
        "uncached_input_tokens": "2000000",
        "cache_read_tokens": "0",
        "cache_write_5m_tokens": "0",
        "cache_write_1h_tokens": "0",
        "output_tokens": "500000",
        "unpriced_tokens": "0",
        "list_usd": "13.500000000000",
        "actual_usd": "13.500000000000",
        "cost_usd": "13.500000000000",
        "cost_last_30d_usd": "13.500000000000",
        "evidence_level": "E1",
        "suggested_owner": "CC-300",
        "owner_basis": "workspace",
        "action": "move_to_proxy",
        "due_date": "2026-10-18",
        "status": "new",
    }
    assert [row["rank"] for row in rows] == ["1", "2"]


def test_no_key_no_secret_no_address_and_no_formula():
    keys = [
        key("sk-ant-api03-abcdefghijklmnop", "9.00"),
        key("=HYPERLINK(1)", "8.00", created_by="noor.haddad@example.com", suggested_owner="a@b.example"),
        key("none", "7.00", key_id=None, key_name=None, workspace_id=None, workspace_name=None),
    ]
    content = unproxied_csv(keys).decode()
    for secret in ("api03", "apikey_01", "@", "\n="):
        assert secret not in content
    rows = rows_of(content.encode())
    assert [row["api_key"] for row in rows] == ["...mnop", "...K(1)", "no key"]
    assert (rows[0]["key_name"], rows[1]["key_name"], rows[2]["key_name"]) == ("(secret)", "'=HYPERLINK(1)", "")


def test_equal_costs_are_in_one_order():
    assert unproxied_csv([key("a", "1"), key("b", "1")]) == unproxied_csv([key("b", "1"), key("a", "1")])
    assert unproxied_csv([]).count(b"\n") == 1


def test_an_item_has_its_age_on_the_day_that_is_asked_and_what_is_left_of_it():
    rec = reconciled("anthropic", "ANT-10", OCTOBER, "100.00", timing="-150.25", tax="5")
    items = reconciling_items(
        rec, opened_on=dt.date(2026, 11, 3), item_min_usd=D("1.00"), unproxied=[key("ci-runner", "13.50")]
    )
    event = Resolution(
        1,
        dt.datetime(2026, 11, 9, tzinfo=dt.UTC),
        items[1].item_id,
        ResolutionCode.REATTRIBUTED,
        D("3.50"),
        "USD",
        "CC-300 took it",
        "ada@example.com",
        "grace@example.com",
    )
    content = recon_items_csv(apply_events(items, [event]), dt.date(2027, 2, 5))
    assert b"@" not in content
    rows = rows_of(content)
    names = ("component", "age_days", "bucket", "amount_exact", "resolved_exact", "open_exact", "owner", "status")
    assert {tuple(row[name] for name in names) for row in rows} == {
        ("timing", "94", ">90", "-150.250000000000", "0.000000000000", "0.000000000000", "finance", "explained"),
        ("unproxied", "94", ">90", "13.500000000000", "3.500000000000", "10.000000000000", "controller", "open"),
        ("tax", "94", ">90", "5.000000000000", "0.000000000000", "0.000000000000", "finance", "explained"),
    }
    assert {row["as_of"] for row in rows} == {"2027-02-05"}
