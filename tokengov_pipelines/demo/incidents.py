"""The planted incidents: what goes wrong in the demo, when, and to whom.

Belongs here: dates, teams, models and sizes of every incident, and the few functions that say what they do to a day.
Does not belong here: the dollars they come to. Those follow from the seed and are counted in `ground_truth`.

All of them fall in 2026-10 unless said. 2026-08 is clean, and 2026-09 carries nothing but a busy key that is found
nowhere, so that its suspense exceeds the limit of Rule 2.4.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Final

from tokengov_pipelines.demo.organisation import UNKNOWN_KEY, Key

AS_OF: Final = date(2026, 11, 5)
LOG_START: Final = date(2026, 6, 8)
LOG_END: Final = AS_OF
"""Exclusive: the last day with calls is 2026-11-04, the 150th."""

INVOICED_MONTHS: Final = ("2026-08", "2026-09", "2026-10")
INCIDENT_MONTH: Final = "2026-10"
CLEAN_MONTHS: Final = ("2026-08", "2026-09")

PERMILLE: Final = 1000


@dataclass(frozen=True)
class Window:
    """Half-open interval of UTC days."""

    start: date
    end: date

    def __contains__(self, day: date) -> bool:
        return self.start <= day < self.end


OCTOBER: Final = Window(date(2026, 10, 1), date(2026, 11, 1))

# 1. A key at Anthropic that goes around the proxy: metered and billed, never logged.
BYPASS_DAYS: Final = Window(date(2026, 10, 5), date(2026, 11, 1))
BYPASS_PERMILLE: Final = 24
"""Calls on the bypass key per 1000 logged calls of the day."""
BYPASS_MODELS: Final = ("claude-sonnet-5", "claude-haiku-4-5")

# 2. A new model that the proxy's price map does not know yet: success, tokens, spend 0.
PILOT_MODEL: Final = "gpt-5.6-terra"
PILOT_START: Final = date(2026, 10, 12)
PILOT_TEAMS: Final = ("checkout", "ml-research")
PILOT_PERMILLE: Final = 700
UNPRICED_DAYS: Final = Window(PILOT_START, date(2026, 10, 20))

# 3. A restarted proxy falls back on its bundled price map, from before gpt-5.6-sol became cheaper: it logs too much.
STALE_MODEL: Final = "gpt-5.6-sol"
STALE_DAYS: Final = Window(date(2026, 10, 16), date(2026, 11, 1))
STALE_PRICES_OF: Final = date(2026, 8, 20)

# 4. The cost callback raises for three hours: the calls run and are billed, but no row is written.
LOST_DAY: Final = date(2026, 10, 21)
LOST_FROM_MS: Final = 13 * 3_600_000
LOST_TO_MS: Final = 16 * 3_600_000

# 5. Streams that the client hung up on: the proxy counts what it saw, the provider what it made (October only).
PARTIAL_EVERY: Final = 233
# 6. Calls that died half-way: logged with a spend, not charged by the provider (October only).
FAILED_SPEND_EVERY: Final = 601

# 7. On the invoice only: web searches (the proxy does not price them), a service credit, sales tax.
WEB_SEARCH_TEAMS: Final = ("core-infra", "ml-research")
WEB_SEARCH_START: Final = date(2026, 10, 1)
CREDIT_PROVIDER: Final = "anthropic"
CREDIT_RATE: Final = Decimal("0.025")
TAX_PROVIDER: Final = "openai"
TAX_RATE: Final = Decimal("0.0825")

# 8. A row that reached the log a week after its call.
LATE_DAY: Final = date(2026, 10, 28)
LATE_ARRIVAL: Final = datetime(2026, 11, 4, 2, 41, 7, 318_000, tzinfo=UTC)

# 9. One team at five times its normal day: an agent loop on one key.
SPIKE_TEAM: Final = "payments"
SPIKE_DAY: Final = date(2026, 10, 14)
SPIKE_KEY: Final = "piet-vermaas-laptop"
SPIKE_WEIGHT: Final = 1_150

# 10. An approved exemption: a migration on one team, tagged refactor.
EXEMPTION_TEAM: Final = "web"
EXEMPTION_DAYS: Final = Window(date(2026, 10, 19), date(2026, 10, 24))
EXEMPTION_USE_CASE: Final = "refactor"
EXEMPTION_APPROVED_USD: Final = Decimal("2500.00")
EXEMPTION_PERCENT: Final = 190

# 11. For later parts: a merged pull request and its revert, and a seat that nobody uses.
REVERTED_PULL_REQUEST: Final = {
    "repository": "fernhill/checkout-api",
    "number": 1842,
    "title": "Move tax rounding to the cart service",
    "merged_at": "2026-10-07T15:12:00Z",
    "team": "checkout",
    "reverted_by": 1857,
    "revert_merged_at": "2026-10-09T08:40:00Z",
}
IDLE_SEAT: Final = {
    "vendor": "copilot",
    "seat": "amos-pruitt",
    "team": "mobile",
    "assigned_on": "2026-06-15",
    "last_activity_on": "2026-07-02",
    "monthly_usd": "39.00",
}

# 12. The key that is found nowhere: quiet, then busy in September, then quiet again.
UNKNOWN_KEY_WEIGHTS: Final = {"2026-09": 190}
UNKNOWN_KEY_QUIET: Final = 16


def month_of(day: date) -> str:
    """The UTC month of a day as 'YYYY-MM'."""
    return f"{day:%Y-%m}"


def weight_on(key: Key, weight: int, day: date) -> int:
    """The weight of a key on a day once the incidents have had their say."""
    if key.alias == UNKNOWN_KEY:
        return UNKNOWN_KEY_WEIGHTS.get(month_of(day), UNKNOWN_KEY_QUIET) * weight // key.weight
    if key.row_team is not None and key.row_team.slug == EXEMPTION_TEAM and day in EXEMPTION_DAYS:
        weight = weight * EXEMPTION_PERCENT // 100
    if key.alias == SPIKE_KEY and day == SPIKE_DAY:
        weight += SPIKE_WEIGHT * 100
    return weight
