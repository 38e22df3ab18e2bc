"""Delivery to an object store through fsspec (S3, GCS, Azure): every object, read back, and manifest.json last.

Belongs here: the order of writing, comparing, words of failure. Does not belong here: credentials, which the store's
own client takes from the environment as it does for the lake.

An object store has no rename. An object appears whole or not at all, and a version counts when its manifest.json is
there: what stands there without one is of a run that was killed, and is completed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import fsspec

from resources.delivery_parcel import (
    MANIFEST_JSON,
    DeliveryRefusedError,
    OnStep,
    Parcel,
    Receipt,
    differences,
    holds_another,
)
from resources.drop_folder import without_password


@dataclass(frozen=True)
class ObjectStoreDelivery:
    """A bucket, with or without a prefix; versions are put under it as 2026-10/v1."""

    url: str

    def deliver(self, parcel: Parcel, on_step: OnStep) -> Receipt:
        """Write what is not there yet, read it back, and the manifest last; the same bytes are a receipt.

        Raises:
            DeliveryRefusedError: the store refuses, or a complete version with other bytes is there.
        """
        files, place = parcel.with_manifest(), f"{without_password(self.url).rstrip('/')}/{parcel.folder}"
        with self._in_words():
            fs, base = fsspec.core.url_to_fs(self.url)
            paths = {name: f"{str(base).rstrip('/')}/{parcel.folder}/{name}" for name in files}
            found = {name: _read(fs, path) for name, path in paths.items()}
            if found[MANIFEST_JSON] is not None:
                other = differences(files, found)
                if other:
                    raise holds_another(place, other)
                return {"files": len(files), "written": 0}
            written = 0
            for name, content in files.items():  # the manifest is the last of them
                if found[name] == content:
                    continue
                fs.pipe_file(paths[name], content)
                if _read(fs, paths[name]) != content:
                    message = f"{place}/{name} gave back other bytes than were written. Fix: check the store."
                    raise DeliveryRefusedError(message)
                written += 1
                on_step("placed" if name == MANIFEST_JSON else "uploaded")
            return {"files": len(files), "written": written}

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except DeliveryRefusedError:
            raise
        except ImportError as error:
            message = f"{without_password(self.url)}: {error}. Fix: install that package beside tokengov."
            raise DeliveryRefusedError(message) from error
        except Exception as error:  # each file system raises its own: missing credentials are no OSError on S3
            reason = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
            message = (
                f"{without_password(self.url)} cannot be written ({reason}). "
                "Fix: check the bucket, its permissions and the credentials in the environment."
            )
            raise DeliveryRefusedError(message) from error


def _read(fs: Any, path: str) -> bytes | None:
    try:
        return bytes(fs.cat_file(path))
    except FileNotFoundError:
        return None
