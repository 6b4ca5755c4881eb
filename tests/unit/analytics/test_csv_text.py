"""What a spreadsheet makes of the cells."""

import csv
import io
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.analytics.domain.csv_text import FORMULA_BEGINS, Cell, cell_text, csv_bytes


@pytest.mark.parametrize(
    "text", ["=1+1", '=HYPERLINK("http://x")', "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1"]
)
def test_text_that_would_be_a_formula_is_quoted(text: str) -> None:
    assert cell_text(text) == "'" + text


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (Decimal("-5.50"), "-5.5"),
        (Decimal("1E+3"), "1000"),
        (-3, "-3"),
        (None, ""),
        ("a=b", "a=b"),
        (date(2026, 1, 31), "2026-01-31"),
        (datetime(2026, 1, 31, 9, 30, tzinfo=UTC), "2026-01-31T09:30:00.000Z"),
        (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
    ],
)
def test_numbers_and_times_stay_what_they_are(cell: Cell, text: str) -> None:
    assert cell_text(cell) == text


texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))


@given(st.lists(texts, min_size=1, max_size=5))
def test_whatever_a_text_holds_it_is_one_cell_and_no_formula(given_texts: list[str]) -> None:
    (cells,) = csv.reader(io.StringIO(csv_bytes([["first", *given_texts]]).decode(), newline=""))
    for text, cell in zip(given_texts, cells[1:], strict=True):
        assert cell == (f"'{text}" if text.startswith(FORMULA_BEGINS) else text)
        assert not cell.startswith(FORMULA_BEGINS)
