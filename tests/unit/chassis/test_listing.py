"""The end of a list's statement: the rows after a position, in either direction."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import ClassVar, Literal
from uuid import UUID

import pytest

from shared.chassis.errors import InvalidInput
from shared.chassis.http.paging import ListQuery, decode_sorted, encode_cursor, encode_sorted
from shared.chassis.listing import Order, Slice
from shared.contracts.types import ViewModel

ID = UUID("0190a6f2-7b5e-7c1f-8a52-3d0f9c7e4b21")
MOMENT = datetime(2026, 1, 31, 9, 30, 0, 1, tzinfo=UTC)
BY_TIME = Order(time=datetime, row_id=UUID)


def test_the_first_page_has_no_condition() -> None:
    first = Slice(BY_TIME, 51)
    assert first.sql(3).split() == ["ORDER", "BY", "time", "ASC,", "row_id", "ASC", "LIMIT", "$3"]
    assert first.arguments == (51,)


def test_a_later_page_begins_after_a_row_in_the_order_of_the_list() -> None:
    later = Slice(BY_TIME, 51, (MOMENT, ID), descending=True)
    condition = "AND (t.time, t.row_id) < ($3::timestamptz, $4::uuid)"
    assert later.sql(3, "t") == f"{condition} ORDER BY t.time DESC, t.row_id DESC LIMIT $5"
    assert later.arguments == (MOMENT, ID, 51)


@pytest.mark.parametrize("value", [MOMENT, date(2026, 1, 31), ID, Decimal("1.5"), 7, "Ж"])
def test_a_position_of_any_type_survives_its_cursor(value: object) -> None:
    assert decode_sorted("-x", encode_sorted("-x", value, "tie"), type(value), str) == (value, "tie")


@pytest.mark.parametrize(
    ("part", "kind"),
    [("x", UUID), ("x", date), ("x", Decimal), ("NaN", Decimal), ("x", datetime), (2**62, datetime), (7, str)],
)
def test_a_forged_position_is_refused(part: str | int, kind: type) -> None:
    with pytest.raises(InvalidInput):
        decode_sorted("x", encode_cursor("x", part), kind)


@dataclass(frozen=True)
class Row:
    time: datetime
    row_id: UUID


class RowView(ViewModel):
    row_id: UUID


class RowsQuery(ListQuery):
    orders: ClassVar = {"time": BY_TIME}

    sort: Literal["time", "-time"] = "-time"


def test_a_page_is_built_from_one_row_more_than_it_shows_and_leads_to_the_next() -> None:
    query = RowsQuery(limit=2)
    assert query.slice() == Slice(BY_TIME, 3, None, descending=True)
    rows = [Row(MOMENT, UUID(int=number)) for number in (9, 8, 7)]
    page = query.page_of(rows, RowView.model_validate)
    assert [view.row_id.int for view in page.items] == [9, 8]
    assert RowsQuery(limit=2, cursor=page.next_cursor).slice().after == (MOMENT, UUID(int=8))
    assert query.page_of(rows[:2], RowView.model_validate).next_cursor is None
    with pytest.raises(InvalidInput):
        RowsQuery(sort="time", cursor=page.next_cursor).slice()
