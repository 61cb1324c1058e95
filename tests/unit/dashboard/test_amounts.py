"""Numbers as people read them, and ranges without gaps."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from app.api.dashboard.pages import Pages, Templates, origin_of, say_percent, say_usd
from app.api.dashboard.ranges import RANGES, range_of
from app.kernel.errors import InvalidRequest

NOW = datetime(2026, 11, 26, 5, 34, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("amount", "said"),
    [
        ("0.000000000", "$0.00"),
        ("0.000150000", "$0.00015"),
        ("1234567.500000000", "$1,234,567.50"),
        ("-0.250000000", "-$0.25"),
        ("25", "$25.00"),
        (None, "no price"),
    ],
)
def test_money_is_exact_and_short(amount, said):
    assert say_usd(amount) == said


@pytest.mark.parametrize(("part", "whole", "said"), [(1, 3, "33.3 %"), (0, 0, "none"), ("0.5", "1", "50.0 %")])
def test_parts_of_a_whole(part, whole, said):
    assert say_percent(part, whole) == said


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://h:3020/base", "http://h:3020"),
        ("https://user:word@h/x", "https://h"),
        ("http://[::1]:1/", "http://[::1]:1"),
    ],
)
def test_an_origin_has_no_path_and_no_secret(url, origin):
    assert origin_of(url) == origin


@pytest.mark.parametrize(("name", "count"), [("24h", 24), ("7d", 168), ("30d", 30)])
@pytest.mark.parametrize("now", [NOW, datetime(2026, 11, 26, tzinfo=UTC), datetime(2026, 11, 26, 23, 59, tzinfo=UTC)])
def test_a_range_has_every_interval_and_ends_with_the_one_that_has_begun(name, count, now):
    chosen = range_of(name, now=now)
    items = chosen.filled([])
    starts = [item["start"] for item in items]
    assert len(starts) == count
    assert {later - earlier for earlier, later in itertools.pairwise(starts)} == {chosen.step}
    assert starts[-1] <= now < starts[-1] + chosen.step
    assert chosen.until - chosen.since == count * chosen.step


def test_what_happened_stays_in_its_interval():
    chosen = range_of("24h", now=NOW)
    at = chosen.since + timedelta(hours=3)
    item = {"start": at, "requests": 7, "errors": 1, "cache_hits": 2, "cost": "0.5", "saved_cost": "0.1"}
    filled = chosen.filled([item])
    assert filled[3] == item
    assert sum(each["requests"] for each in filled) == 7


def test_an_unknown_range_is_refused():
    assert "1y" not in RANGES
    with pytest.raises(InvalidRequest):
        range_of("1y", now=NOW)


def test_a_name_is_never_a_template_nor_a_tag():
    pages = Pages(Templates(), visitor=None, csrf_token=None, is_recent=True, sign_in_path="/sign-in")
    answer = pages.page("sign_in.html", start=None, next='"><script>{{ 7 * 7 }}</script>')
    assert b"<script>{{" not in answer.content
    assert b"&lt;script&gt;{{ 7 * 7 }}&lt;/script&gt;" in answer.content
