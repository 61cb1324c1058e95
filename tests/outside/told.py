"""What the gateway tells of requests that have ended, read over its sockets as soon as it is kept."""

import time
from typing import Any

from servers.process import wait_until

from outside.caller import Caller

_KEPT_WITHIN_S = 5.0


def traced(caller: Caller, request_id: str) -> dict[str, Any]:
    """Return what became of a request, as soon as any worker tells."""
    found: list[dict[str, Any]] = []

    def look() -> bool:
        answer = caller.http.get(f"/v1/llm/requests/{request_id}")
        if answer.status_code == 200:
            found.append(answer.json())
        return answer.status_code == 200

    assert wait_until(look, within_s=_KEPT_WITHIN_S)
    return found[0]


def of(caller: Caller, answer: Any) -> dict[str, Any]:
    return traced(caller, answer.headers["x-request-id"])


def listed(caller: Caller, count: int, **params: str) -> list[dict[str, Any]]:
    """Return a key's requests from the admin plane, as soon as there are so many."""
    query = "&".join(f"{name}={value}" for name, value in params.items())
    deadline = time.monotonic() + _KEPT_WITHIN_S
    while True:
        page = caller.gateway.admin("GET", f"/requests?limit=200&key_id={caller.key_id}&{query}")
        if len(page["items"]) >= count or time.monotonic() > deadline:
            items: list[dict[str, Any]] = page["items"]
            return items
        time.sleep(0.05)
