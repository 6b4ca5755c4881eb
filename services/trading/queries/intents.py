"""Intents of live sessions: recorded before the exchange is called, and the gate that each order passes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from services.trading.orders.intents import Intent, IntentState
from services.trading.queries.reconciliations import is_reconciled
from shared.chassis.listing import Order, Slice
from shared.chassis.postgres import Connection
from shared.chassis.row_arrays import arrays_of, unnest
from shared.strategy.decimals import quantised_quotient

FINAL = [state.value for state in IntentState if state.is_final]


class IntentWrite(NamedTuple):
    """An intent as it is now. `refusal`, `expected_price` and `counted_in` are those of a new one."""

    user_id: int
    intent_id: UUID
    session_id: UUID
    exchange_account_id: UUID
    symbol: str
    link_id: str
    bar: datetime
    leg: str
    attempt: int
    side: str
    quantity: Decimal
    price: Decimal | None
    stop_loss: Decimal | None
    reduce_only: bool
    reason: str
    strategy_hash: str
    epoch: int
    created_at: datetime
    state: str
    send_before: datetime | None
    sent_at: datetime | None
    order_id: str | None
    filled: Decimal
    notional: Decimal
    fee: Decimal
    venue_code: int | None
    venue_message: str | None
    refusal: str | None
    expected_price: Decimal | None
    counted_in: datetime | None


# The decision that an intent carries out: an exit's own, or the entry's, to which its stop and targets belong.
UPSERT_INTENTS = f"""
    INSERT INTO order_intents AS i ({", ".join(IntentWrite._fields)}, decision_id)
    SELECT new.*, (
        SELECT d.decision_id FROM decisions AS d
        WHERE d.user_id = new.user_id AND d.session_id = new.session_id AND d.time = new.bar
              AND d.kind = CASE new.leg WHEN 'exit' THEN 'exit' WHEN 'flatten' THEN NULL ELSE 'entry' END)
    FROM {unnest(IntentWrite)}
    ON CONFLICT (user_id, link_id) DO UPDATE SET
        state = excluded.state, quantity = excluded.quantity, sent_at = excluded.sent_at,
        order_id = excluded.order_id, filled = excluded.filled, notional = excluded.notional, fee = excluded.fee,
        venue_code = excluded.venue_code, venue_message = excluded.venue_message, epoch = excluded.epoch,
        updated_at = now()
    WHERE i.session_id = excluded.session_id AND (i.state = excluded.state OR i.state <> ALL ($31::text[]))
    RETURNING i.intent_id
"""
# An entry passes only while the lease allows entries. A transaction that stops entries locks the lease FOR UPDATE
# first, which conflicts with the key share, so that no entry passes after its commit. None passes for an account
# that is not reconciled in this very database.
PASS_GATE = f"""
    WITH held AS (
        SELECT l.user_id, l.session_id, l.allows = 'ALLOWED' AND l.flatten IS NULL AS enters
        FROM unnest($1::bigint[], $2::uuid[], $3::bigint[]) AS mine (user_id, session_id, epoch)
             JOIN session_leases AS l USING (user_id, session_id, epoch)
        ORDER BY l.user_id, l.session_id FOR KEY SHARE OF l
    ),
    passed AS (
        UPDATE order_intents AS i SET state = 'SENDING', sent_at = wanted.now, updated_at = now()
        FROM unnest($4::bigint[], $5::uuid[], $6::text[], $7::timestamptz[])
             AS wanted (user_id, session_id, link_id, now) JOIN held USING (user_id, session_id)
        WHERE i.user_id = wanted.user_id AND i.link_id = wanted.link_id AND i.session_id = wanted.session_id
              AND i.state = 'INTENT'
              AND (i.leg <> 'entry' OR held.enters AND (i.send_before IS NULL OR i.send_before >= wanted.now)
                   AND NOT EXISTS (SELECT FROM account_risk AS r
                                   WHERE r.user_id = i.user_id AND r.exchange_account_id = i.exchange_account_id
                                         AND r.breached_at IS NOT NULL)
                   AND {is_reconciled("i.user_id", "i.exchange_account_id")})
        RETURNING i.session_id, i.link_id
    )
    SELECT held.session_id, passed.link_id FROM held LEFT JOIN passed USING (session_id)
"""


class Gate(NamedTuple):
    """The intents of a session that are about to be sent at `now`, by the exchange's clock."""

    user_id: int
    session_id: UUID
    epoch: int
    link_ids: Sequence[str]
    now: datetime


async def upsert_intents(connection: Connection, intents: Sequence[IntentWrite]) -> set[UUID]:
    """Insert or update intents by their link id; returns those written. A final state never changes."""
    rows = await connection.fetch(UPSERT_INTENTS, *arrays_of(intents), FINAL)
    return {row["intent_id"] for row in rows}


async def pass_gate(connection: Connection, gates: Sequence[Gate]) -> dict[UUID, frozenset[str]]:
    """Move intents from INTENT to SENDING; returns those moved, by session. A session whose lease is lost is not
    among them."""
    wanted = [(gate.user_id, gate.session_id, link_id, gate.now) for gate in gates for link_id in gate.link_ids]
    leases = [(gate.user_id, gate.session_id, gate.epoch) for gate in gates]
    columns = arrays_of(wanted) if wanted else [()] * 4
    passed: dict[UUID, set[str]] = {}
    for session_id, link_id in await connection.fetch(PASS_GATE, *arrays_of(leases), *columns):
        passed.setdefault(session_id, set()).update([link_id] if link_id is not None else [])
    return {session_id: frozenset(link_ids) for session_id, link_ids in passed.items()}


INTENT_COLUMNS = ", ".join(field.name for field in fields(Intent))


async def list_relevant(connection: Connection, user_id: int, session_id: UUID) -> list[Intent]:
    """List the intents of a session that are not final, those from the open trade's entry on, and those that
    changed within the last day."""
    rows = await connection.fetch(
        f"""
        SELECT {INTENT_COLUMNS} FROM order_intents AS i
        WHERE user_id = $1 AND session_id = $2
              AND (state <> ALL ($3::text[]) OR updated_at > now() - interval '1 day'
                   OR bar >= (SELECT min(coalesce(e.bar, f.time)) FROM fills AS f
                              LEFT JOIN order_intents AS e ON e.user_id = f.user_id AND e.intent_id = f.intent_id
                              JOIN user_trades AS t ON t.user_id = f.user_id AND t.trade_id = f.trade_id
                              WHERE f.user_id = $1 AND f.session_id = $2 AND t.status = 'OPEN'))
        ORDER BY created_at, intent_id
        """,
        user_id,
        session_id,
        FINAL,
    )
    return [_intent(row) for row in rows]


def _intent(row: Mapping[str, object]) -> Intent:
    return Intent(**{**row, "state": IntentState(str(row["state"]))})  # type: ignore[arg-type]


async def end_decisions(connection: Connection, ended: Sequence[tuple[int, UUID, datetime]]) -> None:
    """End the decisions whose orders are done: filled, stale, refused by the exchange, or dropped. `ended`: tenant,
    intent, and the bar until which the decision was pending."""
    await connection.execute(
        """
        UPDATE decisions AS d SET until = ended.until,
            outcome = CASE WHEN i.filled > 0 THEN 'filled' WHEN i.state = 'STALE' THEN 'stale'
                           WHEN i.state = 'REJECTED' THEN 'refused' ELSE 'dropped' END,
            refusal = CASE WHEN i.filled = 0 AND i.state = 'REJECTED' THEN 'order_refused' END
        FROM unnest($1::bigint[], $2::uuid[], $3::timestamptz[]) AS ended (user_id, intent_id, until)
             JOIN order_intents AS i USING (user_id, intent_id)
        WHERE d.user_id = i.user_id AND d.decision_id = i.decision_id AND d.outcome = 'pending'
              AND (i.leg = 'entry' AND i.state = ANY ($4::text[])
                   OR i.leg = 'exit' AND (i.filled > 0 OR i.state = 'DROPPED'))
        """,
        *arrays_of(ended),
        FINAL,
    )


async def count_out(connection: Connection, written: Sequence[tuple[int, UUID]]) -> None:
    """Give back the trades of the plan that entries were counted as, where they ended without a fill."""
    await connection.execute(
        """
        WITH unfilled AS (
            UPDATE order_intents AS i SET counted_in = NULL
            FROM unnest($1::bigint[], $2::uuid[]) AS new (user_id, intent_id)
                 JOIN order_intents AS o USING (user_id, intent_id)
            WHERE i.user_id = new.user_id AND i.intent_id = new.intent_id AND i.counted_in IS NOT NULL
                  AND i.filled = 0 AND i.state = ANY ($3::text[])
            RETURNING i.user_id, o.counted_in AS period_start
        )
        UPDATE live_entry_counts AS c SET entries = c.entries - u.entries
        FROM (SELECT user_id, period_start, count(*) AS entries FROM unfilled GROUP BY 1, 2) AS u
        WHERE c.user_id = u.user_id AND c.period_start = u.period_start
        """,
        *arrays_of(written),
        FINAL,
    )


async def find_ids(connection: Connection, links: Sequence[tuple[int, str]]) -> dict[str, UUID]:
    """Return the ids of intents by their link ids (tenant, link id), which are unique over all tenants."""
    rows = await connection.fetch(
        """
        SELECT link_id, intent_id FROM order_intents
        JOIN unnest($1::bigint[], $2::text[]) AS wanted (user_id, link_id) USING (user_id, link_id)
        """,
        *arrays_of(links),
    )
    return {row["link_id"]: row["intent_id"] for row in rows}


@dataclass(frozen=True)
class OrderRow:
    """An intent as the API shows it."""

    intent_id: UUID
    session_id: UUID
    decision_id: UUID | None
    link_id: str
    order_id: str | None
    bar: datetime
    leg: str
    attempt: int
    side: str
    quantity: Decimal
    price: Decimal | None
    stop_loss: Decimal | None
    reduce_only: bool
    reason: str
    state: str
    filled: Decimal
    notional: Decimal
    fee: Decimal
    refusal: str | None
    venue_code: int | None
    venue_message: str | None
    send_before: datetime | None
    sent_at: datetime | None
    recorded_at: datetime
    updated_at: datetime

    @property
    def average_price(self) -> Decimal | None:
        return quantised_quotient(self.notional, self.filled) if self.filled else None


ORDERS = {"created_at": Order(recorded_at=datetime, intent_id=UUID)}
ORDER_COLUMNS = ", ".join(field.name for field in fields(OrderRow))


async def list_orders(
    connection: Connection, user_id: int, session_id: UUID, state: str | None, wanted: Slice
) -> list[OrderRow]:
    rows = await connection.fetch(
        f"""
        SELECT {ORDER_COLUMNS} FROM order_intents
        WHERE user_id = $1 AND session_id = $2 AND ($3::text IS NULL OR state = $3) {wanted.sql(4)}
        """,
        user_id,
        session_id,
        state,
        *wanted.arguments,
    )
    return [OrderRow(**row) for row in rows]


async def list_missed_entries(connection: Connection, user_id: int, session_id: UUID) -> list[datetime]:
    """Return the bars whose entry has no fill: stale, dropped, refused or cancelled."""
    rows = await connection.fetch(
        """
        SELECT bar FROM order_intents WHERE user_id = $1 AND session_id = $2 AND leg = 'entry'
        GROUP BY bar HAVING sum(filled) = 0
        """,
        user_id,
        session_id,
    )
    return [row["bar"] for row in rows]


async def find_expected_prices(
    connection: Connection, decided: Sequence[tuple[int, UUID, datetime]]
) -> dict[UUID, Decimal]:
    """Return the close of the bar at which each of these sessions decided. `decided`: tenant, session and bar."""
    rows = await connection.fetch(
        """
        SELECT s.session_id, c.close
        FROM unnest($1::bigint[], $2::uuid[], $3::timestamptz[]) AS decided (user_id, session_id, bar)
             JOIN user_trading_sessions AS s USING (user_id, session_id)
             JOIN series AS r ON r.venue = s.venue AND r.symbol = s.symbol AND r.interval = s.interval
                                 AND r.generation = s.generation
             JOIN candles AS c ON c.series_id = r.series_id AND c.open_time = decided.bar
        """,
        *arrays_of(decided),
    )
    return {row["session_id"]: row["close"] for row in rows}
