"""Decisions: why a session traded, or did not. Each leads to the fills it brought, and to their trade."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from services.trading.queries.ordering import After, Order
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


COLUMNS = ", ".join(field.name for field in fields(DecisionRow) if field.name not in ("fill_ids", "trade_id"))
# An entry's decision leads to its trade's open and to the stops and targets that came with it.
COLUMNS += """,
    ARRAY(SELECT f.fill_id FROM fills AS f WHERE f.user_id = decisions.user_id
          AND f.decision_id = decisions.decision_id ORDER BY f.fill_number) AS fill_ids,
    (SELECT f.trade_id FROM fills AS f WHERE f.user_id = decisions.user_id
     AND f.decision_id = decisions.decision_id ORDER BY f.fill_number LIMIT 1) AS trade_id
"""


@dataclass(frozen=True)
class DecisionFilter:
    """None: any. `first` and `last` are times of the decision bar from which, and before which. `outcome` may be
    `too_small`, a refusal by the exchange's minimum."""

    session_id: UUID | None = None
    symbol: str | None = None
    kind: str | None = None
    outcome: str | None = None
    first: datetime | None = None
    last: datetime | None = None


async def list_decisions(
    connection: Connection, user_id: int, wanted: DecisionFilter, order: Order, after: After, limit: int
) -> list[DecisionRow]:
    rows = await connection.fetch(
        f"""
        SELECT {COLUMNS} FROM decisions
        WHERE user_id = $1 AND ($2::uuid IS NULL OR session_id = $2)
              AND ($3::text IS NULL OR EXISTS (
                  SELECT FROM user_trading_sessions AS s
                  WHERE s.user_id = decisions.user_id AND s.session_id = decisions.session_id AND s.symbol = $3))
              AND ($4::text IS NULL OR kind = $4)
              AND ($5::text IS NULL OR outcome = $5 OR ($5 = 'too_small' AND refusal = $5))
              AND ($6::timestamptz IS NULL OR time >= $6) AND ($7::timestamptz IS NULL OR time < $7)
              AND {order.beyond("decision_id", 8)}
        ORDER BY {order.by("decision_id")} LIMIT $10
        """,
        user_id,
        wanted.session_id,
        wanted.symbol,
        wanted.kind,
        wanted.outcome,
        wanted.first,
        wanted.last,
        *(after or (None, None)),
        limit,
    )
    return [DecisionRow(**row) for row in rows]


async def get_decision(connection: Connection, user_id: int, decision_id: UUID) -> DecisionRow | None:
    row = await connection.fetchrow(
        f"SELECT {COLUMNS} FROM decisions WHERE user_id = $1 AND decision_id = $2", user_id, decision_id
    )
    return DecisionRow(**row) if row else None


async def end_orders(connection: Connection, user_id: int, session_id: UUID, opened: datetime) -> None:
    """The orders that were pending at this bar's open: those with a fill are filled, the others dropped."""
    await connection.execute(
        """
        UPDATE decisions AS d SET until = $3, outcome = CASE WHEN EXISTS (
            SELECT FROM fills AS f WHERE f.user_id = $1 AND f.decision_id = d.decision_id
        ) THEN 'filled' ELSE 'dropped' END
        WHERE d.user_id = $1 AND d.session_id = $2 AND d.until IS NULL AND d.outcome = 'pending' AND d.time < $3
        """,
        user_id,
        session_id,
        opened,
    )


async def end_refusals(
    connection: Connection, user_ids: Sequence[int], session_ids: Sequence[UUID], until: Sequence[datetime | None]
) -> None:
    """Of each session the stretch of refused entries that lasted until its bar."""
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
    """A stop drops what is pending and ends a stretch of refusals."""
    await connection.execute(
        """
        UPDATE decisions SET until = $3, outcome = CASE outcome WHEN 'pending' THEN 'dropped' ELSE outcome END
        WHERE user_id = $1 AND session_id = $2 AND until IS NULL
        """,
        user_id,
        session_id,
        until,
    )
