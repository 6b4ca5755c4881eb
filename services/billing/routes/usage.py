"""Usage per meter, with the last refusals and their reasons."""

from collections.abc import Sequence
from datetime import date
from typing import Literal
from uuid import UUID

from services.billing.domain import ApiDay, Period, QuotaRefusal, Usage, day_of, remaining
from services.billing.queries import quotas, requests, usage
from services.billing.queries.entitlement import get_entitlement
from shared.chassis.errors import AccountNotReady
from shared.chassis.http.app import Call
from shared.chassis.http.routes import Routes, endpoint
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
    starts_at: Instant
    ends_at: Instant


class RefusalView(ViewModel):
    """The last refusal of an operation: service, operation, login, time and reason."""

    model_config = example(
        operation="GET /v1/candles",
        refused_at=NOW,
        used=20000,
        limit=20000,
        reason="20000 of 20000 requests of the day were used",
    )

    service: str
    operation: str
    login_id: UUID | None
    refused_at: Instant
    used: int
    limit: int
    reason: str


class MeterView(ViewModel):
    """`used` and `remaining` are null if another service counts; `counted_path` is the path to read it."""

    model_config = example(
        meter="api_requests",
        used=1284,
        limit=20000,
        remaining=18716,
        unlimited=False,
        counted_path="/v1/usage",
        explanation="Requests of this UTC day.",
    )

    meter: MeterName
    used: int | None
    limit: int | None
    remaining: int | None
    unlimited: bool
    period: PeriodView | None
    counted_path: str
    explanation: str
    last_refusals: Sequence[RefusalView] = ()


class ApiUsageView(ViewModel):
    """Requests of a UTC day, a few seconds behind the services."""

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
    model_config = example(status="TRIAL", total_trades=37, paper_trades=37, live_trades=0)

    plan: PlanName
    status: SubscriptionStatus
    period: PeriodView
    total_trades: int
    paper_trades: int
    live_trades: int
    api_usage: ApiUsageView
    meters: list[MeterView]


class UsageRoutes(Routes):
    """Endpoints for usage."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @endpoint("GET", "/v1/usage", "Get your usage and limits", errors=(AccountNotReady,))
    async def get_usage(self, call: Call) -> UsageView:
        user_id = call.principal.user_id
        today = day_of(call.now)
        async with self._database.tenant(user_id) as connection:
            last, plan = await get_entitlement(connection, user_id)
            used = await usage.count_usage(connection, user_id, last.period)
            day = await requests.find_day(connection, user_id, today.start.date())
            refusals = await quotas.list_refusals(connection, user_id, REFUSALS_SHOWN)
        counted = _today(day, today, plan.limits.daily_api_requests)
        return UsageView(
            plan=last.plan,
            status=last.status,
            period=period_view(last.period),
            total_trades=used.trades,
            paper_trades=used.paper_trades,
            live_trades=used.live_trades,
            api_usage=counted,
            meters=[
                *_trade_meters(plan.limits, used, last.period),
                *_trading_meters(plan.limits),
                _api_meter(counted, today, refusals),
            ],
        )


def period_view(period: Period) -> PeriodView:
    return PeriodView(starts_at=period.start, ends_at=period.end)


def _today(day: ApiDay | None, today: Period, limit: int | None) -> ApiUsageView:
    """Return the day with the current limit: its row has the limit of the last booking."""
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
        _own_meter(
            "live_trades",
            used.live_trades,
            limits.max_trades_per_month,
            period,
            "When it is reached, live sessions open no new positions; open positions are still managed.",
        ),
        _own_meter(
            "paper_trades",
            used.paper_trades,
            None,
            period,
            "Paper trades are not limited; paper sessions are, by count, strategies and symbols.",
        ),
    ]


def _trading_meters(limits: Limits) -> list[MeterView]:
    sessions = "/v1/sessions/limits"
    return [
        _remote_meter(
            "active_strategies",
            limits.max_active_strategies,
            sessions,
            "Distinct strategies in running sessions. A refused start and each decision state the reason.",
        ),
        _remote_meter("symbols", limits.max_symbols, sessions, "Distinct symbols in running sessions."),
        _remote_meter(
            "running_sessions",
            limits.max_running_sessions,
            sessions,
            "Sessions that are not stopped, including paused ones.",
        ),
        _remote_meter(
            "stored_strategies", limits.max_stored_strategies, sessions, "Strategies that are not deleted."
        ),
        _remote_meter(
            "backtests",
            limits.max_backtests_per_day,
            "/v1/backtests",
            "Backtests of this UTC day. A refused one states the reason.",
        ),
    ]


def _api_meter(counted: ApiUsageView, today: Period, refusals: Sequence[QuotaRefusal]) -> MeterView:
    meter = _own_meter(
        "api_requests",
        counted.total_requests,
        counted.daily_limit,
        today,
        "Requests of this UTC day. When it is reached, requests are refused with 429 until the day ends, except "
        "those that stop, pause or cancel, or read your positions.",
    )
    return meter.model_copy(update={"last_refusals": [_refusal_view(each) for each in refusals]})


def _refusal_view(refusal: QuotaRefusal) -> RefusalView:
    return RefusalView(
        service=refusal.service,
        operation=refusal.operation,
        login_id=refusal.login_id,
        refused_at=refusal.refused_at,
        used=refusal.used,
        limit=refusal.limit,
        reason=f"{refusal.used} of {refusal.limit} requests of the day were used",
    )


def _own_meter(meter: MeterName, used: int, limit: int | None, period: Period, explanation: str) -> MeterView:
    return MeterView(
        meter=meter,
        used=used,
        limit=limit,
        remaining=remaining(limit, used),
        unlimited=limit is None,
        period=period_view(period),
        counted_path="/v1/usage",
        explanation=explanation,
    )


def _remote_meter(meter: MeterName, limit: int | None, path: str, explanation: str) -> MeterView:
    return MeterView(
        meter=meter,
        used=None,
        limit=limit,
        remaining=None,
        unlimited=limit is None,
        period=None,
        counted_path=path,
        explanation=explanation,
    )
