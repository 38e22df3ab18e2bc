"""The clouds' bills in the lake: charges of AI services, and the control totals of every file.

Belongs here: thin assets, and the checks that are true when every bill was read to the cent. Does not belong here: how
bills are read (`resources.cloud_bills`), what a charge is to the match (`domain.cloud_legs`).
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

import dagster as dg
import pyarrow.parquet as pq

from assets.checks import result
from resources.cloud_bill_files import Bucket
from resources.cloud_bill_tables import CHARGES, CONTROLS, charges_partition
from resources.cloud_bills import BillLoad, CloudBillFolder, read_charges
from resources.home import Home
from resources.lake import Lake
from tokengov_pipelines.domain.money import exact_sum

FINANCE = "team:finance"
NOT_CONFIGURED = {"load": "not configured in tokengov.yaml; nothing was read"}
_ROUNDING_PER_ROW = Decimal("0.0000000000005")


def cloud_bill_assets() -> list[dg.AssetsDefinition]:
    """The assets of the clouds' bills in group `raw`."""

    @dg.multi_asset(
        name="cloud_bills",
        specs=[
            dg.AssetSpec(
                key=["raw", CHARGES.name],
                group_name="raw",
                owners=[FINANCE],
                kinds={"csv", "parquet"},
                description=(
                    "Lines of AI services on the bills of AWS, Google and Azure, one load a source and billing period; "
                    "a period is replaced whole."
                ),
            ),
            dg.AssetSpec(
                key=["raw", CONTROLS.name],
                group_name="raw",
                owners=[FINANCE],
                kinds={"parquet"},
                description="Rows and sums of every bill's file: kept, of other services, quarantined, refused.",
            ),
        ],
    )
    def cloud_bills(
        context: dg.AssetExecutionContext, cloud_bill_folder: CloudBillFolder, lake: Lake, home: Home
    ) -> Iterator[dg.MaterializeResult]:
        if not cloud_bill_folder.url:
            yield dg.MaterializeResult(asset_key=["raw", CHARGES.name], metadata=dict[str, Any](NOT_CONFIGURED))
            yield dg.MaterializeResult(asset_key=["raw", CONTROLS.name], metadata=dict[str, Any](NOT_CONFIGURED))
            return
        loads = cloud_bill_folder.load(lake, home.installation.settings.now())
        for load in loads:
            for problem in load.bills.problems:
                context.log.error(str(problem))
            for name in load.bills.ignored:
                context.log.info(f"{name} repeats a file that is already there; ignored")
        yield dg.MaterializeResult(
            asset_key=["raw", CHARGES.name], metadata=_described(loads), data_version=_version(lake, CHARGES.name)
        )
        yield dg.MaterializeResult(
            asset_key=["raw", CONTROLS.name],
            metadata={"files": sum(len(load.bills.files) for load in loads)},
            data_version=_version(lake, CONTROLS.name),
        )

    return [cloud_bills]


def cloud_bill_checks() -> list[dg.AssetChecksDefinition]:
    """Checks of the bills. None blocks: what is unclear is not loaded, and the load before it stays."""

    @dg.asset_check(
        asset=dg.AssetKey(["raw", CHARGES.name]),
        description="Every file of the drop folder was read, and no row of it is quarantined.",
    )
    def every_bill_is_read(lake: Lake) -> dg.AssetCheckResult:
        lines = _controls(lake)
        bad = [line for line in lines if line["bucket"] in {Bucket.REFUSED, Bucket.QUARANTINED}]
        return result(_months(lines), "every file and every row was read", map(_complaint, bad))

    @dg.asset_check(
        asset=dg.AssetKey(["raw", CHARGES.name]),
        description="The charges in the lake are, in rows and sum, what the files' control totals say was kept.",
    )
    def charges_sum_to_their_files(lake: Lake) -> dg.AssetCheckResult:
        lines = _controls(lake)
        return result(
            _months(lines),
            "kept charges and control totals agree in every period and currency",
            _differences(lake, lines),
            "look at the newest export: a bill does not lose its AI lines; or the lake's files were changed by hand",
        )

    @dg.asset_check(
        asset=dg.AssetKey(["raw", CHARGES.name]),
        description="No account's month is on the bills of two sources, which would count it twice.",
    )
    def no_account_is_billed_twice(lake: Lake) -> dg.AssetCheckResult:
        sources = defaultdict(set)
        for charge in read_charges(lake):
            sources[charge.billing_period, charge.provider, charge.account, charge.sub_account].add(charge.source)
        return result(
            sorted({period for period, *_ in sources}),
            "every account's month is on one bill",
            [
                f"{period}: {provider} account {sub_account or account} is in the sources {', '.join(sorted(found))}"
                for (period, provider, account, sub_account), found in sorted(sources.items(), key=str)
                if len(found) > 1
            ],
            f"keep one export of it, and delete the other source's partition of raw/{CHARGES.name} from the lake",
        )

    return [every_bill_is_read, charges_sum_to_their_files, no_account_is_billed_twice]


def _controls(lake: Lake) -> list[dict[str, Any]]:
    files = lake.current_files(CONTROLS.name)
    return [line for file in files for line in pq.read_table(file, partitioning=None).to_pylist()]


def _months(lines: Sequence[dict[str, Any]]) -> list[str]:
    return sorted({line["billing_period"] for line in lines if line["billing_period"]})


def _complaint(line: dict[str, Any]) -> str:
    if not line["rows"]:
        return str(line["reason"])
    amount = f"{line['amount_text']} {line['currency'] or ''}".strip()
    place = f"{line['billing_period'] or 'no period'}: {line['source_file']}"
    return f"{place}: {line['rows']} rows of {amount} are {line['bucket']} ({line['reason']})"


def _differences(lake: Lake, lines: Sequence[dict[str, Any]]) -> list[str]:
    """Periods whose charges are not those of the files; a period that is refused keeps its earlier load, rightly."""
    said: dict[tuple[str, str], dict[str, tuple[int, Decimal]]] = defaultdict(dict)
    refused = {(line["billing_period"], line["source"]) for line in lines if line["bucket"] == Bucket.REFUSED}
    for line in lines:
        where = (line["billing_period"], line["source"])
        if where[0] is None or where in refused:
            continue
        by_currency = said[where]
        if line["bucket"] == Bucket.CHARGES:
            rows, amount = by_currency.get(line["currency"], (0, Decimal(0)))
            by_currency[line["currency"]] = (rows + line["rows"], exact_sum([amount, Decimal(line["amount_text"])]))
    differences = []
    for (period, source), by_currency in sorted(said.items()):
        here = [charge for charge in read_charges(lake, [period]) if charge.source == source]
        for currency in sorted({*by_currency, *(charge.currency for charge in here)}):
            rows, amount = by_currency.get(currency, (0, Decimal(0)))
            mine = [charge.billed_amount for charge in here if charge.currency == currency]
            total = exact_sum(mine)
            if len(mine) != rows or abs(total - amount) > rows * _ROUNDING_PER_ROW:
                differences.append(
                    f"{period}: {charges_partition(source, period)} holds {len(mine)} charges of {total} {currency}, "
                    f"its files {rows} of {amount}"
                )
    return differences


def _described(loads: Sequence[BillLoad]) -> dict[str, Any]:
    records = [
        dg.TableRecord(
            {
                "source": load.bills.source,
                "period": period,
                "charges": outcome.seen.rows,
                "billed_usd": outcome.seen.sums["billed_usd"],
                "load": outcome.verdict,
            }
        )
        for load in loads
        for period, outcome in load.outcomes.items()
    ]
    metadata: dict[str, Any] = {
        "dagster/row_count": sum(outcome.seen.rows for load in loads for outcome in load.outcomes.values()),
        "problems": sum(len(load.bills.problems) for load in loads),
    }
    return metadata | ({"periods": dg.MetadataValue.table(records)} if records else {})


def _version(lake: Lake, table: str) -> dg.DataVersion:
    """The content of all current loads, so that a reading that finds no change makes nothing unsynced."""
    records = [lake.current(table, partition) for partition in lake.partitions(table)]
    lines = [f"{record.partition} {record.sha256}" for record in records if record is not None]
    return dg.DataVersion(hashlib.sha256("\n".join(lines).encode()).hexdigest())
