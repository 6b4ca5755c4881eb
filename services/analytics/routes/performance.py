"""HTTP routes of a user's trading performance."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import Literal

from pydantic import Field

from services.analytics.domain.calendar import days_of_year, months_of
from services.analytics.domain.drawdowns import Drawdown
from services.analytics.domain.facts import TradeFact
from services.analytics.domain.summary import Summary, add_up, group_by, summarise
from services.analytics.operations.days import fresh_days
from services.analytics.queries import days, equity, facts
from services.analytics.queries.equity import EquityRow
from services.analytics.routes.period import YEARS, ListPeriodQuery, PeriodQuery, first_day, last_day, period_of
from services.analytics.routes.views import (
    ByStrategyView,
    BySymbolView,
    CalendarView,
    DayView,
    DrawdownView,
    EquityPoint,
    MonthView,
    SummaryView,
    sums_fields,
)
from shared.chassis.http.app import Call
from shared.chassis.http.paging import Page
from shared.chassis.http.routes import Routes, endpoint
from shared.chassis.postgres import Database
from shared.contracts.time_zones import zone_or_default
from shared.contracts.types import Flag

PATH = "/v1/performance"


class DaysQuery(ListPeriodQuery):
    orders = days.ORDERS

    sort: Literal["date", "-date"] = "-date"


class EquityQuery(ListPeriodQuery):
    """With `flows` the list also has points where sessions add or take capital."""

    orders = equity.ORDERS

    flows: Flag = False
    sort: Literal["equity_time", "-equity_time"] = "-equity_time"


class CalendarQuery(PeriodQuery):
    """`year` defaults to the current year in the user's time zone."""

    year: int | None = Field(default=None, ge=YEARS.start, lt=YEARS.stop)


class PerformanceRoutes(Routes):
    def __init__(self, database: Database) -> None:
        self._database = database

    @endpoint("GET", f"{PATH}/summary", "Get a summary of your trades in a period")
    async def get_performance_summary(self, call: Call, query: PeriodQuery) -> SummaryView:
        user_id = call.principal.user_id
        async with self._database.tenant(user_id) as connection:
            zone = await facts.get_zone(connection, user_id)
            period = period_of(query.from_, query.to, zone_or_default(zone))
            before = await facts.sum_pnl(connection, user_id, query.mode, period.before)
            trades = await facts.list_trades(connection, user_id, query.mode, period.spans)
            sessions = await facts.list_sessions(connection, user_id, query.mode, period.end)
        # Many trades take a while; a thread keeps the event loop free.
        summary = await asyncio.to_thread(summarise, trades, sessions, before, zone_or_default(zone), period)
        return _summary_view(summary, trades, query, zone)

    @endpoint("GET", f"{PATH}/daily", "List your days with trades, in your time zone, newest first")
    async def list_daily_performance(self, call: Call, query: DaysQuery) -> Page[DayView]:
        user_id = call.principal.user_id
        wanted = query.slice()
        async with fresh_days(self._database, user_id) as connection:
            zone = zone_or_default(await facts.get_zone(connection, user_id))
            rows = await days.list_days(
                connection,
                user_id,
                query.mode,
                first=first_day(query.from_, zone),
                last=last_day(query.to, zone),
                wanted=wanted,
            )
        return query.page_of(rows, DayView.model_validate)

    @endpoint("GET", f"{PATH}/equity", "List your realised equity after each trade, newest first")
    async def list_equity(self, call: Call, query: EquityQuery) -> Page[EquityPoint]:
        user_id = call.principal.user_id
        wanted = query.slice()
        async with self._database.tenant(user_id) as connection:
            period = period_of(query.from_, query.to, zone_or_default(await facts.get_zone(connection, user_id)))
            rows = await equity.list_equity(
                connection, user_id, query.mode, spans=period.spans, flows=query.flows, wanted=wanted
            )
        return query.page_of(rows, _equity_point)

    @endpoint("GET", f"{PATH}/calendar", "Get a year of daily results, month by month")
    async def get_performance_calendar(self, call: Call, query: CalendarQuery) -> CalendarView:
        user_id = call.principal.user_id
        async with fresh_days(self._database, user_id) as connection:
            name = await facts.get_zone(connection, user_id)
            zone = zone_or_default(name)
            today = call.now.astimezone(zone).date()
            year = query.year or today.year
            dates = days_of_year(year, first_day(query.from_, zone), last_day(query.to, zone))
            rows = (
                await days.list_traded_days(connection, user_id, query.mode, dates[0], dates[-1]) if dates else []
            )
        months = months_of(dates, {row.date: row for row in rows}, today)
        shown = [MonthView.model_validate(month) for month in months]
        return CalendarView(year=year, mode=query.mode, timezone=name, months=shown)


def _equity_point(row: EquityRow) -> EquityPoint:
    return EquityPoint.model_validate({**asdict(row), "trade_id": row.id if row.kind == "TRADE" else None})


def _summary_view(summary: Summary, trades: Sequence[TradeFact], query: PeriodQuery, zone: str) -> SummaryView:
    by_symbol = group_by(trades, lambda trade: trade.symbol)
    by_strategy = group_by(trades, lambda trade: trade.strategy_id)
    return SummaryView.model_validate(
        {
            **sums_fields(summary.sums),
            **vars(summary.ratios),
            **_risks(summary),
            "mode": query.mode,
            "timezone": zone,
            "starting_balance": summary.starting_balance,
            "ending_balance": summary.ending_balance,
            "return_percentage": summary.return_pct,
            "by_symbol": [
                BySymbolView.model_validate({**sums_fields(add_up(of_group)), "symbol": symbol})
                for symbol, of_group in sorted(by_symbol.items())
            ],
            "by_strategy": [
                ByStrategyView.model_validate(
                    {
                        **sums_fields(add_up(of_group)),
                        "strategy_id": strategy_id,
                        "strategy_name": of_group[-1].strategy_name,
                    }
                )
                for strategy_id, of_group in by_strategy.items()
            ],
        }
    )


def _risks(summary: Summary) -> dict[str, object]:
    deepest, longest = summary.drawdowns.deepest, summary.drawdowns.longest
    return {
        "max_drawdown_percentage": summary.max_drawdown_pct,
        "deepest_drawdown": _drawdown_view(deepest),
        "longest_drawdown": _drawdown_view(longest),
        "longest_winning_streak": summary.streaks.longest_winning,
        "longest_losing_streak": summary.streaks.longest_losing,
        "current_streak": summary.streaks.current,
    }


def _drawdown_view(drawdown: Drawdown | None) -> DrawdownView | None:
    return DrawdownView.model_validate({**vars(drawdown), "percentage": drawdown.pct}) if drawdown else None
