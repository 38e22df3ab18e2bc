"""Alerts, what was last observed of each condition, and the outbox of their messages.

Revision ID: 0002
"""

import sqlalchemy as sa
from alembic import op

from tokengov_pipelines.ledger.columns import UtcInstant

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "alerts",
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
        sa.PrimaryKeyConstraint("id", name="pk_alerts"),
        sa.CheckConstraint("severity in ('error', 'warning')", name="ck_alerts_severity"),
    )
    is_open = sa.text("closed_at IS NULL")
    op.create_index(
        "ix_alerts_one_open_per_key", "alerts", ["key"], unique=True, sqlite_where=is_open, postgresql_where=is_open
    )
    op.create_table(
        "alert_observations",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("part", sa.Text(), nullable=False),
        sa.Column("bad", sa.Boolean(), nullable=False),
        sa.Column("observed_at", UtcInstant(), nullable=False),
        sa.PrimaryKeyConstraint("key", "part", name="pk_alert_observations"),
    )
    op.create_table(
        "alert_deliveries",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("alert_id", sa.Integer(), nullable=False),
        sa.Column("event", sa.String(16), nullable=False),
        sa.Column("transport", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", UtcInstant(), nullable=False),
        sa.Column("delivered_at", UtcInstant()),
        sa.Column("last_error", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_alert_deliveries"),
        sa.UniqueConstraint("alert_id", "event", "transport", name="uq_alert_deliveries_alert_id"),
        sa.CheckConstraint("event in ('opened', 'closed')", name="ck_alert_deliveries_event"),
    )


def downgrade() -> None:
    message = "the ledger is evidence: it is not downgraded. Restore the backup taken before the upgrade."
    raise NotImplementedError(message)
