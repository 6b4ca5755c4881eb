"""CSV (RFC 4180) that is safe to open in a spreadsheet: no text becomes a formula, numbers stay numbers."""

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from shared.contracts.types import decimal_text, instant_text

BREAKS = ("\t", "\r", "\n")
# Spreadsheets take a cell that begins with one of these for a formula, also in East Asian wide and small forms.
FORMULA_STARTS = (*"=+-@＝＋－＠﹦﹢﹣﹫", *BREAKS)
# Some locales' spreadsheets split a line into cells at `;` and tab; all begin another line at line breaks.
_SEPARATOR = re.compile(r"\r\n|[;\t\r\n]")
_INVISIBLE = "CZ"  # first letters of Unicode categories: controls, formats, unassigned, blanks and separators
Cell = str | int | Decimal | date | UUID | None


def csv_bytes(rows: Iterable[Sequence[Cell]]) -> bytes:
    """Return the rows as CSV in UTF-8."""
    text = io.StringIO()
    csv.writer(text).writerows([cell_text(cell) for cell in row] for row in rows)
    return text.getvalue().encode()


def cell_text(cell: Cell) -> str:
    """Return the text of a cell. Only `str` cells need escaping: users choose their content."""
    match cell:
        case None:
            return ""
        case str():
            return escape_formulas(cell)
        case Decimal():
            return decimal_text(cell)
        case datetime():
            return instant_text(cell)
        case _:
            return str(cell)


def escape_formulas(text: str) -> str:
    """Put an apostrophe wherever a formula could begin: at the start, and after each separator."""
    starts = [0, *(found.end() for found in _SEPARATOR.finditer(text))]
    ends = [*starts[1:], len(text)]
    parts = [text[start:end] for start, end in zip(starts, ends, strict=True)]
    marked = [f"'{part}" if _is_formula(text, start) else part for start, part in zip(starts, parts, strict=True)]
    cell = "".join(marked)
    return f"'{cell}" if cell.startswith(BREAKS) else cell


def _is_formula(text: str, start: int) -> bool:
    """Return whether a formula begins at `start`, after skipping blanks, invisible characters and quotes.

    Spreadsheets skip the first two. With another separator than ours, quotes enclose the part and are not in it.
    """
    visible = (each for each in text[start:] if each != '"' and unicodedata.category(each)[0] not in _INVISIBLE)
    first = next(visible, "")
    return bool(first) and first in FORMULA_STARTS
