"""Alembic's entry point. The connection, already inside a locked transaction, comes from `ledger.schema.upgrade`."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
