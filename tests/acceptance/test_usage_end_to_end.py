"""What administrators read of a request, over a served gateway and in both modes."""

import csv
import io
import time
from decimal import Decimal
from typing import Any

import httpx
from outside.caller import Caller
from servers.gateway import GatewayProcess

SHOWN_WITHIN_S = 5.0


def test_usage_shows_a_request_within_five_seconds(gateway: GatewayProcess, caller: Caller):
    answers = [caller.chat("fake-model", "one two three", stream=stream) for stream in (False, True)]
    ended = time.monotonic()
    usage: dict[str, Any] = {}
    while usage.get("requests") != len(answers) and time.monotonic() - ended < SHOWN_WITHIN_S:
        (usage,) = gateway.admin("GET", f"/usage?key_id={caller.key_id}")["items"]
        time.sleep(0.05)
    assert (usage["requests"], usage["errors"]) == (2, 0)
    assert Decimal(usage["cost"]) == 2 * Decimal(answers[0].headers["x-gateway-cost"]) > 0
    path = f"/usage?key_id={caller.key_id}&group_by=key,model,provider,organization,team&interval=hour"
    item = gateway.admin("GET", path)["items"][-1]
    assert (item["key_id"], item["organization_id"], item["team_id"]) == (
        caller.key_id,
        str(caller.organization_id),
        None,
    )
    assert (item["model"], item["provider"]) == ("fake-model", "fake")
    events = gateway.admin("GET", f"/usage/events?key_id={caller.key_id}")["items"]
    assert [event["request_id"] for event in events] == [answer.headers["x-request-id"] for answer in answers[::-1]]
    with httpx.stream(
        "GET",
        f"{gateway.admin_url}/admin/v1/usage/export.csv?key_id={caller.key_id}",
        headers={"authorization": f"Bearer {gateway.admin_key}"},
    ) as export:
        rows = list(csv.DictReader(io.StringIO(export.read().decode())))
    assert [row["id"] for row in rows] == [event["id"] for event in events]
    assert sum(Decimal(row["cost"]) for row in rows) == Decimal(usage["cost"])


def test_the_command_line_reads_the_same_ledger(gateway: GatewayProcess, caller: Caller):
    assert caller.chat("fake-model", "one two three").status_code == 200
    deadline = time.monotonic() + SHOWN_WITHIN_S
    lines: list[str] = []
    while not lines and time.monotonic() < deadline:
        lines = [line for line in gateway.run("usage", "--by", "key").stdout.splitlines() if caller.key_id in line]
    (line,) = lines
    assert line.split()[1:5] == ["a", "caller", "1", "0"]
