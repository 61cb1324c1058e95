"""The dashboard: pages for people, over the services that the admin API has."""

from app.api.dashboard.app import dashboard_router

__all__ = ["dashboard_router"]
