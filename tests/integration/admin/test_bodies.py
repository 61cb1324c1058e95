"""What was said in a request, as administrators read it: those who may write, within their scope, and as inert text."""

import html
import re
from typing import Any

import msgspec
import pytest
from accounting.records import BOUNDS, kept
from litestar import Litestar

from app.cache.answers import Sealer
from app.gateway.bodies import BodySealer, Spoken
from app.pipeline.records import Whose
from app.pipeline.transcript import MOST_BYTES, Transcript
from app.settings.model import Settings
from app.settings.policy import PrivacySettings
from app.stores.errors import StoreUnavailable
from app.stores.traces import KeptTrace

PAGES = "https://admin/requests"
HOSTILE = "</code></pre><script>alert(1)</script><img src=x onerror=alert(2)>\"'{{7*7}}{% raw %}&amp;"
pytestmark = pytest.mark.parametrize("url", ["sqlite"], indirect=True)


async def nothing(*_args: Any) -> Any:
    """Be no server."""


@pytest.fixture
def plane(plane: Any, pages_app: Litestar) -> Any:
    plane.app = pages_app
    plane.settings = Settings(privacy=PrivacySettings(store_bodies=True))
    return plane


@pytest.fixture
def ours(world: Any) -> Whose:
    return Whose(*(world.ours[kind]["id"] for kind in ("organizations", "teams", "keys")))


@pytest.fixture
def theirs(world: Any) -> Whose:
    return Whose(world.theirs["organizations"]["id"], None, world.theirs["keys"]["id"])


async def keep(
    plane: Any,
    whose: Whose,
    request: bytes,
    answer: bytes,
    *,
    bound_to: str | None = None,
    sealer: BodySealer | None = None,
) -> KeptTrace:
    """Keep a request with what was said in it, as a worker would."""
    trace = kept(whose, at_ms=plane.clock.now_ns() // 1_000_000)
    transcript = Transcript(nothing, nothing)
    transcript.request.add(request)
    transcript.answer.add(answer)
    spoken = Spoken(trace.id, bound_to or whose.organization_id, transcript)
    bodies = await (sealer or plane.sealer).seal([spoken])
    await plane.traces.put([trace], msgspec.structs.replace(BOUNDS, most_body_bytes=1 << 22), bodies=bodies)
    return trace


@pytest.mark.parametrize("scope", ["ours", "installation"])
@pytest.mark.parametrize("role", ["admin", "owner"])
async def test_who_may_write_reads_what_was_said(plane, world, ours, scope, role):
    one = await keep(plane, ours, b'{"a": 1}', b"x" * (MOST_BYTES + 5))
    found = await world.callers[f"{scope} {role}"].get(f"/requests/{one.id}")
    assert found.status_code == 200
    assert found.headers["cache-control"] == "no-store"
    assert found.json()["bodies"] == {
        "request": {"text": '{"a": 1}', "encoding": "utf-8", "size_bytes": 8, "truncated": False},
        "answer": {
            "text": "x" * MOST_BYTES, "encoding": "utf-8", "size_bytes": MOST_BYTES + 5, "truncated": True
        },
    }  # fmt: skip
    page = await world.callers[f"{scope} {role} session"].get(f"{PAGES}/{one.id}")
    assert "What was said" in page.text
    assert html.escape('{"a": 1}').replace("&quot;", "&#34;") in page.text


@pytest.mark.parametrize("scope", ["ours", "installation"])
async def test_a_viewer_is_told_of_the_request_and_not_what_was_said(plane, world, ours, scope):
    one = await keep(plane, ours, b"canary", b"canary")
    found = await world.callers[f"{scope} viewer"].get(f"/requests/{one.id}")
    assert (found.status_code, found.json()["bodies"]) == (200, None)
    page = await world.callers[f"{scope} viewer session"].get(f"{PAGES}/{one.id}")
    assert page.status_code == 200
    assert "Where its time went" in page.text
    assert "canary" not in found.text + page.text
    assert "What was said" not in page.text


async def test_of_another_organization_nothing_is_there(plane, world, theirs):
    one = await keep(plane, theirs, b"canary", b"canary")
    for caller in ("ours owner", "ours admin"):
        found = await world.callers[caller].get(f"/requests/{one.id}")
        page = await world.callers[f"{caller} session"].get(f"{PAGES}/{one.id}")
        assert (found.status_code, page.status_code) == (404, 404)
        assert "canary" not in found.text + page.text
    assert (await world.root.get(f"/requests/{one.id}")).json()["bodies"]["request"]["text"] == "canary"


async def test_no_list_has_what_was_said(plane, world, ours):
    one = await keep(plane, ours, b"canary", b"canary")
    listed = await world.callers["ours owner"].get("/requests")
    page = await world.callers["ours owner session"].get(PAGES)
    assert one.id in listed.text
    assert one.id in page.text
    assert "canary" not in listed.text + page.text
    assert all("bodies" not in each for each in listed.json()["items"])


async def test_what_is_sealed_for_another_or_under_another_secret_is_told_to_nobody(plane, world, ours, theirs):
    moved = await keep(plane, ours, b"canary", b"canary", bound_to=theirs.organization_id)
    older = await keep(plane, ours, b"canary", b"canary", sealer=BodySealer(Sealer(bytes(32))))
    for each in (moved, older):
        found = await world.callers["ours owner"].get(f"/requests/{each.id}")
        assert (found.status_code, found.json()["bodies"]) == (200, None)


async def test_what_is_still_there_is_told_only_while_the_setting_wants_it(plane, world, ours):
    one = await keep(plane, ours, b"canary", b"canary")
    plane.settings = Settings()
    found = await world.callers["ours owner"].get(f"/requests/{one.id}")
    assert (found.status_code, found.json()["bodies"]) == (200, None)


async def test_whatever_was_said_is_inert_on_the_page(plane, world, ours):
    one = await keep(plane, ours, HOSTILE.encode(), HOSTILE.encode() + b"\x00\x1b[2J")
    page = (await world.callers["ours owner session"].get(f"{PAGES}/{one.id}")).text
    assert "alert(1)" in page
    assert "<script>" not in page
    assert "<img" not in page
    said = re.findall(
        r"<details><summary>.*?</summary>\n<pre [^>]*><code>(.*?)</code></pre></details>", page, re.DOTALL
    )
    assert [html.unescape(each) for each in said] == [HOSTILE, HOSTILE + "\x00\x1b[2J"]


async def test_what_is_no_text_is_shown_in_base64(plane, world, ours):
    one = await keep(plane, ours, b"{}", b"\xff\xd8\xff")
    page = (await world.callers["ours owner session"].get(f"{PAGES}/{one.id}")).text
    assert "no text: in base64" in page
    assert "<code>/9j/</code>" in page


async def test_a_store_that_does_not_answer_is_a_503(plane, world, ours, monkeypatch):
    one = await keep(plane, ours, b"{}", b"{}")

    async def fail(*_args):
        raise StoreUnavailable("it is down")

    monkeypatch.setattr(plane.traces, "bodies", fail)
    answer = await world.callers["ours owner"].get(f"/requests/{one.id}")
    assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
