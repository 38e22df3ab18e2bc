"""A real SFTP server on 127.0.0.1 over a folder, made with paramiko; it wants a password or a certain key."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paramiko

USER, PASSWORD = "svc-tokengov", "pass-w0rd-of-the-server"


class FolderHandle(paramiko.SFTPHandle):
    def stat(self) -> paramiko.SFTPAttributes:
        return paramiko.SFTPAttributes.from_stat(os.fstat(self.readfile.fileno()))


class FolderInterface(paramiko.SFTPServerInterface):
    """The folder that the server shows as its root."""

    ROOT = Path()

    def _real(self, path: str) -> Path:
        return self.ROOT / self.canonicalize(path).lstrip("/")

    def _done(self, deed, *arguments) -> int:
        try:
            deed(*arguments)
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)
        return paramiko.SFTP_OK

    def list_folder(self, path):
        try:
            return [paramiko.SFTPAttributes.from_stat(each.stat(), each.name) for each in self._real(path).iterdir()]
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)

    def stat(self, path):
        try:
            return paramiko.SFTPAttributes.from_stat(self._real(path).stat())
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)

    lstat = stat

    def open(self, path, flags, attr):
        writes = flags & (os.O_WRONLY | os.O_RDWR)
        try:
            file = self._real(path).open("w+b" if writes else "rb", buffering=0)
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)
        handle = FolderHandle(flags)
        handle.readfile = handle.writefile = file
        return handle

    def remove(self, path):
        return self._done(self._real(path).unlink)

    def rename(self, oldpath, newpath):
        if self._real(newpath).exists():
            return paramiko.SFTP_FAILURE
        return self._done(self._real(oldpath).rename, self._real(newpath))

    def mkdir(self, path, attr):
        return self._done(self._real(path).mkdir)

    def rmdir(self, path):
        return self._done(self._real(path).rmdir)


class Door(paramiko.ServerInterface):
    def __init__(self, key: paramiko.PKey) -> None:
        self._key = key

    def get_allowed_auths(self, username):
        return "password,publickey"

    def check_auth_password(self, username, password):
        right = (username, password) == (USER, PASSWORD)
        return paramiko.AUTH_SUCCESSFUL if right else paramiko.AUTH_FAILED

    def check_auth_publickey(self, username, key):
        right = username == USER and key.asbytes() == self._key.asbytes()
        return paramiko.AUTH_SUCCESSFUL if right else paramiko.AUTH_FAILED

    def check_channel_request(self, kind, chanid):
        return paramiko.OPEN_SUCCEEDED


class SftpServer:
    """`port`, its `host_key`, the `user_key` that it lets in, and how many logged in."""

    def __init__(self, root: Path) -> None:
        self.host_key, self.user_key = paramiko.ECDSAKey.generate(), paramiko.ECDSAKey.generate()
        self.sessions = 0
        self._interface = type("Interface", (FolderInterface,), {"ROOT": root})
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._transports: list[paramiko.Transport] = []

    @contextmanager
    def running(self) -> Iterator["SftpServer"]:
        thread = threading.Thread(target=self._serve, daemon=True)
        thread.start()
        yield self
        self._socket.shutdown(
            socket.SHUT_RDWR
        )  # wakes the thread, which would else accept for whom has its number next
        thread.join()
        self._socket.close()
        for transport in self._transports:
            transport.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            self._transports.append(transport)
            transport.add_server_key(self.host_key)
            transport.set_subsystem_handler("sftp", paramiko.SFTPServer, self._interface)
            try:
                transport.start_server(server=Door(self.user_key), event=threading.Event())
            except paramiko.SSHException:
                continue
            self.sessions += 1
