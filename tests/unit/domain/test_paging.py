from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.db.paging import decode_cursor, encode_cursor, page_of
from app.kernel.errors import InvalidRequest


@given(st.uuids())
def test_a_cursor_comes_back_as_it_went(key: UUID) -> None:
    assert decode_cursor("keys", encode_cursor("keys", key), UUID) == key


@given(st.text(max_size=80))
def test_no_text_but_ours_is_a_cursor(text: str) -> None:
    with pytest.raises(InvalidRequest):
        decode_cursor("keys", text, UUID)


@given(key=st.uuids(), position=st.integers(0, 500), char=st.sampled_from("ABCxyz019-_="))
def test_one_changed_character_is_found(key: UUID, position: int, char: str) -> None:
    cursor = encode_cursor("keys", key)
    position %= len(cursor) - 1  # the last character holds bits that base64 ignores
    changed = cursor[:position] + char + cursor[position + 1 :]
    if changed == cursor:
        return
    with pytest.raises(InvalidRequest):
        decode_cursor("keys", changed, UUID)


def test_a_cursor_of_another_list_is_refused() -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode_cursor("teams", encode_cursor("keys", uuid4()), UUID)
    assert (caught.value.code, caught.value.param) == ("invalid_cursor", "cursor")


@pytest.mark.parametrize(("count", "has_more"), [(0, False), (2, False), (3, True)])
def test_a_page_has_a_cursor_only_if_more_follows(count: int, has_more: bool) -> None:
    page = page_of("numbers", list(range(count)), limit=2, key=lambda row: row)
    assert page.items == list(range(count))[:2]
    assert (page.cursor is not None) == has_more
