"""The files of the demo's home: directory CSVs, invoices, the ground truth.

Belongs here: writing files, whole or not at all. Does not belong here: what an invoice says (`invoices`), the answers
(`ground_truth`), tokengov.yaml and policy.yaml (the runner writes those).
"""

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Final

from tokengov_pipelines.demo.ground_truth import GroundTruth
from tokengov_pipelines.demo.invoices import BilledInvoice, invoice_json
from tokengov_pipelines.demo.organisation import (
    COST_CENTERS,
    FOUNDED,
    PROVIDER_KEYS,
    REGISTRY_KEY,
    TEAMS,
    Organisation,
    team_named,
)
from tokengov_pipelines.demo.prices import PROVIDERS

GROUND_TRUTH_FILE: Final = "ground_truth.json"

_FINANCE: Final = (
    ("imogen.hale@example.com", "Imogen Hale", "finance"),
    ("victor.stanek@example.com", "Victor Stanek", "finance"),
    ("renata.coll@example.com", "Renata Coll", "controller"),
    ("ulrike.sander@example.com", "Ulrike Sander", "admin"),
    ("audit@example.com", "Internal Audit", "viewer"),
)
_EUR_USD: Final = (("2026-08-31", "1.0874"), ("2026-09-30", "1.0912"), ("2026-10-30", "1.0837"))

_Row = tuple[object, ...]


def write_text(path: Path, text: str) -> None:
    """Write a file by renaming a finished one into place, so that a killed run leaves no half file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(text, encoding="utf-8", newline="")
    os.replace(draft, path)


def write_documents(
    home: Path, organisation: Organisation, invoices: Mapping[str, Sequence[BilledInvoice]], truth: GroundTruth
) -> None:
    """Write directory/*.csv, invoices/*.json and ground_truth.json under the demo's home."""
    for name, (header, rows) in directory_tables(organisation).items():
        write_text(home / "directory" / f"{name}.csv", _csv(header, rows))
    for billed in (billed for month in invoices.values() for billed in month):
        text = json.dumps(invoice_json(billed.invoice), indent=2) + "\n"
        write_text(home / "invoices" / billed.invoice.source_file, text)
    write_text(home / GROUND_TRUTH_FILE, truth.to_json())


def _csv(header: Sequence[str], rows: Iterable[_Row]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue()


def _intervals(changes: Sequence[tuple[date, str]]) -> list[tuple[str, date, date | str]]:
    """(value, valid_from, valid_to) of a history; the last interval is open."""
    ends: list[date | str] = [start for start, _ in changes[1:]]
    return [(value, start, end) for (start, value), end in zip(changes, [*ends, ""], strict=True)]


def directory_tables(organisation: Organisation) -> dict[str, tuple[tuple[str, ...], list[_Row]]]:
    """Header and rows of every directory file."""
    dated = ("valid_from", "valid_to")
    leads = {team.slug: next(e for e in organisation.engineers if e.teams[0][1] == team.slug) for team in TEAMS}
    cost_centers: list[_Row] = [(c.code, c.name, c.legal_entity, FOUNDED, "", "") for c in COST_CENTERS]
    teams: list[_Row] = [
        (team.team_id, team.name, code, team.zone.name, leads[team.slug].email, f"#{team.slug}", start, end)
        for team in TEAMS
        for code, start, end in _intervals(team.cost_centers)
    ]
    users: list[_Row] = [
        (engineer.email, engineer.user_id, engineer.login, team_named(slug).team_id, start, end)
        for engineer in organisation.engineers
        for slug, start, end in _intervals(engineer.teams)
    ]
    services: list[_Row] = [
        (key.key_hash, key.alias, organisation.owner_on(key, FOUNDED)[0], "#core-infra", FOUNDED, "")
        for key in organisation.keys
        if key.alias == REGISTRY_KEY or (key.kind in ("service", "nightly") and key.row_team is not None)
    ]
    provider_keys: list[_Row] = [
        (k.provider, k.account, k.workspace, k.provider_key_id, k.role, k.owner_cost_center, k.valid_from, "")
        for k in PROVIDER_KEYS
    ]
    entities = sorted({c.legal_entity for c in COST_CENTERS})
    accounts: list[_Row] = [(e, provider, "6420", "2150", FOUNDED, "") for e in entities for provider in PROVIDERS]
    rates: list[_Row] = [("EUR", "USD", day, rate, "demo, invented") for day, rate in _EUR_USD]
    people: list[_Row] = [(email, name, role, "", FOUNDED, "") for email, name, role in _FINANCE]
    known = {email for email, _, _ in _FINANCE}
    people += [(e.email, e.name, "team_lead", "", FOUNDED, "") for e in leads.values() if e.email not in known]
    return {
        "cost_centers": (("code", "name", "legal_entity", *dated, "successor"), cost_centers),
        "teams": (
            ("team_id", "team_name", "cost_center", "time_zone", "lead_email", "owner_contact", *dated),
            teams,
        ),
        "users": (("email", "user_id", "github_login", "team_id", *dated), users),
        "service_accounts": (("key_hash", "name", "owner_cost_center", "owner_contact", *dated), services),
        "provider_keys": (
            ("provider", "account", "workspace", "provider_key_id", "role", "owner_cost_center", *dated),
            provider_keys,
        ),
        "gl_accounts": (("legal_entity", "provider", "expense_account", "clearing_account", *dated), accounts),
        "fx_rates": (("from_currency", "to_currency", "rate_date", "rate", "source"), rates),
        "people": (("email", "name", "role", "signing_key", *dated), people),
    }
