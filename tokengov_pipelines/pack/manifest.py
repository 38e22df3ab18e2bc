"""What a pack's content is, in one hash (rule 11.8).

Belongs here: which files are content and how they are hashed together. Does not belong here: manifest.json and
signoff.csv, which come with the full pack.
"""

import hashlib
from collections.abc import Mapping

from tokengov_pipelines.pack.writer import sha256_of


def is_data_file(name: str) -> bool:
    """Whether a file of the pack is content: every CSV but signoff.csv, and everything in inputs/ (rule 11.8)."""
    return name.startswith("inputs/") or (name.endswith(".csv") and name != "signoff.csv")


def content_sha256(files: Mapping[str, bytes]) -> str:
    """SHA-256 over the sorted lines `sha256  name` of the data files, each ending in LF.

    Anyone can check it in the pack's folder: `sha256sum chargeback.csv ... | LC_ALL=C sort | sha256sum`.
    """
    lines = sorted(f"{sha256_of(content)}  {name}\n" for name, content in files.items() if is_data_file(name))
    return hashlib.sha256("".join(lines).encode("utf-8")).hexdigest()
