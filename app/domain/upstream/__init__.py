"""Providers and models made through the admin API. Law: the file wins over them, and no credential leaves the vault."""

from app.domain.upstream.overlay import StoredUpstream, UpstreamDirectory

__all__ = ["StoredUpstream", "UpstreamDirectory"]
