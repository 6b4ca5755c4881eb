"""Lists in an order chosen by the client: `sort` is a field's name, prefixed by a minus for descending order."""

from datetime import datetime, timedelta
from uuid import UUID

from services.trading.queries.ordering import After, Order
from shared.chassis.http.paging import decode_sorted, encode_sorted, invalid_cursor
from shared.contracts.types import EPOCH

MICROSECOND = timedelta(microseconds=1)


def parse_order(sort: str, column: str | None = None) -> Order:
    """Parse `sort`, which the query's model has validated. `column`: if the field is stored under another name."""
    return Order(column or sort.removeprefix("-"), sort.startswith("-"))


def parse_cursor(sort: str, cursor: str | None) -> After:
    """Return the position at which the previous page ended. Raises InvalidInput."""
    position = decode_sorted(sort, cursor, int, str)
    if position is None:
        return None
    try:
        return EPOCH + int(position[0]) * MICROSECOND, UUID(str(position[1]))
    except (ValueError, OverflowError) as error:
        raise invalid_cursor() from error


def encode_position(sort: str, moment: datetime, row_id: UUID) -> str:
    return encode_sorted(sort, (moment - EPOCH) // MICROSECOND, str(row_id))
