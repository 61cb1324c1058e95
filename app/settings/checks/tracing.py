"""Traces: where they go, with which headers, and whose content is in them."""

from uuid import UUID

from app.settings.checks.findings import Findings
from app.settings.checks.providers import check_headers
from app.settings.store_url import is_web_url
from app.settings.suggestions import shown

_ALL = "*"


def check_tracing(findings: Findings) -> None:
    """Check the receiver and the list of those who have opted in."""
    tracing = findings.settings.tracing
    if tracing is None:
        return
    if tracing.endpoint is not None and (not is_web_url(tracing.endpoint) or "?" in tracing.endpoint):
        findings.error(
            "tracing.endpoint",
            "must be a URL without credentials and query",
            suggestion="such as http://127.0.0.1:4318",
        )
    check_headers(findings, "tracing.headers", tracing.headers)
    for index, text in enumerate(tracing.content):
        if text != _ALL and not _is_id(text):
            findings.error(
                f"tracing.content[{index}]",
                f"{shown(text)} is not the id of an organisation, a team or a key",
                suggestion='write ids as the admin API shows them, or "*" for all',
            )


def _is_id(text: str) -> bool:
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False
