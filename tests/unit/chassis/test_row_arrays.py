"""NamedTuples as the rows of one statement."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from shared.chassis.row_arrays import arrays_of, insert_rows, unnest


class Row(NamedTuple):
    user_id: int
    row_id: UUID
    price: Decimal | None
    time: datetime | None
    values: Mapping[str, float | None]
    late: bool


def test_each_field_is_an_array_of_its_type() -> None:
    columns = "user_id, row_id, price, time, values, late"
    arrays = "$1::bigint[], $2::uuid[], $3::numeric[], $4::timestamptz[], $5::jsonb[], $6::boolean[]"
    assert unnest(Row, "row") == f"unnest({arrays}) AS row ({columns})"
    assert (
        insert_rows("t", Row)
        == f"INSERT INTO t ({columns}) SELECT {columns} FROM unnest({arrays}) AS new ({columns})"
    )


def test_arrays_are_the_columns_of_the_rows() -> None:
    rows = [Row(1, UUID(int=1), None, None, {}, True), Row(2, UUID(int=2), Decimal(1), None, {"a": 1}, False)]
    assert arrays_of(rows)[0] == (1, 2)
    assert arrays_of(rows)[2:] == [(None, Decimal(1)), (None, None), ({}, {"a": 1}), (True, False)]
