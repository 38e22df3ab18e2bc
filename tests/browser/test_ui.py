"""A new user in the UI with Debian's chromium: sees the assets, backfills three days, cannot change a closed month.

The tests run in this order on one home; they leave screenshots in pytest's temporary folder.
"""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect, sync_playwright

from resources.litellm import LiteLLMPostgres
from tests.conftest import need_program
from tests.dagster_server import FINISHED, DagsterServer, small_demo
from tokengov_pipelines.demo.database import DATA_FOLDER, READER_PASSWORD, running_postgres
from tokengov_pipelines.demo.environment import provider_environment
from tokengov_pipelines.demo.late_call import insert_late_call
from tokengov_pipelines.demo.postgres import EmbeddedPostgres, create_reader
from tokengov_pipelines.demo.run import APPROVER, CLEAN, PREPARER
from tokengov_pipelines.jobs import CLOSE_MONTH, LOAD_DAYS, LOAD_PROVIDERS, LOAD_PULL_REQUESTS, PREPARE_MONTH
from tokengov_pipelines.runner import run_job
from tokengov_pipelines.settings import load_installation

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(400)]

QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
GROUPS = ("raw", "seeds", "staging", "intermediate", "marts", "finance")
THREE_DAYS = ("2026-08-04", "2026-08-05", "2026-08-06")
LATE_DAY = dt.datetime(2026, 8, 20, 14, 30, tzinfo=dt.UTC)

BACKFILL = """{partitionBackfillsOrError(limit: 1) {... on PartitionBackfills {
  results {id status partitionNames runs(limit: 10) {runId status}}}}}"""
LATEST = """query($key: AssetKeyInput!, $partition: String!) {assetNodeOrError(assetKey: $key) {... on AssetNode {
  assetMaterializations(partitions: [$partition], limit: 1) {runId metadataEntries {
    label ... on TextMetadataEntry {text} ... on BoolMetadataEntry {boolValue}}}}}}"""


@dataclass
class User:
    """A browser on a served demo, and every address that it asked for."""

    server: DagsterServer
    page: Page
    pictures: Path
    asked: set[str] = field(default_factory=set)

    def open(self, path: str) -> None:
        """Go to a page of the UI."""
        self.page.goto(f"http://127.0.0.1:{self.server.port}{path}", wait_until="domcontentloaded")

    def picture(self, name: str) -> None:
        """Keep what the user sees."""
        self.page.wait_for_timeout(500)
        self.page.screenshot(path=self.pictures / f"{name}.png")

    def materialize_dialog(self, partitions: str) -> Locator:
        """Open the Materialize dialog of the asset's page and choose partitions as a user types them."""
        self.page.get_by_role("button", name="Materialize").first.click()
        dialog = self.page.get_by_role("dialog")
        chosen = dialog.locator("input").first
        expect(chosen).to_be_visible()
        everything = dialog.get_by_role("button", name="Show all partitions")
        if everything.is_visible():  # the UI shows the last 90 days of the clock, and the demo has its own today
            everything.click()
        chosen.fill(partitions)
        chosen.press("Enter")
        return dialog

    def latest(self, key: tuple[str, str], partition: str) -> dict[str, Any]:
        """Run and metadata of the newest materialization of a partition."""
        found = self.server.graphql(LATEST, key={"path": list(key)}, partition=partition)
        newest = found["assetNodeOrError"]["assetMaterializations"][0]
        entries = {each["label"]: each.get("text", each.get("boolValue")) for each in newest["metadataEntries"]}
        return {"run": newest["runId"], **entries}


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserContext]:
    program = need_program("chromium", "chromium")
    expect.set_options(timeout=30_000)
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("profile"),
            executable_path=program,
            args=list(QUIET),
            viewport={"width": 1600, "height": 900},
        )
        yield context
        context.close()


@pytest.fixture(scope="module")
def user(chromium: BrowserContext, tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    """A demo whose August is loaded and closed, served, with a browser on it."""
    with small_demo(calls=5000) as home:
        load_and_close_august(home)
        server = DagsterServer(home)
        server.start()
        user = User(server, chromium.new_page(), tmp_path_factory.mktemp("pictures"))
        user.page.set_default_timeout(30_000)
        chromium.on("request", lambda request: user.asked.add(urlsplit(request.url).netloc))
        yield user
        server.stop()
        server.kill_family()


def load_and_close_august(home: Path) -> None:
    signed = {"ops": {"finance__closed_month": {"config": {"preparer": PREPARER, "approver": APPROVER}}}}
    with running_postgres(home) as url, provider_environment(home):
        reader = {"litellm": LiteLLMPostgres(url=create_reader(url, READER_PASSWORD))}
        installation = load_installation(home)
        loaded = run_job(installation, LOAD_DAYS, first=f"{CLEAN}-01", last=f"{CLEAN}-31", resource_overrides=reader)
        assert loaded.succeeded, loaded
        reports = run_job(load_installation(home), LOAD_PROVIDERS, first=f"{CLEAN}-01", last=f"{CLEAN}-31")
        assert reports.succeeded, reports
        assert run_job(load_installation(home), LOAD_PULL_REQUESTS).succeeded
        closed = run_job(installation, CLOSE_MONTH, first=CLEAN, config=signed, resource_overrides=reader)
        assert closed.succeeded, closed


def closed_files(home: Path) -> dict[str, bytes]:
    return {str(path.relative_to(home)): path.read_bytes() for path in (home / "packs").rglob("*") if path.is_file()}


def test_every_group_is_visible_in_the_lineage(user: User) -> None:
    user.open("/asset-groups")
    for group in GROUPS:
        expect(user.page.get_by_text(group, exact=True).last).to_be_visible()
    user.picture("groups")
    user.open("/asset-groups?expanded=" + ",".join(f"global@global:{group}" for group in ("marts", "finance")))
    for asset in ("fct_usage_daily", "chargeback_pack", "closed_month"):
        expect(user.page.get_by_text(asset, exact=True).last).to_be_visible()
    user.picture("opened")


def test_a_backfill_of_three_days_is_launched_from_the_page_of_an_asset(user: User) -> None:
    user.open("/assets/raw/litellm_spend_logs")
    dialog = user.materialize_dialog(f"[{THREE_DAYS[0]}...{THREE_DAYS[-1]}]")
    expect(dialog.get_by_text("3 partitions")).to_be_visible()
    user.picture("three-days")
    dialog.get_by_role("button", name="Launch backfill").click()
    expect(user.page.get_by_text("Created backfill")).to_be_visible()


def test_a_closed_month_keeps_its_files_and_its_asset_says_why(user: User) -> None:
    server = user.server
    before = closed_files(server.home)
    assert any("/v1/" in name for name in before)
    table = server.home / "tables" / "fct_chargeback_monthly" / f"billing_month={CLEAN}.parquet"
    charged_before = table.read_bytes()
    late = insert_late_call(
        EmbeddedPostgres(server.home / DATA_FOLDER).url(),
        started_at=LATE_DAY,
        arrived_at=LATE_DAY + dt.timedelta(days=40),
    )
    day = late.started_at.date().isoformat()
    loaded = server.launch(LOAD_DAYS, day, day)
    assert server.wait_for_run(loaded, FINISHED, 120) == "SUCCESS"
    inputs = [("marts", "fct_spend_monthly"), ("marts", "fct_chargeback_monthly")]
    prepared = server.launch(PREPARE_MONTH, CLEAN, CLEAN, assets=inputs)
    assert server.wait_for_run(prepared, FINISHED, 120) == "SUCCESS"
    assert table.read_bytes() != charged_before

    pack = ("finance", "chargeback_pack")
    earlier = user.latest(pack, CLEAN)["run"]
    user.open("/assets/finance/chargeback_pack")
    dialog = user.materialize_dialog(CLEAN)
    user.picture("closed-month")
    dialog.get_by_role("button", name="Launch").click()
    server.wait("the pack's materialization", lambda: user.latest(pack, CLEAN)["run"] != earlier, 120)

    told = user.latest(pack, CLEAN)
    assert "was closed at v1" in told["reason"]
    assert (told["written"], told["version"]) == (False, "v1")
    assert closed_files(server.home) == before
    user.open(f"/assets/finance/chargeback_pack?view=partitions&partition={CLEAN}")
    expect(user.page.get_by_text("was closed at v1")).to_be_visible()
    user.picture("why")
    user.open(f"/assets/marts/fct_chargeback_monthly?view=partitions&partition={CLEAN}")
    expect(user.page.get_by_text(late.cost_center).first).to_be_visible()
    user.picture("charges")


def test_the_three_days_have_been_loaded_in_one_run(user: User) -> None:
    def finished() -> Any:
        newest = user.server.graphql(BACKFILL)["partitionBackfillsOrError"]["results"][0]
        return newest if newest["status"] not in {"REQUESTED", "CANCELING", "FAILING"} else None

    backfill = user.server.wait("the backfill to finish", finished, 120)
    assert (backfill["status"], tuple(backfill["partitionNames"])) == ("COMPLETED_SUCCESS", THREE_DAYS)
    assert [run["status"] for run in backfill["runs"]] == ["SUCCESS"]
    for day in THREE_DAYS:
        assert user.latest(("raw", "litellm_spend_logs"), day)["run"] == backfill["runs"][0]["runId"]

    user.open(f"/assets/raw/litellm_spend_logs?view=partitions&partition={THREE_DAYS[1]}")
    expect(user.page.get_by_text("unchanged, byte for byte")).to_be_visible()
    user.picture("a-day")
    user.open("/assets/raw/litellm_spend_logs?view=checks")
    expect(user.page.get_by_text("Succeeded", exact=True)).to_have_count(3)
    user.picture("checks")


def test_the_browser_asked_nobody_else(user: User) -> None:
    assert user.asked - {""} == {f"127.0.0.1:{user.server.port}"}  # data: and blob: name no host
