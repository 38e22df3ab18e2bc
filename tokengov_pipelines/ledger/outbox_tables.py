"""The outbox of closed packs: one row a pack version and destination.

Belongs here: its columns and constraints, equal to what the migration makes. Does not belong here: reading and writing
them (`outbox`) and the other tables (`tables`).

The row says how a delivery stands now and is rewritten; what happened on the way is in the audit trail (`events`).
"""

from sqlalchemy import CheckConstraint, Column, Integer, String, Table, Text, UniqueConstraint

from tokengov_pipelines.ledger.columns import CanonicalJson, UtcInstant
from tokengov_pipelines.ledger.tables import MONTH, SHA256, metadata

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("month", MONTH, nullable=False),
    Column("version", Integer, nullable=False),
    Column("destination", Text, nullable=False),
    Column("transport", String(16), nullable=False),
    Column("content_sha256", SHA256, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("next_attempt_at", UtcInstant, nullable=False),
    Column("attempted_at", UtcInstant),
    Column("received_at", UtcInstant),
    Column("receipt", CanonicalJson),
    Column("last_error", Text),
    CheckConstraint("state in ('intent', 'attempt', 'receipt', 'failed', 'uncertain')", name="state"),
    CheckConstraint("version > 0", name="closed_versions_only"),
    CheckConstraint("state <> 'receipt' or received_at is not null", name="receipts_have_a_time"),
    UniqueConstraint("month", "version", "destination", "content_sha256"),
)
