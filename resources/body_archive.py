"""The archive of answers: every body that a load was read from, compressed, named by its content.

Belongs here: writing and reading archived bodies on any fsspec file system.
Does not belong here: which bodies are archived (`resources.http_source`), loads (`resources.lake`).

Layout: `<root>/bodies/<source>/<sha256[:2]>/<sha256>.json.gz`. The load record of a partition lists the hashes, so that
anyone can read a load's rows from what the provider sent. A body that came before costs nothing again.
"""

import gzip
import hashlib
import uuid
from dataclasses import dataclass

import fsspec


@dataclass(frozen=True)
class BodyArchive:
    """Bodies under the root of the lake."""

    root: str

    def put(self, source: str, body: bytes) -> str:
        """Keep a body; returns its SHA-256. The same body gives the same file, whenever it comes."""
        digest = hashlib.sha256(body).hexdigest()
        fs, base = fsspec.core.url_to_fs(self.root)
        path = self._path(str(base), source, digest)
        if fs.exists(path):
            return digest
        packed = gzip.compress(body, mtime=0)  # without the time: the file depends on the body alone
        if "file" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol):
            fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
            draft = f"{path}.{uuid.uuid4().hex}.draft"  # its own, where two runs archive the same body
            fs.pipe_file(draft, packed)
            fs.mv(draft, path)
        else:  # one PUT is whole or not at all, and a folder would be a bucket
            fs.pipe_file(path, packed)
        return digest

    def get(self, source: str, digest: str) -> bytes:
        """An archived body.

        Raises:
            FileNotFoundError: it was never archived, or somebody removed it.
        """
        fs, base = fsspec.core.url_to_fs(self.root)
        return gzip.decompress(fs.cat_file(self._path(str(base), source, digest)))

    def _path(self, base: str, source: str, digest: str) -> str:
        return f"{base.rstrip('/')}/bodies/{source}/{digest[:2]}/{digest}.json.gz"
