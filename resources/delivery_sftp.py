"""Delivery by SFTP to a server whose key is known: files beside the target, read back, then one rename.

Belongs here: the connection, its host key, the order of writing. Does not belong here: where key and password come from
beyond their variables (`tokengov_pipelines.delivery_settings`).

The server's key is compared with a known_hosts file or a fingerprint and never taken on trust. Keys of an agent or of
the user's own folder are not tried.
"""

import base64
import hashlib
import io
import os
import posixpath
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import paramiko

from resources.delivery_parcel import (
    DeliveryRefusedError,
    OnStep,
    Parcel,
    Receipt,
    differences,
    holds_another,
    their_words,
)


class UnknownHostKeyError(paramiko.SSHException):
    """The server showed another key than the one that is expected."""


@dataclass(frozen=True)
class SftpDelivery:
    """A folder on an SFTP server; versions are put under it as 2026-10/v1.

    `password_variable` and `key_file_variable` name the environment variables: with a key file the password is its
    passphrase. One of `known_hosts` and `host_key` ('SHA256:...') is set.
    """

    host: str
    port: int
    user: str
    folder: str
    password_variable: str
    key_file_variable: str
    known_hosts: Path | None = None
    host_key: str | None = None
    seconds: float = 30

    def deliver(self, parcel: Parcel, on_step: OnStep) -> Receipt:
        """Write, verify and rename; the same bytes that are there already are a receipt.

        Raises:
            DeliveryRefusedError: the server is not the known one, refuses, or holds other bytes.
        """
        files = parcel.with_manifest()
        try:
            with self._session() as sftp:
                return _put(sftp, files, posixpath.join(self.folder, parcel.folder), f"sftp {self.host}", on_step)
        except DeliveryRefusedError:
            raise
        except (OSError, EOFError, paramiko.SSHException) as error:
            secrets = [os.environ.get(self.password_variable, "")]
            said = their_words(str(error) or type(error).__name__, secrets)
            message = f"sftp {self.host}: {said}. Fix: check host, folder, user and {self.password_variable} or "
            message += f"{self.key_file_variable}; docs/delivery.md says how."
            raise DeliveryRefusedError(message) from error

    @contextmanager
    def _session(self) -> Iterator[paramiko.SFTPClient]:
        password, key_file = os.environ.get(self.password_variable), os.environ.get(self.key_file_variable)
        if not password and not key_file:
            message = (
                f"neither {self.password_variable} nor {self.key_file_variable} is set. Fix: export one of them where "
                "tokengov runs."
            )
            raise DeliveryRefusedError(message)
        client = paramiko.SSHClient()
        if self.known_hosts is not None:
            client.load_host_keys(str(self.known_hosts))
        client.set_missing_host_key_policy(_OnlyThisKey(self.host_key))
        with client:
            client.connect(
                self.host,
                self.port,
                self.user,
                password=None if key_file else password,
                key_filename=key_file or None,
                passphrase=password if key_file else None,
                timeout=self.seconds,
                banner_timeout=self.seconds,
                auth_timeout=self.seconds,
                channel_timeout=self.seconds,
                allow_agent=False,
                look_for_keys=False,
            )
            with client.open_sftp() as sftp:
                channel = sftp.get_channel()
                if channel is not None:
                    channel.settimeout(self.seconds)
                yield sftp


class _OnlyThisKey(paramiko.MissingHostKeyPolicy):
    """What is asked when no known_hosts file has the server: its key has this fingerprint, or the connection ends."""

    def __init__(self, fingerprint: str | None) -> None:
        self._expected = None if fingerprint is None else fingerprint.rstrip("=")

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        shown = base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")
        if f"SHA256:{shown}" != self._expected:
            expected = self._expected or "a key in the known_hosts file"
            message = f"the server shows the {key.get_name()} key SHA256:{shown} and not {expected}"
            raise UnknownHostKeyError(message)


def _put(sftp: paramiko.SFTPClient, files: Mapping[str, bytes], target: str, server: str, on_step: OnStep) -> Receipt:
    place = f"{server}:{target}"
    if _exists(sftp, target):
        other = differences(files, _read(sftp, target, files))
        if other:
            raise holds_another(place, other)
        return {"files": len(files), "written": 0}
    parent, name = posixpath.split(target)
    partial = posixpath.join(parent, f".{name}.partial")
    if _exists(sftp, partial):
        _remove(sftp, partial)  # of a run that was killed
    for path, content in files.items():
        whole = posixpath.join(partial, path)
        _make_folders(sftp, posixpath.dirname(whole))
        sftp.putfo(io.BytesIO(content), whole, confirm=True)
        on_step("uploaded")
    other = differences(files, _read(sftp, partial, files))
    if other:
        message = f"{server}:{partial} gave back other bytes than were written ({other}). Fix: check that server."
        raise DeliveryRefusedError(message)
    sftp.rename(partial, target)
    on_step("placed")
    return {"files": len(files), "written": len(files)}


def _exists(sftp: paramiko.SFTPClient, path: str) -> bool:
    try:
        sftp.stat(path)
    except FileNotFoundError:
        return False
    return True


def _read(sftp: paramiko.SFTPClient, folder: str, names: Mapping[str, bytes]) -> dict[str, bytes | None]:
    found: dict[str, bytes | None] = {}
    for name in names:
        content = io.BytesIO()
        try:
            sftp.getfo(posixpath.join(folder, name), content)
        except FileNotFoundError:
            found[name] = None
        else:
            found[name] = content.getvalue()
    return found


def _make_folders(sftp: paramiko.SFTPClient, folder: str) -> None:
    """The folders of a path that are not there yet; the destination's own folder is made too."""
    if folder in ("", "/") or _exists(sftp, folder):
        return
    _make_folders(sftp, posixpath.dirname(folder))
    sftp.mkdir(folder)


def _remove(sftp: paramiko.SFTPClient, folder: str) -> None:
    for entry in sftp.listdir_attr(folder):
        path = posixpath.join(folder, entry.filename)
        if stat.S_ISDIR(entry.st_mode or 0):
            _remove(sftp, path)
        else:
            sftp.remove(path)
    sftp.rmdir(folder)
