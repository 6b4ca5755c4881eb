"""Rows as CSV (RFC 4180) that a spreadsheet opens as what they are: no text is a formula, numbers stay numbers."""

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from shared.contracts.types import decimal_text, instant_text

# What a cell begins with where a spreadsheet takes it for a formula, the wide forms of East Asia among it.
FORMULA_BEGINS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
Cell = str | int | Decimal | date | UUID | None


def csv_bytes(rows: Iterable[Sequence[Cell]]) -> bytes:
    """In UTF-8."""
    text = io.StringIO()
    csv.writer(text).writerows([cell_text(cell) for cell in row] for row in rows)
    return text.getvalue().encode()


def cell_text(cell: Cell) -> str:
    """Only text of somebody's choice can begin as a formula: it gets an apostrophe before it."""
    match cell:
        case None:
            return ""
        case str():
            return f"'{cell}" if cell.startswith(FORMULA_BEGINS) else cell
        case Decimal():
            return decimal_text(cell)
        case datetime():
            return instant_text(cell)
        case _:
            return str(cell)
