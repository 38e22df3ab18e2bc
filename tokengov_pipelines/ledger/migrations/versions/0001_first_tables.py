"""The first tables of the ledger, and the triggers that keep closed rows as they are.

Revision ID: 0001
"""

import sqlalchemy as sa
from alembic import op

from tokengov_pipelines.ledger.columns import CanonicalJson, ExactDecimal, UtcInstant

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# table: the condition under which a row may no longer be changed or removed
FROZEN = {"events": None, "postings": None, "period_versions": "OLD.status = 'closed'"}


def upgrade() -> None:
    op.create_table(
        "periods",
        sa.Column("month", sa.String(7), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("content_sha256", sa.String(64)),
        sa.Column("closed_at", UtcInstant()),
        sa.Column("preparer", sa.Text()),
        sa.Column("approver", sa.Text()),
        sa.PrimaryKeyConstraint("month", name="pk_periods"),
        sa.CheckConstraint("state in ('open', 'soft_closed', 'closed')", name="ck_periods_state"),
        sa.CheckConstraint("preparer <> approver", name="ck_periods_two_people"),
    )
    op.create_table(
        "period_versions",
        sa.Column("month", sa.String(7), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("content_sha256", sa.String(64), nullable=False),
        sa.Column("pack_path", sa.Text(), nullable=False),
        sa.Column("totals", CanonicalJson(), nullable=False),
        sa.Column("created_at", UtcInstant(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("preparer", sa.Text()),
        sa.Column("approver", sa.Text()),
        sa.PrimaryKeyConstraint("month", "version", name="pk_period_versions"),
        sa.CheckConstraint("status in ('draft', 'closed')", name="ck_period_versions_status"),
        sa.CheckConstraint("(status = 'draft') = (version = 0)", name="ck_period_versions_drafts_are_version_0"),
        sa.CheckConstraint("preparer <> approver", name="ck_period_versions_two_people"),
    )
    op.create_table(
        "postings",
        sa.Column("month", sa.String(7), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("invoice_id", sa.Text(), nullable=False),
        sa.Column("cost_center", sa.Text(), nullable=False),
        sa.Column("charge_type", sa.Text(), nullable=False),
        sa.Column("amount", ExactDecimal(), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.PrimaryKeyConstraint(
            "month", "version", "provider", "invoice_id", "cost_center", "charge_type", name="pk_postings"
        ),
    )
    op.create_table(
        "waivers",
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
    )
    op.create_index("ix_waivers_month", "waivers", ["month"])
    op.create_table(
        "events",
        sa.Column("seq", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("at", UtcInstant(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("month", sa.String(7)),
        sa.Column("payload", CanonicalJson(), nullable=False),
        sa.Column("prev_sha256", sa.String(64), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_events"),
    )
    op.create_index("ix_events_month", "events", ["month"])
    if op.get_bind().dialect.name == "sqlite":
        _freeze_on_sqlite()
    else:
        _freeze_on_postgres()


def _freeze_on_sqlite() -> None:
    for table, condition in FROZEN.items():
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_refuse_{verb.lower()} BEFORE {verb} ON {table} "
                f"FOR EACH ROW {f'WHEN {condition} ' if condition else ''}"
                f"BEGIN SELECT RAISE(ABORT, 'rows of {table} are not rewritten'); END"
            )


def _freeze_on_postgres() -> None:
    op.execute(
        "CREATE FUNCTION tokengov_refuse_rewrite() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN RAISE EXCEPTION 'rows of % are not rewritten', TG_TABLE_NAME; END$$"
    )
    for table, condition in FROZEN.items():
        op.execute(
            f"CREATE TRIGGER {table}_refuse_rewrite BEFORE UPDATE OR DELETE ON {table} "
            f"FOR EACH ROW {f'WHEN ({condition}) ' if condition else ''}EXECUTE FUNCTION tokengov_refuse_rewrite()"
        )


def downgrade() -> None:
    message = "the ledger is evidence: it is not downgraded. Restore the backup taken before the upgrade."
    raise NotImplementedError(message)
