"""The asset of delivery: a closed month at its destinations.

Belongs here: a thin asset and what its page shows. Does not belong here: the steps (`assets.pack_delivery`), the ways
(`resources.delivery`).

A destination that cannot be reached fails no run: the close stands, the outbox tries again, and an alert of its own
says so and closes by itself.
"""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from assets.ledger import open_ledger
from assets.pack_delivery import Delivered, DeliveryRun, names_after_close
from resources.home import Home
from resources.notifier import Notifier
from tokengov_pipelines.domain.period import BillingMonth


def delivery_assets(months: dg.MonthlyPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """The asset `finance/delivered_packs`."""

    @dg.asset(
        key=["finance", "delivered_packs"],
        group_name="finance",
        owners=["team:finance"],
        partitions_def=months,
        backfill_policy=dg.BackfillPolicy.single_run(),
        deps=[["finance", "closed_month"]],
        description=(
            "The closed pack at every destination with `after: close`, and what is due again elsewhere. Materializing "
            "it twice sends nothing twice; what is uncertain waits for `tokengov deliver --resend`."
        ),
    )
    def delivered_packs(context: dg.AssetExecutionContext, home: Home, notifier: Notifier) -> dg.MaterializeResult:
        installation = home.installation
        ledger = open_ledger(installation)
        run = DeliveryRun(
            ledger,
            installation.home,
            installation.settings.deliveries,
            actor="dagster",
            run_id=context.run.run_id,
            transports=notifier.transports,
        )
        for key in context.partition_keys:
            month = BillingMonth.parse(key)
            names = names_after_close(ledger, run.destinations, month)
            done = run.deliver(month, names=names) if names else []
            for each in done:
                tell = context.log.info if each.arrived else context.log.error
                tell(f"{key}: {each.delivery.destination}: {each.delivery.state}: {each.said}")
            context.add_asset_metadata(_metadata(done), partition_key=key)
        return dg.MaterializeResult()

    return [delivered_packs]


def _metadata(done: Sequence[Delivered]) -> dict[str, Any]:
    rows = [
        dg.TableRecord(
            {
                "destination": each.delivery.destination,
                "by": each.delivery.transport,
                "state": each.delivery.state.value,
                "attempts": each.delivery.attempts,
                "said": each.said,
            }
        )
        for each in done
    ]
    return {
        "delivered": sum(each.arrived for each in done),
        "not_delivered": sum(not each.arrived for each in done),
        "destinations": dg.MetadataValue.table(rows) if rows else "none",
    }
