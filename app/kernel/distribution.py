"""What is installed. Law: a source tree that was never installed runs too, and says so."""

from importlib.metadata import PackageNotFoundError, version


def installed_version() -> str:
    """Return the version of the distribution, or `(not installed)`."""
    try:
        return version("llm-api-gateway")
    except PackageNotFoundError:
        return "(not installed)"
