"""Start, pause, resume and stop a session; hold sessions to a plan that changed."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import cast
from uuid import UUID

from services.trading.bybit_api import VENUE
from services.trading.domain import (
    Entries,
    RunningSession,
    StopReason,
    exceeded_limit,
    sessions_within,
)
from services.trading.errors import LiveTradingOff, PlanLimitReached, SessionEnded
from services.trading.operations.book import write_stop
from services.trading.operations.terms import strategy_of, terms_of
from services.trading.queries import candles, configurations, entitlements, sessions, strategies, trades
from services.trading.queries.sessions import SessionRow
from shared.chassis.auth import Principal
from shared.chassis.errors import AccountNotReady, InvalidInput, NotFound
from shared.chassis.outbox import emit
from shared.chassis.postgres import Connection, Database
from shared.contracts.trading import SessionStarted, SessionStopped
from shared.contracts.types import from_ms, new_id, to_ms
from shared.strategy.document import Strategy
from shared.strategy.execution import Execution
from shared.strategy.outcome import Outcome


@dataclass(frozen=True)
class StartRequest:
    strategy_id: UUID
    version: int | None
    bot_configuration_id: UUID | None
    symbol: str
    mode: str
    initial_balance: Decimal


@dataclass(frozen=True)
class PaperTerms:
    """What paper trading costs."""

    fee: Decimal
    slippage: Decimal


async def start_session(
    database: Database, caller: Principal, request: StartRequest, paper: PaperTerms, venue_now: datetime
) -> SessionRow:
    """Limits are checked in the transaction that starts it, the tenant's plan locked: of racing starts for one
    free place one wins."""
    if request.mode == "LIVE":
        raise LiveTradingOff("sessions run on paper here; trading with real orders has to be turned on first")
    async with database.tenant(caller.user_id) as connection:
        limits = await entitlements.get_plan_limits(connection, caller.user_id, lock=True)
        if limits is None:
            raise AccountNotReady(retry_after_s=1)
        strategy = await strategies.get_strategy(connection, caller.user_id, request.strategy_id)
        if strategy is None or not strategy.is_active:
            raise _missing("strategy_id", "strategy")
        version = await strategies.get_version(
            connection, caller.user_id, request.strategy_id, request.version or strategy.version
        )
        if version is None:
            raise _missing("version", "version of the strategy")
        configuration_id = await _configuration_of(connection, caller.user_id, request.bot_configuration_id)
        running = await sessions.list_running(connection, caller.user_id)
        wanted = RunningSession(new_id(), request.strategy_id, request.symbol)
        if (exceeded := exceeded_limit(limits, running, wanted)) is not None:
            what = exceeded.name.removeprefix("max_").replace("_", " ")
            raise PlanLimitReached(
                f"the plan {limits.plan} allows {exceeded.limit} {what}, {exceeded.used} in use",
                limit=exceeded.name,
                allowed=exceeded.limit,
                used=exceeded.used,
                plan=limits.plan,
            )
        document = strategy_of(version.document)
        await _insert(connection, caller, request, paper, venue_now, wanted, version, document, configuration_id)
        created = await sessions.get_session(connection, caller.user_id, wanted.session_id)
    assert created is not None, "inserted above"
    return created


def _missing(field: str, what: str) -> InvalidInput:
    return InvalidInput(errors=[{"path": f"$.{field}", "reason": f"there is no such {what}"}])


async def _configuration_of(connection: Connection, user_id: int, wanted: UUID | None) -> UUID | None:
    """The one asked for, else the default one, else none."""
    if wanted is None:
        default = await configurations.get_default_configuration(connection, user_id)
        found = default
    else:
        found = await configurations.get_configuration(connection, user_id, wanted)
        if found is None or not found.is_active:
            raise _missing("bot_configuration_id", "active bot configuration")
    if found is None:
        return None
    await configurations.count_use(connection, user_id, found.bot_configuration_id)
    return found.bot_configuration_id


async def _insert(
    connection: Connection,
    caller: Principal,
    request: StartRequest,
    paper: PaperTerms,
    venue_now: datetime,
    wanted: RunningSession,
    version: strategies.VersionRow,
    document: Strategy,
    configuration_id: UUID | None,
) -> None:
    values: dict[str, object] = {
        "user_id": caller.user_id,
        "session_id": wanted.session_id,
        "public_id": caller.public_id,
        "strategy_id": wanted.strategy_id,
        "strategy_version": version.version,
        "strategy_hash": version.content_hash,
        "bot_configuration_id": configuration_id,
        "venue": VENUE,
        "symbol": request.symbol,
        "interval": document.interval,
        "strategy_config": version.document,
        "is_paper_trading": True,
        "start_time": venue_now,
        "initial_balance": request.initial_balance,
        "highest_equity": request.initial_balance,
        "fee_rate": paper.fee,
        "slippage": paper.slippage,
        "event_seq": 1,
    }
    await sessions.insert_session(connection, values)
    await sessions.insert_lease(connection, caller.user_id, wanted.session_id)
    await sessions.insert_interest(connection, caller.user_id, wanted.session_id, request.symbol, document.interval)
    await emit(
        connection,
        SessionStarted(
            user_id=caller.user_id,
            public_id=caller.public_id,
            aggregate=f"session:{wanted.session_id}",
            aggregate_seq=1,
            session_id=wanted.session_id,
            symbol=request.symbol,
            interval=document.interval,
            mode="PAPER",
            initial_balance=request.initial_balance,
            strategy_id=wanted.strategy_id,
            strategy_name=document.name,
            strategy_hash=version.content_hash,
            started_at=venue_now,
        ),
    )


async def pause_session(database: Database, user_id: int, session_id: UUID) -> SessionRow:
    """No entries from the next close on; exits, stops and targets go on. Pausing twice is once."""
    return await _switch(database, user_id, session_id, "PAUSED")


async def resume_session(database: Database, user_id: int, session_id: UUID) -> SessionRow:
    return await _switch(database, user_id, session_id, "ALLOWED")


async def _switch(database: Database, user_id: int, session_id: UUID, entries: Entries) -> SessionRow:
    status, kind = ("PAUSED", "PAUSED") if entries == "PAUSED" else ("ACTIVE", "RESUMED")
    async with database.tenant(user_id) as connection:
        session = await _lock(connection, user_id, session_id)
        if session.status == "STOPPED":
            raise SessionEnded
        if session.status != status:
            await sessions.set_status(connection, user_id, session_id, "PAUSED" if kind == "PAUSED" else "ACTIVE")
            await sessions.set_entries(connection, user_id, [session_id], entries)
            await sessions.insert_restriction(connection, user_id, session_id, kind, None, session.last_bar)
            if entries == "ALLOWED":
                await hold_to_plan(connection, user_id)
        found = await sessions.get_session(connection, user_id, session_id)
    assert found is not None, "locked above"
    return found


async def _lock(connection: Connection, user_id: int, session_id: UUID) -> SessionRow:
    session = await sessions.get_session(connection, user_id, session_id, lock=True)
    if session is None:
        raise NotFound
    return session


async def hold_to_plan(connection: Connection, user_id: int) -> None:
    """After a change of plan: the sessions started first keep entering, the others may only leave."""
    limits = await entitlements.get_plan_limits(connection, user_id)
    if limits is None:
        return
    running = await sessions.list_running(connection, user_id)
    within = sessions_within(limits, running)
    entries = await sessions.get_entries(connection, user_id)
    for session in running:
        now_limited = session.session_id not in within
        was = entries.get(session.session_id)
        if was == "ALLOWED" and now_limited:
            await _note_plan(connection, user_id, session.session_id, "PLAN_LIMIT", "PLAN_LIMIT", limits.plan)
        elif was == "PLAN_LIMIT" and not now_limited:
            await _note_plan(connection, user_id, session.session_id, "ALLOWED", "PLAN_LIMIT_LIFTED", limits.plan)


async def _note_plan(
    connection: Connection, user_id: int, session_id: UUID, entries: Entries, kind: str, plan: str
) -> None:
    session = await sessions.get_session(connection, user_id, session_id)
    await sessions.set_entries(connection, user_id, [session_id], entries)
    after = session.last_bar if session else None
    await sessions.insert_restriction(connection, user_id, session_id, kind, plan, after)


async def stop_session(
    database: Database, user_id: int, session_id: UUID, reason: StopReason, venue_now: datetime
) -> SessionRow:
    """Drops a pending entry and closes at the last price the session has seen. Stopping twice is once."""
    async with database.tenant(user_id) as connection:
        session = await _lock(connection, user_id, session_id)
        if session.status != "STOPPED":
            await _stop(connection, session, reason, venue_now)
        found = await sessions.get_session(connection, user_id, session_id)
    assert found is not None, "locked above"
    return found


async def _stop(connection: Connection, session: SessionRow, reason: StopReason, venue_now: datetime) -> None:
    user_id, session_id = session.user_id, session.session_id
    strategy = strategy_of(session.strategy_config)
    await sessions.delete_lease(connection, user_id, session_id)
    await sessions.delete_interest(connection, user_id, session_id)
    outcome = await _closing(connection, session, strategy, reason)
    open_trade = await trades.get_open_trade(connection, user_id, session_id)
    totals, seq = await write_stop(connection, session, strategy.name, outcome, open_trade, more_events=1)
    final = session.initial_balance + totals.total_pnl
    await sessions.insert_restriction(connection, user_id, session_id, "STOPPED", reason, session.last_bar)
    await sessions.end_session(
        connection, user_id, session_id, reason=reason, end_time=venue_now, final_balance=final
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
            mode="PAPER" if session.is_paper_trading else "LIVE",
            initial_balance=session.initial_balance,
            final_balance=final,
            total_pnl=totals.total_pnl,
            total_trades=totals.total_trades,
            reason=reason,
            stopped_at=venue_now,
        ),
    )


async def _closing(connection: Connection, session: SessionRow, strategy: Strategy, reason: StopReason) -> Outcome:
    """What closing at the last price brings; nothing for a session that never stepped."""
    if session.snapshot is None or session.last_bar is None:
        return Outcome()
    execution = Execution.restore(strategy, terms_of(session), _first_bar_ms(session), session.snapshot)
    if execution.position is None:
        return execution.stop(to_ms(session.last_bar), Decimal(1), reason)
    time_ms, price = await _last_price(connection, session)
    return execution.stop(time_ms, price, reason)


def _first_bar_ms(session: SessionRow) -> int | None:
    return to_ms(session.first_bar) if session.first_bar else None


async def _last_price(connection: Connection, session: SessionRow) -> tuple[int, Decimal]:
    """The close of the session's last bar, or the open of the bar announced since."""
    assert session.last_bar is not None, "a position needs a bar"
    series = await candles.get_series(
        connection, session.venue, session.symbol, session.interval, session.generation
    )
    assert series is not None, "the session stepped through it"
    seen = session.last_bar
    opened_ms = cast("int | None", (session.snapshot or {}).get("opened_ms"))
    if series.opened_time is not None and series.opened_price is not None and series.opened_time > seen:
        between = await candles.list_bars_between(connection, series.series_id, seen, series.opened_time, 2)
        if len(between) == 1 or (opened_ms is not None and from_ms(opened_ms) == series.opened_time):
            return to_ms(series.opened_time), series.opened_price
    bar = await candles.get_bar(connection, series.series_id, seen)
    assert bar is not None, "a confirmed bar stays"
    return bar.open_time_ms, bar.close
