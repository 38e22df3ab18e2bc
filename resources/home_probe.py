"""`tokengov doctor` on the rest of the home: the warehouse's lock, disk space, the price list, where alerts go.

Belongs here: what can be seen on this machine without asking anybody. Does not belong here: the lake, the ledger and
Dagster's storage (`resources.store_probe`), the folders that people fill (`resources.directory_probe`).
"""

import csv
import datetime as dt
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Final

import pyarrow.parquet as pq

from resources.notifier import Notifier
from resources.store_probe import writable_folder
from resources.warehouse import WarehouseBusyError, held_warehouse
from tokengov_pipelines.domain.finding import Finding, error, from_error, ok, warning
from tokengov_pipelines.domain.pricing import PRICE_FILE
from tokengov_pipelines.settings import ALERT_URLS_VARIABLE, Installation

LEAST_FREE_BYTES: Final = 200_000_000
LOW_FREE_BYTES: Final = 2_000_000_000
OLDEST_PRICES_DAYS: Final = 180
DAYS_OF_USAGE: Final = 7

_PRICE_LIST: Final = Path(str(resources.files("tokengov_pipelines"))) / "prices" / PRICE_FILE
_GIGABYTE: Final = 1_000_000_000


def probe_home(installation: Installation) -> Iterator[Finding]:
    """Every finding about the warehouse, the disk, the price list and the alerts."""
    yield from _warehouse(installation)
    yield from _disk(installation)
    yield from probe_prices(installation)
    yield from _alerts()


# --- warehouse, disk -------------------------------------------------------------------------------------------------


def _warehouse(installation: Installation) -> Iterator[Finding]:
    folder = installation.home / "warehouse"
    if not folder.exists():
        yield writable_folder("warehouse", "lock", folder, "it is made by the first load")
        return
    try:
        with held_warehouse(installation.home, 0, "tokengov doctor"):
            pass
    except WarehouseBusyError as busy:
        limit = installation.settings.warehouse_lock_seconds
        held = from_error("warehouse", "lock", str(busy))
        if _held_seconds(folder / "holder.json") > limit:
            yield warning("warehouse", "lock", f"{held.text} That is longer than others wait ({limit} s).", held.fix)
        else:
            yield ok("warehouse", "lock", held.text)
    except OSError as failed:
        text = f"{folder} cannot be written ({failed.strerror})."
        yield error("warehouse", "lock", text, "make the folder and its files writable for this user.")
    else:
        yield ok("warehouse", "lock", "nobody is writing the warehouse.")


def _held_seconds(holder: Path) -> float:
    try:
        return time.time() - int(json.loads(holder.read_text(encoding="utf-8"))["since"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0


def _disk(installation: Installation) -> Iterator[Finding]:
    """Free space of the home and of the temporary folder, where a load is written before it is placed."""
    existing = next(path for path in (installation.home, *installation.home.parents) if path.exists())
    places = {existing.stat().st_dev: existing}
    temporary = Path(tempfile.gettempdir())
    places.setdefault(temporary.stat().st_dev, temporary)
    for place in places.values():
        free = shutil.disk_usage(place).free
        text = f"{free / _GIGABYTE:.1f} GB are free at {place}."
        if free >= LOW_FREE_BYTES:
            yield ok("disk", "space", text)
        elif free >= LEAST_FREE_BYTES:
            yield warning("disk", "space", text, "free some space before a large load.")
        else:
            yield error("disk", "space", text, "free some space: a load needs its own size twice.")


# --- prices and alerts -----------------------------------------------------------------------------------------------


def probe_prices(installation: Installation, price_file: Path = _PRICE_LIST) -> Iterator[Finding]:
    """How old the price list is, and which models of the newest usage it does not price (Rule 12.4)."""
    today = installation.settings.today()
    try:
        with price_file.open(encoding="utf-8", newline="") as file:
            rows = [(row["valid_from"], row["source_version"]) for row in csv.DictReader(file)]
        newest = dt.date.fromisoformat(max(start for start, _ in rows if start <= today.isoformat()))
    except (OSError, KeyError, ValueError, csv.Error):
        fix = "install the product again; the list is part of it."
        yield error("prices", "price list", f"{price_file.name} is missing or cannot be read.", fix)
        return
    versions = ", ".join(sorted({version for _, version in rows}))
    text = f"{len(rows)} prices of version {versions}; the newest holds since {newest}"
    if (today - newest).days > OLDEST_PRICES_DAYS:
        fix = "upgrade the product, or have two people change the list (Rule 12.4)."
        yield warning("prices", "price list", f"{text}, {(today - newest).days} days ago.", fix)
    else:
        yield ok("prices", "price list", f"{text}.")
    yield from _unpriced(installation, today)


def _unpriced(installation: Installation, today: dt.date) -> Iterator[Finding]:
    folder = installation.tables_dir / "fct_unpriced_usage_daily"
    days = [(today - dt.timedelta(days=n)).isoformat() for n in range(DAYS_OF_USAGE + 1)]
    files = [path for day in days if (path := folder / f"{day}.parquet").exists()]
    if not files:
        return
    try:
        found = [row for path in files for row in pq.read_table(path, partitioning=None).to_pylist()]
    except (OSError, ValueError) as failed:  # pyarrow's own errors are ValueErrors
        text = f"{folder.name} cannot be read ({type(failed).__name__})."
        yield error("prices", "models in use", text, "load these days again.")
        return
    calls: dict[str, int] = {}
    for row in found:
        name = f"{row['provider']} {row['model']} ({row['reason']})"
        calls[name] = calls.get(name, 0) + int(row["calls"])
    if calls:
        named = sorted(calls, key=lambda name: (-calls[name], name))
        more = f" and {len(named) - 5} more" if len(named) > 5 else ""
        text = f"{sum(calls.values())} calls since {days[-1]} have no price: {', '.join(named[:5])}{more}."
        where = "prices/model_aliases.csv or prices/contract_prices.csv"
        fix = f"add it to {where}, then tokengov prices approve (Rule 12.4)."
        yield warning("prices", "models in use", text, fix)
    else:
        yield ok("prices", "models in use", f"every model used since {days[-1]} has a price.")


def _alerts() -> Iterator[Finding]:
    """How many transports there are and of which kind; a URL is a secret as a whole."""
    kinds = [label.partition(":")[0] for label in Notifier().transports]
    if not kinds:
        text = f"{ALERT_URLS_VARIABLE} is not set: a failed run or check tells nobody."
        yield warning(
            "alerts", "transports", text, f"export Apprise URLs in {ALERT_URLS_VARIABLE}; see docs/alerts.md."
        )
    elif "no-scheme" in kinds:
        text = f"{kinds.count('no-scheme')} of {len(kinds)} words in {ALERT_URLS_VARIABLE} are no URL."
        yield error(
            "alerts", "transports", text, "write Apprise URLs (slack://..., mailtos://...) with blanks between."
        )
    else:
        yield ok("alerts", "transports", f"{len(kinds)} set: {', '.join(sorted(kinds))}. Nothing was sent.")
