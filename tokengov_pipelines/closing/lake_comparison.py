"""What of a sealed month is known otherwise now: partitions, tables of its inputs, and the ledger's record of it.

Belongs here: findings of `tokengov verify --deep`. Does not belong here: reading lake, tables and ledger (`assets`),
what differs between two sets of inputs (`comparison`), the correction that follows (`restate`).

A month that moved after its close is no error of its pack: the difference is posted in the next open month (Rule 2.5).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tokengov_pipelines.closing.comparison import table_changes
from tokengov_pipelines.closing.inputs import MonthInputs
from tokengov_pipelines.closing.verification import Check, Finding, State
from tokengov_pipelines.ledger.periods import DRAFT_VERSION, PeriodVersion
from tokengov_pipelines.pack.manifest import MANIFEST_JSON, LakePartition, content_sha256
from tokengov_pipelines.pack.writer import sha256_of

_NAMED: Final = 5
_POSTED: Final = "its correction posts to the next open month"


def ledger_findings(
    files: Mapping[str, bytes], manifest: Mapping[str, Any], versions: Sequence[PeriodVersion]
) -> list[Finding]:
    """Whether the ledger recorded this version with this content and this manifest."""
    label = f"{manifest['period']} v{manifest['version']}"
    # A draft is overwritten: an older copy of it is no other pack than the one that was sealed.
    state = State.NOTE if manifest["version"] == DRAFT_VERSION else State.DIFFERS
    recorded = next((each for each in versions if each.version == manifest["version"]), None)
    if recorded is None:
        return [Finding(Check.LEDGER, state, "", f"the ledger does not know {label}")]
    found = []
    if recorded.content_sha256 != content_sha256(files):
        what = f"the ledger recorded {label} with content {recorded.content_sha256}"
        found.append(Finding(Check.LEDGER, state, "", what))
    if recorded.manifest_sha256 not in {None, sha256_of(files[MANIFEST_JSON])}:
        what = f"the ledger recorded {label} with manifest {recorded.manifest_sha256}"
        found.append(Finding(Check.LEDGER, state, MANIFEST_JSON, what))
    return found or [Finding(Check.LEDGER, State.IDENTICAL, "", f"the ledger recorded {label} with this content")]


def moved_findings(
    manifest: Mapping[str, Any], sealed: MonthInputs, now: Sequence[LakePartition], current: MonthInputs
) -> list[Finding]:
    """The partitions and the tables that the lake would give otherwise now; `current` are today's inputs."""
    before = {(each["source"], each["day"]): each["sha256"] for each in manifest["lake_partitions"]}
    after = {(each.source, each.day): each.sha256 for each in now}
    days: dict[str, list[str]] = {}
    for source, day in sorted({*before, *after}):
        if before.get((source, day)) != after.get((source, day)):
            days.setdefault(source, []).append(day)
    found = [Finding(Check.LAKE, State.MOVED, source, f"{_listed(moved)}; {_POSTED}") for source, moved in days.items()]
    changes = [each for each in table_changes(sealed, current) if each.is_different]
    found += [Finding(Check.LAKE, State.MOVED, f"inputs/{each.table}.parquet", str(each)) for each in changes]
    if found:
        return found
    what = f"{len(after)} partitions and every table of inputs/ are what the lake holds now"
    return [Finding(Check.LAKE, State.IDENTICAL, "", what)]


def _listed(days: Sequence[str]) -> str:
    more = f" and {len(days) - _NAMED} more" if len(days) > _NAMED else ""
    return ", ".join(days[:_NAMED]) + more
