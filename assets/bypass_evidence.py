"""Evidence of bypass beside the keys: Claude Code analytics, providers without a route, seats (Rule 5.1, E3 to E5).

Belongs here: asking the rules, and wording their groups as evidence. Does not belong here: gathering analytics
(`assets.claude_code`), the rules (`domain.claude_code`, `domain.bypass_findings`). No person is in it, and no amount of
it is added to anything.
"""

from collections.abc import Iterator

from assets.claude_code import gather_claude_code
from resources.lake import Lake
from resources.tables import Tables
from tokengov_pipelines.closing.match import MonthMatch
from tokengov_pipelines.domain.bypass import BypassEvidence, EvidenceLevel
from tokengov_pipelines.domain.bypass_findings import no_proxy_route, ungoverned_seats
from tokengov_pipelines.domain.claude_code import (
    PROVIDER,
    BypassTolerance,
    ClaudeCodeEvidence,
    claude_code_evidence,
    suspected_unit,
)
from tokengov_pipelines.domain.money import round_posting
from tokengov_pipelines.settings import Installation


def gather_evidence(
    installation: Installation, lake: Lake, tables: Tables, match: MonthMatch
) -> Iterator[BypassEvidence]:
    """Everything that points to use outside the proxy without being a provider key's usage."""
    for invoice in match.inputs.invoices:
        if match.month in invoice.period.months():
            found = (no_proxy_route(invoice, match.inputs.registry), ungoverned_seats(invoice))
            yield from (each for each in found if each is not None)
    facts = gather_claude_code(lake, tables, match.month.days())
    if facts is None or suspected_unit(facts.days, match.inputs.book) is not None:
        return
    policy = installation.policy.of_provider(PROVIDER).unproxied
    tolerance = BypassTolerance(policy.bypass_tol_abs, policy.bypass_tol_rel)
    yield from _of_claude_code(match, claude_code_evidence(facts.days, facts.proxied, facts.cost_center_of, tolerance))


def _of_claude_code(match: MonthMatch, evidence: ClaudeCodeEvidence) -> Iterator[BypassEvidence]:
    first, last = match.month.first_day, match.month.last_day
    for group in evidence.likely_bypass:
        yield BypassEvidence(
            level=EvidenceLevel.E3,
            provider=PROVIDER,
            subject=group.cost_center,
            first_day=first,
            last_day=last,
            words=(
                f"{group.cost_center}: {group.user_days} user-days of Claude Code on the API, of {group.people_shown} "
                f"people, worth about {round_posting(group.notional_usd):,} USD more than the proxy logged for them."
            ),
            next_step="have Claude Code use the proxy (ANTHROPIC_BASE_URL); its keys are in the key report",
            notional_usd=group.notional_usd,
        )
    seats = evidence.seats
    if seats.seats:
        yield BypassEvidence(
            level=EvidenceLevel.E5,
            provider=PROVIDER,
            subject="Claude Code on personal plans",
            first_day=first,
            last_day=last,
            words=f"{seats.seats} seats were used on {seats.seat_days} days; no budget and no log governs them.",
            next_step="compare with the seats that are paid for",
            notional_usd=seats.notional_usd,
        )
