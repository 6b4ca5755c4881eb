"""`/v1/sessions`: start, list, annotate, pause, resume and stop sessions."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import Field

from services.trading.bybit_api import UnknownSymbol, VenueUnavailable
from services.trading.domain import Awaited, Waiting
from services.trading.errors import LiveTradingOff, SessionEnded, StrategyInactive
from services.trading.listed_series import Listing
from services.trading.operations.note_session import note_session
from services.trading.operations.pause_session import pause_session, resume_session
from services.trading.operations.start_session import (
    PaperTerms,
    StartRequest,
    find_interval,
    start_session,
)
from services.trading.operations.stop_session import stop_session
from services.trading.queries import entitlements, sessions, strategies, trades
from services.trading.queries.sessions import RunState, SessionFilter, SessionRow
from services.trading.routes.fields import Symbol
from services.trading.routes.listed_series import FieldFault, check_series, unknown_symbol, venue_unavailable
from services.trading.routes.ordering import encode_position, parse_cursor, parse_order
from services.trading.venue_clock import VenueClock
from shared.chassis.errors import AccountNotReady, NotFound, PlanLimitReached, Unavailable
from shared.chassis.http.app import Call, Endpoint, Reply, created, tagged
from shared.chassis.http.paging import Page, PageQuery, page_of
from shared.chassis.postgres import Connection, Database
from shared.contracts.amounts import Positive
from shared.contracts.examples import example, example_id
from shared.contracts.texts import Text
from shared.contracts.types import Amount, BodyModel, Id, Instant, ViewModel
from shared.strategy.bars import Instrument
from shared.strategy.document.fingerprint import fingerprint

WAITING_DETAILS: Mapping[Awaited, str] = {
    "history": "no candles of this symbol and interval are stored: the feed has received none from the exchange",
    "first_bar": "a candle that opened after the session's start should have closed by now, and none has",
    "bar": "the next candle has not arrived from the exchange",
    "feed": "no feed is running to get candles from the exchange",
}


class StartBody(BodyModel):
    model_config = example(
        bot_configuration_id=example_id("bot_configuration_id"),
        mode="PAPER",
        initial_balance="10000",
        notes="Small, to begin with",
    )

    strategy_id: Id
    version: int | None = Field(default=None, ge=1, le=2**31 - 1)
    bot_configuration_id: Id | None = None
    symbol: Symbol
    mode: Literal["PAPER", "LIVE"]
    initial_balance: Positive
    notes: Text | None = None


class SessionChanges(BodyModel):
    model_config = example(notes="Two weeks, then the real thing")

    notes: Text | None


class StopBody(BodyModel):
    """`end_of_data`: the series has ended; an open position is closed at its last close."""

    model_config = example(reason="manual")

    reason: Literal["manual", "end_of_data"] = "manual"


class SessionsQuery(PageQuery):
    """`from` and `to` are start times."""

    status: Literal["ACTIVE", "PAUSED", "STOPPED"] | None = None
    symbol: Symbol | None = None
    mode: Literal["PAPER", "LIVE"] | None = None
    strategy_id: Id | None = None
    from_: Instant | None = Field(default=None, alias="from")
    to: Instant | None = None
    sort: Literal["created_at", "-created_at", "start_time", "-start_time"] = "created_at"


class WaitingView(ViewModel):
    """The event still missing a minute after it was expected, by the exchange's clock.

    `history`: the series has no candles at all. `first_bar`: no candle that opened after the start has closed.
    `bar`: the candle after `last_bar`. `feed`: any candle, because no feed is running.
    """

    model_config = example(what="first_bar", detail=WAITING_DETAILS["first_bar"])

    what: Awaited
    since: Instant
    expected_at: Instant
    detail: str


class SessionView(ViewModel):
    """`entries` tells whether a running session may enter: besides a pause, the plan's limits may prevent it."""

    model_config = example(status="ACTIVE", stop_reason=None, fills=2, waiting_for=None)

    session_id: UUID
    strategy_id: UUID
    strategy_version: int
    strategy_hash: str
    bot_configuration_id: UUID | None
    symbol: str
    interval: str
    mode: Literal["PAPER", "LIVE"]
    status: Literal["ACTIVE", "PAUSED", "STOPPED"]
    entries: Literal["ALLOWED", "PAUSED", "PLAN_LIMIT"] | None
    waiting_for: WaitingView | None
    stop_reason: str | None
    initial_balance: Amount
    final_balance: Amount | None
    equity: Amount
    total_pnl: Amount
    total_trades: int
    winning_trades: int
    losing_trades: int
    max_drawdown: Amount
    fills: int
    fingerprint: str
    fee_rate: Amount
    slippage: Amount
    notes: str | None
    first_bar: Instant | None
    last_bar: Instant | None
    start_time: Instant
    end_time: Instant | None
    ended_at: Instant | None
    created_at: Instant
    updated_at: Instant


class LimitsView(ViewModel):
    model_config = example(active_strategies=1, active_symbols=1, running_sessions=1, stored_strategies=2)

    plan: str
    version: int
    max_active_strategies: int | None
    max_symbols: int | None
    max_running_sessions: int | None
    max_stored_strategies: int | None
    active_strategies: int
    active_symbols: int
    running_sessions: int
    stored_strategies: int


class SessionRoutes:
    def __init__(self, database: Database, listing: Listing, clock: VenueClock, paper: PaperTerms) -> None:
        self._database = database
        self._listing = listing
        self._clock = clock
        self._paper = paper

    async def start_session(self, call: Call) -> Reply:
        body = call.body(StartBody)
        request = StartRequest(
            body.strategy_id,
            body.version,
            body.bot_configuration_id,
            body.symbol,
            body.mode,
            body.initial_balance,
            body.notes,
        )
        interval = await find_interval(self._database, call.principal.user_id, request)
        now, instrument = await self._venue_facts(body.symbol, interval)
        row = await start_session(self._database, call.principal, request, self._paper, now, instrument)
        return created(_view(row, fingerprint([]), RunState("ALLOWED", None)), f"/v1/sessions/{row.session_id}")

    async def _venue_facts(self, symbol: str, interval: str | None) -> tuple[datetime, Instrument]:
        """Return the exchange's current time and instrument. Raises InvalidInput if it does not have the series,
        Unavailable if it does not answer."""
        if interval is not None:
            reason = f"its interval is {interval}, at which the exchange has no candles of {symbol}"
            await check_series(self._listing, symbol, interval, FieldFault("$.strategy_id", reason))
        try:
            return await self._clock.now(), await self._listing.instrument(symbol)
        except UnknownSymbol as error:
            raise unknown_symbol() from error
        except VenueUnavailable as error:
            raise venue_unavailable() from error

    async def list_sessions(self, call: Call) -> Page[SessionView]:
        query, user_id = call.query(SessionsQuery), call.principal.user_id
        after = parse_cursor(query.sort, query.cursor)
        paper = None if query.mode is None else query.mode == "PAPER"
        filters = SessionFilter(query.status, query.symbol, paper, query.strategy_id, query.from_, query.to)
        async with self._database.tenant(user_id) as connection:
            rows = await sessions.list_sessions(
                connection, user_id, filters, parse_order(query.sort), after, query.limit + 1
            )
            views = await _views(connection, user_id, rows)
        by_start = query.sort.endswith("start_time")
        return page_of(
            views,
            query.limit,
            lambda last: encode_position(
                query.sort, last.start_time if by_start else last.created_at, last.session_id
            ),
        )

    async def get_session(self, call: Call) -> Reply:
        user_id = call.principal.user_id
        async with self._database.tenant(user_id) as connection:
            row = await sessions.get_session(connection, user_id, call.uuid())
            if row is None:
                raise NotFound
            return _tagged((await _views(connection, user_id, [row]))[0], row)

    async def note_session(self, call: Call) -> Reply:
        user_id, notes = call.principal.user_id, call.body(SessionChanges).notes
        row = await note_session(self._database, user_id, call.uuid(), notes, call.if_match)
        return _tagged(await self._shown(row), row)

    async def get_session_limits(self, call: Call) -> LimitsView:
        user_id = call.principal.user_id
        async with self._database.tenant(user_id) as connection:
            limits = await entitlements.get_plan_limits(connection, user_id)
            running = await sessions.list_running(connection, user_id)
            stored = await strategies.count_stored(connection, user_id)
        if limits is None:
            raise AccountNotReady
        return LimitsView(
            plan=limits.plan,
            version=limits.version,
            max_active_strategies=limits.max_active_strategies,
            max_symbols=limits.max_symbols,
            max_running_sessions=limits.max_running_sessions,
            max_stored_strategies=limits.max_stored_strategies,
            active_strategies=len({session.strategy_id for session in running}),
            active_symbols=len({session.symbol for session in running}),
            running_sessions=len(running),
            stored_strategies=stored.kept,
        )

    async def pause_session(self, call: Call) -> SessionView:
        return await self._shown(await pause_session(self._database, call.principal.user_id, call.uuid()))

    async def resume_session(self, call: Call) -> SessionView:
        return await self._shown(await resume_session(self._database, call.principal.user_id, call.uuid()))

    async def stop_session(self, call: Call) -> SessionView:
        """Stop the session, also while the exchange does not answer; then its last known time is used."""
        try:
            now = await self._clock.now()
        except VenueUnavailable:
            now = self._clock.last_seen or call.now
        reason = call.body(StopBody).reason
        user_id, session_id = call.principal.user_id, call.uuid()
        return await self._shown(await stop_session(self._database, user_id, session_id, reason, now))

    async def _shown(self, row: SessionRow) -> SessionView:
        async with self._database.tenant(row.user_id) as connection:
            return (await _views(connection, row.user_id, [row]))[0]

    def endpoints(self) -> list[Endpoint]:
        collection, item, view = "/v1/sessions", "/v1/sessions/{id}", SessionView
        return [
            Endpoint(
                "POST",
                collection,
                self.start_session,
                "Start a session; its first decision is on the first bar that opens after the request",
                response=view,
                status=201,
                body=StartBody,
                errors=(PlanLimitReached, LiveTradingOff, StrategyInactive, Unavailable),
                scope="trade",
            ),
            Endpoint(
                "GET",
                collection,
                self.list_sessions,
                "List your sessions",
                response=Page[SessionView],
                query=SessionsQuery,
            ),
            Endpoint(
                "GET",
                collection + "/limits",
                self.get_session_limits,
                "Get your plan's limits and how much of them you use",
                response=LimitsView,
            ),
            Endpoint("GET", item, self.get_session, "Get a session", response=view, tagged=True),
            Endpoint(
                "PATCH",
                item,
                self.note_session,
                "Change the notes of a session",
                response=view,
                body=SessionChanges,
                tagged=True,
                scope="trade",
            ),
            Endpoint(
                "POST",
                item + "/pause",
                self.pause_session,
                "Pause entries; exits, stops and targets continue",
                response=view,
                errors=(SessionEnded,),
                scope="trade",
            ),
            Endpoint(
                "POST",
                item + "/resume",
                self.resume_session,
                "Resume entries",
                response=view,
                errors=(SessionEnded,),
                scope="trade",
            ),
            Endpoint(
                "POST",
                item + "/stop",
                self.stop_session,
                "Stop a session: drop a pending entry and close the position at the last price seen",
                response=view,
                body=StopBody,
                scope="trade",
            ),
        ]


async def _views(connection: Connection, user_id: int, rows: list[SessionRow]) -> list[SessionView]:
    """Render sessions. A stopped one's fingerprint is stored; a running one's is computed from its fills so far."""
    running = [row.session_id for row in rows if row.fingerprint is None]
    filled = await trades.list_fills_of(connection, user_id, running)
    states = await sessions.list_run_states(connection, user_id, running)
    return [
        _view(row, row.fingerprint or fingerprint(filled[row.session_id]), states.get(row.session_id))
        for row in rows
    ]


def _tagged(view: SessionView, row: SessionRow) -> Reply:
    return tagged(view, row.revision, row.updated_at)


def _waiting(waiting: Waiting | None) -> WaitingView | None:
    if waiting is None:
        return None
    detail = WAITING_DETAILS[waiting.what]
    return WaitingView(what=waiting.what, since=waiting.since, expected_at=waiting.expected_at, detail=detail)


def _view(row: SessionRow, fingerprint_now: str, state: RunState | None) -> SessionView:
    return SessionView(
        session_id=row.session_id,
        strategy_id=row.strategy_id,
        strategy_version=row.strategy_version,
        strategy_hash=row.strategy_hash,
        bot_configuration_id=row.bot_configuration_id,
        symbol=row.symbol,
        interval=row.interval,
        mode="PAPER" if row.is_paper_trading else "LIVE",
        status=row.status,
        entries=state.entries if state else None,
        waiting_for=_waiting(state.waiting) if state else None,
        stop_reason=row.stop_reason,
        initial_balance=row.initial_balance,
        final_balance=row.final_balance,
        equity=row.totals.equity(row.initial_balance),
        total_pnl=row.total_pnl,
        total_trades=row.total_trades,
        winning_trades=row.winning_trades,
        losing_trades=row.losing_trades,
        max_drawdown=row.max_drawdown,
        fills=row.fill_count,
        fingerprint=fingerprint_now,
        fee_rate=row.fee_rate,
        slippage=row.slippage,
        notes=row.notes,
        first_bar=row.first_bar,
        last_bar=row.last_bar,
        start_time=row.start_time,
        end_time=row.end_time,
        ended_at=row.ended_at,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
