"""Usage, limit by limit, with the last refusals and their reasons."""

from collections.abc import Sequence
from datetime import date
from typing import Literal
from uuid import UUID

from services.billing.domain import ApiDay, Period, QuotaRefusal, Usage, day_of, remaining
from services.billing.queries import leases, requests, usage
from services.billing.queries.entitlement import get_entitlement
from shared.chassis.errors import AccountNotReady
from shared.chassis.http.app import Call, Endpoint
from shared.chassis.postgres import Database
from shared.contracts.billing import Limits, PlanName, SubscriptionStatus
from shared.contracts.examples import NOW, example
from shared.contracts.types import Instant, ViewModel

REFUSALS_SHOWN = 10
MeterName = Literal[
    "live_trades",
    "paper_trades",
    "active_strategies",
    "symbols",
    "running_sessions",
    "stored_strategies",
    "api_requests",
    "backtests",
]


class PeriodView(ViewModel):
    start: Instant
    end: Instant


class RefusalView(ViewModel):
    """The last one of an operation: at which service, of which log-in, what, when and why."""

    model_config = example(
        operation="GET /v1/candles",
        refused_at=NOW,
        used=20000,
        limit=20000,
        reason="20000 of 20000 requests of the day were used or under way",
    )

    service: str
    operation: str
    login_id: UUID | None
    refused_at: Instant
    used: int
    limit: int
    reason: str


class MeterView(ViewModel):
    """`used` and `remaining` are null where another service counts; `counted_at` is where to ask it."""

    model_config = example(
        meter="api_requests",
        used=1284,
        limit=20000,
        remaining=18716,
        unlimited=False,
        counted_at="/v1/usage",
        explanation="Requests of this UTC day.",
    )

    meter: MeterName
    used: int | None
    limit: int | None
    remaining: int | None
    unlimited: bool
    period: PeriodView | None
    counted_at: str
    explanation: str
    last_refusals: Sequence[RefusalView] = ()


class ApiUsageView(ViewModel):
    """Requests of a UTC day. What a service has answered stands here some seconds later."""

    model_config = example(
        total_requests=1284,
        trading_requests=912,
        analysis_requests=360,
        backtest_requests=12,
        daily_limit=20000,
        requests_remaining=18716,
    )

    date: date
    total_requests: int
    trading_requests: int
    analysis_requests: int
    backtest_requests: int
    daily_limit: int | None
    requests_remaining: int | None


class UsageView(ViewModel):
    model_config = example(status="TRIAL", current_period_trades=37, paper_trades=37, live_trades=0)

    plan: PlanName
    status: SubscriptionStatus
    period: PeriodView
    current_period_trades: int
    paper_trades: int
    live_trades: int
    api_usage: ApiUsageView
    meters: list[MeterView]


class UsageRoutes:
    """What was used of the limits."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint(
                "GET",
                "/v1/usage",
                self.get_usage,
                "What I have used of my limits",
                response=UsageView,
                errors=(AccountNotReady,),
            ),
        ]

    async def get_usage(self, call: Call) -> UsageView:
        user_id = call.principal.user_id
        today = day_of(call.now)
        async with self._database.tenant(user_id) as connection:
            last, plan = await get_entitlement(connection, user_id)
            used = await usage.count_usage(connection, user_id, last.period)
            day = await requests.find_day(connection, user_id, today.start.date())
            refusals = await leases.list_refusals(connection, user_id, REFUSALS_SHOWN)
        counted = _today(day, today, plan.limits.daily_api_requests)
        return UsageView(
            plan=last.plan,
            status=last.status,
            period=_period_view(last.period),
            current_period_trades=used.trades,
            paper_trades=used.paper_trades,
            live_trades=used.live_trades,
            api_usage=counted,
            meters=[
                *_trade_meters(plan.limits, used, last.period),
                *_meters_of_trading(plan.limits),
                _api_meter(counted, today, refusals),
            ],
        )


def _period_view(period: Period) -> PeriodView:
    return PeriodView(start=period.start, end=period.end)


def _today(day: ApiDay | None, today: Period, limit: int | None) -> ApiUsageView:
    """With the limit that holds now: the day's row has the one of the last lease."""
    trading, analysis, backtest, total = 0, 0, 0, 0
    if day is not None:
        trading, analysis, backtest = day.trading_requests, day.analysis_requests, day.backtest_requests
        total = day.total_requests
    return ApiUsageView(
        date=today.start.date(),
        total_requests=total,
        trading_requests=trading,
        analysis_requests=analysis,
        backtest_requests=backtest,
        daily_limit=limit,
        requests_remaining=remaining(limit, total),
    )


def _trade_meters(limits: Limits, used: Usage, period: Period) -> list[MeterView]:
    return [
        _counted_here(
            "live_trades",
            used.live_trades,
            limits.max_trades_per_month,
            period,
            "Live sessions make no more entries when it is reached; open positions are always managed.",
        ),
        _counted_here(
            "paper_trades",
            used.paper_trades,
            None,
            period,
            "Trades on paper are not limited; paper sessions are, by their number, strategies and symbols.",
        ),
    ]


def _meters_of_trading(limits: Limits) -> list[MeterView]:
    sessions = "/v1/sessions/limits"
    return [
        _counted_there(
            "active_strategies",
            limits.max_active_strategies,
            sessions,
            "Distinct strategies in running sessions. A refused start says why, and so does each decision.",
        ),
        _counted_there("symbols", limits.max_symbols, sessions, "Distinct symbols in running sessions."),
        _counted_there(
            "running_sessions", limits.max_running_sessions, sessions, "Sessions not stopped, paused too."
        ),
        _counted_there("stored_strategies", limits.max_stored_strategies, sessions, "Strategies not given up."),
        _counted_there(
            "backtests",
            limits.max_backtests_per_day,
            "/v1/backtests",
            "Backtests of a UTC day. A refused one says why.",
        ),
    ]


def _api_meter(counted: ApiUsageView, today: Period, refusals: Sequence[QuotaRefusal]) -> MeterView:
    meter = _counted_here(
        "api_requests",
        counted.total_requests,
        counted.daily_limit,
        today,
        "Requests of this UTC day. When it is reached, others are answered with 429 until the day ends; what "
        "stops, pauses or cancels, and reading one's positions, never is.",
    )
    return meter.model_copy(update={"last_refusals": [_refusal_view(each) for each in refusals]})


def _refusal_view(refusal: QuotaRefusal) -> RefusalView:
    return RefusalView(
        service=refusal.service,
        operation=refusal.operation,
        login_id=refusal.login_id,
        refused_at=refusal.refused_at,
        used=refusal.used,
        limit=refusal.allowed,
        reason=f"{refusal.used} of {refusal.allowed} requests of the day were used or under way",
    )


def _counted_here(meter: MeterName, used: int, limit: int | None, period: Period, explanation: str) -> MeterView:
    return MeterView(
        meter=meter,
        used=used,
        limit=limit,
        remaining=remaining(limit, used),
        unlimited=limit is None,
        period=_period_view(period),
        counted_at="/v1/usage",
        explanation=explanation,
    )


def _counted_there(meter: MeterName, limit: int | None, where: str, explanation: str) -> MeterView:
    return MeterView(
        meter=meter,
        used=None,
        limit=limit,
        remaining=None,
        unlimited=limit is None,
        period=None,
        counted_at=where,
        explanation=explanation,
    )
