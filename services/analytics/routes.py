"""HTTP in."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date, timedelta
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, StringConstraints

from services.analytics import queries
from services.analytics.domain import SessionFact, TradeFact, add_up, cut_days, max_drawdown_pct, percent
from services.analytics.errors import AlreadyWatched
from services.analytics.operations import unwatch, watch
from services.analytics.statistics import ratio, risk_ratios
from shared.chassis.errors import InvalidInput
from shared.chassis.http import Call, Endpoint, Reply, created
from shared.chassis.paging import Page, PageQuery, decode_cursor, encode_cursor, page_of
from shared.chassis.postgres import Database
from shared.contracts.types import Amount, BodyModel, Instant, ViewModel, from_ms, to_ms
from shared.strategy.bars import INTERVAL_MS

Mode = Literal["PAPER", "LIVE"]
Symbol = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]{2,30}$")]


def _known(interval: str) -> str:
    if interval not in INTERVAL_MS:
        raise ValueError(f"must be one of {' '.join(INTERVAL_MS)}")
    return interval


class PeriodQuery(BodyModel):
    mode: Mode = "PAPER"
    from_: Instant | None = Field(default=None, alias="from")
    to: Instant | None = None


class EquityQuery(PageQuery, PeriodQuery):
    pass


class DaysQuery(PageQuery):
    mode: Mode = "PAPER"
    from_: date | None = Field(default=None, alias="from")
    to: date | None = None


class GroupView(ViewModel):
    name: str
    trades: int
    winning_trades: int
    pnl: Amount


class SummaryView(ViewModel):
    """Sums are exact; ratios are statistics of 6 places, null where undefined."""

    mode: Mode
    timezone: str
    trades: int
    winning_trades: int
    losing_trades: int
    pnl: Amount
    fees: Amount
    gains: Amount
    losses: Amount
    best_trade: Amount | None
    worst_trade: Amount | None
    win_rate_pct: Amount | None
    profit_factor: Amount | None
    expectancy: Amount | None
    starting_balance: Amount
    ending_balance: Amount
    max_drawdown_pct: Amount | None
    sharpe: Amount | None
    sortino: Amount | None
    calmar: Amount | None
    by_symbol: list[GroupView]
    by_strategy: list[GroupView]


class DayView(ViewModel):
    date: date
    timezone: str
    starting_balance: Amount
    ending_balance: Amount
    daily_pnl: Amount
    daily_pnl_percentage: Amount | None
    total_trades: int
    winning_trades: int
    losing_trades: int
    win_rate: Amount | None
    max_drawdown: Amount | None
    sharpe_ratio: Amount | None
    volatility: Amount | None


class EquityPoint(ViewModel):
    time: Instant
    trade_id: UUID
    pnl: Amount
    total_pnl: Amount


class WatchBody(BodyModel):
    symbol: Symbol
    interval: Annotated[str, AfterValidator(_known)]
    ema_period: int = Field(default=20, ge=2, le=500)


class WatchView(ViewModel):
    watch_id: UUID
    symbol: str
    interval: str
    ema_period: int
    created_at: Instant


class AnalysisQuery(PageQuery):
    symbol: Symbol | None = None
    from_: Instant | None = Field(default=None, alias="from")
    to: Instant | None = None


class AnalysisView(ViewModel):
    watch_id: UUID
    timestamp: Instant
    symbol: str
    interval: str
    price: Amount
    ema_value: Amount | None
    ema_period: int
    candles_above_ema: int | None
    distance_from_ema: Amount | None
    trend_direction: Literal["UP", "DOWN", "FLAT"] | None
    volume: Amount


class Routes:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def get_performance_summary(self, call: Call) -> SummaryView:
        query, user_id = call.query(PeriodQuery), call.principal.user_id
        async with self._database.tenant(user_id) as connection:
            zone = await queries.get_zone(connection, user_id)
            trades = await queries.list_trade_facts(connection, user_id, query.mode, query.from_, query.to)
            sessions = await queries.list_session_facts(connection, user_id, query.mode)
        return summarise(query.mode, zone, trades, sessions)

    async def list_daily_performance(self, call: Call) -> Page[DayView]:
        query, user_id = call.query(DaysQuery), call.principal.user_id
        position = decode_cursor(query.cursor, str)
        try:
            after = date.fromisoformat(str(position[0])) if position else None
        except ValueError as error:
            raise _no_cursor() from error
        async with self._database.tenant(user_id) as connection:
            rows = await queries.list_days(
                connection, user_id, query.mode, query.from_, query.to, after, query.limit + 1
            )
        views = [DayView.model_validate(asdict(row)) for row in rows]
        return page_of(views, query.limit, lambda last: encode_cursor(last.date.isoformat()))

    async def list_equity(self, call: Call) -> Page[EquityPoint]:
        query, user_id = call.query(EquityQuery), call.principal.user_id
        position = decode_cursor(query.cursor, int)
        begin = int(position[0]) if position else 0
        async with self._database.tenant(user_id) as connection:
            trades = await queries.list_trade_facts(connection, user_id, query.mode, query.from_, query.to)
        points, total = [], Decimal(0)
        for trade in trades:
            total += trade.pnl
            points.append(
                EquityPoint(time=trade.exit_time, trade_id=trade.trade_id, pnl=trade.pnl, total_pnl=total)
            )
        shown = points[begin : begin + query.limit + 1]
        return page_of(shown, query.limit, lambda _: encode_cursor(begin + query.limit))

    async def watch_symbol(self, call: Call) -> Reply:
        body = call.body(WatchBody)
        row = await watch(self._database, call.principal.user_id, body.symbol, body.interval, body.ema_period)
        return created(WatchView.model_validate(asdict(row)), f"/v1/watchlist/{row.watch_id}")

    async def list_watchlist(self, call: Call) -> Page[WatchView]:
        query, user_id = call.query(PageQuery), call.principal.user_id
        position = decode_cursor(query.cursor, str)
        try:
            after = UUID(str(position[0])) if position else None
        except ValueError as error:
            raise _no_cursor() from error
        async with self._database.tenant(user_id) as connection:
            rows = await queries.list_watches(connection, user_id, after, query.limit + 1)
        views = [WatchView.model_validate(asdict(row)) for row in rows]
        return page_of(views, query.limit, lambda last: encode_cursor(str(last.watch_id)))

    async def unwatch_symbol(self, call: Call) -> None:
        await unwatch(self._database, call.principal.user_id, call.uuid())

    async def list_market_analysis(self, call: Call) -> Page[AnalysisView]:
        query, user_id = call.query(AnalysisQuery), call.principal.user_id
        position = decode_cursor(query.cursor, int, str)
        try:
            after = (from_ms(int(position[0])), UUID(str(position[1]))) if position else None
        except (ValueError, OverflowError) as error:
            raise _no_cursor() from error
        async with self._database.tenant(user_id) as connection:
            rows = await queries.list_analyses(
                connection,
                user_id,
                symbol=query.symbol,
                first=query.from_,
                last=query.to,
                after=after,
                limit=query.limit + 1,
            )
        views = [AnalysisView.model_validate(asdict(row)) for row in rows]
        return page_of(views, query.limit, lambda last: encode_cursor(to_ms(last.timestamp), str(last.watch_id)))

    def endpoints(self) -> list[Endpoint]:
        performance, watchlist = "/v1/performance", "/v1/watchlist"
        return [
            Endpoint(
                "GET",
                f"{performance}/summary",
                self.get_performance_summary,
                "What your trades came to, exactly",
                response=SummaryView,
                query=PeriodQuery,
            ),
            Endpoint(
                "GET",
                f"{performance}/daily",
                self.list_daily_performance,
                "Your days with trades, cut in your time zone",
                response=Page[DayView],
                query=DaysQuery,
            ),
            Endpoint(
                "GET",
                f"{performance}/equity",
                self.list_equity,
                "Realised pnl after each trade",
                response=Page[EquityPoint],
                query=EquityQuery,
            ),
            Endpoint(
                "POST",
                watchlist,
                self.watch_symbol,
                "Watch a symbol: an analysis of each closed candle",
                response=WatchView,
                status=201,
                body=WatchBody,
                errors=(AlreadyWatched,),
            ),
            Endpoint(
                "GET",
                watchlist,
                self.list_watchlist,
                "What you watch",
                response=Page[WatchView],
                query=PageQuery,
            ),
            Endpoint("DELETE", watchlist + "/{id}", self.unwatch_symbol, "Watch no more", status=204),
            Endpoint(
                "GET",
                "/v1/market-analysis",
                self.list_market_analysis,
                "Analyses of the symbols you watch, oldest first",
                response=Page[AnalysisView],
                query=AnalysisQuery,
            ),
        ]


def _no_cursor() -> InvalidInput:
    return InvalidInput(errors=[{"path": "$.cursor", "reason": "is not a cursor of this list"}])


def summarise(
    mode: Mode, timezone: str, trades: Sequence[TradeFact], sessions: Sequence[SessionFact]
) -> SummaryView:
    """Sums over the trades; ratios over every calendar day from the first with a trade to the last."""
    sums = add_up(trades)
    days = cut_days(trades, sessions, ZoneInfo(timezone))
    capital = sum((session.initial_balance for session in sessions if session.started_at), Decimal(0))
    returns = {day.date: day.daily_pnl_percentage or Decimal(0) for day in days}
    every_day = (
        [days[0].date + timedelta(days=number) for number in range((days[-1].date - days[0].date).days + 1)]
        if days
        else []
    )
    drawdown = max_drawdown_pct(capital, [trade.pnl for trade in trades])
    growth = (capital + sums.pnl) / capital if capital > 0 else None
    ratios = risk_ratios([returns.get(day, Decimal(0)) for day in every_day], growth, drawdown)
    return SummaryView(
        mode=mode,
        timezone=timezone,
        trades=sums.trades,
        winning_trades=sums.winning_trades,
        losing_trades=sums.losing_trades,
        pnl=sums.pnl,
        fees=sums.fees,
        gains=sums.gains,
        losses=sums.losses,
        best_trade=sums.best,
        worst_trade=sums.worst,
        win_rate_pct=percent(Decimal(sums.winning_trades), Decimal(sums.trades)),
        profit_factor=ratio(sums.gains, sums.losses),
        expectancy=ratio(sums.pnl, Decimal(sums.trades)),
        starting_balance=capital,
        ending_balance=capital + sums.pnl,
        max_drawdown_pct=drawdown,
        sharpe=ratios.sharpe,
        sortino=ratios.sortino,
        calmar=ratios.calmar,
        by_symbol=_groups(trades, [trade.symbol for trade in trades]),
        by_strategy=_groups(trades, [trade.strategy_name for trade in trades]),
    )


def _groups(trades: Sequence[TradeFact], names: Sequence[str]) -> list[GroupView]:
    groups: dict[str, list[TradeFact]] = {}
    for trade, name in zip(trades, names, strict=True):
        groups.setdefault(name, []).append(trade)
    return [
        GroupView(name=name, trades=sums.trades, winning_trades=sums.winning_trades, pnl=sums.pnl)
        for name in sorted(groups)
        for sums in [add_up(groups[name])]
    ]
