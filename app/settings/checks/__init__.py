"""What types cannot say: names that must exist, combinations that cannot work, settings that do nothing.

Each module checks one part of the tree. Law: pure; a check adds to the findings and changes nothing.
"""

from app.settings.checks.findings import Findings
from app.settings.checks.models import check_models
from app.settings.checks.planes import check_planes
from app.settings.checks.policy import check_policy
from app.settings.checks.providers import check_providers
from app.settings.checks.stores import check_stores
from app.settings.checks.tracing import check_tracing

__all__ = ["Findings", "check_all"]


def check_all(findings: Findings) -> None:
    """Run every check; the faults are in `findings.faults`."""
    check_stores(findings)
    check_planes(findings)
    check_providers(findings)
    check_models(findings)
    check_policy(findings)
    check_tracing(findings)
