"""The database and the shared state: which exist, and which go together."""

from app.settings.checks.findings import Findings
from app.settings.store_url import StoreUrl
from app.settings.suggestions import did_you_mean, one_of, shown

DATABASES = ("sqlite+aiosqlite", "postgresql+asyncpg")
STATES = ("memory", "redis", "rediss", "redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel")
REDIS = tuple(scheme for scheme in STATES if scheme != "memory")

_DATABASE_ALIASES = {
    "sqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+psycopg": "postgresql+asyncpg",
    "postgresql+psycopg2": "postgresql+asyncpg",
}
_STATE_ALIASES = {"valkey": "redis", "valkeys": "rediss", "redis+ssl": "rediss", "mem": "memory", "": "memory"}
_LAST_REDIS_DATABASE = 65_535


def check_stores(findings: Findings) -> None:
    """Check the database, the state, the cache's store, and how many workers they bear."""
    settings = findings.settings
    _check_scheme(findings, "database", settings.database, schemes=DATABASES, aliases=_DATABASE_ALIASES)
    _check_scheme(findings, "state", settings.state, schemes=STATES, aliases=_STATE_ALIASES)
    _check_redis(findings, "state", settings.state)
    if settings.cache.url is not None:
        _check_scheme(findings, "cache.url", settings.cache.url, schemes=REDIS, aliases=_STATE_ALIASES)
        _check_redis(findings, "cache.url", settings.cache.url)
    for path, url in (("database", settings.database), ("state", settings.state), ("cache.url", settings.cache.url)):
        _check_password(findings, path, url)
    _check_workers(findings)


def _check_scheme(
    findings: Findings, path: str, url: StoreUrl, *, schemes: tuple[str, ...], aliases: dict[str, str]
) -> None:
    if url.scheme in schemes:
        if not url.is_readable:
            findings.error(path, "is not a URL that can be read")
        return
    alias = aliases.get(url.scheme)
    known = did_you_mean(url.scheme, schemes, otherwise=f"it begins with {one_of(schemes)}")
    suggestion = f"write `{alias}://`" if alias else known
    findings.error(path, f"has the scheme {shown(url.scheme)}, which no store answers to", suggestion=suggestion)


def _check_redis(findings: Findings, path: str, url: StoreUrl) -> None:
    if url.scheme not in REDIS or not url.is_readable:
        return
    if not url.hosts:
        findings.error(path, "names no host", suggestion="such as `redis://127.0.0.1:6379/0`")
    parts = url.path_parts
    number = parts[-1] if parts else ""
    if url.scheme.endswith("+sentinel"):
        if not parts:
            findings.error(path, "names no service", suggestion="such as `redis+sentinel://h1,h2/main/0`")
        number = parts[1] if len(parts) > 1 else ""
    if number and not (number.isascii() and number.isdigit() and int(number[:6]) <= _LAST_REDIS_DATABASE):
        findings.error(path, "ends in something that is not the number of a database", suggestion="such as `/0`")
    elif number.strip("0") and url.scheme.endswith("+cluster"):
        findings.error(
            path, "names a database, and a cluster has one alone", suggestion="leave out what follows the hosts"
        )


def _check_password(findings: Findings, path: str, url: StoreUrl | None) -> None:
    if url is None or not url.has_password or findings.is_text(path, "env:") or findings.is_text(path, "file:"):
        return
    if findings.is_from_file(path):
        findings.warn(path, "holds a password", suggestion='keep the URL out of the file: "env:NAME" or "file:/path"')


def _check_workers(findings: Findings) -> None:
    settings = findings.settings
    workers = settings.gateway.workers
    if workers == 1:
        return
    if not settings.has_shared_state:
        findings.error(
            "gateway.workers",
            f"{workers} workers cannot share state that is in one process (`state: memory://`)",
            suggestion="set `state: redis://…`, or `workers: 1`",
        )
    if settings.has_sqlite:
        findings.error(
            "gateway.workers",
            f"{workers} workers need a database that takes several writers, which SQLite is not",
            suggestion="set `database: postgresql+asyncpg://…`, or `workers: 1`",
        )
