"""The price book as an asset: shipped prices with the organisation's own laid over, stored with what changed.

Belongs here: the asset's declaration. Does not belong here: files and tables (`resources.price_book`), what a sound
book is and what counts as a change (`tokengov_pipelines.domain`), the checks (`assets.price_checks`).
"""

from collections.abc import Iterator, Sequence
from typing import Final

import dagster as dg

from assets.ledger import open_ledger
from assets.loads import whole
from resources.home import Home
from resources.lake import Lake
from resources.price_approvals import open_first_book
from resources.price_book import PRICE_BOOK, PRICE_BOOK_SCHEMAS, PriceBookFiles, stored_book
from tokengov_pipelines.domain.price_review import BookChange, diff_books, summary

DESCRIPTIONS: Final = {
    PRICE_BOOK: "Dated list prices with contract prices laid over them (Rule 4.2); a problem in any file refuses all.",
    "price_book_aliases": "The priced model behind each logged or reported name; a name that is not here has no price.",
    "price_book_geo_factors": "What token prices are multiplied by where a geography was asked for.",
}
_SHOWN = 100


def price_book_assets() -> list[dg.AssetsDefinition]:
    """The assets `raw/price_book` and the two tables that belong to it; none is partitioned."""

    @dg.multi_asset(
        name="price_book",
        group_name="raw",
        specs=[
            dg.AssetSpec(
                key=["raw", name], owners=["team:finance"], kinds={"csv", "parquet"}, description=DESCRIPTIONS[name]
            )
            for name in PRICE_BOOK_SCHEMAS
        ],
    )
    def price_book(
        context: dg.AssetExecutionContext, price_files: PriceBookFiles, lake: Lake, home: Home
    ) -> Iterator[dg.MaterializeResult]:
        loaded = price_files.load()
        for warning in loaded.warnings:
            context.log.warning(str(warning))
        before = stored_book(lake)
        changes = diff_books(before.content, loaded.content) if before else []
        for name, table in loaded.tables.items():
            outcome = lake.replace(name, table, home.installation.settings.now())
            metadata = _told(loaded.sha256, changes, is_first=before is None) if name == PRICE_BOOK else {}
            yield whole(["raw", name], outcome, **metadata)
        if open_first_book(open_ledger(home.installation), loaded.sha256, "dagster"):
            context.log.info(f"the first price book of this installation: {loaded.sha256[:12]}")

    return [price_book]


def _told(sha256: str, changes: Sequence[BookChange], *, is_first: bool) -> dict[str, str]:
    if is_first:
        return {"book": sha256, "changes": "the first book"}
    lines = [str(change) for change in changes[:_SHOWN]]
    more = [f"... and {len(changes) - _SHOWN} more"] if len(changes) > _SHOWN else []
    return {"book": sha256, "changes": "\n".join([f"since the last load: {summary(changes)}", *lines, *more])}
