"""Lists in an order that the client chooses: `sort` is a column's name, with a minus the newest first."""

from datetime import datetime, timedelta
from uuid import UUID

from services.trading.queries.ordering import After, Order
from shared.chassis.errors import InvalidInput
from shared.chassis.http.paging import decode_sorted, encode_sorted
from shared.contracts.types import EPOCH

MICROSECOND = timedelta(microseconds=1)


def order_of(sort: str) -> Order:
    """`sort` was validated by the query's model, which names the columns there are."""
    return Order(sort.removeprefix("-"), sort.startswith("-"))


def after_of(sort: str, cursor: str | None) -> After:
    """Where the page before ended. Raises InvalidInput."""
    position = decode_sorted(sort, cursor, int, str)
    if position is None:
        return None
    try:
        return EPOCH + int(position[0]) * MICROSECOND, UUID(str(position[1]))
    except (ValueError, OverflowError) as error:
        raise InvalidInput(errors=[{"path": "$.cursor", "reason": "is not a cursor of this list"}]) from error


def cursor_after(sort: str, moment: datetime, one: UUID) -> str:
    return encode_sorted(sort, (moment - EPOCH) // MICROSECOND, str(one))
