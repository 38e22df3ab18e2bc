"""An installation to measure: the demo's organisation, settings, directory and invoices, and no call yet.

Belongs here: everything that a measured job needs and that is not itself measured. Does not belong here: calls
(`benchmarks.generated_calls`, `tokengov_pipelines.demo`), clocks (`benchmarks.measure`).
"""

import csv
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from resources.lake import Lake
from tokengov_pipelines.demo.database import READER_PASSWORD, running_postgres
from tokengov_pipelines.demo.documents import directory_tables
from tokengov_pipelines.demo.entities import insert_entities
from tokengov_pipelines.demo.incidents import LOG_START
from tokengov_pipelines.demo.litellm_database import connect, create_indices, create_tables
from tokengov_pipelines.demo.organisation import build_organisation
from tokengov_pipelines.demo.postgres import create_reader
from tokengov_pipelines.demo.prices import PROVIDERS
from tokengov_pipelines.domain.period import BillingMonth
from tokengov_pipelines.settings import LITELLM_URL_VARIABLE, Installation, load_installation

MONTH = BillingMonth.parse("2026-10")
INVOICED = "250000.00"
"""Total of each provider's invoice of the month, USD; what the log does not explain of it goes to the central line."""

_SETTINGS = f"""as_of: 2026-11-05
log_start: {LOG_START}
books_start: {MONTH}
"""


@dataclass(frozen=True)
class Home:
    """One installation beside a running Postgres: `owner_url` may write to it, the product reads it as a reader."""

    installation: Installation
    owner_url: str

    @property
    def lake(self) -> Lake:
        """The installation's lake."""
        return Lake(root=self.installation.lake_url, cache_dir=str(self.installation.home / "cache"))


@contextmanager
def running_home(folder: Path) -> Iterator[Home]:
    """Make an installation in `folder` (or use the one that is there) and run its Postgres."""
    folder.mkdir(parents=True, exist_ok=True)
    with running_postgres(folder) as owner_url:
        if not (folder / "tokengov.yaml").exists():
            _fill_database(owner_url)
            _write_files(folder)
        os.environ[LITELLM_URL_VARIABLE] = create_reader(owner_url, READER_PASSWORD)
        yield Home(load_installation(folder), owner_url)


def _fill_database(owner_url: str) -> None:
    connection = connect(owner_url)
    with connection:
        create_tables(connection)
        insert_entities(connection, build_organisation())
        create_indices(connection)
    connection.close()


def _write_files(folder: Path) -> None:
    for name in ("directory", "invoices"):
        (folder / name).mkdir(exist_ok=True)
    for name, (header, rows) in directory_tables(build_organisation()).items():
        with (folder / "directory" / f"{name}.csv").open("w", encoding="utf-8", newline="") as handle:
            csv.writer(handle, lineterminator="\n").writerows([header, *rows])
    for provider in PROVIDERS:
        path = folder / "invoices" / f"{provider}-{MONTH}.json"
        path.write_text(json.dumps(_invoice(provider), indent=1), encoding="utf-8")
    (folder / "policy.yaml").write_text((resources.files("tokengov_pipelines") / "policy.yaml").read_text())
    (folder / "tokengov.yaml").write_text(_SETTINGS, encoding="utf-8")  # last: it says that the rest is there


def _invoice(provider: str) -> dict[str, object]:
    last = MONTH.days()[-1].isoformat()
    return {
        "form": "tokengov-invoice/1",
        "provider": provider,
        "account": "fernhill-prod",
        "invoice_id": f"{provider.upper()}-{MONTH}",
        "invoice_date": last,
        "period_start": MONTH.first_day.isoformat(),
        "period_last_day": last,
        "currency": "USD",
        "lines": [{"line_no": 1, "kind": "usage", "description": "API usage", "amount": INVOICED}],
        "lines_total": INVOICED,
        "credits_total": "0.00",
        "tax_total": "0.00",
        "total": INVOICED,
    }
