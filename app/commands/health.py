"""`llm-gateway health`: whether what listens here is ready, for containers whose image has nothing else to ask with.

Law: no settings, no database and no proxy: the address that is named is asked, and nothing but its answer counts.
"""

from http.client import HTTPConnection, HTTPException
from urllib.parse import SplitResult, urlsplit

from app.commands.failure import CommandFailed

TIMEOUT_S = 3
_SHOWN_BYTES = 2048


def run(url: str) -> str:
    """Return the answer of a probe; raises `CommandFailed` if there is none, or none of success."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise CommandFailed(f"{url} is not a URL to ask, such as http://127.0.0.1:3020/readyz")
    try:
        status, text = _get(parts)
    except (OSError, HTTPException, ValueError) as error:
        raise CommandFailed(f"{url} does not answer: {error}") from None
    if status != 200:  # noqa: PLR2004 - the status of success
        raise CommandFailed(f"{url} answers {status}: {text}")
    return text


def _get(parts: SplitResult) -> tuple[int, str]:
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", parts.path or "/", headers={"connection": "close"})
        answer = connection.getresponse()
        return answer.status, answer.read(_SHOWN_BYTES).decode("utf-8", "replace").strip()
    finally:
        connection.close()
