"""manifest.json: what a pack is made of, by hash, and what a pack's content is, in one hash (Rule 11.8).

Belongs here: which files are content, how they are hashed together, and the manifest. Does not belong here: signoff.csv
(`signoff_csv`), the disk (`seal`).

No hash is a circle: the content hash is over data files and inputs; XLSX, HTML and PDF print it; the manifest lists
every file but itself and signoff.csv; signoff.csv names the manifest's hash.
"""

import csv
import datetime as dt
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.pack.writer import json_bytes, sha256_of

MANIFEST_JSON: Final = "manifest.json"
SIGNOFF_CSV: Final = "signoff.csv"
NOT_LISTED: Final = frozenset({MANIFEST_JSON, SIGNOFF_CSV})
"""The files that say when and by whom: no manifest lists them, and two runs may differ in them (Rule 11.8)."""


@dataclass(frozen=True)
class LakePartition:
    """A partition that the month was made from; `day` is a UTC day, or the word that a source has one partition by."""

    source: str
    day: str
    sha256: str


@dataclass(frozen=True)
class ManifestFacts:
    """What the manifest says beyond the files: the run, the code, the chain, the pack before it.

    `audit_head` is (number, hash) of the newest event of the audit trail before the close; the close is a later event
    that holds the manifest's own hash. `created_at` is aware UTC.
    """

    run_id: str
    code_version: str
    policy_sha256: str
    lake_partitions: Sequence[LakePartition]
    audit_head: tuple[int, str]
    previous_manifest_sha256: str | None
    created_at: dt.datetime
    status: str


def is_data_file(name: str) -> bool:
    """Whether a file of the pack is content: every CSV but signoff.csv, and everything in inputs/ (Rule 11.8)."""
    return name.startswith("inputs/") or (name.endswith(".csv") and name != SIGNOFF_CSV)


def content_sha256(files: Mapping[str, bytes]) -> str:
    """SHA-256 over the sorted lines `sha256  name` of the data files, each ending in LF.

    Anyone can check it in the pack's folder: `sha256sum chargeback.csv ... | LC_ALL=C sort | sha256sum`.
    """
    lines = sorted(f"{sha256_of(content)}  {name}\n" for name, content in files.items() if is_data_file(name))
    return hashlib.sha256("".join(lines).encode("utf-8")).hexdigest()


def manifest_json(
    month: BillingMonth, version: int, files: Mapping[str, bytes], totals: Mapping[str, Any], facts: ManifestFacts
) -> bytes:
    """The manifest of a pack's files. `totals` are its control totals, whose sums stand beside the files."""
    sums = {each["file"]: each.get("sums") for each in totals.get("files", [])}
    listed = {name: content for name, content in sorted(files.items()) if name not in NOT_LISTED}
    return json_bytes(
        {
            "period": str(month),
            "version": version,
            "status": facts.status,
            "run_id": facts.run_id,
            "created_at": facts.created_at.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "code_version": facts.code_version,
            "policy_sha256": facts.policy_sha256,
            "content_sha256": content_sha256(files),
            "previous_manifest_sha256": facts.previous_manifest_sha256,
            "audit_head": {"seq": facts.audit_head[0], "sha256": facts.audit_head[1]},
            "inputs": [name for name in listed if name.startswith("inputs/")],
            "lake_partitions": [asdict(each) for each in facts.lake_partitions],
            "files": [
                {
                    "name": name,
                    "bytes": len(content),
                    "rows": _rows(name, content),
                    "sha256": sha256_of(content),
                    "control_total": sums.get(name),
                }
                for name, content in listed.items()
            ],
        }
    )


def _rows(name: str, content: bytes) -> int | None:
    if not name.endswith(".csv"):
        return None
    return max(0, sum(1 for _ in csv.reader(io.StringIO(content.decode("utf-8"), newline=""))) - 1)
