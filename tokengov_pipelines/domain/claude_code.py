"""Claude Code analytics as evidence of use beside the proxy: levels E3 and E5 (Rules 5.1, 12.7).

Belongs here: comparing a person's estimated cost with what the proxy logged for that person and day, and groups too
large to name anyone. Does not belong here: reading the analytics (`resources.anthropic_claude_code`), bypass by key,
which carries the dollars (`bypass`).

Nothing here is added to any dollars: the tokens are already inside some key's usage, and the cost is the tool's
estimate. A person is known by a hash, and leaves this module only inside a group.
"""

import datetime as dt
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final, TypedDict

from tokengov_pipelines.domain.match_result import ErrorCode, MatchError
from tokengov_pipelines.domain.money import exact_product, exact_sum, usd
from tokengov_pipelines.domain.pricing import PriceBook

PROVIDER: Final = "anthropic"
SOURCE_UNIT: Final = "usd_cents"
FEWEST_PEOPLE: Final = 3
"""The smallest group that is shown by its name (Rule 12.7)."""
OTHER: Final = "other"
UNKNOWN: Final = "not in the directory"

_UNIT_FACTOR: Final = 10  # half-way, as factors go, from right to a hundred times off
_CENT: Final = Decimal("0.01")
_DOLLAR: Final = Decimal(1)

PersonDay = tuple[str, dt.date]
"""The hash of a person's e-mail, and a UTC day."""


class CustomerType(StrEnum):
    """Who pays for the use: the API invoice, or a seat."""

    API = "api"
    SUBSCRIPTION = "subscription"


class ClaudeCodeRow(TypedDict):
    """A row of `raw/anthropic_claude_code`, as far as it is read."""

    usage_date: dt.date
    account: str
    customer_type: str
    actor_sha256: str | None
    api_key_name: str | None
    model: str | None
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_creation_tokens: int
    estimated_cost_text: str
    source_unit: str


@dataclass(frozen=True, slots=True)
class ClaudeCodeDay:
    """What one actor used of one model on a UTC day. `person` is a hash, None where a key acted (`key_name`).

    `estimated_usd` is the tool's own estimate in exact dollars. `cache_creation_tokens` are not told apart by lifetime.
    """

    day: dt.date
    account: str
    customer_type: CustomerType
    person: str | None
    key_name: str | None
    model: str | None
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_creation_tokens: int
    estimated_usd: Decimal

    @property
    def tokens(self) -> int:
        """All tokens: the four counts do not overlap."""
        return self.input_tokens + self.output_tokens + self.cache_read_tokens + self.cache_creation_tokens


@dataclass(frozen=True)
class LikelyBypass:
    """E3 of one cost center: user-days whose estimate no proxy spend of that user and day matches.

    `notional_usd` = estimated - proxied, over those user-days. `cost_center` is `OTHER` for groups too small to name.
    """

    cost_center: str
    user_days: int
    people: int
    estimated_usd: Decimal
    proxied_usd: Decimal

    @property
    def notional_usd(self) -> Decimal:
        """What seems to have gone past the proxy: evidence, never a charge."""
        return exact_sum([self.estimated_usd, -self.proxied_usd])

    @property
    def people_shown(self) -> str:
        """The number of people as a report may show it."""
        return str(self.people) if self.people >= FEWEST_PEOPLE else f"fewer than {FEWEST_PEOPLE}"


@dataclass(frozen=True)
class UngovernedSeats:
    """E5: seats that were in use, paid by subscription. `notional_usd` is what the use would cost by the token."""

    seats: int = 0
    seat_days: int = 0
    tokens: int = 0
    notional_usd: Decimal = Decimal(0)


@dataclass(frozen=True)
class ClaudeCodeEvidence:
    """What the analytics of some days say. None of it is added to any amount (Rule 5.1).

    `by_key_usd` is the estimate of use by API key: bypass by key (E1, E2) judges those keys, so E3 does not.
    """

    likely_bypass: tuple[LikelyBypass, ...] = ()
    seats: UngovernedSeats = UngovernedSeats()
    by_key_usd: Decimal = Decimal(0)


@dataclass(frozen=True)
class BypassTolerance:
    """How far estimate and log may lie apart on a day: the larger of dollars and a share of the estimate (Rule 5.1)."""

    absolute: Decimal = Decimal("1.00")
    relative: Decimal = Decimal("0.10")

    def of(self, estimated: Decimal) -> Decimal:
        """The tolerance of one user-day in USD; a difference that just reaches it still holds."""
        return max(usd(self.absolute), exact_product(usd(self.relative), estimated))


def hashed_email(email: str) -> str:
    """SHA-256 of an address in lower case: a pseudonym by which two systems find the same person (Rule 12.8)."""
    return hashlib.sha256(email.strip().lower().encode("utf-8", "surrogatepass")).hexdigest()


def claude_code_days(rows: Iterable[ClaudeCodeRow]) -> Iterator[ClaudeCodeDay]:
    """Rows of `raw/anthropic_claude_code`, with cents as exact dollars: '141' is 1.41.

    Raises:
        ValueError: a row is not in cents.
    """
    for row in rows:
        if row["source_unit"] != SOURCE_UNIT:
            message = (
                f"anthropic_claude_code of {row['usage_date']}: source_unit is {row['source_unit']!r} and should be "
                f"{SOURCE_UNIT!r}. Fix: load the day again."
            )
            raise ValueError(message)
        yield ClaudeCodeDay(
            day=row["usage_date"],
            account=row["account"],
            customer_type=CustomerType(row["customer_type"]),
            person=row["actor_sha256"],
            key_name=row["api_key_name"],
            model=row["model"],
            input_tokens=row["input_tokens"],
            output_tokens=row["output_tokens"],
            cache_read_tokens=row["cache_read_tokens"],
            cache_creation_tokens=row["cache_creation_tokens"],
            estimated_usd=exact_product(usd(row["estimated_cost_text"]), _CENT),
        )


def claude_code_evidence(
    days: Sequence[ClaudeCodeDay],
    proxied: Mapping[PersonDay, Decimal],
    cost_center_of: Callable[[str, dt.date], str | None],
    tolerance: BypassTolerance,
) -> ClaudeCodeEvidence:
    """Levels E3 and E5 of some days (Rule 5.1).

    `proxied` is logged spend in USD on the provider's models, by person and day; all of it counts as a match, because
    the log does not say for certain which tool called. So E3 understates, and never overstates for that reason. Ask
    `suspected_unit` first: with estimates of the wrong unit every user-day, or none, would be evidence.
    """
    return ClaudeCodeEvidence(
        likely_bypass=_likely_bypass(days, proxied, cost_center_of, tolerance),
        seats=_seats([day for day in days if day.customer_type is CustomerType.SUBSCRIPTION]),
        by_key_usd=exact_sum(
            day.estimated_usd for day in days if day.customer_type is CustomerType.API and day.person is None
        ),
    )


def _likely_bypass(
    days: Iterable[ClaudeCodeDay],
    proxied: Mapping[PersonDay, Decimal],
    cost_center_of: Callable[[str, dt.date], str | None],
    tolerance: BypassTolerance,
) -> tuple[LikelyBypass, ...]:
    estimates: dict[PersonDay, list[Decimal]] = {}
    for each in days:
        if each.customer_type is CustomerType.API and each.person is not None:
            estimates.setdefault((each.person, each.day), []).append(each.estimated_usd)
    groups: dict[str, list[_UserDay]] = {}
    for (person, day), parts in estimates.items():
        found = _UserDay(person, exact_sum(parts), usd(proxied.get((person, day), 0)))
        if exact_sum([found.estimated, -found.proxied]) > tolerance.of(found.estimated):
            groups.setdefault(cost_center_of(person, day) or UNKNOWN, []).append(found)
    shown = [_group(code, members) for code, members in _large_enough(groups).items()]
    return tuple(sorted(shown, key=lambda row: (-row.notional_usd, row.cost_center)))


@dataclass(frozen=True, slots=True)
class _UserDay:
    person: str
    estimated: Decimal
    proxied: Decimal


def _large_enough(groups: Mapping[str, list[_UserDay]]) -> dict[str, list[_UserDay]]:
    """Groups of three people and more; the others as one, which takes in the smallest of the rest while it is small.

    Without the latter, one small cost center would be alone in it, and nameless in name only.
    """
    large = {code: members for code, members in groups.items() if _people(members) >= FEWEST_PEOPLE}
    small = [each for code, members in groups.items() if code not in large for each in members]
    while small and _people(small) < FEWEST_PEOPLE and large:
        small += large.pop(min(large, key=lambda code: (_people(large[code]), code)))
    return {**large, OTHER: small} if small else large


def _people(members: Iterable[_UserDay]) -> int:
    return len({each.person for each in members})


def _group(code: str, members: Sequence[_UserDay]) -> LikelyBypass:
    return LikelyBypass(
        cost_center=code,
        user_days=len(members),
        people=_people(members),
        estimated_usd=exact_sum(each.estimated for each in members),
        proxied_usd=exact_sum(each.proxied for each in members),
    )


def _seats(days: Sequence[ClaudeCodeDay]) -> UngovernedSeats:
    return UngovernedSeats(
        seats=len({(day.person, day.key_name) for day in days}),
        seat_days=len({(day.person, day.key_name, day.day) for day in days}),
        tokens=sum(day.tokens for day in days),
        notional_usd=exact_sum(day.estimated_usd for day in days),
    )


def suspected_unit(days: Iterable[ClaudeCodeDay], book: PriceBook) -> MatchError | None:
    """An error item where the estimates are ten times their tokens at list price or more, or a tenth or less.

    Cents read as dollars, or the other way round, are a factor of a hundred. Only rows of API customers whose model and
    kinds of token are all priced are compared; cache writes count as five-minute ones. Nothing is said below a dollar,
    where estimates in whole cents are too coarse.
    """
    estimates, lists = list[Decimal](), list[Decimal]()
    for each in days:
        listed = _at_list(each, book) if each.customer_type is CustomerType.API else None
        if listed:
            estimates.append(each.estimated_usd)
            lists.append(listed)
    estimated, listed = exact_sum(estimates), exact_sum(lists)
    is_alike = listed < exact_product(_UNIT_FACTOR, estimated) < exact_product(_UNIT_FACTOR**2, listed)
    if is_alike or max(estimated, listed) < _DOLLAR:
        return None
    return MatchError(
        code=ErrorCode.UNIT_SUSPECTED,
        key="claude_code",
        what=f"Claude Code analytics: the estimates are {estimated} USD and their tokens at list price {listed} USD",
        fix="check the unit that the provider reports estimated_cost in; no evidence is drawn from it",
        amount=estimated,
    )


def _at_list(each: ClaudeCodeDay, book: PriceBook) -> Decimal | None:
    """The tokens at standard list price; None where one of the prices is not known."""
    model = book.model_of(PROVIDER, each.model) if each.model else None
    if model is None:
        return None
    counts = {
        "uncached_input": each.input_tokens,
        "output": each.output_tokens,
        "cache_read": each.cache_read_tokens,
        "cache_write_5m": each.cache_creation_tokens,
    }
    parts = list[Decimal]()
    for token_type, count in counts.items():
        price = book.unit_price(PROVIDER, model, token_type, "standard", 0, each.day).usd_per_token if count else 0
        if price is None:
            return None
        parts.append(exact_product(count, price))
    return exact_sum(parts)
