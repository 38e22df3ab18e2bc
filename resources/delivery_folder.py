"""Delivery into a folder of this machine or a mounted share: the version's folder appears whole, or not at all.

Belongs here: writing beside the target, reading back, moving into place. Does not belong here: other file systems
(`delivery_objects`, `delivery_sftp`).
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from resources.delivery_parcel import DeliveryRefusedError, OnStep, Parcel, Receipt, differences, holds_another


@dataclass(frozen=True)
class FolderDelivery:
    """A folder that exists; versions are put under it as 2026-10/v1."""

    root: Path

    def deliver(self, parcel: Parcel, on_step: OnStep) -> Receipt:
        """Write, verify and move into place; the same bytes that are there already are a receipt.

        Raises:
            DeliveryRefusedError: the folder is not there, cannot be written, or holds other bytes.
        """
        if not self.root.is_dir():
            message = f"there is no folder {self.root}. Fix: make it, or mount it; it is never made here."
            raise DeliveryRefusedError(message)
        files = parcel.with_manifest()
        try:
            return self._put(files, self.root / parcel.folder, on_step)
        except OSError as error:
            message = f"{self.root} cannot be written ({error.strerror or type(error).__name__}). Fix: check it."
            raise DeliveryRefusedError(message) from error

    def _put(self, files: Mapping[str, bytes], target: Path, on_step: OnStep) -> Receipt:
        if target.exists():
            other = differences(files, _read(target, files))
            if other:
                raise holds_another(str(target), other)
            return {"files": len(files), "written": 0}
        partial = target.with_name(f".{target.name}.partial")
        if partial.exists():
            shutil.rmtree(partial)  # of a run that was killed
        _write(partial, files)
        on_step("uploaded")
        other = differences(files, _read(partial, files))
        if other:
            message = f"{partial} gave back other bytes than were written ({other}). Fix: check that disk."
            raise DeliveryRefusedError(message)
        partial.rename(target)
        _sync(target.parent)
        on_step("placed")
        return {"files": len(files), "written": len(files)}


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    for each in {folder, *(path for path in folder.rglob("*") if path.is_dir())}:
        _sync(each)


def _read(folder: Path, names: Mapping[str, bytes]) -> dict[str, bytes | None]:
    return {name: path.read_bytes() if (path := folder / name).is_file() else None for name in names}


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
