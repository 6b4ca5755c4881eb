"""Sessions and their leases."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from services.trading.domain import (
    Awaited,
    ConfigurationLimits,
    Entries,
    RunningSession,
    SessionStatus,
    SessionTotals,
    Waiting,
)
from services.trading.exchange.venue import SlippageTolerance
from shared.chassis.errors import require_found
from shared.chassis.listing import Order, Slice
from shared.chassis.postgres import Connection, insert_of
from shared.chassis.row_arrays import arrays_of
from shared.strategy.bars import Instrument

LEASE = timedelta(seconds=10)


@dataclass(frozen=True, kw_only=True)
class NewSession:
    """A session to be written. Without an instrument, its worker takes the stored one."""

    user_id: int
    session_id: UUID
    public_id: UUID
    strategy_id: UUID
    strategy_version: int
    strategy_hash: str
    bot_configuration_id: UUID | None
    max_position_size: Decimal | None
    stop_loss_percentage: Decimal | None
    take_profit_percentage: Decimal | None
    min_stop_distance_percentage: Decimal | None
    venue: str
    symbol: str
    interval: str
    strategy_config: Mapping[str, object]
    is_paper_trading: bool
    start_time: datetime
    notes: str | None
    initial_balance: Decimal
    highest_equity: Decimal
    fee_rate: Decimal
    slippage: Decimal
    event_seq: int
    exchange_account_id: UUID | None = None
    slippage_tolerance_ticks: int | None = None
    slippage_tolerance_percentage: Decimal | None = None
    max_order_quantity: Decimal | None = None
    tick_size: Decimal | None = None
    qty_step: Decimal | None = None
    min_order_qty: Decimal | None = None
    min_notional: Decimal | None = None


@dataclass(frozen=True, kw_only=True)
class SessionRow(NewSession):
    """A session as the API and the worker need it."""

    generation: int | None
    status: SessionStatus
    stop_reason: str | None
    end_time: datetime | None
    final_balance: Decimal | None
    total_trades: int
    winning_trades: int
    losing_trades: int
    total_pnl: Decimal
    max_drawdown: Decimal
    first_bar: datetime | None
    last_bar: datetime | None
    snapshot: Mapping[str, object] | None
    fingerprint: str
    fill_count: int
    revision: int
    ended_at: datetime | None
    ignored_orders: Sequence[str]
    ignored_quantity: Decimal
    funding: Decimal
    created_at: datetime
    updated_at: datetime

    @property
    def totals(self) -> SessionTotals:
        return SessionTotals(
            self.total_trades,
            self.winning_trades,
            self.losing_trades,
            self.total_pnl,
            self.highest_equity,
            self.max_drawdown,
        )

    @property
    def tolerance(self) -> SlippageTolerance | None:
        """How far from the price at arrival an entry may fill."""
        if self.slippage_tolerance_ticks is not None:
            return SlippageTolerance("TICKS", Decimal(self.slippage_tolerance_ticks))
        percentage = self.slippage_tolerance_percentage
        return SlippageTolerance("PERCENT", percentage) if percentage is not None else None

    @property
    def limits(self) -> ConfigurationLimits:
        """The bot configuration's limits when the session was started."""
        return ConfigurationLimits(
            self.max_position_size,
            self.stop_loss_percentage,
            self.take_profit_percentage,
            self.min_stop_distance_percentage,
        )


ORDERS = {
    "created_at": Order(created_at=datetime, session_id=UUID),
    "start_time": Order(start_time=datetime, session_id=UUID),
}
OF_CURSOR = ("first_bar", "last_bar")
COLUMNS = ", ".join(
    f"{'c' if field.name in OF_CURSOR else 's'}.{field.name}"
    for field in fields(SessionRow)
    if field.name not in ("updated_at", "funding")
)
SELECT = f"""
    SELECT {COLUMNS}, greatest(s.updated_at, c.moved_at) AS updated_at,
           (SELECT coalesce(sum(p.amount), 0) FROM funding_payments AS p
            WHERE p.user_id = s.user_id AND p.session_id = s.session_id) AS funding
    FROM user_trading_sessions AS s JOIN session_cursors AS c USING (user_id, session_id)
"""
INSERT_SESSION = insert_of("user_trading_sessions", NewSession.__dataclass_fields__)


@dataclass(frozen=True)
class SessionLease:
    """A worker's right to step a session; every write carries the epoch. `taken_over`: the worker before did not
    release it, as it was claimed."""

    user_id: int
    session_id: UUID
    epoch: int
    entries: Entries
    silent_since: datetime | None = None  # no bar has come since then, by the exchange's clock
    waiting_for: Awaited | None = None
    taken_over: bool = False


async def insert_session(connection: Connection, new: NewSession) -> SessionRow:
    await connection.execute(INSERT_SESSION, *vars(new).values())
    await connection.execute(
        "INSERT INTO session_cursors (user_id, session_id) VALUES ($1, $2)", new.user_id, new.session_id
    )
    return await get_session(connection, new.user_id, new.session_id)


async def insert_lease(connection: Connection, user_id: int, session_id: UUID) -> None:
    await connection.execute(
        "INSERT INTO session_leases (user_id, session_id) VALUES ($1, $2)", user_id, session_id
    )


async def set_interest_generation(connection: Connection, user_id: int, session_id: UUID, generation: int) -> None:
    """Set the generation that the feed publishes while the session runs, if none is set yet.

    Sessions from before there were generations get theirs here too.
    """
    await connection.execute(
        """
        UPDATE market_interests SET generation = $3
        WHERE user_id = $1 AND object_id = $2 AND generation IS NULL
        """,
        user_id,
        session_id,
        generation,
    )


async def find_session(
    connection: Connection, user_id: int, session_id: UUID, *, lock: bool = False
) -> SessionRow | None:
    """With `lock`, lock the session's row; its cursor has a lock of its own (`lock_cursor`)."""
    row = await connection.fetchrow(
        f"{SELECT} WHERE s.user_id = $1 AND s.session_id = $2 {'FOR UPDATE OF s' if lock else ''}",
        user_id,
        session_id,
    )
    return SessionRow(**row) if row else None


async def get_session(connection: Connection, user_id: int, session_id: UUID, *, lock: bool = False) -> SessionRow:
    """Raises NotFound."""
    return require_found(await find_session(connection, user_id, session_id, lock=lock))


@dataclass(frozen=True)
class SessionFilter:
    """None: any. The start time is from `first` on and before `last`."""

    status: SessionStatus | None = None
    symbol: str | None = None
    is_paper_trading: bool | None = None
    strategy_id: UUID | None = None
    first: datetime | None = None
    last: datetime | None = None


async def list_sessions(
    connection: Connection, user_id: int, criteria: SessionFilter, wanted: Slice
) -> list[SessionRow]:
    rows = await connection.fetch(
        f"""
        {SELECT}
        WHERE s.user_id = $1 AND ($2::text IS NULL OR s.status = $2) AND ($3::text IS NULL OR s.symbol = $3)
              AND ($4::boolean IS NULL OR s.is_paper_trading = $4) AND ($5::uuid IS NULL OR s.strategy_id = $5)
              AND ($6::timestamptz IS NULL OR s.start_time >= $6)
              AND ($7::timestamptz IS NULL OR s.start_time < $7)
              {wanted.sql(8, "s")}
        """,
        user_id,
        criteria.status,
        criteria.symbol,
        criteria.is_paper_trading,
        criteria.strategy_id,
        criteria.first,
        criteria.last,
        *wanted.arguments,
    )
    return [SessionRow(**row) for row in rows]


async def insert_locator(connection: Connection, user_id: int, session_id: UUID) -> None:
    """Register the session's owner, so that callers that have only the session's id can find them."""
    await connection.execute("SELECT locate_session($1, $2)", session_id, user_id)


async def locate_session(connection: Connection, session_id: UUID) -> int | None:
    """Return the session's owner; None if unknown."""
    user_id: int | None = await connection.fetchval("SELECT locate_session($1)", session_id)
    return user_id


async def update_notes(connection: Connection, user_id: int, session_id: UUID, notes: str | None) -> SessionRow:
    await connection.execute(
        """
        UPDATE user_trading_sessions SET notes = $3, revision = revision + 1 WHERE user_id = $1 AND session_id = $2
        """,
        user_id,
        session_id,
        notes,
    )
    return await get_session(connection, user_id, session_id)


async def list_running(connection: Connection, user_id: int) -> list[RunningSession]:
    """List sessions that are not stopped, oldest first."""
    rows = await connection.fetch(
        """
        SELECT session_id, strategy_id, symbol FROM user_trading_sessions
        WHERE user_id = $1 AND status <> 'STOPPED' ORDER BY created_at, session_id
        """,
        user_id,
    )
    return [RunningSession(**row) for row in rows]


async def set_status(connection: Connection, user_id: int, session_id: UUID, status: SessionStatus) -> None:
    await connection.execute(
        "UPDATE user_trading_sessions SET status = $3 WHERE user_id = $1 AND session_id = $2",
        user_id,
        session_id,
        status,
    )


async def lock_cursor(connection: Connection, user_id: int, session_id: UUID) -> None:
    """Lock the cursor, so that no step moves it until this transaction ends. Do so after locking the lease."""
    await connection.execute(
        "SELECT FROM session_cursors WHERE user_id = $1 AND session_id = $2 FOR UPDATE", user_id, session_id
    )


async def lock_held_lease(connection: Connection, lease: SessionLease) -> bool:
    """Lock the lease; returns whether it is still held under this epoch."""
    found = await connection.fetchval(
        "SELECT 1 FROM session_leases WHERE user_id = $1 AND session_id = $2 AND epoch = $3 FOR UPDATE",
        lease.user_id,
        lease.session_id,
        lease.epoch,
    )
    return found is not None


async def set_entries(connection: Connection, user_id: int, session_ids: Sequence[UUID], entries: Entries) -> None:
    """Set which entries the worker allows. It reads this at each renewal, and each commit of a step checks it."""
    await connection.execute(
        "UPDATE session_leases SET entries = $3 WHERE user_id = $1 AND session_id = ANY ($2::uuid[])",
        user_id,
        session_ids,
        entries,
    )


async def get_entries(connection: Connection, user_id: int) -> dict[UUID, Entries]:
    """Return which entries the tenant and their plan allow each running session, and lock their leases."""
    rows = await connection.fetch(
        "SELECT session_id, entries FROM session_leases WHERE user_id = $1 ORDER BY session_id FOR UPDATE", user_id
    )
    return {row["session_id"]: row["entries"] for row in rows}


@dataclass(frozen=True)
class RunState:
    """The entries a running session is allowed, and the overdue bar that it waits for."""

    entries: Entries
    waiting: Waiting | None


async def list_run_states(
    connection: Connection, user_id: int, session_ids: Sequence[UUID]
) -> dict[UUID, RunState]:
    """Return the states of those sessions that run."""
    rows = await connection.fetch(
        """
        SELECT session_id, allows, waiting_for, waiting_since, waiting_expected FROM session_leases
        WHERE user_id = $1 AND session_id = ANY ($2::uuid[])
        """,
        user_id,
        session_ids,
    )
    return {
        session_id: RunState(entries, Waiting(*waiting) if waiting[0] is not None else None)
        for session_id, entries, *waiting in map(tuple, rows)
    }


async def touch_sessions(connection: Connection, users: Collection[int], session_ids: Sequence[UUID]) -> None:
    """Update `updated_at`, so that ETags change: the API shows parts of the lease with the session."""
    await connection.execute(
        """
        UPDATE user_trading_sessions SET updated_at = now()
        WHERE user_id = ANY ($1::bigint[]) AND session_id = ANY ($2::uuid[])
        """,
        users,
        session_ids,
    )


async def delete_lease(connection: Connection, user_id: int, session_id: UUID) -> None:
    """Delete the lease. The worker that holds it notices at its next write, which changes no row."""
    await connection.execute(
        "DELETE FROM session_leases WHERE user_id = $1 AND session_id = $2", user_id, session_id
    )


async def claim_symbol(
    connection: Connection, environment: str, exchange_uid: str, symbol: str, session_id: UUID
) -> bool:
    """Claim a symbol of an exchange account for a live session; False if another live session has it."""
    claimed: bool = await connection.fetchval(
        "SELECT claim_live_symbol($1, $2, $3, $4)", environment, exchange_uid, symbol, session_id
    )
    return claimed


async def release_symbol(connection: Connection, session_id: UUID) -> None:
    await connection.execute("SELECT release_live_symbol($1)", session_id)


async def ignore_orders(connection: Connection, user_id: int, session_id: UUID, order_ids: Sequence[str]) -> None:
    """Add foreign orders that the tenant lets stand beside a live session."""
    await connection.execute(
        """
        UPDATE user_trading_sessions SET ignored_orders = ignored_orders || $3::text[]
        WHERE user_id = $1 AND session_id = $2
        """,
        user_id,
        session_id,
        order_ids,
    )


async def set_ignored_quantities(connection: Connection, ignored: Sequence[tuple[int, UUID, Decimal]]) -> None:
    """Set how much of the position on the exchange is not each session's (tenant, session, quantity)."""
    await connection.execute(
        """
        UPDATE user_trading_sessions AS s SET ignored_quantity = new.quantity
        FROM unnest($1::bigint[], $2::uuid[], $3::numeric[]) AS new (user_id, session_id, quantity)
        WHERE s.user_id = new.user_id AND s.session_id = new.session_id
        """,
        *arrays_of(ignored),
    )


async def begin_stop(connection: Connection, user_id: int, session_id: UUID, reason: str) -> None:
    """Mark a live session as stopping, with the reason of its stop."""
    await connection.execute(
        """
        UPDATE user_trading_sessions SET status = 'STOPPING', stop_reason = $3
        WHERE user_id = $1 AND session_id = $2
        """,
        user_id,
        session_id,
        reason,
    )


async def end_session(
    connection: Connection,
    user_id: int,
    session_id: UUID,
    *,
    reason: str,
    end_time: datetime,
    final_balance: Decimal,
    fingerprint: str,
) -> SessionRow:
    """Stop the session. The caller has locked its cursor: a step that waits for it will not move it any more."""
    await connection.execute(
        "UPDATE session_cursors SET ended = true WHERE user_id = $1 AND session_id = $2", user_id, session_id
    )
    await connection.execute(
        """
        UPDATE user_trading_sessions SET status = 'STOPPED', stop_reason = $3, end_time = $4, final_balance = $5,
               fingerprint = $6, ended_at = now() WHERE user_id = $1 AND session_id = $2
        """,
        user_id,
        session_id,
        reason,
        end_time,
        final_balance,
        fingerprint,
    )
    return await get_session(connection, user_id, session_id)


async def set_instrument(connection: Connection, user_id: int, session_id: UUID, instrument: Instrument) -> None:
    """Set the instrument that the session starts with; only if none is set yet."""
    await connection.execute(
        """
        UPDATE user_trading_sessions SET tick_size = $3, qty_step = $4, min_order_qty = $5, min_notional = $6
        WHERE user_id = $1 AND session_id = $2 AND tick_size IS NULL
        """,
        user_id,
        session_id,
        *astuple(instrument),
    )


async def set_generation(connection: Connection, lease: SessionLease, generation: int) -> None:
    """Set the generation that the session runs on, when it is first loaded; only if none is set yet."""
    await connection.execute(
        """
        UPDATE user_trading_sessions SET generation = $3
        WHERE user_id = $1 AND session_id = $2 AND generation IS NULL
        """,
        lease.user_id,
        lease.session_id,
        generation,
    )
