"""Fills as the API shows them: each references its trade and the decision that ordered it."""

from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from shared.chassis.errors import require_found
from shared.chassis.listing import Order, Slice
from shared.chassis.postgres import Connection


@dataclass(frozen=True)
class FillRow:
    """`equity` is the session's equity after a fill that closes a trade, else None."""

    fill_id: UUID
    session_id: UUID
    fill_number: int
    trade_id: UUID
    decision_id: UUID | None
    time: datetime
    action: str
    side: str
    qty: Decimal
    price: Decimal
    fee: Decimal
    reason: str
    late: bool
    equity: Decimal | None
    created_at: datetime


BY_NUMBER = Order(fill_number=int)
ORDERS = {"fill_number": BY_NUMBER}  # of one session's fills
ALL_ORDERS = {"fill_time": Order(time=datetime, fill_id=UUID)}
COLUMNS = ", ".join(field.name for field in fields(FillRow))


@dataclass(frozen=True)
class FillFilter:
    """None: any. The fill's time is from `first` on and before `last`."""

    session_id: UUID | None = None
    trade_id: UUID | None = None
    decision_id: UUID | None = None
    symbol: str | None = None
    first: datetime | None = None
    last: datetime | None = None


async def list_fills(connection: Connection, user_id: int, session_id: UUID, wanted: Slice) -> list[FillRow]:
    """List one session's fills."""
    rows = await connection.fetch(
        f"""
        SELECT {COLUMNS} FROM fills WHERE user_id = $1 AND session_id = $2 {wanted.sql(3)}
        """,
        user_id,
        session_id,
        *wanted.arguments,
    )
    return [FillRow(**row) for row in rows]


async def list_all_fills(
    connection: Connection, user_id: int, criteria: FillFilter, wanted: Slice
) -> list[FillRow]:
    """List fills of all sessions."""
    rows = await connection.fetch(
        f"""
        SELECT {COLUMNS} FROM fills
        WHERE user_id = $1 AND ($2::uuid IS NULL OR session_id = $2) AND ($3::uuid IS NULL OR trade_id = $3)
              AND ($4::uuid IS NULL OR decision_id = $4)
              AND ($5::text IS NULL OR EXISTS (
                  SELECT FROM user_trading_sessions AS s
                  WHERE s.user_id = fills.user_id AND s.session_id = fills.session_id AND s.symbol = $5))
              AND ($6::timestamptz IS NULL OR time >= $6) AND ($7::timestamptz IS NULL OR time < $7)
              {wanted.sql(8)}
        """,
        user_id,
        criteria.session_id,
        criteria.trade_id,
        criteria.decision_id,
        criteria.symbol,
        criteria.first,
        criteria.last,
        *wanted.arguments,
    )
    return [FillRow(**row) for row in rows]


async def get_fill(connection: Connection, user_id: int, fill_id: UUID) -> FillRow:
    """Raises NotFound."""
    row = await connection.fetchrow(
        f"SELECT {COLUMNS} FROM fills WHERE user_id = $1 AND fill_id = $2", user_id, fill_id
    )
    return FillRow(**require_found(row))


async def list_fills_of_decision(connection: Connection, user_id: int, decision_id: UUID) -> list[FillRow]:
    """List the fills that a decision ordered, in the order they happened."""
    rows = await connection.fetch(
        f"SELECT {COLUMNS} FROM fills WHERE user_id = $1 AND decision_id = $2 ORDER BY fill_number",
        user_id,
        decision_id,
    )
    return [FillRow(**row) for row in rows]
