"""Corrections with their original month, adjustments, approvals, approved accruals and disputes.

What was posted before belongs to the month it was posted in. The hash of a close's manifest and the content hash that a
draft would close with stand beside a version; of versions that are there already nobody knows them.

Revision ID: 0004
"""

import sqlalchemy as sa
from alembic import op

from tokengov_pipelines.ledger.columns import CanonicalJson, ExactDecimal, UtcInstant

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_POSTING_KEY = ["month", "version", "provider", "invoice_id", "cost_center", "charge_type", "original_month"]
_APPEND_ONLY = ("adjustments", "approvals", "accrual_approvals")
_RAISED = (
    "dispute_id",
    "month",
    "cost_center",
    "lines",
    "amount",
    "currency",
    "reason",
    "claimed_owner",
    "evidence",
    "raised_by",
    "raised_at",
)
_DECIDED = ("decision", "decision_reason", "decided_by", "decided_at", "consent_by", "consent_kind")


def upgrade() -> None:
    op.add_column("period_versions", sa.Column("close_content_sha256", sa.String(64)))
    op.add_column("period_versions", sa.Column("manifest_sha256", sa.String(64)))
    _widen_postings()
    _create_adjustments()
    _create_approvals()
    _create_accrual_approvals()
    _create_disputes()
    _freeze()


def _widen_postings() -> None:
    """The original month joins the key; SQLite copies the table for that and loses its triggers on the way."""
    sqlite = op.get_bind().dialect.name == "sqlite"
    if sqlite:
        for verb in ("update", "delete"):
            op.execute(f"DROP TRIGGER postings_refuse_{verb}")
    else:
        op.execute("ALTER TABLE postings DISABLE TRIGGER postings_refuse_rewrite")
    op.add_column("postings", sa.Column("original_month", sa.String(7)))
    op.execute("UPDATE postings SET original_month = month")
    before = sa.Table(
        "postings",
        sa.MetaData(),
        sa.Column("month", sa.String(7), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("invoice_id", sa.Text(), nullable=False),
        sa.Column("cost_center", sa.Text(), nullable=False),
        sa.Column("charge_type", sa.Text(), nullable=False),
        sa.Column("amount", ExactDecimal(), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("original_month", sa.String(7)),
        sa.PrimaryKeyConstraint(*_POSTING_KEY[:-1], name="pk_postings"),
    )
    with op.batch_alter_table("postings", copy_from=before) as table:
        table.alter_column("original_month", existing_type=sa.String(7), nullable=False)
        table.drop_constraint("pk_postings", type_="primary")
        table.create_primary_key("pk_postings", _POSTING_KEY)
    if sqlite:
        for verb in ("UPDATE", "DELETE"):
            _refuse_on_sqlite("postings", verb)
    else:
        op.execute("ALTER TABLE postings ENABLE TRIGGER postings_refuse_rewrite")


def _create_adjustments() -> None:
    op.create_table(
        "adjustments",
        sa.Column("posting_month", sa.String(7), nullable=False),
        sa.Column("posting_version", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("original_month", sa.String(7), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("invoice_id", sa.Text(), nullable=False),
        sa.Column("cost_center", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("ref", sa.Text(), nullable=False),
        sa.Column("amount", ExactDecimal(), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("approved_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint(
            "posting_month",
            "posting_version",
            "original_month",
            "provider",
            "invoice_id",
            "cost_center",
            "reason",
            "ref",
            name="pk_adjustments",
        ),
        sa.CheckConstraint("original_month < posting_month", name="ck_adjustments_of_an_earlier_month"),
    )
    op.create_index("ix_adjustments_original_month", "adjustments", ["original_month"])


def _create_approvals() -> None:
    op.create_table(
        "approvals",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("month", sa.String(7), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("content_sha256", sa.String(64), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("at", UtcInstant(), nullable=False),
        sa.Column("statement", sa.Text(), nullable=False),
        sa.Column("exceptions", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("public_key", sa.Text()),
        sa.Column("key_fingerprint", sa.Text()),
        sa.Column("signature", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_approvals"),
        sa.CheckConstraint("role in ('preparer', 'reviewer', 'controller')", name="ck_approvals_role"),
        sa.CheckConstraint("kind in ('signed', 'asserted')", name="ck_approvals_kind"),
        sa.CheckConstraint("(kind = 'signed') = (signature is not null)", name="ck_approvals_signed_has_a_signature"),
    )
    op.create_index("ix_approvals_month", "approvals", ["month"])


def _create_accrual_approvals() -> None:
    op.create_table(
        "accrual_approvals",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("month", sa.String(7), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("amount", ExactDecimal(), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("expected_error", ExactDecimal()),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("approved_by", sa.Text(), nullable=False),
        sa.Column("at", UtcInstant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_accrual_approvals"),
        sa.CheckConstraint("requested_by <> approved_by", name="ck_accrual_approvals_two_people"),
    )
    op.create_index("ix_accrual_approvals_month", "accrual_approvals", ["month"])


def _create_disputes() -> None:
    op.create_table(
        "disputes",
        sa.Column("dispute_id", sa.Text(), nullable=False),
        sa.Column("month", sa.String(7), nullable=False),
        sa.Column("cost_center", sa.Text(), nullable=False),
        sa.Column("lines", CanonicalJson(), nullable=False),
        sa.Column("amount", ExactDecimal(), nullable=False),
        sa.Column("currency", sa.String(3), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("claimed_owner", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("raised_by", sa.Text(), nullable=False),
        sa.Column("raised_at", UtcInstant(), nullable=False),
        sa.Column("decision", sa.String(16)),
        sa.Column("decision_reason", sa.Text()),
        sa.Column("decided_by", sa.Text()),
        sa.Column("decided_at", UtcInstant()),
        sa.Column("consent_by", sa.Text()),
        sa.Column("consent_kind", sa.String(16)),
        sa.Column("posting_ref", sa.Text()),
        sa.PrimaryKeyConstraint("dispute_id", name="pk_disputes"),
        sa.CheckConstraint("decision in ('accepted', 'rejected', 'withdrawn')", name="ck_disputes_decision"),
        sa.CheckConstraint("consent_kind in ('receiving_owner', 'vp')", name="ck_disputes_consent_kind"),
        sa.CheckConstraint("posting_ref is null or decision = 'accepted'", name="ck_disputes_only_accepted_ones_post"),
        sa.CheckConstraint("claimed_owner <> cost_center", name="ck_disputes_two_cost_centers"),
    )
    op.create_index("ix_disputes_month", "disputes", ["month"])


def _freeze() -> None:
    """Append-only tables; of a dispute what was raised stays, the decision is added once, and then its posting."""
    if op.get_bind().dialect.name == "sqlite":
        for name in _APPEND_ONLY:
            for verb in ("UPDATE", "DELETE"):
                _refuse_on_sqlite(name, verb)
        _refuse_on_sqlite("disputes", "UPDATE", _rewrites_a_dispute("IS NOT"))
        _refuse_on_sqlite("disputes", "DELETE")
        return
    for name in _APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {name}_refuse_rewrite BEFORE UPDATE OR DELETE ON {name} "
            "FOR EACH ROW EXECUTE FUNCTION tokengov_refuse_rewrite()"
        )
    op.execute(
        "CREATE TRIGGER disputes_refuse_rewrite BEFORE UPDATE ON disputes FOR EACH ROW "
        f"WHEN ({_rewrites_a_dispute('IS DISTINCT FROM')}) EXECUTE FUNCTION tokengov_refuse_rewrite()"
    )
    op.execute(
        "CREATE TRIGGER disputes_refuse_delete BEFORE DELETE ON disputes FOR EACH ROW "
        "EXECUTE FUNCTION tokengov_refuse_rewrite()"
    )


def _refuse_on_sqlite(table: str, verb: str, condition: str = "") -> None:
    op.execute(
        f"CREATE TRIGGER {table}_refuse_{verb.lower()} BEFORE {verb} ON {table} "
        f"FOR EACH ROW {f'WHEN {condition} ' if condition else ''}"
        f"BEGIN SELECT RAISE(ABORT, 'rows of {table} are not rewritten'); END"
    )


def _rewrites_a_dispute(differs: str) -> str:
    raised = " OR ".join(f"OLD.{name} {differs} NEW.{name}" for name in _RAISED)
    decided = " OR ".join(f"OLD.{name} {differs} NEW.{name}" for name in _DECIDED)
    return f"OLD.posting_ref IS NOT NULL OR {raised} OR (OLD.decision IS NOT NULL AND ({decided}))"


def downgrade() -> None:
    message = "the ledger is evidence: it is not downgraded. Restore the backup taken before the upgrade."
    raise NotImplementedError(message)
