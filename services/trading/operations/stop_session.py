"""Stop a session: drop its pending order and close its position at the last price the session has seen."""

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from services.trading.domain import StopReason
from services.trading.operations.execution_settings import first_bar_ms_of, strategy_of, terms_of
from services.trading.operations.hold_to_plan import hold_to_plan
from services.trading.operations.pause_session import lock_session
from services.trading.operations.record_step import last_opened_bar, write_stop
from services.trading.queries import candles, controls, sessions, trades
from services.trading.queries.restrictions import Restriction, insert_restriction
from services.trading.queries.sessions import SessionRow
from shared.chassis.events.outbox import emit
from shared.chassis.postgres import Connection
from shared.contracts.trading import SessionStopped
from shared.contracts.types import from_ms, to_ms
from shared.market.demand import delete_demand
from shared.strategy.document.parse import Strategy
from shared.strategy.execution.fingerprint import fingerprint
from shared.strategy.execution.outcome import StepOutcome
from shared.strategy.execution.steps import Execution


async def stop_session(
    connection: Connection, user_id: int, session_id: UUID, reason: StopReason, venue_now: datetime
) -> SessionRow:
    """Drop a pending entry and close the position at the last price the session has seen. Idempotent. Raises
    NotFound.

    A live session is STOPPING until its worker has cancelled its orders and closed its position on the exchange.
    """
    session = await lock_session(connection, user_id, session_id)
    if session.status in ("STOPPING", "STOPPED"):
        return session
    if not session.is_paper_trading:
        return await _begin_stop(connection, session, reason)
    stopped = await _stop(connection, session, reason, venue_now)
    await hold_to_plan(connection, user_id)
    return stopped


async def _begin_stop(connection: Connection, session: SessionRow, reason: StopReason) -> SessionRow:
    user_id, session_id = session.user_id, session.session_id
    await sessions.begin_stop(connection, user_id, session_id, reason)
    await controls.set_stopping(connection, user_id, session_id, reason)
    await insert_restriction(connection, user_id, session_id, Restriction("STOPPING", reason, session.last_bar))
    return await sessions.get_session(connection, user_id, session_id)


async def _stop(connection: Connection, session: SessionRow, reason: StopReason, venue_now: datetime) -> SessionRow:
    user_id, session_id = session.user_id, session.session_id
    strategy = strategy_of(session.strategy_config)
    await sessions.delete_lease(connection, user_id, session_id)
    await delete_demand(connection, user_id, session_id)
    outcome, note = await _close_position(connection, session, strategy, reason)
    open_trade = await trades.find_open_trade(connection, user_id, session_id)
    totals, seq = await write_stop(connection, session, strategy.name, outcome, open_trade, more_events=1)
    final = totals.equity(session.initial_balance)
    await insert_restriction(connection, user_id, session_id, note)
    filled = await trades.list_session_fills(connection, user_id, session_id)
    stopped = await sessions.end_session(
        connection,
        user_id,
        session_id,
        reason=reason,
        end_time=venue_now,
        final_balance=final,
        fingerprint=fingerprint(filled),
    )
    await emit(
        connection,
        SessionStopped(
            user_id=user_id,
            public_id=session.public_id,
            aggregate=f"session:{session_id}",
            aggregate_seq=seq,
            session_id=session_id,
            symbol=session.symbol,
            mode="PAPER",
            initial_balance=session.initial_balance,
            final_balance=final,
            total_pnl=totals.total_pnl,
            total_trades=totals.total_trades,
            reason=reason,
            stopped_at=venue_now,
        ),
    )
    return stopped


async def _close_position(
    connection: Connection, session: SessionRow, strategy: Strategy, reason: StopReason
) -> tuple[StepOutcome, Restriction]:
    """Return the outcome of closing at the last price, which is empty for a session that never stepped, and the
    restriction to record."""
    note = Restriction("STOPPED", reason, session.last_bar)
    if session.snapshot is None or session.last_bar is None:
        return StepOutcome(), note
    execution = Execution.restore(strategy, terms_of(session), first_bar_ms_of(session), session.snapshot)
    if (opened := last_opened_bar(session.snapshot)) is not None and opened > session.last_bar:
        note = replace(note, opened_bar=opened)
    if execution.position is None:
        return execution.stop(to_ms(session.last_bar), Decimal(1), reason), note
    time_ms, price = await _last_price(connection, session)
    note = replace(note, price_bar=from_ms(time_ms), price=price)
    return execution.stop(time_ms, price, reason), note


async def _last_price(connection: Connection, session: SessionRow) -> tuple[int, Decimal]:
    """Return the close of the session's last bar, or the open of the bar announced since; with its time in ms."""
    assert session.last_bar is not None, "a position needs a bar"
    series = await candles.find_series(
        connection, session.venue, session.symbol, session.interval, session.generation
    )
    assert series is not None, "the session stepped through it"
    seen = session.last_bar
    if series.opened_time is not None and series.opened_price is not None and series.opened_time > seen:
        between = await candles.list_bars_between(connection, series.series_id, seen, series.opened_time, 2)
        if len(between) == 1 or last_opened_bar(session.snapshot or {}) == series.opened_time:
            return to_ms(series.opened_time), series.opened_price
    bar = await candles.find_bar(connection, series.series_id, seen)
    assert bar is not None, "confirmed bars are never deleted"
    return bar.open_time_ms, bar.close
