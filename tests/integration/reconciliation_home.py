"""Two months of calls whose provider side is known to the last digit, loaded with the production jobs.

Belongs here: the calls, what the proxy logs of them, what the providers meter and bill for them, and reading back what
the product made of it. Does not belong here: what is planted and expected (the tests). Amounts are this file's own:
nothing here asks the product for a price.
"""

import csv
import datetime as dt
import io
import json
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any, cast

import dagster as dg
import psycopg2
import pyarrow.parquet as pq
from psycopg2.extras import execute_values

from resources.anthropic import AnthropicReports
from resources.litellm import LiteLLMPostgres
from resources.openai import OpenAIReports
from tests.conftest import REPOSITORY, run_sql_file
from tests.installation import TestHome, copy_database
from tokengov_pipelines.dagster_home import open_instance
from tokengov_pipelines.demo.providers.books import ApiKey, CostCell, ProviderBooks, UsageCell, User, Workspace
from tokengov_pipelines.demo.providers.server import ProviderServer
from tokengov_pipelines.domain.alert import Alert
from tokengov_pipelines.domain.match_result import Component
from tokengov_pipelines.jobs import CLOSE_MONTH, LOAD_DAYS, LOAD_PROVIDERS, PREPARE_MONTH
from tokengov_pipelines.ledger.ledger import Ledger
from tokengov_pipelines.runner import RunReport, run_job

D = Decimal
ACCOUNT = "acme"
FIRST, LAST = dt.date(2026, 9, 1), dt.date(2026, 10, 31)
SEPTEMBER, OCTOBER = "2026-09", "2026-10"
SETTINGS: dict[str, object] = {
    "log_start": "2026-09-01",
    "books_start": "2026-09",
    "as_of": "2026-11-06",
    "anthropic": {"account": ACCOUNT},
    "openai": {"account": ACCOUNT},
}
SIGNED = {"preparer": "pia@example.com", "approver": "carl@example.com"}

SONNET, HAIKU, OPUS, SOL = "claude-sonnet-5", "claude-haiku-4-5", "claude-opus-4-8", "gpt-5.6-sol"
CLAUDES = (SONNET, HAIKU, OPUS)
PRICES = {SONNET: ("2", "10"), HAIKU: ("1", "5"), OPUS: ("5", "25"), SOL: ("4", "20")}
"""USD of a million tokens in these two months by the providers' price pages: input, output."""

TITLES = {SONNET: "Claude Sonnet 5", HAIKU: "Claude Haiku 4.5", OPUS: "Claude Opus 4.8"}
TOKEN_TYPES = ("uncached_input", "output")
TOKENS = (100_003, 10_001)
"""Of every call: odd, so that no line of an invoice is a whole number of cents."""

NO_CAUSE = dict.fromkeys(map(str, Component), "0")
"""The causes of a statement when none is there."""

USD_OF_A_SEARCH = D("0.01")
MIDNIGHT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True)
class Key:
    """A provider key in a workspace or project of its own; both None for use in the console."""

    provider: str
    key_id: str | None
    workspace: str | None


PROXY = {
    "anthropic": Key("anthropic", "apikey_01proxy", "wrkspc_01proxy"),
    "openai": Key("openai", "key_proxy", "proj_proxy"),
}
STRAY, CONSOLE = Key("anthropic", "apikey_01stray", "wrkspc_01sandbox"), Key("anthropic", None, None)
SAM = User("anthropic", "user_01sam", "sam@example.com", "Sam Stray", "developer", MIDNIGHT)

REGISTRY = "provider,account,workspace,provider_key_id,role,owner_cost_center,valid_from,valid_to\n" + "".join(
    f"{key.provider},{ACCOUNT},,{key.key_id},proxy,,2026-01-01,\n" for key in PROXY.values()
)


@dataclass(frozen=True)
class Call:
    """One call as the provider metered it; the proxy logged `spend` for it, or its list price."""

    request_id: str
    at: dt.datetime
    model: str
    team: str
    key: Key
    spend: Decimal | None = None

    @property
    def provider(self) -> str:
        return self.key.provider

    def usd(self, token_type: str) -> Decimal:
        """What its tokens of a type are worth at list."""
        at = TOKEN_TYPES.index(token_type)
        return TOKENS[at] * D(PRICES[self.model][at]) / 1_000_000

    @property
    def list_usd(self) -> Decimal:
        return sum(map(self.usd, TOKEN_TYPES), D(0))


def days(first: str, last: str) -> list[dt.date]:
    """Both included."""
    start, end = dt.date.fromisoformat(first), dt.date.fromisoformat(last)
    return [start + dt.timedelta(days=at) for at in range((end - start).days + 1)]


def calls_of(
    on: Iterable[dt.date], models: Iterable[str], number: int = 2, *, word: str = "call", key: Key | None = None
) -> list[Call]:
    """`number` calls of each model on each day, of team Shop and team Search in turn; without a key on the proxy's."""
    return [
        Call(
            request_id=f"{word}-{day}-{model}-{n}",
            at=dt.datetime.combine(day, dt.time(6 + n)),
            model=model,
            team=("team-shop", "team-search")[n % 2],
            key=key or PROXY["openai" if model == SOL else "anthropic"],
        )
        for day in on
        for model in models
        for n in range(number)
    ]


def clean_calls() -> list[Call]:
    """Two calls a day of each of four models, on every day of the two months."""
    return calls_of(days(str(FIRST), str(LAST)), PRICES)


def insert(url: str, calls: Iterable[Call]) -> None:
    """Write the calls into the proxy's log, with spend and the usage that the provider answered."""
    rows = []
    for call in calls:
        read, written = TOKENS
        end = call.at + dt.timedelta(seconds=20)
        usage = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
        row = {
            "request_id": call.request_id,
            "call_type": "acompletion",
            "api_key": "a" * 64,
            "spend": call.list_usd if call.spend is None else call.spend,
            "total_tokens": read + written,
            "prompt_tokens": read,
            "completion_tokens": written,
            "startTime": call.at,
            "endTime": end,
            "model": call.model,
            "custom_llm_provider": call.provider,
            "team_id": call.team,
            "user": "",
            "status": "success",
            "cache_hit": "False",
            "created_at": end,
            "updated_at": end,
            "metadata": json.dumps({"usage_object": usage}),
        }
        rows.append(row)
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            names = ", ".join(f'"{name}"' for name in rows[0])
            values = [tuple(row.values()) for row in rows]
            execute_values(cursor, f'insert into "LiteLLM_SpendLogs" ({names}) values %s', values)
    finally:
        connection.close()


def books_of(calls: Iterable[Call], rates: Mapping[str, Decimal] | None = None) -> ProviderBooks:
    """What the providers report for the calls: tokens, and their cost at list price times the provider's rate."""
    groups: dict[tuple[dt.date, Key, str], list[Call]] = defaultdict(list)
    for call in calls:
        groups[call.at.date(), call.key, call.model].append(call)
    usage, costs = [], []
    for (day, key, model), mine in groups.items():
        where = (day, key.provider, ACCOUNT, key.key_id, key.workspace, model)
        is_anthropic = key.provider == "anthropic"
        place = {"context_window": "0-200k", "inference_geo": "global", "speed": "standard"} if is_anthropic else {}
        read, written = (tokens * len(mine) for tokens in TOKENS)
        usage.append(UsageCell(*where, uncached_input=read, output=written, requests=len(mine), **cast("Any", place)))
        for token_type in TOKEN_TYPES:
            listed = sum((call.usd(token_type) for call in mine), D(0))
            amount = listed * (rates or {}).get(key.provider, D(1))
            item = line_item(model, token_type)
            costs.append(CostCell(*where, item, amount, listed, token_type=token_type, **cast("Any", place)))
    keys = [ApiKey(key.provider, str(key.key_id), "proxy", "...xy", key.workspace, MIDNIGHT) for key in PROXY.values()]
    stray = ApiKey(STRAY.provider, str(STRAY.key_id), "nightly-tests", "...ay", STRAY.workspace, MIDNIGHT)
    return ProviderBooks(
        usage=tuple(usage),
        costs=tuple(costs),
        keys=(*keys, replace(stray, created_by=SAM.id, owner_type="user", owner_id=SAM.id)),
        workspaces=(
            Workspace("anthropic", "wrkspc_01proxy", "proxy", MIDNIGHT),
            Workspace("anthropic", "wrkspc_01sandbox", "sandbox", MIDNIGHT),
            Workspace("openai", "proj_proxy", "proxy", MIDNIGHT),
        ),
        users=(SAM,),
        refreshed_at=dt.datetime(2026, 11, 6, tzinfo=dt.UTC),
    )


def with_searches(books: ProviderBooks, day: str, searches: int) -> ProviderBooks:
    """The books with web searches on the proxy's key at Anthropic."""
    key, amount = PROXY["anthropic"], searches * USD_OF_A_SEARCH
    where = (dt.date.fromisoformat(day), key.provider, ACCOUNT, key.key_id, key.workspace, None)
    cost = CostCell(*where, "Web Search Usage", amount, amount, cost_type="web_search", service_tier=None)
    return replace(books, costs=(*books.costs, cost))


def line_item(model: str, token_type: str) -> str:
    """The provider's own words."""
    if model == SOL:
        return f"{model}, {'input' if token_type == 'uncached_input' else 'output'}"
    return f"{TITLES[model]} Usage - {'Input' if token_type == 'uncached_input' else 'Output'} Tokens"


class ReconciledHome(TestHome):
    """A home that reads the proxy, and a provider server that is up while its reports are loaded."""

    __test__ = False

    def __init__(self, folder: Path, url: str, **settings: object) -> None:
        super().__init__(folder, url, **settings)
        self.write("directory/provider_keys.csv", REGISTRY)

    def twin(self, folder: Path) -> "ReconciledHome":
        """A copy in another folder, which reads a copy of the database."""
        home = ReconciledHome(folder, copy_database(self.url), **self.settings)
        without = shutil.ignore_patterns("runs")  # what dbt and Dagster keep of each past run
        shutil.copytree(self.folder, folder, dirs_exist_ok=True, ignore=without)
        return home

    def run(
        self, job: str, first: str, last: str | None = None, config: Mapping[str, object] | None = None
    ) -> RunReport:
        """Run one of the production jobs; where it reads providers, none of them answers (`load` starts them)."""
        return self._run(job, first, last, config, "http://127.0.0.1:9", "http://127.0.0.1:9")

    def load(self, books: ProviderBooks | None, first: str, last: str | None = None) -> RunReport:
        """Read the proxy's log of the days and then, where there are books, the providers' reports."""
        report = self.run(LOAD_DAYS, first, last)
        assert report.succeeded, report
        return report if books is None else self.load_reports(books, first, last)

    def load_reports(self, books: ProviderBooks, first: str, last: str | None = None) -> RunReport:
        """Read the providers' reports of the days, and match the days."""
        with ProviderServer(books) as server:
            report = self._run(LOAD_PROVIDERS, first, last, None, server.anthropic_url, server.openai_url)
        assert report.succeeded, report
        return report

    def prepare(self, first: str, last: str | None = None) -> RunReport:
        """Prepare months."""
        return self.run(PREPARE_MONTH, first, last)

    def close(self, first: str, last: str | None = None) -> RunReport:
        """Prepare months and close them, signed by two people."""
        return self.run(CLOSE_MONTH, first, last, {"ops": {"finance__closed_month": {"config": SIGNED}}})

    def _run(
        self, job: str, first: str, last: str | None, config: Mapping[str, object] | None, anthropic: str, openai: str
    ) -> RunReport:
        readers = {
            "litellm": LiteLLMPostgres(url=self.url),
            "anthropic": AnthropicReports(admin_key="sk-ant-admin01-test", account=ACCOUNT, base_url=anthropic,
                                          report="analytics"),
            "openai": OpenAIReports(admin_key="sk-admin-test", account=ACCOUNT, base_url=openai),
        }  # fmt: skip
        return run_job(self.installation, job, first=first, last=last, config=config, resource_overrides=readers)

    def said(self, *arguments: str) -> str:
        """What a command prints that succeeds; wide enough that no word is broken."""
        done = self.command(*arguments, COLUMNS="400")
        assert done.returncode == 0, done
        return done.stdout

    def ledger(self) -> Ledger:
        return Ledger(self.installation.ledger_url, self.installation.settings.now)

    def open_alerts(self) -> dict[str, Alert]:
        """The open alerts of the reconciliation, by their keys without the first word."""
        alerts = self.ledger().alerts.open_alerts()
        return {alert.key.removeprefix("recon:"): alert for alert in alerts if alert.key.startswith("recon:")}

    def bill(
        self,
        books: ProviderBooks,
        provider: str,
        first: str,
        last: str,
        extra: Iterable[tuple[str, str]] = (),
        part: str = "",
    ) -> Decimal:
        """Write the invoice of what the books say of these days, a line for each model and token type in cents.

        `extra` are further lines by kind and amount, `part` tells it from others of its month. Returns the invoice's
        total.
        """
        billed: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        for cell in books.costs:
            if cell.provider == provider and first <= str(cell.day) <= last and cell.model and cell.token_type:
                billed[cell.model, cell.token_type] += cell.amount
        lines = [("usage", amount, {"model": model, "token_type": kind}) for (model, kind), amount in billed.items()]
        lines += [(kind, D(amount), {}) for kind, amount in extra]
        written: list[dict[str, object]] = [
            {"line_no": number, "kind": kind, "description": kind, "amount": str(_cents(amount)), **words}
            for number, (kind, amount, words) in enumerate(lines, 1)
        ]

        def total(*kinds: str) -> str:
            return str(sum((D(str(each["amount"])) for each in written if each["kind"] in kinds), D("0.00")))

        sums = {"lines_total": total("usage", "non_token"), "credits_total": total("credit"), "tax_total": total("tax")}
        payable = total("usage", "non_token", "credit", "tax")
        header: dict[str, Any] = {"period_start": first, "lines": written, **sums}
        self.invoice(provider, last[:7], payable, last, part, **header)
        return D(payable)

    def statement(self, month: str, provider: str) -> dict[str, str]:
        """The statement of a provider's month from the table: component to exact amount, as it would be written."""
        return {row["component"]: plain(row["amount_exact"]) for row in self.statement_rows(month, provider)}

    def statement_rows(self, month: str, provider: str) -> list[dict[str, Any]]:
        """The same, whole rows in the order of the states."""
        rows = self.rows("fct_reconciliation_monthly", f"billing_month={month}")
        return sorted((row for row in rows if row["provider"] == provider), key=lambda row: row["state_no"])

    def rows(self, table: str, partition: str) -> list[dict[str, Any]]:
        """The rows of a table of the rules."""
        path = self.folder / f"tables/{table}/{partition}.parquet"
        return cast("list[dict[str, Any]]", pq.read_table(path, partitioning=None).to_pylist())

    def pack_rows(self, month: str, version: str, name: str) -> list[dict[str, str]]:
        """The rows of a file of a pack."""
        content = (self.folder / "packs" / month / version / name).read_text(encoding="utf-8")
        return list(csv.DictReader(io.StringIO(content, newline="")))

    def pack_files(self, month: str, version: str) -> dict[str, bytes]:
        """The files of a pack, by name."""
        folder = self.folder / "packs" / month / version
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def metadata(self, table: str) -> dict[str, str]:
        """What the page of a table shows of its newest materialization, as text."""
        with open_instance(self.installation) as instance:
            event = instance.get_latest_materialization_event(dg.AssetKey(["marts", table]))
        assert event is not None
        assert event.asset_materialization is not None
        return {name: str(value.value) for name, value in event.asset_materialization.metadata.items()}


def plain(amount: Decimal) -> str:
    """'1.50008' of 1.500080000000."""
    return f"{amount.normalize():f}" if amount else "0"


def _cents(amount: Decimal) -> Decimal:
    return amount.quantize(D("0.01"), rounding=ROUND_HALF_UP)


def new_home(new_database: Callable[[], str], folder: Path, **settings: object) -> ReconciledHome:
    """An empty home with an empty proxy."""
    url = new_database()
    run_sql_file(url, REPOSITORY / "tokengov_pipelines" / "demo" / "litellm_schema.sql")
    return ReconciledHome(folder, url, **{**SETTINGS, **settings})
