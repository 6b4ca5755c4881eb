"""Executions of the exchange, each booked once, and funding, booked apart."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from services.trading.exchange.venue import ExecutionKind, OrderOrigin, VenueExecution
from services.trading.orders.store import Booking
from shared.chassis.postgres import Connection
from shared.chassis.row_arrays import arrays_of, insert_rows


class NewExecution(NamedTuple):
    """The part of an execution that had an effect."""

    user_id: int
    execution_id: str
    effect: str
    session_id: UUID
    intent_id: UUID | None
    part: Decimal
    reason: str | None
    order_id: str
    link_id: str | None
    parent_link_id: str | None
    symbol: str
    side: str
    kind: str
    origin: str
    quantity: Decimal
    price: Decimal
    fee: Decimal
    fee_coin: str
    closed_quantity: Decimal
    time: datetime


class NewFunding(NamedTuple):
    """`amount` is positive when paid."""

    user_id: int
    execution_id: str
    session_id: UUID
    exchange_account_id: UUID
    trade_id: UUID | None
    symbol: str
    quantity: Decimal
    price: Decimal
    amount: Decimal
    coin: str
    time: datetime


INSERT_FUNDING = insert_rows("funding_payments", NewFunding)
# Parts with the same effect add up: what a person adopts may close more than the execution did at first.
INSERT_EXECUTIONS = f"""
    {insert_rows("executions", NewExecution)}
    ON CONFLICT (user_id, execution_id, effect) DO UPDATE SET part = executions.part + excluded.part
"""
ANSWER_EXECUTIONS = """
    UPDATE executions AS e SET part = e.part - answered.part
    FROM unnest($1::bigint[], $2::text[], $3::numeric[]) AS answered (user_id, execution_id, part)
    WHERE e.user_id = answered.user_id AND e.execution_id = answered.execution_id AND e.effect = 'foreign'
"""


async def find_recorded(
    connection: Connection, wanted: Sequence[tuple[int, str]]
) -> Mapping[tuple[int, str], frozenset[str]]:
    """Return which of these executions (tenant, id) are recorded, with their effects."""
    rows = await connection.fetch(
        """
        SELECT user_id, execution_id, array_agg(effect) FROM (
            SELECT user_id, execution_id, CASE WHEN effect = 'foreign' AND part = 0 THEN 'answered' ELSE effect END
            FROM executions
            JOIN unnest($1::bigint[], $2::text[]) AS wanted (user_id, execution_id) USING (user_id, execution_id)
            UNION ALL SELECT user_id, execution_id, 'funding' FROM funding_payments
            JOIN unnest($1::bigint[], $2::text[]) AS wanted (user_id, execution_id) USING (user_id, execution_id)
        ) AS recorded (user_id, execution_id, effect) GROUP BY user_id, execution_id
        """,
        *arrays_of(wanted),
    )
    return {(user_id, execution_id): frozenset(effects) for user_id, execution_id, effects in rows}


async def insert_executions(connection: Connection, executions: Sequence[NewExecution]) -> None:
    await connection.execute(INSERT_EXECUTIONS, *arrays_of(executions))


async def answer_foreign(connection: Connection, answered: Mapping[tuple[int, str], Decimal]) -> None:
    """Take the parts (tenant, id: quantity) that were answered from what awaits an answer."""
    await connection.execute(ANSWER_EXECUTIONS, *arrays_of([(*key, part) for key, part in answered.items()]))


async def insert_funding(connection: Connection, payments: Sequence[NewFunding]) -> None:
    await connection.execute(INSERT_FUNDING, *arrays_of(payments))


async def find_latest(connection: Connection, user_id: int, session_id: UUID) -> datetime | None:
    """Return the time of the latest execution recorded for the session."""
    latest: datetime | None = await connection.fetchval(
        """
        SELECT greatest((SELECT max(time) FROM executions WHERE user_id = $1 AND session_id = $2),
                        (SELECT max(time) FROM funding_payments WHERE user_id = $1 AND session_id = $2))
        """,
        user_id,
        session_id,
    )
    return latest


async def list_recorded(connection: Connection, user_id: int, session_id: UUID, since: datetime) -> frozenset[str]:
    """Return the ids of the executions from this time on that the session, or an earlier one on the account and
    symbol, has recorded."""
    rows = await connection.fetch(
        """
        WITH same AS (
            SELECT s.session_id FROM user_trading_sessions AS mine
            JOIN user_trading_sessions AS s USING (user_id, exchange_account_id, symbol)
            WHERE mine.user_id = $1 AND mine.session_id = $2
        )
        SELECT execution_id FROM executions JOIN same USING (session_id) WHERE user_id = $1 AND time >= $3
        UNION SELECT execution_id FROM funding_payments JOIN same USING (session_id)
        WHERE user_id = $1 AND time >= $3
        """,
        user_id,
        session_id,
        since,
    )
    return frozenset(row["execution_id"] for row in rows)


async def list_foreign(connection: Connection, user_id: int, session_id: UUID) -> list[Booking]:
    """List the foreign executions that await an answer, oldest first."""
    rows = await connection.fetch(
        """
        SELECT * FROM executions WHERE user_id = $1 AND session_id = $2 AND effect = 'foreign' AND part > 0
        ORDER BY time, execution_id
        """,
        user_id,
        session_id,
    )
    return [
        Booking(
            VenueExecution(
                row["execution_id"],
                row["order_id"],
                row["link_id"],
                row["parent_link_id"],
                row["symbol"],
                row["side"],
                ExecutionKind(row["kind"]),
                OrderOrigin(row["origin"]),
                row["quantity"],
                row["price"],
                row["fee"],
                row["fee_coin"],
                row["closed_quantity"],
                row["time"],
            ),
            "foreign",
            row["part"],
            reason=row["reason"],
        )
        for row in rows
    ]
