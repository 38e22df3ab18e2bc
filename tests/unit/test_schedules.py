"""Which days a tick reads: the trailing ones, the running one, and whatever was missed."""

import datetime as dt
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from resources.lake import Lake, LakeTable
from tokengov_pipelines.build import build_defs
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.schedules import final_reading_day, trailing_days
from tokengov_pipelines.settings import Installation, Settings

START, END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
LOGS = LakeTable("litellm_spend_logs", pa.schema([("request_id", pa.string())]), identity="request_id")


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


class Home:
    """A home whose lake says that days were read at certain moments."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.installation = Installation(
            home=folder, settings=Settings.model_validate({"log_start": "2026-10-01", **settings})
        )
        self.lake = Lake(root=self.installation.lake_url, cache_dir=str(folder / "cache"))

    def read(self, day: str, moment: str, table: LakeTable = LOGS) -> None:
        with self.lake.writing(table) as writer:
            writer.write(pa.RecordBatch.from_pydict({"request_id": [f"call of {day}"]}, schema=table.schema))
            self.lake.commit(table, f"day={day}", writer, extracted_at=at(moment), window=(day, day))

    def tick(self, name: str, moment: str) -> dg.RunRequest | dg.SkipReason:
        definition = build_defs(self.installation).resolve_schedule_def(name)
        with dg.build_schedule_context(scheduled_execution_time=at(moment)) as context:
            data = definition.evaluate_tick(context)
        return data.run_requests[0] if data.run_requests else dg.SkipReason(data.skip_message)

    def days(self, name: str, moment: str) -> tuple[str, str]:
        request = self.tick(name, moment)
        assert isinstance(request, dg.RunRequest), request.skip_message
        return request.tags[START], request.tags[END]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path, anthropic={"account": "acme"})


def test_the_hourly_tick_reads_the_running_day(home: Home) -> None:
    home.read("2026-10-19", "2026-10-20T03:00")
    assert home.days("load_days_job_hourly", "2026-10-20T16:05") == ("2026-10-20", "2026-10-20")


def test_the_first_tick_after_midnight_finishes_the_day_that_ended(home: Home) -> None:
    home.read("2026-10-18", "2026-10-19T03:00")
    home.read("2026-10-19", "2026-10-19T23:05")
    assert home.days("load_days_job_hourly", "2026-10-20T00:05") == ("2026-10-19", "2026-10-20")


def test_ticks_that_were_missed_for_ten_days_are_made_up(home: Home) -> None:
    home.read("2026-10-05", "2026-10-06T03:00")
    home.read("2026-10-06", "2026-10-06T12:05")
    assert home.days("load_days_job_hourly", "2026-10-20T16:05") == ("2026-10-06", "2026-10-20")
    assert home.days("load_days_job_daily", "2026-10-20T03:00") == ("2026-10-06", "2026-10-19")


def test_a_new_installation_reads_its_whole_log_once(home: Home) -> None:
    assert home.days("load_days_job_daily", "2026-10-20T03:00") == ("2026-10-01", "2026-10-19")


def test_the_daily_tick_reads_the_trailing_week_again(home: Home) -> None:
    home.read("2026-10-19", "2026-10-20T02:00")
    assert home.days("load_days_job_daily", "2026-10-20T03:00") == ("2026-10-13", "2026-10-19")


def test_provider_figures_of_the_last_35_days_are_read_again_every_day(home: Home) -> None:
    for name in ("anthropic_usage", "anthropic_cost"):
        home.read("2026-12-09", "2026-12-10T03:30", LakeTable(name, LOGS.schema))
    assert home.days("load_providers_job_daily", "2026-12-10T03:30") == ("2026-11-05", "2026-12-09")


def test_without_providers_there_is_nothing_to_read(tmp_path: Path) -> None:
    request = Home(tmp_path).tick("load_providers_job_daily", "2026-12-10T03:30")
    assert isinstance(request, dg.SkipReason)
    assert request.skip_message == "no provider is configured in tokengov.yaml"


def test_the_month_is_read_whole_once_also_when_its_tick_was_missed(home: Home) -> None:
    home.read("2026-10-01", "2026-10-08T03:00")
    assert isinstance(home.tick("load_days_job_monthly", "2026-11-04T03:15"), dg.SkipReason)
    assert home.days("load_days_job_monthly", "2026-11-05T03:15") == ("2026-10-01", "2026-11-04")
    assert home.days("load_days_job_monthly", "2026-11-09T03:15") == ("2026-10-01", "2026-11-08")
    home.read("2026-10-01", "2026-11-09T03:20")
    again = home.tick("load_days_job_monthly", "2026-11-10T03:15")
    assert isinstance(again, dg.SkipReason)
    assert "2026-10 was read whole at 2026-11-09" in (again.skip_message or "")


@pytest.mark.parametrize(
    ("month", "day"),
    [("2026-10", "2026-11-05"), ("2026-08", "2026-09-04"), ("2026-07", "2026-08-06"), ("2026-12", "2027-01-06")],
)
def test_the_final_reading_is_on_the_later_of_the_fourth_business_day_and_day_four(month: str, day: str) -> None:
    assert final_reading_day(BillingMonth.parse(month)) == dt.date.fromisoformat(day)


def test_a_fixed_midnight_has_no_running_day(tmp_path: Path) -> None:
    request = Home(tmp_path, as_of="2026-11-05").tick("load_days_job_hourly", "2026-11-05T16:05")
    assert isinstance(request, dg.SkipReason)


def test_schedules_are_off_unless_switched_on(tmp_path: Path) -> None:
    def statuses(**settings: object) -> set[str]:
        definitions = build_defs(Home(tmp_path, **settings).installation)
        return {schedule.default_status.value for schedule in definitions.schedules or []}  # type: ignore[union-attr]

    assert statuses() == {"STOPPED"}
    assert statuses(schedules={"enabled": True}) == {"RUNNING"}


def test_trailing_days_never_reach_before_the_log() -> None:
    assert trailing_days(dt.date(2026, 10, 3), 7, dt.date(2026, 10, 1)) == (dt.date(2026, 10, 1), dt.date(2026, 10, 2))


def test_a_load_that_takes_the_place_of_another_is_told(home: Home) -> None:
    table = LakeTable("anthropic_cost", pa.schema([("amount_text", pa.string())]), may_vanish=False)
    for amount, moment in (("1.00", "2026-10-20T03:30"), ("2.00", "2026-10-21T03:30"), ("1.00", "2026-10-22T03:30")):
        with home.lake.writing(table) as writer:
            writer.write(pa.RecordBatch.from_pydict({"amount_text": [amount]}, schema=table.schema))
            outcome = home.lake.commit(
                table, "day=2026-10-19", writer, extracted_at=at(moment), window=("2026-10-19", "2026-10-20")
            )
    changes = home.lake.changes("anthropic_cost", "day=2026-10-19")
    assert [change["extracted_at"][:10] for change in changes] == ["2026-10-21", "2026-10-22"]
    assert changes[1]["before"] == changes[0]["load"]
    assert outcome.current is not None
    assert changes[1]["load"] == outcome.current.load
