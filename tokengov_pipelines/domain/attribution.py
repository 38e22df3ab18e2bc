"""The words of attribution: rungs, call classes, dispositions and their reasons (rules 3 and 12).

Belongs here: the vocabulary that dbt writes and Python reads; a test holds it equal to the macro `vocabulary` of
`dbt_project`. Does not belong here: the ladder itself and the screening of calls. Those are per-call rules, and their
one home is `dbt_project/models/intermediate`.
"""

from enum import StrEnum


class Rung(StrEnum):
    """Where a call's cost center came from, in the order in which the ladder asks (rule 3.1)."""

    TEAM_METADATA = "team_metadata"
    DIRECTORY_TEAM = "directory_team"
    SERVICE_REGISTRY = "service_registry"
    DIRECTORY_USER = "directory_user"
    SUSPENSE = "suspense"

    @property
    def number(self) -> int:
        """The rung's number in the rule book: 1 is asked first, 5 is suspense."""
        return list(Rung).index(self) + 1


class CallClass(StrEnum):
    """What a logged call is to reconciliation (rule 4.4)."""

    CALL = "call"
    SUBSCRIPTION = "subscription"  # made with a person's own plan (OAuth token): not on the organisation's API invoice
    CACHE_HIT = "cache_hit"  # served by the proxy's own cache: the provider never saw it
    FAILURE = "failure"  # its tokens are estimates
    FAILED_SPEND = "failed_spend"  # failed and still logged with spend
    PARTIAL = "partial"  # the client hung up: the proxy counted the output, not the provider
    UNPRICED = "unpriced"  # success and tokens, without spend
    ZERO = "zero"  # success without tokens or spend


class Disposition(StrEnum):
    """What screening decided about a raw row (rules 12.1, 12.2)."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    QUARANTINED = "quarantined"


class ScreeningReason(StrEnum):
    """Why screening decided so (rules 12.1, 12.2)."""

    NONE = "none"
    IDENTICAL_COPY = "identical_copy"
    SUPERSEDED_COPY = "superseded_copy"
    EMPTY_REQUEST_ID = "empty_request_id"
    MISSING_TIME = "missing_time"
    UNREADABLE_SPEND = "unreadable_spend"
    NEGATIVE_SPEND = "negative_spend"
    NEGATIVE_TOKENS = "negative_tokens"
    STARTED_IN_THE_FUTURE = "started_in_the_future"
    ENDED_BEFORE_START = "ended_before_start"
