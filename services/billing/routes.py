"""HTTP in."""

from typing import Literal

from services.billing import queries
from services.billing.domain import Period, Plan, Subscription, Usage, remaining
from shared.chassis.errors import AccountNotReady
from shared.chassis.http import Call, Endpoint
from shared.chassis.paging import Page
from shared.chassis.postgres import Connection, Database
from shared.contracts.billing import Features, Limits, PlanName, SubscriptionStatus
from shared.contracts.types import Amount, Instant, ViewModel


class PlanView(ViewModel):
    name: PlanName
    display_name: str
    description: str
    currency: Literal["EUR"] = "EUR"
    price_monthly: Amount
    price_yearly: Amount
    limits: Limits
    features: Features


class SubscriptionView(ViewModel):
    plan: PlanName
    display_name: str
    status: SubscriptionStatus
    version: int
    start_date: Instant
    trial_end_date: Instant | None
    current_period_start: Instant
    current_period_end: Instant
    limits: Limits
    features: Features


class PeriodView(ViewModel):
    start: Instant
    end: Instant


class MeterView(ViewModel):
    """`used` and `remaining` are null where another service counts; `counted_at` is where to ask it."""

    meter: Literal["live_trades", "paper_trades", "active_strategies", "symbols"]
    used: int | None
    limit: int | None
    remaining: int | None
    unlimited: bool
    period: PeriodView | None
    counted_at: str
    explanation: str


class UsageView(ViewModel):
    plan: PlanName
    status: SubscriptionStatus
    period: PeriodView
    current_period_trades: int
    paper_trades: int
    live_trades: int
    meters: list[MeterView]


class Routes:
    """The operations of billing over HTTP."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint(
                "GET",
                "/v1/plans",
                self.list_plans,
                "The plans there are",
                response=Page[PlanView],
                public=True,
            ),
            Endpoint(
                "GET",
                "/v1/subscription",
                self.get_subscription,
                "My plan and what it allows",
                response=SubscriptionView,
                errors=(AccountNotReady,),
            ),
            Endpoint(
                "GET",
                "/v1/usage",
                self.get_usage,
                "What I have used of my limits",
                response=UsageView,
                errors=(AccountNotReady,),
            ),
        ]

    async def list_plans(self, call: Call) -> Page[PlanView]:
        async with self._database.untenanted() as connection:
            plans = await queries.list_plans(connection)
        return Page(items=[_plan_view(plan) for plan in plans])

    async def get_subscription(self, call: Call) -> SubscriptionView:
        user_id = call.principal.user_id
        async with self._database.tenant(user_id) as connection:
            live, plan = await _live_plan(connection, user_id)
            version = await queries.get_version(connection, user_id)
        return SubscriptionView(
            plan=live.plan,
            display_name=plan.display_name,
            status=live.status,
            version=version,
            start_date=live.start_date,
            trial_end_date=live.trial_end_date,
            current_period_start=live.period.start,
            current_period_end=live.period.end,
            limits=plan.limits,
            features=plan.features,
        )

    async def get_usage(self, call: Call) -> UsageView:
        user_id = call.principal.user_id
        async with self._database.tenant(user_id) as connection:
            live, plan = await _live_plan(connection, user_id)
            usage = await queries.count_usage(connection, user_id, live.period)
        return UsageView(
            plan=live.plan,
            status=live.status,
            period=_period_view(live.period),
            current_period_trades=usage.trades,
            paper_trades=usage.paper_trades,
            live_trades=usage.live_trades,
            meters=_meters(plan.limits, usage, live.period),
        )


async def _live_plan(connection: Connection, user_id: int) -> tuple[Subscription, Plan]:
    live = await queries.find_live_subscription(connection, user_id)
    if live is None:
        raise AccountNotReady
    return live, await queries.get_plan(connection, live.plan)


def _plan_view(plan: Plan) -> PlanView:
    return PlanView(
        name=plan.name,
        display_name=plan.display_name,
        description=plan.description,
        price_monthly=plan.price_monthly,
        price_yearly=plan.price_yearly,
        limits=plan.limits,
        features=plan.features,
    )


def _period_view(period: Period) -> PeriodView:
    return PeriodView(start=period.start, end=period.end)


def _meters(limits: Limits, usage: Usage, period: Period) -> list[MeterView]:
    return [
        _counted_here(
            "live_trades",
            usage.live_trades,
            limits.max_trades_per_month,
            period,
            "Live sessions make no more entries when it is reached; open positions are always managed.",
        ),
        _counted_here(
            "paper_trades",
            usage.paper_trades,
            None,
            period,
            "Trades on paper are not limited; paper sessions are, by strategies and symbols.",
        ),
        _counted_by_trading(
            "active_strategies",
            limits.max_active_strategies,
            "Distinct strategies in running sessions.",
        ),
        _counted_by_trading("symbols", limits.max_symbols, "Distinct symbols in running sessions."),
    ]


def _counted_here(
    meter: Literal["live_trades", "paper_trades"],
    used: int,
    limit: int | None,
    period: Period,
    explanation: str,
) -> MeterView:
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


def _counted_by_trading(
    meter: Literal["active_strategies", "symbols"], limit: int | None, explanation: str
) -> MeterView:
    return MeterView(
        meter=meter,
        used=None,
        limit=limit,
        remaining=None,
        unlimited=limit is None,
        period=None,
        counted_at="/v1/sessions/limits",
        explanation=explanation,
    )
