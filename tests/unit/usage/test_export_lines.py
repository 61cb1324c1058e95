"""Lines of the export, read back by a reader of CSV."""

import csv
import io

from accounting.events import make_event
from hypothesis import given
from hypothesis import strategies as st

from app.api.admin.usage_items import CSV_COLUMNS, csv_header, csv_lines

FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n")


def read(lines: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((csv_header() + lines).decode(), newline="")))


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=1, max_size=3))
def test_texts_come_back_and_none_begins_like_a_formula(texts):
    rows = read(csv_lines([make_event(model=text) for text in texts]))
    assert len(rows) == len(texts)
    for row, text in zip(rows, texts, strict=True):
        assert tuple(row) == CSV_COLUMNS
        assert not row["model"].startswith(FORMULAS)
        assert row["model"] == (f"'{text}" if text.startswith(FORMULAS) else text)


def test_numbers_stay_numbers_and_nothing_is_empty():
    (row,) = read(
        csv_lines([make_event(cost_nusd=None, input_tokens=-7, saved_nusd=-1, status=None, tags={"b": "=1"})])
    )
    assert (row["cost"], row["status"], row["error_code"]) == ("", "", "")
    assert (row["input_tokens"], row["saved_cost"]) == ("-7", "-0.000000001")
    assert (row["tags"], row["details"], row["stream"]) == ('{"b":"=1"}', "", "false")


def test_lines_end_as_rfc_4180_has_it():
    lines = csv_header() + csv_lines([make_event(), make_event()])
    assert lines.count(b"\r\n") == lines.count(b"\n") == 3
    assert lines.endswith(b"\r\n")
