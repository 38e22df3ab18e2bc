"""Bills of AWS, Google and Azure from a drop folder to the lake: nothing lost, nothing twice, nothing guessed."""

import csv
import datetime as dt
import gzip
import shutil
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import dagster as dg
import fsspec
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from assets.cloud_bills import cloud_bill_assets, cloud_bill_checks
from resources.cloud_bill_files import BillFile, Bucket, read_bill_file
from resources.cloud_bill_probe import probe_cloud_bills
from resources.cloud_bill_tables import CHARGES, CONTROLS, to_batch
from resources.cloud_bills import CloudBillError, CloudBillFolder, read_charges
from resources.home import Home
from resources.lake import Lake
from tests.cloud_bill_fixture import AZURE, CUR_2, FOCUS_1_0, FOCUS_1_2, VERSIONS, VERTEX, as_csv, bedrock, put, without
from tests.conftest import need_real_data
from tokengov_pipelines.cloud_bills_cli import app
from tokengov_pipelines.domain.cloud_legs import principal_usage
from tokengov_pipelines.domain.finding import Level
from tokengov_pipelines.domain.money import exact_sum

NOW = dt.datetime(2026, 11, 5, 3, tzinfo=dt.UTC)
runner = CliRunner(env={"COLUMNS": "300"})


class Drop:
    """A drop folder and a lake beside it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "bills"
        self.folder.mkdir()
        self.lake = Lake(root=str(root / "lake"), cache_dir=str(root / "cache"))

    def load(self, **settings):
        return CloudBillFolder(url=str(self.folder), **settings).load(self.lake, NOW)

    def charges(self):
        return read_charges(self.lake)

    def problems(self) -> list[str]:
        return [str(problem) for load in self.load() for problem in load.bills.problems]

    def controls(self) -> list[dict]:
        return [line for file in self.lake.current_files(CONTROLS.name) for line in pq.read_table(file).to_pylist()]


@pytest.fixture
def drop(tmp_path: Path) -> Drop:
    return Drop(tmp_path)


def read(path: Path, **units: int) -> BillFile:
    return read_bill_file(path, path.name, "test", units)


def totals(bill: BillFile) -> dict[tuple, tuple[int, Decimal]]:
    return {(total.billing_period, total.bucket): (total.rows, total.amount) for total in bill.totals}


def billed(charges) -> Decimal:
    return exact_sum(charge.billed_amount for charge in charges)


# --- real samples ----------------------------------------------------------------------------------------------------


def test_the_focus_sample_adds_up_to_the_last_of_its_digits():
    path = need_real_data("focus_sample", "focus_sample.csv")
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert "Id" in rows[0]
    by_period = defaultdict(list)
    for row in rows:
        by_period[row["BillingPeriodStart"][:7]].append(Decimal(row["BilledCost"]))
    bill = read(path)
    assert (bill.problem, bill.rows, bill.form.version) == (None, 1000, "focus-1.0")
    assert totals(bill) == {
        (period, Bucket.OTHER_SERVICES): (len(amounts), exact_sum(amounts)) for period, amounts in by_period.items()
    }
    assert exact_sum(total.amount for total in bill.totals) == Decimal("20.52022672899")


def test_the_older_report_of_aws_adds_up_and_loses_no_row():
    path = need_real_data("focus_converters_samples", "sample-anonymous-aws-export-dataset.csv")
    with path.open(encoding="utf-8-sig", newline="") as file:
        expected = exact_sum(Decimal(row["lineItem/UnblendedCost"]) for row in csv.DictReader(file))
    bill = read(path)
    assert (bill.problem, bill.rows, bill.form.version) == (None, 1281, "cur-1.0")
    assert totals(bill) == {("2023-11", Bucket.OTHER_SERVICES): (1281, expected)}
    assert expected == Decimal("1.6823086974")


@pytest.mark.parametrize("name", ["sample-anonymous-ea-export-dataset.csv", "reports_cost-csv_0000000030000269.csv"])
def test_a_native_bill_that_is_neither_form_is_refused_by_what_it_lacks(name):
    bill = read(need_real_data("focus_converters_samples", name))
    assert bill.charges == ()
    assert "is neither a FOCUS cost and usage bill nor an AWS Cost and Usage Report: no column" in str(bill.problem)


def test_the_specifications_own_examples_are_read_or_refused_and_their_money_is_counted():
    folder = need_real_data("focus_spec_examples")
    bills = {path.name: read(path) for path in sorted(folder.rglob("*.csv"))}
    assert len(bills) == 26
    assert all(bill.rows == sum(total.rows for total in bill.totals) for bill in bills.values())
    for name, bill in bills.items():
        # the scenarios lack currency and account; the SaaS examples write dates as 4/1/25 and dollars as $10,100.00
        is_saas = "saas" in name or "virtual" in name
        assert (bill.problem is None) is is_saas, name
        assert {total.bucket for total in bill.totals} == ({Bucket.QUARANTINED} if is_saas else set()), name
        assert {total.reason for total in bill.totals} == ({"unreadable_time: period_start"} if is_saas else set())
    virtual = bills["virtual_currency_pricing_model_c.csv"]
    assert [(total.rows, total.amount) for total in virtual.totals] == [(2, Decimal("53000.00"))]


def test_a_token_contract_in_virtual_currency_counts_national_money(tmp_path):
    """The specification's own file, with its dates written as the specification asks."""
    source = need_real_data("focus_spec_examples", "saas_examples", "virtual_currency_pricing_model_a2.csv")
    text = source.read_text(encoding="utf-8-sig")
    dated = text.replace("5/1/25", "2025-05-01").replace("4/1/25", "2025-04-01").replace("4/2/25", "2025-04-02")
    (tmp_path / "a2.csv").write_text(dated, encoding="utf-8-sig")
    bill = read(tmp_path / "a2.csv")
    assert totals(bill) == {("2025-04", Bucket.OTHER_SERVICES): (3, Decimal("0.00"))}


# --- the clouds ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_bedrock_is_read_whole_in_every_version(drop, version):
    put(drop.folder, "aws-bedrock/2026-10.csv", bedrock(VERSIONS[version]))
    drop.load()
    charges = drop.charges()
    tokens = {charge.token_type: charge.tokens for charge in charges}
    assert tokens == {"uncached_input": 100_000, "output": 20_000, "cache_read": 1_000_000, "cache_write_5m": 40_000}
    assert billed(charges) == Decimal("1.05")
    only_in_and_out = billed(charge for charge in charges if charge.token_type in {"uncached_input", "output"})
    assert only_in_and_out == Decimal("0.60")  # what a sum of input and output alone would call the bill
    assert {charge.export_version for charge in charges} == {f"focus-{version}"}
    lines = {(line["bucket"], line["rows"], line["amount_text"]) for line in drop.controls()}
    assert lines == {("charges", 4, "1.05"), ("other_services", 1, "0.25")}


def test_the_report_with_callers_tells_the_proxys_role_from_others(drop):
    chat = "arn:aws:sts::444455556666:assumed-role/ChatApp/session-1"
    rows = [CUR_2, CUR_2 | {"line_item_iam_principal": chat, "line_item_unblended_cost": "0.12"}]
    put(drop.folder, "aws-cur/data/BILLING_PERIOD=2026-10/cur-00001.csv.gz", rows)
    drop.load()
    found = principal_usage(drop.charges())
    assert {cost.key_id: cost.amount for cost in found.costs} == {
        "arn:aws:sts::444455556666:assumed-role/LiteLLM": Decimal("0.30"),
        "arn:aws:sts::444455556666:assumed-role/ChatApp": Decimal("0.12"),
    }
    assert found.caller_unknown == ()


def test_a_marketplace_model_is_found_by_the_name_inside_its_product(drop):
    edition = CUR_2 | {
        "bill_billing_entity": "AWS Marketplace",
        "line_item_product_code": "5ky9l2b7",
        "line_item_usage_type": "USE1-MP:USE1_CacheReadInputTokenCount-Units",
        "product": '{"product_name": "Claude Sonnet 4.6 (Amazon Bedrock Edition)"}',
        "line_item_usage_amount": "0.5",
        "pricing_unit": "Units",
    }
    put(drop.folder, "aws/a.csv", [edition, CUR_2 | {"product": "{broken", "line_item_product_code": "AmazonEC2"}])
    drop.load()
    charge = drop.charges()[0]
    assert (charge.model, charge.token_type, charge.tokens) == ("Claude Sonnet 4.6", "cache_read", None)
    drop.load(token_units={"Units": 1_000_000})
    assert [charge.tokens for charge in drop.charges()] == [500_000]
    assert [(line["bucket"], line["rows"]) for line in drop.controls()] == [("charges", 1), ("other_services", 1)]


def test_vertex_and_azure_are_read_with_their_projects_and_resources(drop):
    vertex = [
        VERTEX,
        VERTEX | {"ChargeDescription": "Gemini 2.5 Flash GA Text Output - Predictions"},
        VERTEX | {"ChargeDescription": "Gemini 2.5 Flash GA Text Input Caching"},
        VERTEX | {"ChargeDescription": "Custom Training N1 Predefined Core", "BilledCost": "7.00"},
    ]
    azure = [
        AZURE,
        AZURE | {"SkuMeter": "gpt 4.1 Inp glbl Tokens"},
        AZURE | {"SkuMeter": "gpt 4.1 Outp glbl Tokens"},
        AZURE
        | {
            "SkuMeter": "Standard Text Records",
            "x_SkuMeterSubcategory": "Language",
            "ChargeDescription": "Language",
            "BilledCost": "3.00",
        },
    ]
    put(drop.folder, "google/2026-10.csv", vertex)
    put(drop.folder, "azure/20261001-20261031/run/part_0_0001.csv", azure)
    drop.load()
    by_provider = defaultdict(dict)
    for charge in drop.charges():
        by_provider[charge.provider][charge.token_type] = charge.tokens
    assert by_provider == {
        "google": {"uncached_input": 100_000, "output": 100_000, "cache_read": 100_000},
        "azure": {"uncached_input": 100_000, "output": 100_000, "cache_read": 100_000},
    }
    left_out = {line["source"]: line["amount_text"] for line in drop.controls() if line["bucket"] == "other_services"}
    assert left_out == {"google": "7.00", "azure": "3.00"}


def test_parquet_is_read_like_csv_with_decimals_floats_and_timestamps(drop, tmp_path):
    table = pa_csv.read_csv(fsspec.open(str(put(tmp_path, "a.csv", bedrock()))).open())
    costs = pa.array([0.3, 1e-07, 0.1, 1.2345678901234567e-05, 0.25], pa.float64())
    table = table.set_column(table.schema.get_field_index("BilledCost"), "BilledCost", costs)
    tags = pa.array([[("team", "x")]] * 5, pa.map_(pa.string(), pa.string()))
    table = table.set_column(table.schema.get_field_index("Tags"), "Tags", tags)
    moments = pa.array([dt.datetime(2026, 10, 5, 23, tzinfo=dt.UTC)] * 5, pa.timestamp("us", tz="Europe/Berlin"))
    table = table.set_column(table.schema.get_field_index("ChargePeriodStart"), "ChargePeriodStart", moments)
    (drop.folder / "aws").mkdir()
    pq.write_table(table, drop.folder / "aws" / "part-0.snappy.parquet")
    drop.load()
    charges = drop.charges()
    assert sorted(charge.billed_amount for charge in charges) == [
        Decimal("0.000000100000"),
        Decimal("0.000012345679"),
        Decimal("0.100000000000"),
        Decimal("0.300000000000"),
    ]
    assert {charge.usage_date for charge in charges} == {dt.date(2026, 10, 5)}
    kept = next(line for line in drop.controls() if line["bucket"] == "charges")
    assert kept["amount_text"] == "0.400012445678901234568"


def test_the_product_map_of_a_parquet_report_is_read(drop):
    row = CUR_2 | {"line_item_product_code": "x1"}
    table = pa.Table.from_pylist([without(row, "product")])
    product = [("product_name", "Claude Opus 5 (Amazon Bedrock Edition)"), ("region", "x")]
    table = table.append_column("product", pa.array([product], pa.map_(pa.string(), pa.string())))
    (drop.folder / "aws").mkdir()
    pq.write_table(table, drop.folder / "aws" / "cur.parquet")
    drop.load()
    assert [charge.service_name for charge in drop.charges()] == ["Claude Opus 5 (Amazon Bedrock Edition)"]


# --- what files look like --------------------------------------------------------------------------------------------


def test_stray_columns_null_words_and_another_order_change_nothing(drop):
    rows = [{"Id": "9", **dict(reversed(row.items())), "InvoiceId": "NULL"} for row in bedrock()]
    put(drop.folder, "aws/a.csv", [row | {"ChargePeriodStart": "2026-10-05 00:00:00"} for row in rows])
    drop.load()
    assert billed(drop.charges()) == Decimal("1.05")
    assert {charge.invoice_id for charge in drop.charges()} == {None}


def test_a_schema_that_grows_over_the_months_is_read_in_each_month(drop):
    september = {"BillingPeriodStart": "2026-09-01T00:00:00Z", "ChargePeriodStart": "2026-09-05T00:00:00Z"}
    put(drop.folder, "aws/2026-09.csv", bedrock(FOCUS_1_0, **september))
    put(drop.folder, "aws/2026-10.csv", bedrock(FOCUS_1_2))
    drop.load()
    assert {(charge.billing_period, charge.export_version) for charge in drop.charges()} == {
        ("2026-09", "focus-1.0"),
        ("2026-10", "focus-1.2"),
    }
    assert len(read_charges(drop.lake, ["2026-09"])) == 4


def test_formula_text_is_data_and_never_a_number(drop):
    formula = '=HYPERLINK("http://x","y")'
    rows = bedrock()
    rows[0]["SubAccountId"] = formula
    rows[1]["BilledCost"] = "=1+1"
    put(drop.folder, "aws/a.csv", rows)
    drop.load()
    assert formula in {charge.sub_account for charge in drop.charges()}
    quarantined = [line for line in drop.controls() if line["bucket"] == "quarantined"]
    assert [(line["rows"], line["reason"]) for line in quarantined] == [(1, "unreadable_number: billed")]


def test_two_currencies_are_never_added(drop):
    euro = [row | {"BillingCurrency": "EUR", "BillingAccountId": "999"} for row in bedrock()]
    put(drop.folder, "aws/a.csv", [*bedrock(), *euro])
    outcome = drop.load()[0].outcomes["2026-10"]
    assert outcome.seen.sums["billed_usd"] == "1.050000000000"
    by_currency = defaultdict(list)
    for charge in drop.charges():
        by_currency[charge.currency].append(charge.billed_amount)
    assert {currency: exact_sum(found) for currency, found in by_currency.items()} == {
        "USD": Decimal("1.05"),
        "EUR": Decimal("1.05"),
    }


def test_the_same_file_twice_changes_nothing(drop):
    put(drop.folder, "aws/a.csv", bedrock())
    first = drop.load()[0].outcomes["2026-10"]
    again = drop.load()[0].outcomes["2026-10"]
    assert (first.verdict, again.verdict, len(drop.charges())) == ("first", "unchanged", 4)
    shutil.copy(drop.folder / "aws" / "a.csv", drop.folder / "aws" / "copy of a.csv")
    load = drop.load()[0]
    assert (load.outcomes["2026-10"].verdict, load.bills.ignored) == ("unchanged", ("aws/copy of a.csv",))
    assert load.bills.problems == ()


def test_a_month_that_the_cloud_writes_again_takes_the_place_of_the_old_one(drop):
    put(drop.folder, "aws/2026-10.csv", bedrock())
    drop.load()
    final = bedrock(ChargePeriodStart="2026-10-06T00:00:00Z")
    put(drop.folder, "aws/2026-10.csv", [row | {"BilledCost": "0.20", "ListCost": "0.20"} for row in final])
    assert drop.load()[0].outcomes["2026-10"].verdict == "grown"
    assert billed(drop.charges()) == Decimal("0.80")
    assert len(drop.lake.changes("cloud_charges", "source=aws,period=2026-10")) == 1


def test_a_month_without_ai_is_a_proven_zero_and_does_not_wipe_out_charges(drop):
    put(drop.folder, "aws/2026-10.csv", bedrock()[4:])
    assert drop.load()[0].outcomes["2026-10"].verdict == "zero_proven"
    put(drop.folder, "aws/2026-10.csv", bedrock())
    drop.load()
    put(drop.folder, "aws/2026-10.csv", bedrock()[4:])
    assert drop.load()[0].outcomes["2026-10"].verdict == "shrunk"
    assert len(drop.charges()) == 4
    check = cloud_bill_checks()[1](drop.lake)
    assert check.passed is False
    assert "holds 4 charges of 1.050000000000 USD, its files 0 of 0" in check.description


def test_parts_of_a_folder_are_one_export(drop):
    rows = bedrock()
    put(drop.folder, "aws/2026-10/part-1.csv", rows[:2])
    put(drop.folder, "aws/2026-10/part-2.csv.gz", rows[2:])
    (drop.folder / "aws/2026-10/manifest.json").write_text("{}")
    drop.load()
    assert billed(drop.charges()) == Decimal("1.05")


def test_two_exports_of_one_month_are_not_added_up(drop):
    put(drop.folder, "azure/run-1/part.csv", [AZURE])
    drop.load()
    put(drop.folder, "azure/run-2/part.csv", [AZURE, AZURE | {"SkuMeter": "gpt 4.1 Inp glbl Tokens"}])
    (problem,) = drop.problems()
    assert problem == (
        "azure: 2026-10 is in 2 folders (azure/run-1, azure/run-2): exports of a period are not added up. "
        "Fix: keep the newest export's folder and move the others out, or give each export a source of its own."
    )
    assert billed(drop.charges()) == Decimal("0.30")  # the load before it stays
    assert cloud_bill_checks()[1](drop.lake).passed is True


def test_a_later_version_beside_the_earlier_one_is_not_added_up(drop):
    put(drop.folder, "aws/2026-10.csv", bedrock())
    put(drop.folder, "aws/2026-10-v2.csv", [*bedrock(), *bedrock(ChargePeriodStart="2026-10-07T00:00:00Z")])
    (problem,) = drop.problems()
    assert "4 of 4 charges of 2026-10 are in aws/2026-10-v2.csv as well" in problem
    assert drop.charges() == []


def test_two_forms_in_one_folder_are_two_exports(drop):
    put(drop.folder, "aws/cur.csv", [CUR_2])
    put(drop.folder, "aws/focus.csv", bedrock())
    assert any("holds more than one export: cur as csv, focus as csv" in problem for problem in drop.problems())
    assert drop.charges() == []


def test_one_file_in_two_sources_is_loaded_once(drop):
    put(drop.folder, "aws/a.csv", bedrock())
    put(drop.folder, "aws-copy/a.csv", bedrock())
    (problem,) = drop.problems()
    assert problem.startswith("aws-copy/a.csv: is byte for byte a file of the source aws. Fix: ")
    assert billed(drop.charges()) == Decimal("1.05")


# --- bad input -------------------------------------------------------------------------------------------------------


def broken_gzip() -> bytes:
    return gzip.compress(as_csv(bedrock()), mtime=0)[:-30]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", as_csv(bedrock()) + b"1,2,3\n", "cannot be read to its end (Expected Number of Columns"),
        ("a.csv", as_csv(bedrock()).replace(b"us-east-1", b"\xff\xfe"), "is not UTF-8 text"),
        ("a.csv", as_csv(bedrock()).replace(b",", b";"), "is neither a FOCUS cost and usage bill"),
        ("a.csv", b"BilledCost,BilledCost\n1,2\n", "has the column billedcost twice"),
        ("a.csv", "BilledCost\n1\n".encode("utf-16"), "is not UTF-8 text"),
        ("a.csv.gz", as_csv(bedrock()), "cannot be read as zipped CSV (BadGzipFile)"),
        ("a.csv.gz", broken_gzip(), "cannot be read to its end"),
        ("a.csv", as_csv(bedrock() * 200) + b"\xff\xfe" * 9, "cannot be read to its end"),
        ("a.parquet", b"PAR1 not really", "cannot be read as Parquet (ArrowInvalid)"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_and_holds_back_its_folder(drop, name, content, said):
    put(drop.folder, "aws/b.csv", bedrock())
    (drop.folder / "aws" / name).write_bytes(content)
    put(drop.folder, "google/a.csv", [VERTEX])
    problems = drop.problems()
    assert len(problems) == 1
    assert problems[0].startswith(f"aws/{name}")
    assert said in problems[0]
    assert "Fix: " in problems[0]
    assert {charge.source for charge in drop.charges()} == {"google"}
    refused = [line for line in drop.controls() if line["bucket"] == "refused"]
    assert {(line["rows"], line["amount_text"]) for line in refused} == {(4, "1.05"), (0, "0")}


def test_wrong_units_and_negative_tokens_are_quarantined_with_their_sums(drop):
    rows = bedrock()
    rows[0] |= {"ConsumedUnit": "1M tokens"}
    rows[1] |= {"ConsumedQuantity": "-20", "PricingQuantity": "-20"}
    rows[2] |= {"ListUnitPrice": "0.0003", "ListCost": "30.00", "BilledCost": "30.00"}  # cents for dollars
    put(drop.folder, "aws/a.csv", rows)
    drop.load()
    assert [charge.token_type for charge in drop.charges()] == ["cache_write_5m"]
    lines = {line["reason"] or line["bucket"]: (line["rows"], line["amount_text"]) for line in drop.controls()}
    assert lines == {
        "charges": (1, "0.15"),
        "other_services": (1, "0.25"),
        "units_disagree: quantity": (1, "0.30"),
        "negative_tokens: quantity": (1, "0.30"),
        "cost_is_not_price_times_quantity: list": (1, "30.00"),
    }
    whole = exact_sum(Decimal(row["BilledCost"]) for row in rows)
    assert exact_sum(Decimal(line["amount_text"]) for line in drop.controls()) == whole


def test_a_row_of_another_service_that_cannot_be_summed_is_quarantined_too(drop):
    rows = bedrock()
    rows[4]["BilledCost"] = "$1,000.00"
    put(drop.folder, "aws/a.csv", rows)
    drop.load()
    assert {(line["bucket"], line["reason"], line["rows"]) for line in drop.controls()} == {
        ("charges", None, 4),
        ("quarantined", "unreadable_number: billed", 1),
    }


def test_a_file_outside_every_source_is_named(drop):
    put(drop.folder, "a.csv", bedrock())
    put(drop.folder, "AWS Prod/a.csv", bedrock())
    problems = drop.problems()
    assert [problem.partition(":")[0] for problem in problems] == ["AWS Prod/a.csv", "a.csv"]
    assert all("lies in no source's folder" in problem for problem in problems)
    (drop.folder / "a.csv").unlink()
    shutil.rmtree(drop.folder / "AWS Prod")
    assert drop.problems() == []
    assert drop.controls() == []


def test_a_folder_that_is_not_there_is_no_empty_folder(tmp_path):
    lake = Lake(root=str(tmp_path / "lake"), cache_dir=str(tmp_path / "cache"))
    with pytest.raises(CloudBillError, match=r"there is no such folder\. Fix: "):
        CloudBillFolder(url=str(tmp_path / "nowhere")).load(lake, NOW)


def test_bills_are_read_from_any_file_system(tmp_path):
    place = f"memory://bills-{tmp_path.name}"
    with fsspec.open(f"{place}/aws/BILLING_PERIOD=2026-10/part.csv.gz", "wb") as file:
        file.write(gzip.compress(as_csv(bedrock()), mtime=0))
    lake = Lake(root=str(tmp_path / "lake"), cache_dir=str(tmp_path / "cache"))
    loads = CloudBillFolder(url=place).load(lake, NOW)
    assert loads[0].bills.problems == ()
    assert billed(read_charges(lake)) == Decimal("1.05")


# --- assets and checks -----------------------------------------------------------------------------------------------


def materialize(
    drop: Drop, url: str | None = None
) -> tuple[dg.ExecuteInProcessResult, dict[str, dg.AssetCheckEvaluation]]:
    (drop.root / "tokengov.yaml").write_text("as_of: 2026-11-05\n")
    definitions = dg.Definitions(
        assets=cloud_bill_assets(),
        asset_checks=cloud_bill_checks(),
        resources={
            "cloud_bill_folder": CloudBillFolder(url=str(drop.folder) if url is None else url),
            "lake": drop.lake,
            "home": Home(path=str(drop.root)),
        },
        jobs=[dg.define_asset_job("all_job")],
        executor=dg.in_process_executor,
    )
    done = definitions.resolve_job_def("all_job").execute_in_process()
    return done, {evaluation.check_name: evaluation for evaluation in done.get_asset_check_evaluations()}


def test_the_asset_loads_the_folder_and_its_checks_are_green(drop):
    put(drop.folder, "aws/2026-10.csv", bedrock())
    done, checks = materialize(drop)
    assert done.success
    assert {name: check.passed for name, check in checks.items()} == {
        "every_bill_is_read": True,
        "charges_sum_to_their_files": True,
        "no_account_is_billed_twice": True,
    }
    event = done.asset_materializations_for_node("cloud_bills")[0]
    assert event.metadata["dagster/row_count"].value == 4


def test_without_a_folder_nothing_is_read(drop):
    done, checks = materialize(drop, url="")
    assert done.success
    assert all(check.passed for check in checks.values())


def test_the_checks_name_a_quarantined_row_and_a_refused_file(drop):
    rows = bedrock()
    rows[0]["BilledCost"] = "free"
    put(drop.folder, "aws/2026-10.csv", rows)
    put(drop.folder, "google/x.csv", [{"a": "1"}])
    done, checks = materialize(drop)
    assert done.success
    check = checks["every_bill_is_read"]
    assert check.passed is False
    assert "2026-10: aws/2026-10.csv: 1 rows of 0 USD are quarantined (unreadable_number: billed)" in check.description
    assert "google/x.csv: is neither a FOCUS" in check.description
    assert checks["charges_sum_to_their_files"].passed is True


def test_charges_that_differ_from_their_files_are_found(drop):
    put(drop.folder, "aws/2026-10.csv", bedrock())
    drop.load()
    with drop.lake.writing(CHARGES) as writer:
        writer.write(to_batch(drop.charges()[:3]))
        window = ("2026-10-01", "2026-10-31")
        drop.lake.commit(CHARGES, "source=aws,period=2026-10", writer, extracted_at=NOW, window=window)
    shutil.rmtree(drop.folder / "aws")
    with drop.lake.writing(CONTROLS) as writer:  # the totals of the file before it went
        totals_line = dict.fromkeys(CONTROLS.schema.names) | {
            "source": "aws",
            "source_file": "aws/2026-10.csv",
            "billing_period": "2026-10",
            "currency": "USD",
            "bucket": "charges",
            "rows": 4,
            "amount_text": "1.05",
        }
        writer.write(pa.RecordBatch.from_pylist([totals_line], schema=CONTROLS.schema))
        drop.lake.commit(CONTROLS, "source=aws", writer, extracted_at=NOW, window=("2026-11-05", "2026-11-05"))
    check = cloud_bill_checks()[1](drop.lake)
    assert check.passed is False
    assert check.description.startswith(
        "2026-10: source=aws,period=2026-10 holds 3 charges of 0.900000000000 USD, its files 4 of 1.05. Fix: "
    )


def test_two_exports_of_one_account_are_found_across_sources(drop):
    put(drop.folder, "aws-focus/2026-10.csv", bedrock())
    put(drop.folder, "aws-cur/2026-10.csv", [CUR_2])
    _, checks = materialize(drop)
    check = checks["no_account_is_billed_twice"]
    assert check.passed is False
    assert "2026-10: aws account 444455556666 is in the sources aws-cur, aws-focus" in check.description


# --- command line ----------------------------------------------------------------------------------------------------


def test_check_says_what_would_be_read(tmp_path):
    path = put(tmp_path, "a.csv", bedrock())
    result = runner.invoke(app, ["check", str(path)])
    assert result.exit_code == 0
    for words in ("focus-1.2, 5 rows", "charges", "1.05 USD", "other services", "0.25 USD", "1.30 USD"):
        assert words in result.output


def test_check_names_problems_and_fails(tmp_path):
    rows = bedrock()
    rows[3]["BilledCost"] = "free"
    good, bad = put(tmp_path, "a.csv", rows), tmp_path / "b.csv"
    bad.write_text("x,y\n1,2\n")
    result = runner.invoke(app, ["check", str(good), str(bad), str(tmp_path / "no.csv")])
    assert result.exit_code == 1
    assert "1 rows are quarantined (unreadable_number: billed), the first is record 4. Fix:" in result.output
    assert f"{bad}: is neither a FOCUS cost and usage bill" in result.output
    assert "no.csv: there is no such file" in result.output


def test_check_lists_usage_without_tokens_and_missing_callers(tmp_path):
    row = without(CUR_2, "line_item_iam_principal") | {"pricing_unit": "Units"}
    path = str(put(tmp_path, "a.csv", [row]))
    result = runner.invoke(app, ["check", path])
    assert result.exit_code == 0
    assert "AI usage without a token count" in result.output
    assert "line_item_iam_principal" in result.output
    stated = runner.invoke(app, ["check", path, "--unit", "Units=1000000"])
    assert "AI usage without a token count" not in stated.output
    assert runner.invoke(app, ["check", path, "--unit", "Units"]).exit_code == 2


# --- doctor ----------------------------------------------------------------------------------------------------------


def test_the_doctor_says_what_the_match_will_lack(drop):
    put(drop.folder, "aws/2026-10.csv", [*bedrock(), FOCUS_1_2 | {"ConsumedUnit": "Units", "PricingUnit": "Units"}])
    put(drop.folder, "google/x.csv", [{"a": "1"}])
    found = list(probe_cloud_bills(CloudBillFolder(url=str(drop.folder)), dt.date(2026, 10, 6)))
    assert [(finding.level, finding.check) for finding in found] == [
        (Level.OK, "aws"),
        (Level.WARNING, "aws"),
        (Level.WARNING, "aws"),
        (Level.ERROR, "google/x.csv"),
    ]
    assert "bypass of 1.35 USD can be told by account alone" in found[1].text
    assert "0.30 USD of usage has no token count" in found[2].text
    late = list(probe_cloud_bills(CloudBillFolder(url=str(drop.folder)), dt.date(2026, 10, 20)))
    assert (late[0].level, late[0].text) == (Level.WARNING, "the newest usage is of 2026-10-05.")
    nowhere = list(probe_cloud_bills(CloudBillFolder(url=str(drop.folder / "no")), dt.date(2026, 10, 6)))
    assert [(finding.level, finding.check) for finding in nowhere] == [(Level.ERROR, "folder")]


# --- any bill --------------------------------------------------------------------------------------------------------

COSTS = st.one_of(
    st.decimals(min_value=-1000, max_value=1000, places=15).map(lambda cost: format(cost, "f")),
    st.sampled_from(["0", "1e-07", "2.5E-9", " 3.00 "]),
)
SERVICES = st.sampled_from(["Amazon Bedrock", "Amazon Bedrock AgentCore", "Amazon Simple Storage Service", ""])
PERIODS = st.sampled_from(["2026-09-01T00:00:00Z", "2026-10-01 00:00:00", "10/1/26", "NULL"])


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(COSTS, SERVICES, PERIODS, st.sampled_from(["USD", "EUR", "?"])), min_size=1, max_size=25))
def test_whatever_a_bill_holds_its_parts_are_its_whole(tmp_path, lines):
    rows = [
        without(FOCUS_1_0, "ListUnitPrice")
        | {"BilledCost": cost, "ServiceName": service, "BillingPeriodStart": period, "BillingCurrency": currency}
        | ({"x_ServiceCode": "AmazonS3"} if "Bedrock" not in service else {})
        for cost, service, period, currency in lines
    ]
    bill = read(put(tmp_path, "any.csv", rows))
    assert bill.problem is None
    assert sum(total.rows for total in bill.totals) == bill.rows == len(rows)
    assert exact_sum(total.amount for total in bill.totals) == exact_sum(Decimal(cost.strip()) for cost, *_ in lines)
    kept = [total for total in bill.totals if total.bucket is Bucket.CHARGES]
    assert exact_sum(total.amount for total in kept) == billed(bill.charges)
