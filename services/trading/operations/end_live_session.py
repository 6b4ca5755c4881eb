"""Changes of a live session that alter its lease: its entries stop or are allowed again, or its stop is done."""

from services.trading.operations.block_entries import block_entries, unblock_entries
from services.trading.operations.hold_to_plan import hold_to_plan
from services.trading.operations.pause_session import lock_session
from services.trading.operations.write_orders import OrderRecord, Written, write_orders
from services.trading.queries import alarms, controls, decisions, sessions, trades
from services.trading.queries.restrictions import Restriction, insert_restriction
from shared.chassis.events.outbox import emit
from shared.chassis.postgres import Connection
from shared.contracts.trading import SessionStopped
from shared.market.demand import delete_demand
from shared.strategy.execution.fingerprint import fingerprint


async def write_alone(connection: Connection, record: OrderRecord) -> Written:
    """Write a change and alter the lease. Nothing is written if the change cannot be; see `write_orders`."""
    user_id, session_id = record.lease.user_id, record.lease.session_id
    await lock_session(connection, user_id, session_id)
    written = await write_orders(connection, [record])
    if session_id not in written.results:
        return written
    if record.change.freezes:
        await block_entries(connection, user_id, [session_id], "FROZEN")
        await controls.withdraw_answer(connection, user_id, session_id)
    if record.change.thaws:
        await sessions.ignore_orders(connection, user_id, session_id, record.change.ignored_orders)
        await unblock_entries(connection, user_id, [session_id], "FROZEN")
    if record.change.fails:
        await block_entries(connection, user_id, [session_id], "FAILED")
    if record.change.recovers:
        await unblock_entries(connection, user_id, [session_id], "FAILED")
    if record.change.ends:
        await _end(connection, record)
        await hold_to_plan(connection, user_id)
    return written


async def _end(connection: Connection, record: OrderRecord) -> None:
    user_id, session_id = record.lease.user_id, record.lease.session_id
    session = await sessions.get_session(connection, user_id, session_id)
    reason = session.stop_reason or "manual"
    await sessions.delete_lease(connection, user_id, session_id)
    await sessions.release_symbol(connection, session_id)
    await delete_demand(connection, user_id, session_id)
    if session.last_bar is not None:
        await decisions.end_all(connection, user_id, session_id, session.last_bar)
    filled = await trades.list_session_fills(connection, user_id, session_id)
    closed = filled[-1] if filled and filled[-1].reason == reason else None
    note = Restriction(
        "STOPPED",
        reason,
        session.last_bar,
        price_bar=session.last_bar if closed else None,
        price=closed.price if closed else None,
    )
    await insert_restriction(connection, user_id, session_id, note)
    final = session.totals.equity(session.initial_balance)
    await sessions.end_session(
        connection,
        user_id,
        session_id,
        reason=reason,
        end_time=record.now,
        final_balance=final,
        fingerprint=fingerprint(filled),
    )
    (numbered,) = await alarms.increment_event_seq(connection, [user_id], [session_id])
    await emit(
        connection,
        SessionStopped(
            user_id=user_id,
            public_id=session.public_id,
            aggregate=f"session:{session_id}",
            aggregate_seq=numbered.event_seq,
            session_id=session_id,
            symbol=session.symbol,
            mode="LIVE",
            initial_balance=session.initial_balance,
            final_balance=final,
            total_pnl=session.total_pnl,
            total_trades=session.total_trades,
            reason=reason,
            stopped_at=record.now,
        ),
    )
