"""The outbox of closed packs: intent, attempt, receipt.

Revision ID: 0005
"""

import sqlalchemy as sa
from alembic import op

from tokengov_pipelines.ledger.columns import CanonicalJson, UtcInstant

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_STATES = "state in ('intent', 'attempt', 'receipt', 'failed', 'uncertain')"


def upgrade() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("month", sa.String(7), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("transport", sa.String(16), nullable=False),
        sa.Column("content_sha256", sa.String(64), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", UtcInstant(), nullable=False),
        sa.Column("attempted_at", UtcInstant()),
        sa.Column("received_at", UtcInstant()),
        sa.Column("receipt", CanonicalJson()),
        sa.Column("last_error", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
        sa.UniqueConstraint("month", "version", "destination", "content_sha256", name="uq_deliveries_month"),
        sa.CheckConstraint(_STATES, name="ck_deliveries_state"),
        sa.CheckConstraint("version > 0", name="ck_deliveries_closed_versions_only"),
        sa.CheckConstraint("state <> 'receipt' or received_at is not null", name="ck_deliveries_receipts_have_a_time"),
    )


def downgrade() -> None:
    message = "the ledger is evidence: it is not downgraded. Restore the backup taken before the upgrade."
    raise NotImplementedError(message)
