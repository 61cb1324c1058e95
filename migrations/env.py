"""Runs revisions over the connection that `app.db.schema` hands in; Alembic loads this file by its path."""

from alembic import context

# Imported so that `alembic revision --autogenerate` and the drift test can compare the models with the schema.
from app.db.columns import metadata
from app.domain.access import tables as access
from app.domain.audit import tables as audit
from app.domain.keys import tables as keys
from app.domain.tenants import tables as tenants
from app.domain.usage import tables as usage

MODELS = (access, audit, keys, tenants, usage)

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    compare_type=True,
    compare_server_default=True,
)
context.run_migrations()
