"""What the cache does for a request, by its setting and what its client says of it: the whole table."""

import itertools
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cache.wishes import Asked, CacheControl, CachePolicy, Wish, nearest, read_control, wish_of
from app.settings.policy import CacheMode

MODES: tuple[CacheMode, ...] = get_args(CacheMode)
ASKED: tuple[Asked | None, ...] = (None, *get_args(Asked))
NO_STORE, NO_CACHE = CacheControl(no_store=True), CacheControl(no_cache=True)
_NOTHING = None
TABLE: dict[tuple[CacheMode, Asked | None], str | None] = {
    # The setting, and what is asked for; nothing, or what becomes of the semantic layer.
    ("off", None): _NOTHING,
    ("off", "off"): _NOTHING,
    ("off", "exact"): "off",
    ("off", "semantic"): "off",
    ("off", "refresh"): "off",
    ("exact", None): "off",
    ("exact", "off"): _NOTHING,
    ("exact", "exact"): "off",
    ("exact", "semantic"): "off",
    ("exact", "refresh"): "off",
    ("shadow", None): "shadow",
    ("shadow", "off"): _NOTHING,
    ("shadow", "exact"): "off",
    ("shadow", "semantic"): "shadow",
    ("shadow", "refresh"): "shadow",
    ("semantic", None): "on",
    ("semantic", "off"): _NOTHING,
    ("semantic", "exact"): "off",
    ("semantic", "semantic"): "on",
    ("semantic", "refresh"): "on",
    **{("forbidden", asked): _NOTHING for asked in ASKED},
}


def test_the_table_is_whole() -> None:
    assert set(TABLE) == set(itertools.product(MODES, ASKED))


@pytest.mark.parametrize(("mode", "asked"), TABLE)
@pytest.mark.parametrize("control", [None, NO_STORE, NO_CACHE])
def test_nobody_gets_more_than_the_setting_allows(
    mode: CacheMode, asked: Asked | None, control: CacheControl | None
) -> None:
    wish = wish_of(CachePolicy(mode=mode), asked=asked, control=control)
    semantic = TABLE[mode, asked]
    assert (wish and wish.semantic) == semantic
    if wish is not None:
        assert wish.reads is (asked != "refresh" and control is None)
        assert wish.writes is (control is not NO_STORE)
        assert wish.is_chosen is (asked is not None)


@pytest.mark.parametrize(("set_to", "asked", "lives"), [(600, None, 600), (600, 60, 60), (600, 6_000, 600), (1, 60, 1)])
def test_a_caller_may_only_shorten_how_long_an_answer_is_kept(set_to: int, asked: int | None, lives: int) -> None:
    wish = wished(CachePolicy(mode="exact", ttl_s=set_to), ttl_s=asked)
    assert (wish.ttl_s, wish.max_age_s) == (lives, set_to)


@pytest.mark.parametrize(("said", "most"), [(None, 600), (60, 60), (6_000, 600), (0, 0)])
def test_no_answer_is_older_than_the_setting_or_the_client_says(said: int | None, most: int) -> None:
    assert wished(CachePolicy(mode="exact", ttl_s=600), control=CacheControl(max_age_s=said)).max_age_s == most


@pytest.mark.parametrize(("set_to", "asked"), [(None, None), (0.9, None), (None, 0.8), (0.9, 0.8)])
def test_what_a_caller_asks_for_is_beside_the_setting(set_to: float | None, asked: float | None) -> None:
    wish = wished(CachePolicy(mode="semantic", threshold=set_to), least_similarity=asked)
    assert (wish.threshold, wish.least_similarity) == (set_to, asked)


def wished(policy: CachePolicy, **more: Any) -> Wish:
    wish = wish_of(policy, asked=None, **more)
    assert wish is not None
    return wish


def test_the_scope_is_the_settings() -> None:
    assert wished(CachePolicy(mode="exact", scope="team")).scope == "team"


@given(st.lists(st.none() | st.builds(CachePolicy, mode=st.sampled_from(MODES), ttl_s=st.integers(1, 9)), max_size=4))
def test_the_nearest_setting_binds_but_forbidden_wins(policies: list[CachePolicy | None]) -> None:
    found = nearest(policies)
    there = [policy for policy in policies if policy is not None]
    if any(policy.mode == "forbidden" for policy in there):
        assert found.mode == "forbidden"
    else:
        assert found == (there[0] if there else CachePolicy())


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("", CacheControl()),
        ("no-store", NO_STORE),
        ("No-Store , NO-CACHE", CacheControl(no_store=True, no_cache=True)),
        ("no-cache=x", NO_CACHE),
        ("max-age=0", CacheControl(no_cache=True, max_age_s=0)),
        ("max-age=60", CacheControl(max_age_s=60)),
        ('max-age="60"', CacheControl(max_age_s=60)),
        ("max-age = 60", CacheControl(max_age_s=60)),
        ("only-if-cached, max-stale", CacheControl(only_if_cached=True)),
        ("no-storeroom, xno-cache", CacheControl()),
    ],
)
def test_what_cache_control_says(header: str, said: CacheControl) -> None:
    assert read_control(header) == said


@given(st.text(st.characters(max_codepoint=255), max_size=30) | st.from_regex(r"max-age=.{0,12}", fullmatch=True))
def test_no_header_is_too_odd(header: str) -> None:
    age = read_control(header).max_age_s
    assert age is None or 0 <= age < 10**9


@pytest.mark.parametrize("age", ["-1", "\xb2", "1e3", "9" * 10, "", "0x1", "1.5"])
def test_an_odd_age_is_none(age: str) -> None:
    assert read_control(f"max-age={age}").max_age_s is None
