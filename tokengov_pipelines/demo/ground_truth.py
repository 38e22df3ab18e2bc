"""The answers: what was planted, to the twelfth decimal, and what a correct close must find.

Belongs here: the identity `invoice - logged = causes + rounding` per provider and month, the planted incidents with
their amounts, the expected attribution and what the providers' reports come to, as one JSON file. Does not belong here:
making the numbers (`tally`, `invoices`). Nothing in the pipeline reads this file; tests and people compare its results
with it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from tokengov_pipelines.demo import incidents
from tokengov_pipelines.demo.draws import as_uuid
from tokengov_pipelines.demo.invoices import BilledInvoice
from tokengov_pipelines.demo.metering import ROW_CAUSES, list_pico
from tokengov_pipelines.demo.organisation import (
    BYPASS_KEY,
    DELETED_KEY,
    MOVED_FROM,
    MOVED_TEAM,
    MOVED_TO,
    MOVER,
    MOVER_DATE,
    MOVER_TEAMS,
    NO_METADATA_TEAM,
    PROVIDER_KEYS,
    REGISTRY_KEY,
    SUSPENSE,
    TEAM_MOVE_DATE,
    TEAMLESS_ENGINEER,
    UNKNOWN_KEY,
)
from tokengov_pipelines.demo.prices import PROVIDERS, TOKEN_TYPES, exact_usd
from tokengov_pipelines.demo.provider_books import REPORTING, web_search_cost
from tokengov_pipelines.demo.providers.books import ANTHROPIC
from tokengov_pipelines.demo.tally import MonthTally, Tally
from tokengov_pipelines.domain.money import exact_sum

FORM: Final = "tokengov-demo-ground-truth/1"
INVOICE_CAUSES: Final = {"non_token": "web_search", "credit": "provider_credit", "tax": "tax"}
CAUSES: Final = ("bypass_key", *ROW_CAUSES, *INVOICE_CAUSES.values())


@dataclass(frozen=True)
class ProviderMonth:
    """One invoice against the log: invoice_total - logged_spend = sum of causes + rounding, exactly."""

    invoice_id: str
    invoice_total: Decimal
    logged_spend: Decimal
    logged_rows: int
    metered: Decimal
    suspense: Decimal
    causes: dict[str, Decimal]
    rounding: Decimal

    @property
    def gap(self) -> Decimal:
        """What a controller sees first."""
        return exact_sum([self.invoice_total, -self.logged_spend])

    def suspense_exceeds(self, percent: Decimal) -> bool:
        """Whether suspense is more than `percent` of the invoice (Rule 2.4)."""
        return self.suspense * 100 > self.invoice_total * percent


@dataclass(frozen=True)
class GroundTruth:
    """Everything a test of the demo may want to know in advance. Amounts are USD, exact."""

    calls: int
    seed: int
    logged_rows: int
    logged_spend: Decimal
    months: dict[str, dict[str, ProviderMonth]]
    attribution: dict[str, list[dict[str, Any]]]
    use_cases: dict[str, dict[str, Decimal]]
    reported: dict[str, list[dict[str, Any]]]
    incidents: list[dict[str, Any]]
    cases: dict[str, str]

    def incident(self, name: str) -> dict[str, Any]:
        """One planted incident by its name."""
        return next(incident for incident in self.incidents if incident["incident"] == name)

    def to_json(self) -> str:
        """The file: sorted as written, amounts as text, the same bytes for the same run."""
        return json.dumps(_as_dict(self), indent=2, default=_plain) + "\n"

    @staticmethod
    def from_json(text: str) -> "GroundTruth":
        """Read what `to_json` wrote."""
        data = json.loads(text)
        months = {
            month: {provider: _provider_month(values) for provider, values in providers.items()}
            for month, providers in data["months"].items()
        }
        use_cases = {
            month: {name: Decimal(amount) for name, amount in amounts.items()}
            for month, amounts in data["use_cases"].items()
        }
        return GroundTruth(
            calls=data["parameters"]["calls"],
            seed=data["parameters"]["seed"],
            logged_rows=data["logged_rows"],
            logged_spend=Decimal(data["logged_spend_usd"]),
            months=months,
            attribution=data["attribution"],
            use_cases=use_cases,
            reported=data["reported"],
            incidents=data["incidents"],
            cases=data["cases"],
        )


def _plain(value: object) -> str:
    """An amount without an exponent, anything else as text."""
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def _as_dict(truth: GroundTruth) -> dict[str, Any]:
    return {
        "form": FORM,
        "parameters": {"calls": truth.calls, "seed": truth.seed},
        "as_of": incidents.AS_OF,
        "log_start": incidents.LOG_START,
        "log_last_day": incidents.LOG_END - timedelta(days=1),
        "logged_rows": truth.logged_rows,
        "logged_spend_usd": truth.logged_spend,
        "identity": "invoice_total_usd - logged_spend_usd = sum(causes_usd) + rounding_usd, to 12 decimals",
        "months": {
            month: {
                provider: {
                    "invoice_id": values.invoice_id,
                    "invoice_total_usd": values.invoice_total,
                    "logged_spend_usd": values.logged_spend,
                    "logged_rows": values.logged_rows,
                    "metered_on_proxy_key_usd": values.metered,
                    "suspense_usd": values.suspense,
                    "gap_usd": values.gap,
                    "causes_usd": values.causes,
                    "rounding_usd": values.rounding,
                }
                for provider, values in providers.items()
            }
            for month, providers in truth.months.items()
        },
        "attribution": truth.attribution,
        "use_cases": truth.use_cases,
        "reported": truth.reported,
        "incidents": truth.incidents,
        "cases": truth.cases,
    }


def _provider_month(values: dict[str, Any]) -> ProviderMonth:
    return ProviderMonth(
        invoice_id=values["invoice_id"],
        invoice_total=Decimal(values["invoice_total_usd"]),
        logged_spend=Decimal(values["logged_spend_usd"]),
        logged_rows=values["logged_rows"],
        metered=Decimal(values["metered_on_proxy_key_usd"]),
        suspense=Decimal(values["suspense_usd"]),
        causes={name: Decimal(amount) for name, amount in values["causes_usd"].items()},
        rounding=Decimal(values["rounding_usd"]),
    )


def build_ground_truth(tally: Tally, invoices: Mapping[str, Sequence[BilledInvoice]], seed: int) -> GroundTruth:
    """The answers of a run. Only months with invoices have a gap; attribution covers every month of the log."""
    months = {
        month: {
            provider: _month(tally, month, provider, billed) for provider, billed in zip(PROVIDERS, all_, strict=True)
        }
        for month, all_ in invoices.items()
    }
    return GroundTruth(
        calls=tally.calls,
        seed=seed,
        logged_rows=tally.rows,
        logged_spend=exact_usd(sum(sum(month.logged.values()) for month in tally.months.values())),
        months=months,
        attribution=_attribution(tally),
        use_cases={
            name: {use_case: exact_usd(pico) for use_case, pico in month.use_cases.items()}
            for name, month in tally.months.items()
        },
        reported={name: _reported(name, month) for name, month in tally.months.items()},
        incidents=_incidents(tally, months[incidents.INCIDENT_MONTH], months),
        cases=_cases(),
    )


def _month(tally: Tally, month: str, provider: str, billed: BilledInvoice) -> ProviderMonth:
    sums = tally.months[month]
    causes = {name: exact_usd(sums.causes[provider, name]) for name in ("bypass_key", *ROW_CAUSES)}
    causes |= {name: billed.amount_of(kind) for kind, name in INVOICE_CAUSES.items()}
    return ProviderMonth(
        invoice_id=billed.invoice.invoice_id,
        invoice_total=billed.invoice.total,
        logged_spend=exact_usd(sums.logged[provider]),
        logged_rows=sums.rows[provider],
        metered=exact_usd(sums.metered[provider]),
        suspense=exact_usd(
            sum(pico for (p, code, _), pico in sums.owners.items() if (p, code) == (provider, SUSPENSE))
        ),
        causes=causes,
        rounding=billed.rounding,
    )


def _attribution(tally: Tally) -> dict[str, list[dict[str, Any]]]:
    """Per month: provider, cost center and rung with the rows and the spend that the ladder must give them."""
    return {
        name: [
            {
                "provider": provider,
                "cost_center": cost_center,
                "rung": rung,
                "calls": month.owner_rows[provider, cost_center, rung],
                "logged_spend_usd": _plain(exact_usd(pico)),
            }
            for (provider, cost_center, rung), pico in sorted(month.owners.items())
        ]
        for name, month in tally.months.items()
    }


def _reported(name: str, month: MonthTally) -> list[dict[str, Any]]:
    """What the providers' reports must come to in a month, by key: tokens by type and exact cost before any rounding.

    Prices change between months only, so the month's first day has them.
    """
    first = date.fromisoformat(f"{name}-01")
    prices = list_pico(first)
    found: list[dict[str, Any]] = []
    for at, key in enumerate(PROVIDER_KEYS):
        if key.provider not in REPORTING or not month.tokens[at].any():
            continue
        searches = month.web_searches if key.provider == ANTHROPIC and at != BYPASS_KEY else 0
        tokens = month.tokens[at].sum(axis=(0, 1)).tolist()
        found.append(
            {
                "provider": key.provider,
                "account": key.account,
                "provider_key_id": key.provider_key_id,
                "tokens": dict(zip(TOKEN_TYPES, tokens, strict=True)),
                "token_cost_usd": _plain(exact_usd(int((month.tokens[at] * prices).sum()))),
                "web_searches": searches,
                "web_search_cost_usd": _plain(web_search_cost(searches)),
            }
        )
    return found


def _incidents(
    tally: Tally, october: dict[str, ProviderMonth], months: dict[str, dict[str, ProviderMonth]]
) -> list[dict[str, Any]]:
    def by_provider(cause: str) -> dict[str, str]:
        return {name: _plain(values.causes[cause]) for name, values in october.items() if values.causes[cause]}

    spike = tally.team_days[incidents.SPIKE_TEAM, incidents.SPIKE_DAY]
    before = sum(
        tally.team_days[incidents.SPIKE_TEAM, incidents.SPIKE_DAY - timedelta(days=back)] for back in range(1, 8)
    )
    bypass = PROVIDER_KEYS[BYPASS_KEY]
    september = months["2026-09"]["openai"]
    started = datetime.fromtimestamp(int(tally.late_row["start_ms"]) / 1000, UTC)
    planted: list[dict[str, Any]] = [
        {"incident": "bypass_key", "provider_key_id": bypass.provider_key_id, "workspace": bypass.workspace,
         "days": _span(incidents.BYPASS_DAYS), "calls": tally.bypass_calls},
        {"incident": "unpriced_calls", "model": incidents.PILOT_MODEL, "days": _span(incidents.UNPRICED_DAYS),
         "teams": list(incidents.PILOT_TEAMS), "calls": tally.cause_rows["unpriced_calls"]},
        {"incident": "stale_price", "model": incidents.STALE_MODEL, "days": _span(incidents.STALE_DAYS),
         "prices_of": incidents.STALE_PRICES_OF.isoformat(), "calls": tally.cause_rows["stale_price"]},
        {"incident": "lost_rows", "from": f"{incidents.LOST_DAY}T13:00:00Z", "to": f"{incidents.LOST_DAY}T16:00:00Z",
         "calls": tally.calls - tally.rows},
        {"incident": "partial_streams", "calls": tally.cause_rows["partial_streams"]},
        {"incident": "failed_spend", "calls": tally.cause_rows["failed_spend"]},
        {"incident": "web_search", "requests": tally.months[incidents.INCIDENT_MONTH].web_searches},
        {"incident": "provider_credit"},
        {"incident": "tax"},
    ]  # fmt: skip
    for incident in planted:
        incident["amounts_usd"] = by_provider(incident["incident"])
    return [
        *planted,
        {"incident": "late_row", "litellm_call_id": as_uuid(str(tally.late_row["litellm_call_hex"])),
         "provider": tally.late_row["provider"], "started_at": started.isoformat(timespec="milliseconds"),
         "arrived_at": incidents.LATE_ARRIVAL.isoformat(timespec="milliseconds"),
         "amount_usd": _plain(exact_usd(int(tally.late_row["pico"]))), "effect": "logged by the as-of date: no gap"},
        {"incident": "suspense", "month": "2026-09", "provider": "openai", "key": UNKNOWN_KEY,
         "amount_usd": _plain(september.suspense), "invoice_total_usd": _plain(september.invoice_total)},
        {"incident": "spike", "team": incidents.SPIKE_TEAM, "day": incidents.SPIKE_DAY.isoformat(),
         "key": incidents.SPIKE_KEY, "amount_usd": _plain(exact_usd(spike)),
         "previous_7_days_usd": _plain(exact_usd(before)), "effect": "real spend, logged and billed: no gap"},
        {"incident": "exemption", "team": incidents.EXEMPTION_TEAM, "days": _span(incidents.EXEMPTION_DAYS),
         "use_case": incidents.EXEMPTION_USE_CASE, "approved_usd": str(incidents.EXEMPTION_APPROVED_USD),
         "amount_usd": _plain(exact_usd(tally.exempt_spend)), "effect": "real spend, logged and billed: no gap"},
        {"incident": "reverted_pull_request", **incidents.REVERTED_PULL_REQUEST},
        {"incident": "idle_seat", **incidents.IDLE_SEAT},
    ]  # fmt: skip


def _span(window: incidents.Window) -> list[str]:
    """First and last day, both included, as people write them."""
    return [window.start.isoformat(), (window.end - timedelta(days=1)).isoformat()]


def _cases() -> dict[str, str]:
    """Where each awkward case of the ladder is to be found."""
    return {
        "moved_team": f"{MOVED_TEAM}: {MOVED_FROM} until {TEAM_MOVE_DATE}, then {MOVED_TO}; LiteLLM shows {MOVED_TO}",
        "team_without_metadata": f"{NO_METADATA_TEAM}: LiteLLM has no cost center, the directory answers (rung 2)",
        "service_key_without_team_and_user": f"{REGISTRY_KEY}: the registry answers (rung 3)",
        "person_without_team": f"{TEAMLESS_ENGINEER}: the key has no team, the directory's person answers (rung 4)",
        "engineer_who_moved": f"{MOVER}: {MOVER_TEAMS[0]} until {MOVER_DATE}, then {MOVER_TEAMS[1]} (rung 4)",
        "key_and_person_disagree": f"ines-moreau-ide: the key of {MOVER_TEAMS[0]} in the hands of {MOVER} (Rule 3.7)",
        "deleted_key": f"{DELETED_KEY}: rows without a team, the deleted key's team answers",
        "key_found_nowhere": f"{UNKNOWN_KEY}: suspense",
    }
