"""`/v1/sessions`: start, list, annotate, pause, resume and stop sessions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from services.trading.bybit_api import UnknownSymbol
from services.trading.errors import (
    ExchangeAccountNotUsable,
    ForeignPosition,
    KillSwitchOn,
    LiveTradingOff,
    RiskNoticeNotAccepted,
    SessionEnded,
    StrategyInactive,
    SymbolInUse,
)
from services.trading.exchange.symbol_state import SymbolReader
from services.trading.exchange.venue import KeyRejected, VenueUnavailable
from services.trading.listed_series import Listing
from services.trading.operations.answer_freeze import answer_freeze
from services.trading.operations.note_session import note_session
from services.trading.operations.pause_session import pause_session, resume_session
from services.trading.operations.start_live_session import LiveStart, find_usable_account
from services.trading.operations.start_session import (
    PaperTerms,
    StartRequest,
    find_interval,
    start_session,
)
from services.trading.operations.stop_session import stop_session
from services.trading.queries import entitlements, sessions, strategies
from services.trading.queries.sessions import RunState, SessionFilter, SessionRow
from services.trading.routes.listed_series import FieldFault, check_series, unknown_symbol
from services.trading.routes.session_views import LimitsView, SessionView, session_view
from services.trading.venue_clock import VenueClock
from shared.chassis.errors import AccountNotReady, ExchangeUnreachable, InvalidInput, PlanLimitReached
from shared.chassis.http.app import Call, Reply, created, tagged
from shared.chassis.http.paging import ListQuery, Page
from shared.chassis.http.routes import Routes, endpoint
from shared.chassis.postgres import Connection, Database
from shared.contracts.amounts import Positive, places_of
from shared.contracts.examples import example, example_id
from shared.contracts.texts import Text
from shared.contracts.types import BodyModel, Id, Instant
from shared.market.fields import Symbol
from shared.strategy.bars import Instrument

PATH = "/v1/sessions"


def _check_tolerance(percentage: Decimal) -> Decimal:
    """Raises ValueError."""
    if not Decimal("0.01") <= percentage <= 10 or places_of(percentage) > 2:
        raise ValueError("must be 0.01 to 10, with at most 2 decimals")
    return percentage


Tolerance = Annotated[Positive, AfterValidator(_check_tolerance)]


class StartBody(BodyModel):
    """A LIVE session trades on an exchange account, with `initial_balance` as its share of the account's equity.

    `slippage_tolerance_ticks` (1 to 10000) or `slippage_tolerance_percentage` (0.01 to 10, two decimals): how far
    from the price at arrival its entries may fill; the exchange cancels the rest. Null: without a limit. An entry
    with one carries no stop: it is set as soon as the entry has filled.
    """

    model_config = example(
        bot_configuration_id=example_id("bot_configuration_id"),
        mode="PAPER",
        initial_balance="10000",
        notes="Small, to begin with",
        slippage_tolerance_ticks=None,
        slippage_tolerance_percentage=None,
    )

    strategy_id: Id
    version: int | None = Field(default=None, ge=1, le=2**31 - 1)
    bot_configuration_id: Id | None = None
    symbol: Symbol
    mode: Literal["PAPER", "LIVE"]
    initial_balance: Positive
    notes: Text | None = None
    exchange_account_id: Id | None = None
    slippage_tolerance_ticks: int | None = Field(default=None, ge=1, le=10_000)
    slippage_tolerance_percentage: Tolerance | None = None

    @model_validator(mode="after")
    def _is_live(self) -> "StartBody":
        live = ("exchange_account_id", "slippage_tolerance_ticks", "slippage_tolerance_percentage")
        if self.mode == "PAPER" and (given := [name for name in live if getattr(self, name) is not None]):
            raise ValueError(f"a PAPER session has no {given[0]}")
        if self.slippage_tolerance_ticks is not None and self.slippage_tolerance_percentage is not None:
            raise ValueError("give slippage_tolerance_ticks or slippage_tolerance_percentage, not both")
        return self


class SessionChanges(BodyModel):
    model_config = example(notes="Two weeks, then the real thing")

    notes: Text | None


class StopBody(BodyModel):
    """`end_of_data`: the series has ended; an open position is closed at its last close."""

    model_config = example(reason="manual")

    reason: Literal["manual", "end_of_data"] = "manual"


class SessionsQuery(ListQuery):
    """`from` and `to` are start times."""

    orders = sessions.ORDERS

    status: Literal["ACTIVE", "PAUSED", "STOPPING", "STOPPED"] | None = None
    symbol: Symbol | None = None
    mode: Literal["PAPER", "LIVE"] | None = None
    strategy_id: Id | None = None
    from_: Instant | None = Field(default=None, alias="from")
    to: Instant | None = None
    sort: Literal["created_at", "-created_at", "start_time", "-start_time"] = "-created_at"


@dataclass(frozen=True)
class LiveTrading:
    """How live sessions reach the exchange. `allows_live`: on accounts of environment LIVE too."""

    symbols: SymbolReader
    allows_live: bool = False


class SessionRoutes(Routes):
    def __init__(
        self,
        database: Database,
        listing: Listing,
        clock: VenueClock,
        paper: PaperTerms,
        wake_worker: Callable[[], None],
        live: LiveTrading,
    ) -> None:
        """`wake_worker` tells this process's worker, if it has one, that a session was started."""
        self._live = live
        self._wake_worker = wake_worker
        self._database = database
        self._listing = listing
        self._clock = clock
        self._paper = paper

    @endpoint(
        "POST",
        PATH,
        "Start a session; its first decision is on the first bar that opens after the request",
        status=201,
        errors=(
            PlanLimitReached,
            LiveTradingOff,
            StrategyInactive,
            RiskNoticeNotAccepted,
            ExchangeAccountNotUsable,
            SymbolInUse,
            ForeignPosition,
            KillSwitchOn,
            ExchangeUnreachable,
        ),
        scope="trade",
    )
    async def start_session(self, call: Call, body: StartBody) -> Reply[SessionView]:
        request = StartRequest(
            body.strategy_id,
            body.version,
            body.bot_configuration_id,
            body.symbol,
            body.mode,
            body.initial_balance,
            body.notes,
            body.exchange_account_id,
            body.slippage_tolerance_ticks,
            body.slippage_tolerance_percentage,
        )
        await call.replay_if_answered()
        async with self._database.tenant(call.principal.user_id) as connection:
            if body.mode == "LIVE":
                await find_usable_account(
                    connection,
                    call.principal.user_id,
                    body.exchange_account_id,
                    allows_live=self._live.allows_live,
                )
            interval = await find_interval(connection, call.principal.user_id, request)
        now, instrument = await self._venue_facts(body.symbol, interval)
        live = await self._live_start(call.principal.user_id, body)
        async with call.transaction() as connection:
            row = await start_session(connection, call.principal, request, self._paper, now, instrument, live)
        self._wake_worker()
        return created(session_view(row, RunState("ALLOWED", None)), f"{PATH}/{row.session_id}")

    async def _live_start(self, user_id: int, body: StartBody) -> LiveStart | None:
        """Ask the exchange, with the account's key, what the symbol has. Raises InvalidInput,
        ExchangeUnreachable."""
        if body.exchange_account_id is None:
            return None
        try:
            state = await self._live.symbols.read_symbol(user_id, body.exchange_account_id, body.symbol)
        except KeyRejected as error:
            reason = f"the exchange rejects the account's key: {error.message}"
            raise InvalidInput(errors=[{"path": "$.exchange_account_id", "reason": reason}]) from error
        except VenueUnavailable as error:
            raise ExchangeUnreachable from error
        return LiveStart(body.exchange_account_id, state, self._live.allows_live)

    async def _venue_facts(self, symbol: str, interval: str | None) -> tuple[datetime, Instrument]:
        """Return the exchange's current time and instrument. Raises InvalidInput if it does not have the series,
        ExchangeUnreachable if it does not answer."""
        if interval is not None:
            reason = f"its interval is {interval}, at which the exchange has no candles of {symbol}"
            await check_series(self._listing, symbol, interval, FieldFault("$.strategy_id", reason))
        try:
            return await self._clock.now(), await self._listing.instrument(symbol)
        except UnknownSymbol as error:
            raise unknown_symbol() from error
        except VenueUnavailable as error:
            raise ExchangeUnreachable from error

    @endpoint("GET", PATH, "List your sessions, newest first")
    async def list_sessions(self, call: Call, query: SessionsQuery) -> Page[SessionView]:
        user_id = call.principal.user_id
        wanted = query.slice()
        paper = None if query.mode is None else query.mode == "PAPER"
        filters = SessionFilter(query.status, query.symbol, paper, query.strategy_id, query.from_, query.to)
        async with self._database.tenant(user_id) as connection:
            rows = await sessions.list_sessions(connection, user_id, filters, wanted)
            view_of = await _viewer(connection, user_id, rows)
        return query.page_of(rows, view_of)

    @endpoint("GET", PATH + "/limits", "Get your plan's limits and how much of them you use")
    async def get_session_limits(self, call: Call) -> LimitsView:
        user_id = call.principal.user_id
        async with self._database.tenant(user_id) as connection:
            limits = await entitlements.find_plan_limits(connection, user_id)
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

    @endpoint("GET", PATH + "/{id}", "Get a session", tagged=True)
    async def get_session(self, call: Call) -> Reply[SessionView]:
        user_id = call.principal.user_id
        async with self._database.tenant(user_id) as connection:
            row = await sessions.get_session(connection, user_id, call.uuid())
            return _tagged(await _view(connection, row), row)

    @endpoint("PATCH", PATH + "/{id}", "Change the notes of a session", tagged=True, scope="trade")
    async def note_session(self, call: Call, body: SessionChanges) -> Reply[SessionView]:
        user_id = call.principal.user_id
        async with call.transaction() as connection:
            row = await note_session(connection, user_id, call.uuid(), body.notes, call.if_match)
            return _tagged(await _view(connection, row), row)

    @endpoint(
        "POST",
        PATH + "/{id}/pause",
        "Pause entries; exits, stops and targets continue",
        errors=(SessionEnded,),
        scope="trade",
    )
    async def pause_session(self, call: Call) -> SessionView:
        async with call.transaction() as connection:
            row = await pause_session(connection, call.principal.user_id, call.uuid())
            return await _view(connection, row)

    @endpoint("POST", PATH + "/{id}/resume", "Resume entries", errors=(SessionEnded,), scope="trade")
    async def resume_session(self, call: Call) -> SessionView:
        async with call.transaction() as connection:
            row = await resume_session(connection, call.principal.user_id, call.uuid())
            return await _view(connection, row)

    @endpoint(
        "POST",
        PATH + "/{id}/stop",
        "Stop a session: drop a pending entry and close the position at the last price seen, or on the exchange",
        scope="trade",
    )
    async def stop_session(self, call: Call, body: StopBody) -> SessionView:
        """Stop the session, also while the exchange does not answer; then its last known time is used."""
        try:
            now = await self._clock.now()
        except VenueUnavailable:
            now = self._clock.last_seen or call.now
        async with call.transaction() as connection:
            row = await stop_session(connection, call.principal.user_id, call.uuid(), body.reason, now)
            return await _view(connection, row)

    @endpoint(
        "POST",
        PATH + "/{id}/adopt",
        "Adopt a foreign position or order as the live session's own, and allow entries again",
        scope="trade",
    )
    async def adopt_foreign(self, call: Call) -> SessionView:
        async with call.transaction() as connection:
            row = await answer_freeze(connection, call.principal.user_id, call.uuid(), "adopt")
            return await _view(connection, row)

    @endpoint(
        "POST",
        PATH + "/{id}/ignore",
        "Leave a foreign position or order alone, and allow a live session's entries again",
        scope="trade",
    )
    async def ignore_foreign(self, call: Call) -> SessionView:
        async with call.transaction() as connection:
            row = await answer_freeze(connection, call.principal.user_id, call.uuid(), "ignore")
            return await _view(connection, row)


async def _view(connection: Connection, row: SessionRow) -> SessionView:
    return (await _viewer(connection, row.user_id, [row]))(row)


async def _viewer(
    connection: Connection, user_id: int, rows: Sequence[SessionRow]
) -> Callable[[SessionRow], SessionView]:
    """Return a function that renders these sessions."""
    running = [row.session_id for row in rows if row.status != "STOPPED"]
    states = await sessions.list_run_states(connection, user_id, running)
    return lambda row: session_view(row, states.get(row.session_id))


def _tagged(view: SessionView, row: SessionRow) -> Reply[SessionView]:
    return tagged(view, row.revision, row.updated_at)
