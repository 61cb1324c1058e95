"""The rows of organisations and teams."""

from app.db.rows import Rows
from app.domain.tenants import tables
from app.domain.tenants.schemas import Organization, Team

organizations = Rows(tables.organizations, Organization, scope_column="id")
teams = Rows(tables.teams, Team)
