"""Folders in which people put files: a local path or any fsspec URL (`s3://`, `gs://`, `abfs://`, `memory://`).

Belongs here: listing and reading such files, and the errors of doing so. Does not belong here: what the files hold
(`resources.directory`, `resources.invoice_files`) and the lake, which is written by us (`resources.lake`).
"""

import re
from collections.abc import Sequence
from typing import Any

import fsspec


class FolderError(RuntimeError):
    """A folder or file that cannot be read: what is wrong with which one, and the fix."""

    def __init__(self, place: str, what: str, fix: str) -> None:
        super().__init__(f"{place}: {what}. Fix: {fix}.")
        self.place = place
        self.what = what
        self.fix = fix


def read_folder(url: str, endings: Sequence[str]) -> dict[str, bytes]:
    """The files directly inside a folder whose names end so (in any case), by name, ascending.

    Hidden files and the lock files of office programs are passed over. A folder that does not exist raises
    `FolderError`: a mistyped URL is not an empty folder.
    """
    fs, base = _file_system(url)
    try:
        fs.invalidate_cache()  # a daemon lives long, and people drop files meanwhile
        if not fs.isdir(base):
            raise FolderError(without_password(url), "there is no such folder", "create it, or correct its url")
        entries = fs.ls(base, detail=True)
        paths = {entry["name"].rsplit("/", 1)[-1]: entry["name"] for entry in entries if entry["type"] == "file"}
        return {
            name: bytes(fs.cat_file(paths[name]))
            for name in sorted(paths)
            if name.lower().endswith(tuple(endings)) and not name.startswith((".", "~"))
        }
    except FolderError:
        raise
    except Exception as error:  # each file system raises its own: missing credentials are no OSError on S3
        what = f"cannot be read ({_reason(error)})"
        raise FolderError(without_password(url), what, "check its url and its permissions") from error


def read_file(url: str) -> bytes:
    """The content of one file."""
    fs, path = _file_system(url)
    try:
        return bytes(fs.cat_file(path))
    except FileNotFoundError as error:
        raise FolderError(without_password(url), "there is no such file", "check the name") from error
    except Exception as error:
        what = f"cannot be read ({_reason(error)})"
        raise FolderError(without_password(url), what, "check that it is a readable file") from error


def without_password(url: str) -> str:
    """A URL as a message may show it."""
    return re.sub(r"://[^/@]*@", "://…@", url)


def _file_system(url: str) -> tuple[Any, str]:
    try:
        fs, base = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise FolderError(without_password(url), f"cannot be opened ({error})", "correct the url") from error
    return fs, str(base)


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
