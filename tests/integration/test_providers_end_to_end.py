"""The production job against a provider server: an outage that heals, figures that move, secrets that stay secret."""

import datetime as dt
import gzip
import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import duckdb
import pytest
import yaml

from tests.installation import TestHome
from tokengov_pipelines.demo.providers.books import ApiKey, CostCell, ProviderBooks, UsageCell
from tokengov_pipelines.demo.providers.faults import Fault, Status, Truncated
from tokengov_pipelines.demo.providers.server import ProviderServer

ANTHROPIC_KEY = "sk-ant-admin01-planted-Zx81-recognise-me"
OPENAI_KEY = "sk-admin-planted-Qw72-recognise-me"
DATABASE_PASSWORD = "planted%2Fpass+Rt53"
FIRST, LAST = "2026-10-01", "2026-10-05"
DAYS = [dt.date(2026, 10, day) for day in range(1, 6)]


def books(refreshed: str = "2026-10-06T00:00:00+00:00") -> ProviderBooks:
    """Five days: a proxy key and a second one at Anthropic, one key at OpenAI."""
    usage, cost = [], []
    for day in DAYS:
        for provider, key, workspace, model in (
            ("anthropic", "apikey_proxy", "wrkspc_1", "claude-sonnet-4-6"),
            ("anthropic", "apikey_other", None, "claude-sonnet-4-6"),
            ("openai", "key_proxy", "proj_1", "gpt-5.4-mini"),
        ):
            usage.append(
                UsageCell(day, provider, "acme", key, workspace, model, context_window="0-200k"
                          if provider == "anthropic" else None, uncached_input=1_000, output=100, requests=3)
            )  # fmt: skip
            for token_type, line_item, amount in (("uncached_input", "input", "0.003"), ("output", "output", "0.0015")):
                cost.append(
                    CostCell(day, provider, "acme", key, workspace, model, f"{model}, {line_item}", Decimal(amount),
                             Decimal(amount), token_type=token_type,
                             context_window="0-200k" if provider == "anthropic" else None)
                )  # fmt: skip
    created = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    keys = tuple(
        ApiKey(provider, key, key, f"{key[:4]}...", workspace, created)
        for provider, key, workspace in (
            ("anthropic", "apikey_proxy", "wrkspc_1"),
            ("anthropic", "apikey_other", None),
            ("openai", "key_proxy", "proj_1"),
        )
    )
    return ProviderBooks(
        usage=tuple(usage), costs=tuple(cost), keys=keys, refreshed_at=dt.datetime.fromisoformat(refreshed)
    )


@pytest.fixture
def home(tmp_path: Path) -> TestHome:
    return TestHome(
        tmp_path,
        f"postgresql://reader:{DATABASE_PASSWORD}@127.0.0.1:9/litellm",
        log_start=FIRST,
        books_start="2026-10",
        as_of="2026-10-06T03:30:00Z",
        anthropic={"account": "acme"},
        openai={"account": "acme"},
        alerts={"stale_after_hours": 26},
    )


@contextmanager
def served(books_: ProviderBooks) -> Iterator[ProviderServer]:
    with ProviderServer(books_, anthropic_key=ANTHROPIC_KEY, openai_key=OPENAI_KEY) as server:
        yield server


def run(
    home: TestHome, server: ProviderServer, *arguments: str, **variables: str
) -> "subprocess.CompletedProcess[str]":
    """The command line on this home with the planted secrets in its environment."""
    return home.command(
        *arguments,
        **{
            "TOKENGOV_ANTHROPIC_ADMIN_KEY": ANTHROPIC_KEY,
            "TOKENGOV_OPENAI_ADMIN_KEY": OPENAI_KEY,
            "TOKENGOV_ANTHROPIC_BASE_URL": server.anthropic_url,
            "TOKENGOV_OPENAI_BASE_URL": server.openai_url,
            **variables,
        },
    )


def load(home: TestHome, server: ProviderServer, **variables: str) -> "subprocess.CompletedProcess[str]":
    return run(home, server, "load-providers", FIRST, LAST, **variables)


def at(home: TestHome, moment: str) -> None:
    path = home.folder / "tokengov.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "as_of": moment}))


def cost(home: TestHome) -> dict[tuple[str, str], Decimal]:
    """Reported USD by provider and day, as the data team reads it."""
    files = home.folder / "tables/fct_provider_cost_daily/*.parquet"
    rows = duckdb.sql(
        f"select provider, usage_date::text, sum(amount_usd) from read_parquet('{files}') group by all"
    ).fetchall()
    return {(provider, day): amount for provider, day, amount in rows}


class Receiver:
    """A webhook that keeps what it gets; it runs in this process."""

    def __init__(self) -> None:
        self.messages: list[dict[str, str]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.messages.append(json.loads(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"json://127.0.0.1:{self.server.server_address[1]}/planted-token-Yu61"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()


def told_of_the_job(receiver: Receiver) -> list[str]:
    """Titles about the job itself; that no provider key of this home is registered is another alarm."""
    return [message["title"] for message in receiver.messages if "load_providers_job" in message["title"]]


def test_a_provider_that_is_down_heals_by_itself_and_its_alert_opens_once_and_closes_itself(
    home: TestHome, receiver: Receiver
) -> None:
    alerts = {"TOKENGOV_ALERT_URLS": receiver.url}
    with served(books()) as server:
        server.plant(Fault("/anthropic", Status(401), times=None))
        for _ in range(2):
            failed = load(home, server, **alerts)
            assert failed.returncode == 1
            assert "Anthropic at 127.0.0.1" in failed.stderr
        opened = told_of_the_job(receiver)
    with served(books()) as server:
        healed = load(home, server, **alerts)
        assert healed.returncode == 0, healed.stdout + healed.stderr
        again = load(home, server, **alerts)
        assert again.returncode == 0, again.stdout + again.stderr
    assert opened == ["[error] load_providers_job failed"]
    assert told_of_the_job(receiver) == [*opened, "[over] load_providers_job failed"]
    assert cost(home) == {
        (provider, str(day)): amount
        for day in DAYS
        for provider, amount in (("anthropic", Decimal("0.009")), ("openai", Decimal("0.0045")))
    }


def test_a_figure_that_moves_is_a_new_load_and_the_day_follows_it(home: TestHome) -> None:
    before = books()
    with served(before) as server:
        assert load(home, server).returncode == 0
        at(home, "2026-10-07T03:30:00Z")
        refreshed = dt.datetime(2026, 10, 7, tzinfo=dt.UTC)
        server.books = before.revised("anthropic", DAYS[2], factor=3, refreshed_at=refreshed)
        moved = load(home, server)
        assert moved.returncode == 0, moved.stdout + moved.stderr
    assert cost(home)["anthropic", "2026-10-03"] == Decimal("0.027")
    assert cost(home)["anthropic", "2026-10-02"] == Decimal("0.009")
    folder = home.folder / "lake/raw/anthropic_cost/day=2026-10-03"
    loads = {path.stem.removeprefix("load=") for path in folder.glob("load=*.parquet")}
    (change,) = [json.loads(path.read_text()) for path in (folder / "history").iterdir()]
    assert loads == {change["before"], change["load"]}
    assert not (home.folder / "lake/raw/anthropic_cost/day=2026-10-02/history").exists()


def everything_written(home: TestHome) -> Iterator[tuple[str, str]]:
    """Every file of a home as text: archives and Parquet unpacked, databases as they are."""
    for path in sorted(path for path in home.folder.rglob("*") if path.is_file()):
        name = str(path.relative_to(home.folder))
        content = path.read_bytes()
        if path.suffix == ".gz":
            yield name, gzip.decompress(content).decode(errors="replace")
        elif path.suffix == ".parquet":
            yield name, repr(duckdb.sql(f"select * from read_parquet('{path}')").fetchall())
        else:
            yield name, content.decode("utf-8", errors="replace")


def test_no_secret_is_written_or_said_anywhere(home: TestHome, receiver: Receiver) -> None:
    said: list[str] = []
    with served(books()) as server:
        server.plant(Fault("/openai/v1/organization/costs", Truncated(), times=1))
        for arguments, variables in (
            (("load-providers", FIRST, LAST), {"TOKENGOV_ALERT_URLS": receiver.url}),
            (("load-providers", FIRST, LAST), {"TOKENGOV_ANTHROPIC_ADMIN_KEY": f"{ANTHROPIC_KEY}-wrong"}),
            (("load", FIRST, LAST), {}),
            (("doctor",), {"TOKENGOV_ALERT_URLS": receiver.url}),
            (("alerts",), {"TOKENGOV_ALERT_URLS": receiver.url}),
        ):
            done = run(home, server, *arguments, **variables)
            said.append(done.stdout + done.stderr)
    assert any("Anthropic" in text for text in said)
    secrets = (ANTHROPIC_KEY, OPENAI_KEY, DATABASE_PASSWORD, "planted/pass", "planted-token-Yu61")
    written = list(everything_written(home))
    assert any(name.startswith("lake/bodies/") for name, _ in written)
    assert any(name.endswith(".parquet") for name, _ in written)
    found = {(name, secret) for name, text in written for secret in secrets if secret in text}
    found |= {("said", secret) for text in said for secret in secrets if secret in text}
    assert found == set()
