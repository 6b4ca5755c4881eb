"""How spreadsheets interpret the cells of our CSV files."""

import csv
import io
import re
import unicodedata
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.analytics.domain.csv_text import FORMULA_STARTS, Cell, cell_text, csv_bytes

FORMULAS = ["=1+1", '=HYPERLINK("http://x")', "+1", "-1", "@SUM(A1)", "＝1", "＋1", "－1", "＠1", "﹦1"]
SEPARATORS = [";", "\t", "\r", "\n", "\r\n"]
UNSEEN = [
    " ",
    "   ",
    "\u00a0",
    "\u200b",
    "\ufeff",
    "\u3000",
    "\u2028",
    "\x00",
    "\u00ad",
    " \u200b\u00a0 ",
    "\x1f",
    "\x0b",
]


@pytest.mark.parametrize("text", FORMULAS)
def test_text_that_would_be_a_formula_is_quoted(text: str) -> None:
    assert cell_text(text) == "'" + text


@pytest.mark.parametrize("before", UNSEEN)
def test_a_formula_behind_invisible_characters_is_quoted(before: str) -> None:
    for formula in FORMULAS:
        assert cell_text(before + formula) == f"'{before}{formula}"


@pytest.mark.parametrize("separator", SEPARATORS)
def test_a_formula_after_the_separator_of_another_locale_is_quoted(separator: str) -> None:
    for formula in FORMULAS:
        assert cell_text(f"a{separator}{formula}") == f"a{separator}'{formula}"
        for before in UNSEEN:
            assert cell_text(f"a{separator}{before}{formula}").endswith(f"{separator}'{before}{formula}")
        assert cell_text(f"{separator}{formula}").endswith(f"{separator}'{formula}")


@pytest.mark.parametrize("begin", ["\t", "\r", "\n"])
def test_text_that_begins_with_a_line_break_or_tab_is_quoted(begin: str) -> None:
    assert cell_text(begin + "a") == f"'{begin}a"


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (Decimal("-5.50"), "-5.5"),
        (Decimal("1E+3"), "1000"),
        (-3, "-3"),
        (None, ""),
        ("a=b", "a=b"),
        ("a; b - c", "a; b - c"),
        ("", ""),
        (" \u200b", " \u200b"),
        (date(2026, 1, 31), "2026-01-31"),
        (datetime(2026, 1, 31, 9, 30, tzinfo=UTC), "2026-01-31T09:30:00.000Z"),
        (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
    ],
)
def test_numbers_and_times_are_not_quoted(cell: Cell, text: str) -> None:
    assert cell_text(cell) == text


texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))


formula_like = st.lists(st.sampled_from([*FORMULAS, *SEPARATORS, *UNSEEN, "a", '"', "'", ","]), max_size=8).map(
    "".join
)


@given(st.lists(texts | formula_like, min_size=1, max_size=5))
def test_any_text_is_one_cell_and_not_a_formula(given_texts: list[str]) -> None:
    (cells,) = csv.reader(io.StringIO(csv_bytes([["first", *given_texts]]).decode(), newline=""))
    for text, cell in zip(given_texts, cells[1:], strict=True):
        assert cell.replace("'", "") == text.replace("'", "")
        assert not cell.startswith(FORMULA_STARTS)
        for part in re.split(r"[;\t\r\n]", cell):
            shown = "".join(each for each in part if unicodedata.category(each)[0] not in "CZ")
            assert not shown.startswith(FORMULA_STARTS), (text, cell)


@pytest.mark.parametrize("separator", [";", "\t"])
@pytest.mark.parametrize("text", ['a;"=1+1', 'a\t"=1+1', 'a;""=1', '"=1', 'a; "=1', ';"@x";"+2'])
def test_no_cell_is_a_formula_when_another_separator_is_used(text: str, separator: str) -> None:
    lines = csv_bytes([["id", text, "x"]]).decode().splitlines(keepends=True)
    for cells in csv.reader(lines, delimiter=separator):
        assert not [cell for cell in cells if cell.lstrip(' "').startswith(tuple("=+-@"))]
