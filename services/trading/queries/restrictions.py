"""What held a session back, from the bar after `after_bar` on. Never changed; numbered under the lease's lock."""

from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

from services.trading.domain import SessionStatus
from shared.chassis.postgres import Connection

Kind = Literal[
    "PAUSED", "RESUMED", "PLAN_LIMIT", "PLAN_LIMIT_LIFTED", "FEED_SILENT", "FEED_SILENT_LIFTED", "STOPPED"
]


@dataclass(frozen=True)
class Restriction:
    """`limit_*` of a plan. Of a stop, `opened_bar` is the bar beyond `after_bar` whose open had been taken, `price`
    the open or close of `price_bar` that it closed at."""

    kind: Kind
    reason: str | None = None
    after_bar: datetime | None = None
    limit_name: str | None = None
    limit_value: int | None = None
    opened_bar: datetime | None = None
    price_bar: datetime | None = None
    price: Decimal | None = None


@dataclass(frozen=True)
class RestrictionRow(Restriction):
    """`status` is the session's from then on."""

    restriction_number: int = 0
    created_at: datetime | None = None
    status: SessionStatus = "ACTIVE"


WRITTEN = tuple(field.name for field in fields(Restriction))
COLUMNS = ", ".join(f"r.{field.name}" for field in fields(RestrictionRow) if field.name != "status")
COLUMNS += """,
    coalesce((SELECT CASE p.kind WHEN 'RESUMED' THEN 'ACTIVE' ELSE p.kind END FROM session_restrictions AS p
              WHERE p.user_id = r.user_id AND p.session_id = r.session_id
                    AND p.restriction_number <= r.restriction_number AND p.kind IN ('PAUSED', 'RESUMED', 'STOPPED')
              ORDER BY p.restriction_number DESC LIMIT 1), 'ACTIVE') AS status
"""


async def insert_restriction(connection: Connection, user_id: int, session_id: UUID, note: Restriction) -> None:
    await connection.execute(
        f"""
        INSERT INTO session_restrictions (user_id, session_id, restriction_number, {", ".join(WRITTEN)})
        SELECT $1, $2, coalesce(max(restriction_number), 0) + 1, $3, $4, $5, $6, $7, $8, $9, $10
        FROM session_restrictions WHERE user_id = $1 AND session_id = $2
        """,
        user_id,
        session_id,
        *(getattr(note, name) for name in WRITTEN),
    )


async def list_restrictions(
    connection: Connection, user_id: int, session_id: UUID, after: int, limit: int
) -> list[RestrictionRow]:
    """In their order."""
    rows = await connection.fetch(
        f"""
        SELECT {COLUMNS} FROM session_restrictions AS r
        WHERE r.user_id = $1 AND r.session_id = $2 AND r.restriction_number > $3::bigint
        ORDER BY r.restriction_number LIMIT $4
        """,
        user_id,
        session_id,
        after,
        limit,
    )
    return [RestrictionRow(**row) for row in rows]
