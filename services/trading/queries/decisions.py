"""Decisions: why a session traded, or did not. Each references its fills and their trade."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from shared.chassis.errors import require_found
from shared.chassis.listing import Order, Slice
from shared.chassis.postgres import Connection


@dataclass(frozen=True)
class DecisionRow:
    decision_id: UUID
    session_id: UUID
    time: datetime
    kind: str
    side: str
    reason: str
    qty: Decimal | None
    outcome: str
    refusal: str | None
    until: datetime | None
    allowed: Decimal | None
    asked: Decimal | None
    values: Mapping[str, float | None]
    checks: Mapping[str, bool | None]
    strategy_hash: str
    created_at: datetime
    fill_ids: Sequence[UUID]
    trade_id: UUID | None


ORDERS = {"bar_time": Order(time=datetime, decision_id=UUID)}
COLUMNS = ", ".join(field.name for field in fields(DecisionRow) if field.name not in ("fill_ids", "trade_id"))
# The fills of an entry's decision are its trade's open and the stops and targets that were set with it.
COLUMNS += """,
    ARRAY(SELECT f.fill_id FROM fills AS f WHERE f.user_id = decisions.user_id
          AND f.decision_id = decisions.decision_id ORDER BY f.fill_number) AS fill_ids,
    (SELECT f.trade_id FROM fills AS f WHERE f.user_id = decisions.user_id
     AND f.decision_id = decisions.decision_id ORDER BY f.fill_number LIMIT 1) AS trade_id
"""


@dataclass(frozen=True)
class DecisionFilter:
    """None: any. The decision bar's time is from `first` on and before `last`."""

    session_id: UUID | None = None
    symbol: str | None = None
    kind: str | None = None
    outcome: str | None = None
    refusal: str | None = None
    first: datetime | None = None
    last: datetime | None = None


async def list_decisions(
    connection: Connection, user_id: int, criteria: DecisionFilter, wanted: Slice
) -> list[DecisionRow]:
    rows = await connection.fetch(
        f"""
        SELECT {COLUMNS} FROM decisions
        WHERE user_id = $1 AND ($2::uuid IS NULL OR session_id = $2)
              AND ($3::text IS NULL OR EXISTS (
                  SELECT FROM user_trading_sessions AS s
                  WHERE s.user_id = decisions.user_id AND s.session_id = decisions.session_id AND s.symbol = $3))
              AND ($4::text IS NULL OR kind = $4)
              AND ($5::text IS NULL OR outcome = $5) AND ($6::text IS NULL OR refusal = $6)
              AND ($7::timestamptz IS NULL OR time >= $7) AND ($8::timestamptz IS NULL OR time < $8)
              {wanted.sql(9)}
        """,
        user_id,
        criteria.session_id,
        criteria.symbol,
        criteria.kind,
        criteria.outcome,
        criteria.refusal,
        criteria.first,
        criteria.last,
        *wanted.arguments,
    )
    return [DecisionRow(**row) for row in rows]


async def get_decision(connection: Connection, user_id: int, decision_id: UUID) -> DecisionRow:
    """Raises NotFound."""
    row = await connection.fetchrow(
        f"SELECT {COLUMNS} FROM decisions WHERE user_id = $1 AND decision_id = $2", user_id, decision_id
    )
    return DecisionRow(**require_found(row))


async def end_orders(
    connection: Connection, user_ids: Sequence[int], session_ids: Sequence[UUID], opened: Sequence[datetime]
) -> None:
    """End each session's orders that were pending at its bar's open: `filled` if they have a fill, else
    `dropped`."""
    await connection.execute(
        """
        UPDATE decisions AS d SET until = ended.opened, outcome = CASE WHEN EXISTS (
            SELECT FROM fills AS f WHERE f.user_id = d.user_id AND f.decision_id = d.decision_id
        ) THEN 'filled' ELSE 'dropped' END
        FROM unnest($1::bigint[], $2::uuid[], $3::timestamptz[]) AS ended (user_id, session_id, opened)
        WHERE d.user_id = ended.user_id AND d.session_id = ended.session_id
              AND d.until IS NULL AND d.outcome = 'pending' AND d.time < ended.opened
        """,
        user_ids,
        session_ids,
        opened,
    )


async def end_refusals(
    connection: Connection, user_ids: Sequence[int], session_ids: Sequence[UUID], until: Sequence[datetime | None]
) -> None:
    """End each session's running stretch of refused entries, with the bar until which it lasted."""
    await connection.execute(
        """
        UPDATE decisions AS d SET until = ended.until
        FROM unnest($1::bigint[], $2::uuid[], $3::timestamptz[]) AS ended (user_id, session_id, until)
        WHERE d.user_id = ended.user_id AND d.session_id = ended.session_id
              AND d.until IS NULL AND d.outcome = 'refused' AND d.time <= ended.until
        """,
        user_ids,
        session_ids,
        until,
    )


async def end_all(connection: Connection, user_id: int, session_id: UUID, until: datetime) -> None:
    """End everything at a stop: drop pending orders, and end the running stretch of refusals."""
    await connection.execute(
        """
        UPDATE decisions SET until = $3, outcome = CASE outcome WHEN 'pending' THEN 'dropped' ELSE outcome END
        WHERE user_id = $1 AND session_id = $2 AND until IS NULL
        """,
        user_id,
        session_id,
        until,
    )
