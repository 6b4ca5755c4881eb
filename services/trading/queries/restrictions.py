"""Restrictions: what limited or changed a session, from the bar after `after_bar` on.

They are append-only and numbered under the lease's lock.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

from services.trading.domain import InstrumentChange, SessionStatus
from shared.chassis.listing import Order, Slice
from shared.chassis.postgres import Connection
from shared.strategy.bars import Instrument

Kind = Literal[
    "PAUSED",
    "RESUMED",
    "PLAN_LIMIT",
    "PLAN_LIMIT_LIFTED",
    "FEED_SILENT",
    "FEED_SILENT_LIFTED",
    "INSTRUMENT_CHANGED",
    "KILL_SWITCH",
    "KILL_SWITCH_LIFTED",
    "FROZEN",
    "FROZEN_LIFTED",
    "ACCOUNT_RISK",
    "ACCOUNT_RISK_LIFTED",
    "NOT_RECONCILED",
    "NOT_RECONCILED_LIFTED",
    "ACCOUNT_REFUSED",
    "ACCOUNT_REFUSED_LIFTED",
    "FAILED",
    "FAILED_LIFTED",
    "STOPPING",
    "STOPPED",
]


@dataclass(frozen=True)
class Restriction:
    """`limit_*` are set for a plan limit, the instrument's steps for an instrument change.

    For a stop, `opened_bar` is the bar after `after_bar` whose open was already processed, and `price` the open or
    close of `price_bar` at which the position was closed.
    """

    kind: Kind
    reason: str | None = None
    after_bar: datetime | None = None
    limit_name: str | None = None
    limit_value: int | None = None
    opened_bar: datetime | None = None
    price_bar: datetime | None = None
    price: Decimal | None = None
    tick_size: Decimal | None = None
    qty_step: Decimal | None = None
    min_order_qty: Decimal | None = None
    min_notional: Decimal | None = None

    @property
    def instrument(self) -> Instrument | None:
        """The new instrument of an `INSTRUMENT_CHANGED`, else None."""
        steps = (self.tick_size, self.qty_step, self.min_order_qty, self.min_notional)
        given = [each for each in steps if each is not None]
        return Instrument(*given) if len(given) == len(steps) else None


@dataclass(frozen=True)
class RestrictionRow(Restriction):
    """`status` is the session's status from then on."""

    restriction_number: int = 0
    created_at: datetime | None = None
    status: SessionStatus = "ACTIVE"


BY_NUMBER = Order(restriction_number=int)
ORDERS = {"restriction_number": BY_NUMBER}
INSERTED = tuple(field.name for field in fields(Restriction))
PLACES = ", ".join(f"${number}" for number in range(3, 3 + len(INSERTED)))
COLUMNS = ", ".join(f"r.{field.name}" for field in fields(RestrictionRow) if field.name != "status")
COLUMNS += """,
    coalesce((SELECT CASE p.kind WHEN 'RESUMED' THEN 'ACTIVE' ELSE p.kind END FROM session_restrictions AS p
              WHERE p.user_id = r.user_id AND p.session_id = r.session_id
                    AND p.restriction_number <= r.restriction_number
                    AND p.kind IN ('PAUSED', 'RESUMED', 'STOPPING', 'STOPPED')
              ORDER BY p.restriction_number DESC LIMIT 1), 'ACTIVE') AS status
"""


async def insert_restriction(connection: Connection, user_id: int, session_id: UUID, note: Restriction) -> None:
    await connection.execute(
        f"""
        INSERT INTO session_restrictions (user_id, session_id, restriction_number, {", ".join(INSERTED)})
        SELECT $1, $2, coalesce(max(restriction_number), 0) + 1, {PLACES}
        FROM session_restrictions WHERE user_id = $1 AND session_id = $2
        """,
        user_id,
        session_id,
        *(getattr(note, name) for name in INSERTED),
    )


async def list_restrictions(
    connection: Connection, user_id: int, session_id: UUID, wanted: Slice
) -> list[RestrictionRow]:
    rows = await connection.fetch(
        f"""
        SELECT {COLUMNS} FROM session_restrictions AS r
        WHERE r.user_id = $1 AND r.session_id = $2 {wanted.sql(3, "r")}
        """,
        user_id,
        session_id,
        *wanted.arguments,
    )
    return [RestrictionRow(**row) for row in rows]


def instrument_changes(rows: Iterable[Restriction]) -> list[InstrumentChange]:
    """Return the instrument changes among restrictions, in order."""
    return [InstrumentChange(row.after_bar, row.instrument) for row in rows if row.instrument is not None]


async def list_instrument_changes(connection: Connection, user_id: int, session_id: UUID) -> list[InstrumentChange]:
    """List a session's instrument changes, in order."""
    rows = await connection.fetch(
        """
        SELECT after_bar, tick_size, qty_step, min_order_qty, min_notional FROM session_restrictions
        WHERE user_id = $1 AND session_id = $2 AND kind = 'INSTRUMENT_CHANGED' ORDER BY restriction_number
        """,
        user_id,
        session_id,
    )
    return [InstrumentChange(row["after_bar"], Instrument(*tuple(row)[1:])) for row in rows]
