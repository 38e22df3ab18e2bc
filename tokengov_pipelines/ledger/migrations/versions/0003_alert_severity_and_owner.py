"""Alerts with owner, amount and four more severities, told more than once; waivers of the true-up.

Alerts that are open stay open, count as told once, and are told again only when they grow.

Revision ID: 0003
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

from tokengov_pipelines.ledger.columns import ExactDecimal, UtcInstant

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_WAIVER_SUBJECTS = "subject in ('suspense', 'quarantine', 'investigate', 'shrink', 'true_up')"
_SEVERITIES = "severity in ('info', 'warning', 'medium', 'high', 'error', 'page')"
_EVENTS = "event in ('opened', 'raised', 'reminded', 'closed')"


def upgrade() -> None:
    _widen_waivers()
    _widen_alerts()
    _number_deliveries()


# SQLite changes a constraint by copying its table, and cannot read check constraints back from it: each table is
# therefore spelled out as it was, and Postgres alters it in place.


def _widen_waivers() -> None:
    before = sa.Table(
        "waivers",
        sa.MetaData(),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("month", sa.String(7), nullable=False),
        sa.Column("provider", sa.Text()),
        sa.Column("subject", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("approved_by", sa.Text(), nullable=False),
        sa.Column("limit_amount", ExactDecimal()),
        sa.Column("granted_at", UtcInstant(), nullable=False),
        sa.Column("revoked_at", UtcInstant()),
        sa.PrimaryKeyConstraint("id", name="pk_waivers"),
        sa.CheckConstraint("subject in ('suspense', 'quarantine', 'investigate', 'shrink')", name="ck_waivers_subject"),
        sa.CheckConstraint("requested_by <> approved_by", name="ck_waivers_two_people"),
        sa.Index("ix_waivers_month", "month"),
    )
    with op.batch_alter_table("waivers", copy_from=before) as table:
        table.drop_constraint("ck_waivers_subject", type_="check")
        table.create_check_constraint("ck_waivers_subject", _WAIVER_SUBJECTS)


def _alert_columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("owner", sa.Text()),
        sa.Column("amount", ExactDecimal()),
        sa.Column("told", sa.Integer()),
        sa.Column("told_at", UtcInstant()),
        sa.Column("told_severity", sa.String(16)),
        sa.Column("told_amount", ExactDecimal()),
        sa.Column("acknowledged_at", UtcInstant()),
        sa.Column("acknowledged_by", sa.Text()),
    ]


def _widen_alerts() -> None:
    for column in _alert_columns():
        op.add_column("alerts", column)
    op.execute("UPDATE alerts SET owner = '', told = 1, told_at = opened_at, told_severity = severity")
    is_open = sa.text("closed_at IS NULL")
    before = sa.Table(
        "alerts",
        sa.MetaData(),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("severity", sa.String(16), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("opened_at", UtcInstant(), nullable=False),
        sa.Column("last_seen_at", UtcInstant(), nullable=False),
        sa.Column("closed_at", UtcInstant()),
        sa.Column("closed_by", sa.Text()),
        sa.Column("run_id", sa.Text()),
        *_alert_columns(),
        sa.PrimaryKeyConstraint("id", name="pk_alerts"),
        sa.CheckConstraint("severity in ('error', 'warning')", name="ck_alerts_severity"),
        sa.Index("ix_alerts_one_open_per_key", "key", unique=True, sqlite_where=is_open, postgresql_where=is_open),
    )
    with op.batch_alter_table("alerts", copy_from=before) as table:
        for name in ("owner", "told", "told_at", "told_severity"):
            table.alter_column(name, existing_type=before.c[name].type, nullable=False)
        table.drop_constraint("ck_alerts_severity", type_="check")
        table.create_check_constraint("ck_alerts_severity", _SEVERITIES)


def _number_deliveries() -> None:
    op.add_column("alert_deliveries", sa.Column("number", sa.Integer()))
    op.execute("UPDATE alert_deliveries SET number = CASE event WHEN 'opened' THEN 1 ELSE 2 END")
    before = sa.Table(
        "alert_deliveries",
        sa.MetaData(),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("alert_id", sa.Integer(), nullable=False),
        sa.Column("event", sa.String(16), nullable=False),
        sa.Column("transport", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", UtcInstant(), nullable=False),
        sa.Column("delivered_at", UtcInstant()),
        sa.Column("last_error", sa.Text()),
        sa.Column("number", sa.Integer()),
        sa.PrimaryKeyConstraint("id", name="pk_alert_deliveries"),
        sa.UniqueConstraint("alert_id", "event", "transport", name="uq_alert_deliveries_alert_id"),
        sa.CheckConstraint("event in ('opened', 'closed')", name="ck_alert_deliveries_event"),
    )
    with op.batch_alter_table("alert_deliveries", copy_from=before) as table:
        table.alter_column("number", existing_type=sa.Integer(), nullable=False)
        table.drop_constraint("ck_alert_deliveries_event", type_="check")
        table.create_check_constraint("ck_alert_deliveries_event", _EVENTS)
        table.drop_constraint("uq_alert_deliveries_alert_id", type_="unique")
        table.create_unique_constraint("uq_alert_deliveries_alert_id", ["alert_id", "number", "transport"])


def downgrade() -> None:
    message = "the ledger is evidence: it is not downgraded. Restore the backup taken before the upgrade."
    raise NotImplementedError(message)
