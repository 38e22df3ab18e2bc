"""Folders that appear whole or not at all, and survive a power cut once they are there.

Belongs here: writing, comparing and swapping a pack's folder. Does not belong here: whether it may be written
(`ledger.book`) and when it counts (`seal`).
"""

import ctypes
import os
import shutil
from collections.abc import Callable, Collection, Mapping
from enum import Enum
from pathlib import Path, PurePosixPath

from tokengov_pipelines.pack.writer import PackError

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


class Placed(Enum):
    """What placing a folder came to."""

    UNCHANGED = "unchanged"  # it held exactly these bytes: nothing was written
    NEW = "new"
    REPLACED = "replaced"


def place_folder(
    target: Path,
    files: Mapping[str, bytes],
    on_step: Callable[[str], None],
    *,
    ignoring: Collection[str] = (),
) -> Placed:
    """Make `target` hold exactly `files`: written beside it, synced to disk, then moved into place in one step.

    A folder that differs in no file but those of `ignoring` stays as it is: they say when, and not what.

    The caller holds the period's lock, so the names beside the target are its own; what a killed run left there is
    removed first. `on_step` is called at each boundary where a kill leaves another state behind.
    """
    partial, aside = target.with_name(f".{target.name}.partial"), target.with_name(f".{target.name}.aside")
    for left_over in (partial, aside):
        if left_over.exists():
            shutil.rmtree(left_over)
    if target.exists() and _same(read_folder_files(target), files, ignoring):
        return Placed.UNCHANGED
    _write(partial, files)
    on_step("written")
    if target.exists():
        swap_folders(partial, target, aside)
        placed = Placed.REPLACED
    else:
        partial.rename(target)
        placed = Placed.NEW
    _sync_folder(target.parent)
    on_step("placed")
    if partial.exists():
        shutil.rmtree(partial)
    return placed


def swap_folders(new: Path, current: Path, aside: Path) -> None:
    """Exchange two folders, in one step where the system can (Linux), else by way of `aside`.

    Without the one step there is a moment without `current`; a run killed in it is repaired by the next one.
    """
    if not _exchanged(new, current):
        rename_in_three_steps(new, current, aside)


def rename_in_three_steps(new: Path, current: Path, aside: Path) -> None:
    """Exchange two folders where the system has no single step for it."""
    current.rename(aside)
    new.rename(current)
    aside.rename(new)


def _exchanged(one: Path, other: Path) -> bool:
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    return (
        rename is not None and rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0
    )


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.mkdir(parents=True)
    folders = {folder}
    for name, content in sorted(files.items()):
        path = folder / _inside(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        folders.update(parent for parent in path.parents if parent.is_relative_to(folder))
        with path.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    for each in folders:
        _sync_folder(each)
    for parent in list(folder.parents)[:3]:  # packs/{month}, packs, home: they may be new
        _sync_folder(parent)


def _inside(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or ".." in path.parts:
        message = f"{name!r} is not a path inside a pack."
        raise PackError(message)
    return path


def _same(there: Mapping[str, bytes], wanted: Mapping[str, bytes], ignoring: Collection[str]) -> bool:
    one, other = ({name: files[name] for name in files if name not in ignoring} for files in (there, wanted))
    return one == other and there.keys() == wanted.keys()


def read_folder_files(folder: Path) -> dict[str, bytes]:
    """Every file of a folder by its path in it."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
