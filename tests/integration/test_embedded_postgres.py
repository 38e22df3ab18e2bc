"""The embedded Postgres: found again, killed, stopped, and left without a trace."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, execute
from tests.integration.postgres_client import query, wait_for
from tokengov_pipelines.demo.postgres import EmbeddedPostgres, EmbeddedPostgresError

_OWNER = """
import pathlib, sys, time
from tokengov_pipelines.demo.postgres import EmbeddedPostgres

server = EmbeddedPostgres(pathlib.Path(sys.argv[1]))
server.start()
server.stop_on_sigterm()
pathlib.Path(sys.argv[2]).touch()
time.sleep(60)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the server's account can reach: pytest closes its own to others whenever a session starts."""
    with tempfile.TemporaryDirectory(prefix="tokengov-") as name:
        yield Path(name).resolve()


def test_start_is_idempotent_and_stop_stops(folder: Path) -> None:
    server = EmbeddedPostgres(folder / "postgres")
    try:
        assert server.start() == server.start()
        again = EmbeddedPostgres(folder / "postgres")
        assert again.start() == server.url()
        assert (server.started_here, again.started_here) == (True, False)
        assert query(server.url(), "show listen_addresses") == [("",)]
        assert query(server.url(), "select current_database()") == [("litellm",)]
    finally:
        server.stop()
    assert not server.is_running()
    server.stop()


def test_it_survives_a_killed_server_and_keeps_its_data(folder: Path) -> None:
    server = EmbeddedPostgres(folder / "postgres")
    try:
        server.start()
        execute(server.url(), "create table kept (n int)")
        execute(server.url(), "insert into kept values (7)")
        execute(server.url(), "create table bulk as select generate_series(1, 200000) as n")
        os.kill(int((server.data_dir / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
        server.start()
        assert query(server.url(), "select n from kept") == [(7,)]
        assert query(server.url(), "select count(*), sum(n) from bulk") == [(200_000, 20_000_100_000)]
        server.stop()
        # The machine came back and another process has the number: ours.
        stale = f"{os.getpid()}\n{server.data_dir}\n1\n5432\n{server.socket_dir}\n\n  1 1\nready\n"
        (server.data_dir / "postmaster.pid").write_text(stale)
        assert not server.is_running()
        server.start()
        assert query(server.url(), "select n from kept") == [(7,)]
    finally:
        server.stop()


def test_a_long_path_with_spaces_gets_another_socket(folder: Path) -> None:
    data_dir = folder / ("a long name " * 8).strip() / "postgres"
    server = EmbeddedPostgres(data_dir)
    try:
        assert query(server.start(), "select 1") == [(1,)]
        assert server.socket_dir != data_dir
    finally:
        server.stop()
    assert not server.socket_dir.exists()
    server.socket_dir.symlink_to(folder)  # somebody else was there first
    try:
        with pytest.raises(EmbeddedPostgresError, match="is not ours"):
            server.start()
    finally:
        server.socket_dir.unlink()


def test_a_broken_data_folder_is_reported_in_the_servers_words(folder: Path) -> None:
    server = EmbeddedPostgres(folder / "postgres")
    server.start()
    server.stop()
    (server.data_dir / "postgresql.conf").write_text("no_such_setting = 1\n")
    with pytest.raises(EmbeddedPostgresError, match="no_such_setting"):
        server.start()


def test_a_killed_initdb_leaves_nothing_behind(folder: Path) -> None:
    (folder / ".postgres.draft" / "base").mkdir(parents=True)
    (folder / "postgres").mkdir()
    server = EmbeddedPostgres(folder / "postgres")
    try:
        assert query(server.start(), "select 1") == [(1,)]
    finally:
        server.stop()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_owner_is_signalled(folder: Path, number: signal.Signals) -> None:
    """SIGTERM stops the server when asked; after SIGKILL of the owner the next one finds it running."""
    arguments = [sys.executable, "-c", _OWNER, str(folder / "postgres"), str(folder / "ready")]
    owner = subprocess.Popen(arguments, cwd=REPOSITORY)
    server = EmbeddedPostgres(folder / "postgres")
    try:
        wait_for(lambda: (folder / "ready").exists() or owner.poll() is not None)
        assert server.is_running()
        owner.send_signal(number)
        assert owner.wait(30) == -number
        assert server.is_running() == (number == signal.SIGKILL)
        assert query(server.start(), "select 1") == [(1,)]
    finally:
        server.stop()
        owner.kill()
