"""What a load found, in the words and metadata of Dagster's pages.

Belongs here: turning a `LoadOutcome` into metadata. Does not belong here: loading (`resources`).
"""

from typing import Any

import dagster as dg

from resources.lake import LoadOutcome, Verdict

_VERDICTS: dict[Verdict, str] = {
    "first": "first load",
    "unchanged": "unchanged, byte for byte",
    "grown": "changed: this load is current now",
    "shrunk": "smaller than before: kept beside the load that stays current",
    "zero_proven": "no rows, and the source proves that there are none",
    "unproven_zero": "no rows and no proof: nothing is current",
}


def whole(key: list[str], outcome: LoadOutcome, **metadata: Any) -> dg.MaterializeResult:
    """The result of a table that is read whole; its content is its version, so no change makes nothing unsynced."""
    version = dg.DataVersion(outcome.current.sha256) if outcome.current else None
    return dg.MaterializeResult(asset_key=key, metadata={**describe(outcome), **metadata}, data_version=version)


def describe(outcome: LoadOutcome) -> dict[str, Any]:
    """What a load found, for the page of its asset and partition."""
    metadata: dict[str, Any] = {"load": _VERDICTS[outcome.verdict]}
    if outcome.reason:
        metadata["reason"] = outcome.reason
    if outcome.current:
        metadata["dagster/row_count"] = outcome.current.rows
        metadata |= outcome.current.sums
        metadata["file"] = f"{outcome.current.partition}/load={outcome.current.load}.parquet"
    return metadata
