"""Rows as CSV (RFC 4180) that a spreadsheet opens as what they are: no text is a formula, numbers stay numbers."""

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
# What a cell begins with where a spreadsheet takes it for a formula, also in the wide and small forms of East Asia.
FORMULA_BEGINS = (*"=+-@＝＋－＠﹦﹢﹣﹫", *BREAKS)
# Where spreadsheets of some locales split a line into cells, and where all of them begin another line.
_SEPARATOR = re.compile(r"\r\n|[;\t\r\n]")
_NOT_SEEN = "CZ"  # categories of controls, formats, code points without a character, blanks and separators
Cell = str | int | Decimal | date | UUID | None


def csv_bytes(rows: Iterable[Sequence[Cell]]) -> bytes:
    """In UTF-8."""
    text = io.StringIO()
    csv.writer(text).writerows([cell_text(cell) for cell in row] for row in rows)
    return text.getvalue().encode()


def cell_text(cell: Cell) -> str:
    """Only text of somebody's choice can begin as a formula."""
    match cell:
        case None:
            return ""
        case str():
            return defused(cell)
        case Decimal():
            return decimal_text(cell)
        case datetime():
            return instant_text(cell)
        case _:
            return str(cell)


def defused(text: str) -> str:
    """With an apostrophe wherever a cell could begin as a formula: at the start, and after each separator."""
    starts = [0, *(found.end() for found in _SEPARATOR.finditer(text))]
    ends = [*starts[1:], len(text)]
    parts = [text[start:end] for start, end in zip(starts, ends, strict=True)]
    marked = [f"'{part}" if _is_formula(text, start) else part for start, part in zip(starts, parts, strict=True)]
    cell = "".join(marked)
    return f"'{cell}" if cell.startswith(BREAKS) else cell


def _is_formula(text: str, start: int) -> bool:
    """Behind any blanks and invisible characters, which spreadsheets skip, and behind quotes: where another
    separator than ours is taken, they quote the part and are no part of it."""
    seen = (each for each in text[start:] if each != '"' and unicodedata.category(each)[0] not in _NOT_SEEN)
    first = next(seen, "")
    return bool(first) and first in FORMULA_BEGINS
