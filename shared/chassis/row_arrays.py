"""Many rows in one statement: an array per column, which `unnest` turns into rows again."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, get_args, get_origin, get_type_hints
from uuid import UUID

_SQL_TYPES: dict[object, str] = {
    int: "bigint",
    str: "text",
    bool: "boolean",
    Decimal: "numeric",
    UUID: "uuid",
    datetime: "timestamptz",
    Mapping: "jsonb",
}


def unnest(row: type[tuple[Any, ...]], name: str = "new") -> str:  # Any: of any NamedTuple
    """Return the FROM item `name` with the columns of this NamedTuple; its parameters are `arrays_of` the rows."""
    fields = get_type_hints(row)
    arrays = ", ".join(f"${number}::{_sql_type(kind)}[]" for number, kind in enumerate(fields.values(), 1))
    return f"unnest({arrays}) AS {name} ({', '.join(fields)})"


def insert_rows(table: str, row: type[tuple[Any, ...]]) -> str:
    """Return the INSERT of many of these NamedTuples, whose fields are columns of the table."""
    columns = ", ".join(get_type_hints(row))
    return f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {unnest(row)}"


def arrays_of(rows: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return the rows' values by column; there must be at least one row."""
    return list(zip(*rows, strict=True))


def _sql_type(kind: object) -> str:
    """Return the type of a column; of `X | None` that of X."""
    if type(None) in get_args(kind):
        kind = next(each for each in get_args(kind) if each is not type(None))
    return _SQL_TYPES[get_origin(kind) or kind]
