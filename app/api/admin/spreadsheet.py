"""Exports as CSV. Law: lines of RFC 4180 in UTF-8, and no text that a spreadsheet would take for a formula."""

import csv
import io
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

CSV = "text/csv"
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def csv_bytes(rows: Sequence[Sequence[str]]) -> bytes:
    """Return rows of cells as lines."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode()


def csv_cell(value: Any) -> str:
    """Return the text of a cell: numbers as they are, JSON for what has members."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, dict):
        return msgspec.json.encode(value, order="sorted").decode() if value else ""
    text = value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
