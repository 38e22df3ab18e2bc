"""The ledger's tables: what was closed, who agreed to it, every event on the way, and the alerts of operation.

Belongs here: tables, columns and constraints, equal to what the migrations make (a test compares them). Does not
belong here: reading and writing (`book`, `events`, `ledger`) or a rule of accounting (`domain`).

`events`, `postings`, `adjustments`, `approvals` and `accrual_approvals` are append-only, a closed row of
`period_versions` never changes, and of a dispute only the decision and then its posting are added: triggers made by the
migrations refuse everything else even to someone with a database shell. The `alert*` tables are no accounting evidence:
they are rewritten freely and stand outside the hash chain.
"""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from tokengov_pipelines.ledger.columns import CanonicalJson, ExactDecimal, UtcInstant

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)

MONTH = String(7)
SHA256 = String(64)

periods = Table(
    "periods",
    metadata,
    Column("month", MONTH, primary_key=True),
    Column("state", String(16), nullable=False),
    Column("version", Integer, nullable=False),
    Column("content_sha256", SHA256),
    Column("closed_at", UtcInstant),
    Column("preparer", Text),
    Column("approver", Text),
    CheckConstraint("state in ('open', 'soft_closed', 'closed')", name="state"),
    CheckConstraint("preparer <> approver", name="two_people"),
)

period_versions = Table(
    "period_versions",
    metadata,
    Column("month", MONTH, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("status", String(16), nullable=False),
    Column("content_sha256", SHA256, nullable=False),
    Column("pack_path", Text, nullable=False),
    Column("totals", CanonicalJson, nullable=False),
    Column("created_at", UtcInstant, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("preparer", Text),
    Column("approver", Text),
    Column("close_content_sha256", SHA256),
    Column("manifest_sha256", SHA256),
    CheckConstraint("status in ('draft', 'closed')", name="status"),
    CheckConstraint("(status = 'draft') = (version = 0)", name="drafts_are_version_0"),
    CheckConstraint("preparer <> approver", name="two_people"),
)

postings = Table(
    "postings",
    metadata,
    Column("month", MONTH, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("provider", Text, primary_key=True),
    Column("invoice_id", Text, primary_key=True),
    Column("cost_center", Text, primary_key=True),
    Column("charge_type", Text, primary_key=True),
    Column("original_month", MONTH, primary_key=True),
    Column("amount", ExactDecimal, nullable=False),
    Column("currency", String(3), nullable=False),
)

adjustments = Table(
    "adjustments",
    metadata,
    Column("posting_month", MONTH, primary_key=True),
    Column("posting_version", Integer, primary_key=True, autoincrement=False),
    Column("original_month", MONTH, primary_key=True),
    Column("provider", Text, primary_key=True),
    Column("invoice_id", Text, primary_key=True),
    Column("cost_center", Text, primary_key=True),
    Column("reason", Text, primary_key=True),
    Column("ref", Text, primary_key=True),
    Column("amount", ExactDecimal, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("approved_by", Text, nullable=False),
    CheckConstraint("original_month < posting_month", name="of_an_earlier_month"),
    Index(None, "original_month"),
)

approvals = Table(
    "approvals",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("month", MONTH, nullable=False),
    Column("version", Integer, nullable=False),
    Column("content_sha256", SHA256, nullable=False),
    Column("role", String(16), nullable=False),
    Column("name", Text, nullable=False),
    Column("email", Text, nullable=False),
    Column("at", UtcInstant, nullable=False),
    Column("statement", Text, nullable=False),
    Column("exceptions", Text, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("public_key", Text),
    Column("key_fingerprint", Text),
    Column("signature", Text),
    CheckConstraint("role in ('preparer', 'reviewer', 'controller')", name="role"),
    CheckConstraint("kind in ('signed', 'asserted')", name="kind"),
    CheckConstraint("(kind = 'signed') = (signature is not null)", name="signed_has_a_signature"),
    Index(None, "month"),
)

accrual_approvals = Table(
    "accrual_approvals",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("month", MONTH, nullable=False),
    Column("provider", Text, nullable=False),
    Column("amount", ExactDecimal, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("method", Text, nullable=False),
    Column("expected_error", ExactDecimal),
    Column("requested_by", Text, nullable=False),
    Column("approved_by", Text, nullable=False),
    Column("at", UtcInstant, nullable=False),
    CheckConstraint("requested_by <> approved_by", name="two_people"),
    Index(None, "month"),
)

disputes = Table(
    "disputes",
    metadata,
    Column("dispute_id", Text, primary_key=True),
    Column("month", MONTH, nullable=False),
    Column("cost_center", Text, nullable=False),
    Column("lines", CanonicalJson, nullable=False),
    Column("amount", ExactDecimal, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("reason", Text, nullable=False),
    Column("claimed_owner", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("raised_by", Text, nullable=False),
    Column("raised_at", UtcInstant, nullable=False),
    Column("decision", String(16)),
    Column("decision_reason", Text),
    Column("decided_by", Text),
    Column("decided_at", UtcInstant),
    Column("consent_by", Text),
    Column("consent_kind", String(16)),
    Column("posting_ref", Text),
    CheckConstraint("decision in ('accepted', 'rejected', 'withdrawn')", name="decision"),
    CheckConstraint("consent_kind in ('receiving_owner', 'vp')", name="consent_kind"),
    CheckConstraint("posting_ref is null or decision = 'accepted'", name="only_accepted_ones_post"),
    CheckConstraint("claimed_owner <> cost_center", name="two_cost_centers"),
    Index(None, "month"),
)

waivers = Table(
    "waivers",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("month", MONTH, nullable=False),
    Column("provider", Text),
    Column("subject", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("approved_by", Text, nullable=False),
    Column("limit_amount", ExactDecimal),
    Column("granted_at", UtcInstant, nullable=False),
    Column("revoked_at", UtcInstant),
    CheckConstraint("subject in ('suspense', 'quarantine', 'investigate', 'shrink', 'true_up')", name="subject"),
    CheckConstraint("requested_by <> approved_by", name="two_people"),
    Index(None, "month"),
)

events = Table(
    "events",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", UtcInstant, nullable=False),
    Column("actor", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("month", MONTH),
    Column("payload", CanonicalJson, nullable=False),
    Column("prev_sha256", SHA256, nullable=False),
    Column("sha256", SHA256, nullable=False),
    Index(None, "month"),
)

alerts = Table(
    "alerts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("key", Text, nullable=False),
    Column("severity", String(16), nullable=False),
    Column("title", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("opened_at", UtcInstant, nullable=False),
    Column("last_seen_at", UtcInstant, nullable=False),
    Column("closed_at", UtcInstant),
    Column("closed_by", Text),
    Column("run_id", Text),
    Column("owner", Text, nullable=False),
    Column("amount", ExactDecimal),
    Column("told", Integer, nullable=False),
    Column("told_at", UtcInstant, nullable=False),
    Column("told_severity", String(16), nullable=False),
    Column("told_amount", ExactDecimal),
    Column("acknowledged_at", UtcInstant),
    Column("acknowledged_by", Text),
    CheckConstraint("severity in ('info', 'warning', 'medium', 'high', 'error', 'page')", name="severity"),
    Index(
        "ix_alerts_one_open_per_key",
        "key",
        unique=True,
        sqlite_where=text("closed_at IS NULL"),
        postgresql_where=text("closed_at IS NULL"),
    ),
)

alert_observations = Table(
    "alert_observations",
    metadata,
    Column("key", Text, primary_key=True),
    Column("part", Text, primary_key=True),
    Column("bad", Boolean, nullable=False),
    Column("observed_at", UtcInstant, nullable=False),
)

alert_deliveries = Table(
    "alert_deliveries",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("alert_id", Integer, nullable=False),
    Column("number", Integer, nullable=False),
    Column("event", String(16), nullable=False),
    Column("transport", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_at", UtcInstant, nullable=False),
    Column("delivered_at", UtcInstant),
    Column("last_error", Text),
    CheckConstraint("event in ('opened', 'raised', 'reminded', 'closed')", name="event"),
    UniqueConstraint("alert_id", "number", "transport"),
)
