"""Cost per merged pull request of a month, from GitHub's answers and the drill table to the rows of the file."""

import csv
import datetime as dt
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from assets.pull_requests import pull_request_assets
from assets.unit_cost import count_pull_requests, gather_pull_requests, month_pull_requests, unit_cost_metadata
from resources.github import GitHubPullRequests
from resources.home import Home
from resources.lake import Lake
from tests.charges import SUSPENSE, basis, billed, header
from tokengov_pipelines.demo.documents import directory_tables
from tokengov_pipelines.demo.organisation import COST_CENTERS, TEAMS, build_organisation, team_named
from tokengov_pipelines.demo.providers.books import ProviderBooks
from tokengov_pipelines.demo.providers.github import DEMO_TOKEN, GitHubBooks, github_routes, graphql_refused
from tokengov_pipelines.demo.providers.server import ProviderServer
from tokengov_pipelines.demo.pull_requests import AGENT_LOGIN, REPOSITORIES, build_pull_requests
from tokengov_pipelines.domain.attribution import Rung
from tokengov_pipelines.domain.charge_detail import UsedBy, detail_lines
from tokengov_pipelines.domain.chargeback import ChargebackPolicy, CostCenter, charge_month
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.domain.pull_requests import Exclusion
from tokengov_pipelines.domain.unit_cost import Level, Status, UnitCostRow, charges_by_team, unit_cost_rows
from tokengov_pipelines.pack.cost_per_pr_csv import cost_per_pr_csv
from tokengov_pipelines.policy import Policy
from tokengov_pipelines.settings import Installation, Settings

NOW = dt.datetime(2026, 11, 5, tzinfo=dt.UTC)
OCTOBER, NOVEMBER = BillingMonth(2026, 10), BillingMonth(2026, 11)
ORGANISATION = build_organisation()
ALL = build_pull_requests(ORGANISATION, 20_261_105)
SETTINGS = {"as_of": "2026-11-05", "github": {"repositories": [each.name for each in REPOSITORIES]}}


def installation(home: Path, **changes: Any) -> Installation:
    policy = Policy.model_validate({"cost_per_pr": {"agent_logins": [AGENT_LOGIN]}})
    return Installation(home=home, settings=Settings.model_validate({**SETTINGS, **changes}), policy=policy)


@pytest.fixture
def books() -> GitHubBooks:
    return GitHubBooks(ALL)


@pytest.fixture
def server(books: GitHubBooks) -> Iterator[ProviderServer]:
    with ProviderServer(ProviderBooks(), routes=github_routes(books)) as running:
        yield running


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    found = Lake(root=str(tmp_path / "lake"), cache_dir=str(tmp_path / "cache"))
    names, rows = directory_tables(ORGANISATION)["users"]
    dated = [dict(zip(names, [value if value != "" else None for value in row], strict=True)) for row in rows]
    kinds = {"valid_from": pa.date32(), "valid_to": pa.date32()}
    schema = pa.schema([pa.field(column, kinds.get(column, pa.string())) for column in names])
    found.replace("directory_users", pa.Table.from_pylist(dated, schema=schema), NOW)
    return found


def github(server: ProviderServer, **changes: Any) -> GitHubPullRequests:
    fields = {"token": DEMO_TOKEN, "base_url": f"{server.url}/github/api/v3", "organization": "fernhill", **changes}
    return GitHubPullRequests(**fields)


def costs() -> dict[str | None, Decimal]:
    """October's charges by team: two teams share a cost center, some calls carry no team, central bears the rest."""
    use = {
        "CC-110": [("payments", "2000.20"), ("checkout", "333.333333333333"), (None, "0.05")],
        SUSPENSE: [(None, "41.00")],
    }
    used = {
        ("anthropic", "ANT-2026-10", code): [
            UsedBy(team and team_named(team).team_id, "m", "", Rung.TEAM_METADATA, Decimal(spent), Decimal(spent), 1)
            for team, spent in rows
        ]
        for code, rows in use.items()
    }
    logged = {code: sum((Decimal(spent) for _, spent in rows), Decimal(0)) for code, rows in use.items()}
    invoice = billed(header("2500.00", OCTOBER, invoice_id="ANT-2026-10"), basis(logged), central="125.42")
    centers = {each.code: CostCenter(each.code, each.name, each.legal_entity) for each in COST_CENTERS}
    policy = ChargebackPolicy(SUSPENSE, "CC-990-CENTRAL", "showback", "USD", "0" * 64)
    return charges_by_team(detail_lines(charge_month(OCTOBER, [invoice], centers, policy, 0), used, {}))


def unit_cost(home: Path, lake: Lake, month: BillingMonth, charged: dict[str | None, Decimal]) -> list[UnitCostRow]:
    """The rows of the file, of what GitHub answered and what was charged."""
    merged = gather_pull_requests(installation(home), lake, month)
    assert merged is not None
    names = {each.team_id: each.name for each in TEAMS}
    return list(unit_cost_rows(charged, merged.counts, names, is_complete=merged.is_complete))


def expected_teams() -> Counter[str | None]:
    """October's counted pull requests by team, told from the demo's own list and not by the rules' code."""
    teams = {engineer.login: engineer for engineer in ORGANISATION.engineers}
    left_out = {("fernhill/checkout-api", 1842), ("fernhill/checkout-api", 1857)}
    found: Counter[str | None] = Counter()
    for each in ALL:
        late_revert = each.body is not None and each.repository.name == "fernhill/platform"
        if each.merged_at.month != 10 or (each.repository.name, each.number) in left_out or late_revert:
            continue
        if each.is_draft or each.labels == ("backport",) or each.base_branch not in {"main", "trunk"}:
            continue
        login = each.assignees[1] if each.author_login == AGENT_LOGIN else each.author_login
        if each.author_type == "Bot" and each.author_login != AGENT_LOGIN:
            continue
        engineer = teams.get(login or "")
        found[team_named(engineer.team_on(each.merged_at.date())).team_id if engineer else None] += 1
    return found


def test_the_demos_october_is_counted_by_team_and_every_exclusion_has_its_reason(
    server: ProviderServer, lake: Lake, tmp_path: Path
) -> None:
    github(server).load(lake, NOW)
    counted = count_pull_requests(installation(tmp_path), lake, OCTOBER)
    assert counted is not None
    assert counted.by_team == dict(expected_teams())
    assert counted.by_team[None] == 2  # the ghost and the stranger
    reasons = Counter(each.reason for each in counted.excluded)
    bots = sum(each.author_login in {"dependabot", "renovate"} and each.merged_at.month == 10 for each in ALL)
    assert reasons == {
        Exclusion.BOT: bots,
        Exclusion.OTHER_BRANCH: 1,
        Exclusion.DRAFT: 1,
        Exclusion.BACKPORT: 1,
        Exclusion.REVERT: 1,
        Exclusion.REVERTED: 1,
        Exclusion.REVERT_OF_OTHER_PERIOD: 1,
    }
    assert counted.total + len(counted.excluded) == sum(each.merged_at.month == 10 for each in ALL)
    september = count_pull_requests(installation(tmp_path), lake, BillingMonth(2026, 9))
    assert september is not None
    of_september = Counter(each.reason for each in september.excluded)
    assert (of_september[Exclusion.REVERT], of_september[Exclusion.REVERTED]) == (1, 1)


def test_what_the_close_is_given_are_counts_alone(server: ProviderServer, lake: Lake, tmp_path: Path) -> None:
    github(server).load(lake, NOW)
    counted = count_pull_requests(installation(tmp_path), lake, OCTOBER)
    merged = gather_pull_requests(installation(tmp_path), lake, OCTOBER)
    assert counted is not None
    assert merged is not None
    assert merged.counts == counted.counts()
    assert (merged.counts.without_team, merged.counts.excluded) == (2, len(counted.excluded))
    assert merged.counts.total == expected_teams().total()


def test_the_file_foots_to_the_charges_and_names_nobody(server: ProviderServer, lake: Lake, tmp_path: Path) -> None:
    github(server).load(lake, NOW)
    counted = count_pull_requests(installation(tmp_path), lake, OCTOBER)
    assert counted is not None
    found = unit_cost(tmp_path, lake, OCTOBER, costs())
    content = cost_per_pr_csv(found).decode()
    rows = list(csv.DictReader(io.StringIO(content, newline="")))
    by_name = {row["team_name"] or row["level"]: row for row in rows}
    total = expected_teams().total()
    assert by_name["org"] == {
        "period": "2026-10",
        "level": "org",
        "team_id": "",
        "team_name": "",
        "merged_prs": str(total),
        "excluded_prs": str(len(counted.excluded)),
        "cost_usd": "2374.58",
        "cost_per_pr_usd": str(found[0].cost_per_pr),
        "status": "ok",
    }
    assert (by_name["Payments"]["cost_usd"], by_name["Checkout"]["cost_usd"]) == ("2000.20", "333.33")
    assert (by_name["unattributed"]["cost_usd"], by_name["unattributed"]["merged_prs"]) == ("41.05", "2")
    assert by_name["Web"]["cost_usd"] == "0.00"
    others = [row for row in rows if row["level"] != "org"]
    assert sum(Decimal(row["cost_usd"]) for row in others) == Decimal("2374.58")
    assert sum(int(row["merged_prs"]) for row in others) == total
    metadata = unit_cost_metadata(found, counted)
    assert metadata["cost_per_pr"] == f"{by_name['org']['cost_per_pr_usd']} USD (ok)"
    listed = {
        (each.data["repository"], each.data["number"]): each.data["reason"] for each in metadata["excluded_prs"].records
    }
    assert listed["fernhill/checkout-api", 1842] == "reverted"
    assert listed["fernhill/checkout-api", 1857] == "revert"
    assert unit_cost_metadata(None, None)["cost_per_pr"].startswith("no figure: ")
    people = {each.login for each in ORGANISATION.engineers} | {each.email for each in ORGANISATION.engineers}
    assert not [person for person in people if person in content]


def test_a_month_that_runs_is_provisional(server: ProviderServer, lake: Lake, tmp_path: Path) -> None:
    github(server).load(lake, NOW)
    found = unit_cost(tmp_path, lake, NOVEMBER, {})
    assert {row.status for row in found if row.level is not Level.UNATTRIBUTED} == {Status.PROVISIONAL}
    assert unit_cost(tmp_path, lake, OCTOBER, {})[0].status is Status.OK


def test_without_github_there_is_no_figure_and_a_reading_that_failed_does_not_count(
    server: ProviderServer, books: GitHubBooks, lake: Lake, tmp_path: Path
) -> None:
    def is_known(**changes: Any) -> bool:
        home = installation(tmp_path, **changes)
        counted, merged = count_pull_requests(home, lake, OCTOBER), gather_pull_requests(home, lake, OCTOBER)
        assert (counted is None) == (merged is None)
        return counted is not None

    assert not is_known()
    with pytest.raises(RuntimeError, match="fernhill/gone"):
        github(server, organization=None, repositories=["fernhill/storefront", "fernhill/gone"]).load(lake, NOW)
    assert len(lake.partitions("github_pull_requests")) == 1
    assert not is_known()
    github(server).load(lake, NOW)
    assert is_known()
    assert not is_known(github=None)


def test_a_repository_that_is_gone_was_still_worked_in(server: ProviderServer, books: GitHubBooks, lake: Lake) -> None:
    github(server).load(lake, NOW)
    before = {(each.repository, each.number) for each in month_pull_requests(lake, OCTOBER)}
    books.pull_requests = [each for each in ALL if each.repository != REPOSITORIES[1]]
    github(server).load(lake, NOW)
    assert {(each.repository, each.number) for each in month_pull_requests(lake, OCTOBER)} == before
    assert len(before) == sum(each.merged_at.month == 10 for each in ALL)


def test_a_month_is_read_half_open(server: ProviderServer, books: GitHubBooks, lake: Lake) -> None:
    edges = ["2026-09-30T23:59:59", "2026-10-01T00:00:00", "2026-10-31T23:59:59", "2026-11-01T00:00:00"]
    books.pull_requests = [
        replace(ALL[0], number=number, merged_at=(at := dt.datetime.fromisoformat(text + "+00:00")), updated_at=at)
        for number, text in enumerate(edges, start=1)
    ]
    github(server).load(lake, NOW)
    assert [each.number for each in month_pull_requests(lake, OCTOBER)] == [2, 3]


def materialized(home: Path, server: ProviderServer, lake: Lake) -> tuple[dg.ExecuteInProcessResult, dict[str, Any]]:
    result = dg.materialize(
        pull_request_assets(),
        resources={"github": github(server), "lake": lake, "home": Home(path=str(home))},
    )
    (event,) = result.get_asset_materialization_events()
    metadata = event.materialization.metadata
    tables = {name: value.records for name, value in metadata.items() if isinstance(value, dg.TableMetadataValue)}
    return result, {**{name: value.value for name, value in metadata.items()}, **tables}


def test_the_asset_reads_nothing_where_github_is_not_configured(
    server: ProviderServer, lake: Lake, tmp_path: Path
) -> None:
    _, metadata = materialized(tmp_path, server, lake)
    assert metadata["load"] == "not configured in tokengov.yaml"
    assert server.requests == ()


def test_the_asset_says_what_it_found_and_its_version_is_its_content(
    server: ProviderServer, books: GitHubBooks, lake: Lake, tmp_path: Path
) -> None:
    (tmp_path / "tokengov.yaml").write_text("as_of: 2026-11-05\ngithub: {organization: fernhill}\n", encoding="utf-8")

    def version(result: dg.ExecuteInProcessResult) -> str | None:
        (event,) = result.get_asset_materialization_events()
        return (event.materialization.tags or {}).get("dagster/data_version")

    first, metadata = materialized(tmp_path, server, lake)
    assert metadata["dagster/row_count"] == len(ALL)
    assert {record.data["way"] for record in metadata["repositories"]} == {"graphql"}
    again, metadata = materialized(tmp_path, server, lake)
    assert {record.data["load"] for record in metadata["repositories"]} == {"unchanged"}
    assert version(first) == version(again) is not None
    books.planned.append(graphql_refused())
    books.pull_requests = [*ALL, replace(ALL[-1], number=9999, updated_at=NOW)]
    changed, metadata = materialized(tmp_path, server, lake)
    assert {record.data["way"] for record in metadata["repositories"]} == {"rest"}
    assert version(changed) != version(first)
