"""October 2026 of one provider as sealed inputs: small enough to check by hand, with a line of every kind of pool.

Two cost centers use one model through the proxy on two days; CC-200's calls of the second day are logged 0.50 too low.
A key of CC-200 bypasses the proxy, and the invoice has web searches, a credit and tax:

    tokens 16.70 (of them 1.20 outside the proxy) + searches 0.30 - credit 2.00 + tax 1.20 = 16.20 USD

`pack_files` makes the sealed pack, signed by two people.
"""

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from resources.invoices import INVOICES_SCHEMA
from resources.price_book import PRICE_BOOK_SCHEMAS
from tokengov_pipelines.closing.closed_month import ClosedMonth, close_month
from tokengov_pipelines.closing.inputs import TABLE_COLUMNS, MonthFacts, MonthInputs
from tokengov_pipelines.closing.pack_files import pack_of
from tokengov_pipelines.domain.approval import PackSubject, Person, Role, asserted, signed_bytes
from tokengov_pipelines.domain.intervals import Interval
from tokengov_pipelines.domain.period import BillingMonth, InvoicePeriod
from tokengov_pipelines.ledger.signing import new_private_key, public_key_of, sign
from tokengov_pipelines.pack.manifest import (
    MANIFEST_JSON,
    SIGNOFF_CSV,
    LakePartition,
    ManifestFacts,
    content_sha256,
    manifest_json,
)
from tokengov_pipelines.pack.signoff_csv import signoff_csv
from tokengov_pipelines.pack.writer import sha256_of
from tokengov_pipelines.policy import Policy

OCTOBER = BillingMonth(2026, 10)
MODEL, PROVIDER, ACCOUNT = "claude-x", "anthropic", "acme-prod"
FIRST, SECOND = dt.date(2026, 10, 5), dt.date(2026, 10, 20)
ALWAYS = dt.date(2020, 1, 1)
SIGNED_AT = dt.datetime(2026, 11, 5, 9, 30, tzinfo=dt.UTC)
CODE = "git:of-the-test"
PRICES = {"uncached_input": Decimal(3), "output": Decimal(15)}
ADA, GRACE = new_private_key(), new_private_key()
PEOPLE = [
    Person("ada@example.com", "Ada Lovelace", "finance", public_key_of(ADA), Interval(dt.date(2026, 1, 1))),
    Person("grace@example.com", "Grace Hopper", "controller", public_key_of(GRACE), Interval(dt.date(2026, 1, 1))),
]
CENTERS = {"CC-100": "Shop", "CC-200": "Search", "CC-900-SUSPENSE": "Suspense", "CC-990-CENTRAL": "Central"}
USED = (  # day, cost center, team, input tokens, output tokens, logged
    (FIRST, "CC-100", "team-shop", 1_000_000, 100_000, "4.50"),
    (SECOND, "CC-200", "team-search", 2_000_000, 333_333, "10.499995"),
)
TYPES: dict[str, pa.DataType] = {
    "usage_date": pa.date32(),
    "valid_from": pa.date32(),
    "valid_to": pa.date32(),
    "rate_date": pa.date32(),
    "last_observed_date": pa.date32(),
    "created_at": pa.timestamp("us", tz="UTC"),
    "context_over_tokens": pa.int64(),
    "calls": pa.int64(),
    "calls_without_usage": pa.int64(),
    "quantity": pa.int64(),
    "source_row": pa.int64(),
    "logged_spend_usd": pa.decimal128(38, 12),
    "amount_usd": pa.decimal128(38, 12),
    "list_amount_usd": pa.decimal128(38, 12),
}


def small_month(
    *,
    used: Sequence[tuple[dt.date, str, str, int, int, str]] = USED,
    prices: Mapping[str, Decimal] = PRICES,
    lab_owner: str = "CC-200",
    policy: Policy | None = None,
    facts: Mapping[str, Any] | None = None,
    currency: str = "USD",
    first_day: dt.date = OCTOBER.first_day,
) -> MonthInputs:
    """The month's inputs; `used` are the proxy's rows, which the provider's report and the invoice do not follow.

    The invoice is of `currency` (1.25 USD for one of another), and bills from `first_day` on.
    """
    stated = MonthFacts(
        month=OCTOBER,
        days=InvoicePeriod(first_day, OCTOBER.next().first_day),
        as_of=dt.date(2026, 11, 1),
        exceptions_on=dt.date(2026, 11, 5),
        reporting=(PROVIDER,),
        missing_log_days=(),
        missing_report_days={PROVIDER: ()},
        over_midnight=(),
    )
    tables = {
        "usage_cells": [_usage(*row) for row in used],
        "provider_usage": [row for grain in _metered() for row in _report(*grain)],
        "provider_costs": [*(row for grain in _metered() for row in _costs(*grain)), _search()],
        "cost_centers": [{"code": code, "name": name, "legal_entity": "ACME-US"} for code, name in CENTERS.items()],
        "teams": [
            {"team_id": "team-shop", "team_name": "Shop", "cost_center": "CC-100"},
            {"team_id": "team-search", "team_name": "Search", "cost_center": "CC-200"},
        ],
        "fx_rates": [_rate("EUR")],
        "provider_keys": [_key("key-proxy", "proxy", None), _key("key-lab", "other", lab_owner)],
    }
    found = {name: _table(name, rows) for name, rows in tables.items()}
    return MonthInputs(
        facts=replace(stated, **dict(facts or {})),
        policy=policy or Policy(),
        tables={**found, "invoices": _invoice(currency, first_day), **_price_book(prices)},
        slugs={PROVIDER: PROVIDER},
    )


def closed(inputs: MonthInputs | None = None, version: int = 1) -> ClosedMonth:
    """The month closed as v1."""
    return close_month(inputs or small_month(), version)


def pack_files(inputs: MonthInputs | None = None, *, version: int = 1, code: str = CODE) -> dict[str, bytes]:
    """The files of the pack with manifest.json; a closed version has signoff.csv, signed by Ada and Grace."""
    content = pack_of(closed(inputs, version))
    files = dict(content.files)
    facts = ManifestFacts(
        run_id="run-1",
        code_version=code,
        policy_sha256=(inputs or small_month()).policy.sha256(),
        lake_partitions=[LakePartition("marts/fct_usage_daily", "2026-10-05", "ab" * 32)],
        audit_head=(7, "cd" * 32),
        previous_manifest_sha256=None,
        created_at=SIGNED_AT,
        status="closed" if version else "draft",
    )
    files[MANIFEST_JSON] = manifest_json(OCTOBER, version, files, content.totals, facts)
    if version:
        files[SIGNOFF_CSV] = signed_off(files, version)
    return files


def signed_off(files: Mapping[str, bytes], version: int) -> bytes:
    """signoff.csv of the files as they are."""
    subject = PackSubject(OCTOBER, version, content_sha256(files))
    approvals = []
    for role, email, key in (
        (Role.PREPARER, "ada@example.com", ADA),
        (Role.CONTROLLER, "grace@example.com", GRACE),
    ):
        unsigned = replace(asserted(subject, role, email, PEOPLE, SIGNED_AT), public_key=public_key_of(key))
        approvals.append(replace(unsigned, signature=sign(key, signed_bytes(unsigned))))
    return signoff_csv(approvals, sha256_of(files[MANIFEST_JSON]))


def listed_again(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files with a manifest that was made to fit them, as somebody would who changes a pack and its hashes."""
    manifest = json.loads(files[MANIFEST_JSON])
    facts = ManifestFacts(
        run_id=manifest["run_id"],
        code_version=manifest["code_version"],
        policy_sha256=manifest["policy_sha256"],
        lake_partitions=[LakePartition(**each) for each in manifest["lake_partitions"]],
        audit_head=(manifest["audit_head"]["seq"], manifest["audit_head"]["sha256"]),
        previous_manifest_sha256=None,
        created_at=SIGNED_AT,
        status=manifest["status"],
    )
    totals = json.loads(files["control_totals.json"])
    return {**files, MANIFEST_JSON: manifest_json(OCTOBER, manifest["version"], files, totals, facts)}


def written(files: Mapping[str, bytes], folder: Path) -> Path:
    """The files in a folder."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def _usage(day: dt.date, code: str, team: str, tokens_in: int, tokens_out: int, logged: str) -> dict[str, Any]:
    words = {"provider": PROVIDER, "model": MODEL, "service_tier": "standard", "call_class": "call"}
    who = {"cost_center": code, "rung": "team_metadata", "team_id": team, "use_case": "refactor"}
    counts = {"calls": 10, "calls_without_usage": 0, "context_over_tokens": 0, "uncached_input_tokens": tokens_in}
    rest = {"cache_read_tokens": 0, "cache_write_5m_tokens": 0, "cache_write_1h_tokens": 0}
    spend = {"output_tokens": tokens_out, "logged_spend_usd": Decimal(logged)}
    return {"usage_date": day, **words, **who, **counts, **rest, **spend}


def _metered() -> list[tuple[dt.date, str, int, int]]:
    """What the provider counted: day, key, input and output tokens."""
    proxied = [(day, "key-proxy", tokens_in, tokens_out) for day, _, _, tokens_in, tokens_out, _ in USED]
    return [*proxied, (SECOND, "key-lab", 400_000, 0)]


def _report(day: dt.date, key: str, *tokens: int) -> list[dict[str, Any]]:
    return [
        {**_grain(day, key), "measure": name, "unit": "tokens", "quantity": count}
        for name, count in zip(PRICES, tokens, strict=True)
        if count
    ]


def _costs(day: dt.date, key: str, *tokens: int) -> list[dict[str, Any]]:
    rows = []
    for name, count in zip(PRICES, tokens, strict=True):
        cost = count * PRICES[name] / 1_000_000
        amounts = {"amount_usd": cost, "list_amount_usd": cost}
        if count:
            rows.append({**_grain(day, key), "cost_type": "tokens", "token_type": name, **amounts})
    return rows


def _search() -> dict[str, Any]:
    grain = {**_grain(FIRST, "key-proxy"), "model": None, "service_tier": None}
    return {**grain, "cost_type": "web_search", "amount_usd": Decimal("0.30"), "list_amount_usd": Decimal("0.30")}


def _grain(day: dt.date, key: str) -> dict[str, Any]:
    words = {"provider": PROVIDER, "account": ACCOUNT, "provider_key_id": key}
    return {"usage_date": day, **words, "model": MODEL, "service_tier": "standard"}


def _key(key_id: str, role: str, owner: str | None) -> dict[str, Any]:
    return {
        "provider": PROVIDER,
        "account": ACCOUNT,
        "provider_key_id": key_id,
        "role": role,
        "owner_cost_center": owner,
    }


def _rate(currency: str) -> dict[str, Any]:
    words = {"from_currency": currency, "to_currency": "USD", "rate": "1.25", "source": "test"}
    return {**words, "rate_date": dt.date(2026, 11, 2)}


def _invoice(currency: str, first_day: dt.date) -> pa.Table:
    header = {
        "form": "tokengov-invoice/1",
        "provider": PROVIDER,
        "account": ACCOUNT,
        "invoice_id": "ANT-2026-10",
        "invoice_date": dt.date(2026, 11, 2),
        "period_start_date": first_day,
        "period_last_date": OCTOBER.last_day,
        "period_end_date": OCTOBER.next().first_day,
        "currency": currency,
        "lines_total_amount": Decimal("17.00"),
        "credits_total_amount": Decimal("-2.00"),
        "tax_total_amount": Decimal("1.20"),
        "total_amount": Decimal("16.20"),
        "source_file": "ANT-2026-10.json",
        "content_sha256": "ef" * 32,
    }
    of_tokens = {"model": MODEL, "service_tier": "standard", "unit": "tokens", "kind": "usage"}
    lines = [
        {**of_tokens, "token_type": "uncached_input", "quantity": 3_400_000, "unit_price_per_mtok": "3"},
        {**of_tokens, "token_type": "output", "quantity": 433_333, "unit_price_per_mtok": "15"},
        {"kind": "non_token", "description": "Web search"},
        {"kind": "credit", "description": "Service credit"},
        {"kind": "tax", "description": "Sales tax"},
    ]
    amounts = ("10.20", "6.50", "0.30", "-2.00", "1.20")
    rows = [
        {**header, "line_no": number, "line_amount": Decimal(amount), **line}
        for number, (line, amount) in enumerate(zip(lines, amounts, strict=True), start=1)
    ]
    return pa.Table.from_pylist(rows, schema=INVOICES_SCHEMA)


def _price_book(prices: Mapping[str, Decimal]) -> dict[str, pa.Table]:
    words = {"provider": PROVIDER, "model": MODEL, "service_tier": "standard", "context_band": "all"}
    source = {"valid_from": ALWAYS, "source": "test", "source_version": "1", "basis": "list"}
    rows: dict[str, list[dict[str, Any]]] = {
        "price_book": [
            {**words, **source, "token_type": name, "context_over_tokens": 0, "usd_per_mtok": price}
            for name, price in prices.items()
        ],
        "price_book_aliases": [{"provider": PROVIDER, "alias": MODEL, "model": MODEL}],
        "price_book_geo_factors": [],
    }
    return {name: pa.Table.from_pylist(rows[name], schema=schema) for name, schema in PRICE_BOOK_SCHEMAS.items()}


def _table(name: str, rows: Sequence[dict[str, Any]]) -> pa.Table:
    columns = TABLE_COLUMNS[name]
    typed = [(each, TYPES.get(each, pa.int64() if each.endswith("_tokens") else pa.string())) for each in columns]
    dated = {"valid_from": ALWAYS} if "valid_from" in columns else {}
    return pa.Table.from_pylist([{**dated, **row} for row in rows], schema=pa.schema(typed))
