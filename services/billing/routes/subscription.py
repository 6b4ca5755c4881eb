"""The catalogue, the user's subscription and their plan history."""

from typing import Literal

from services.billing.domain import Plan, PlanChange
from services.billing.queries import plans, subscriptions
from services.billing.queries.entitlement import get_entitlement
from services.billing.routes.usage import PeriodView, period_view
from shared.chassis.errors import AccountNotReady
from shared.chassis.http.app import Call, Reply, tagged
from shared.chassis.http.paging import ListQuery, Page
from shared.chassis.http.routes import Routes, endpoint
from shared.chassis.postgres import Database
from shared.contracts.billing import Features, Limits, PlanName, SubscriptionStatus
from shared.contracts.examples import ASKED, example
from shared.contracts.types import Amount, Instant, ViewModel


class PlanView(ViewModel):
    model_config = example(
        plan="PREMIUM",
        display_name="Premium",
        description="For several bots at once",
        price_monthly="29",
        price_yearly="290",
    )

    plan: PlanName
    plan_version: int
    display_name: str
    description: str
    currency: Literal["EUR"] = "EUR"
    price_monthly: Amount
    price_yearly: Amount
    limits: Limits
    features: Features
    created_at: Instant


class SubscriptionView(ViewModel):
    """`limits` and `features` are those that apply now: those of FREE if no subscription is live."""

    model_config = example(
        display_name="Premium",
        status="TRIAL",
        started_at=ASKED,
        period={"starts_at": ASKED, "ends_at": "2026-02-14T09:02:11.480Z"},
    )

    plan: PlanName
    plan_version: int
    display_name: str
    status: SubscriptionStatus
    version: int
    started_at: Instant
    trial_ends_at: Instant | None
    period: PeriodView
    limits: Limits
    features: Features


class PlanChangeView(ViewModel):
    """`version` is the subscription's version after the change."""

    model_config = example(previous_plan=None, previous_plan_version=None, status="TRIAL", reason="trial")

    version: int
    plan: PlanName
    plan_version: int
    previous_plan: PlanName | None
    previous_plan_version: int | None
    status: SubscriptionStatus
    reason: str
    created_at: Instant


class ChangesQuery(ListQuery):
    orders = subscriptions.CHANGE_ORDERS

    sort: Literal["created_at", "-created_at"] = "-created_at"


class SubscriptionRoutes(Routes):
    """Endpoints for plans and subscriptions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @endpoint("GET", "/v1/plans", "List the plans", public=True, tagged=True)
    async def list_plans(self, call: Call) -> Reply[Page[PlanView]]:
        async with self._database.untenanted() as connection:
            active = await plans.list_plans(connection)
        page = Page[PlanView](items=[_plan_view(plan) for plan in active])
        return tagged(page, max((plan.plan_id for plan in active), default=0))

    @endpoint("GET", "/v1/subscription", "Get your plan and its limits", errors=(AccountNotReady,))
    async def get_subscription(self, call: Call) -> SubscriptionView:
        user_id = call.principal.user_id
        async with self._database.tenant(user_id) as connection:
            last, plan = await get_entitlement(connection, user_id)
            version = await subscriptions.get_version(connection, user_id)
        return SubscriptionView(
            plan=last.plan,
            plan_version=last.plan_version,
            display_name=plan.terms.display_name,
            status=last.status,
            version=version,
            started_at=last.start_date,
            trial_ends_at=last.trial_end_date,
            period=period_view(last.period),
            limits=plan.limits,
            features=plan.features,
        )

    @endpoint("GET", "/v1/subscription/changes", "List the changes of your plan, newest first")
    async def list_plan_changes(self, call: Call, query: ChangesQuery) -> Page[PlanChangeView]:
        user_id, wanted = call.principal.user_id, query.slice()
        async with self._database.tenant(user_id) as connection:
            rows = await subscriptions.list_changes(connection, user_id, wanted)
        return query.page_of(rows, _change_view)


def _plan_view(plan: Plan) -> PlanView:
    return PlanView(
        plan=plan.name,
        plan_version=plan.version,
        display_name=plan.terms.display_name,
        description=plan.terms.description,
        price_monthly=plan.terms.price_monthly,
        price_yearly=plan.terms.price_yearly,
        limits=plan.limits,
        features=plan.features,
        created_at=plan.created_at,
    )


def _change_view(change: PlanChange) -> PlanChangeView:
    return PlanChangeView(
        version=change.change_number,
        plan=change.plan,
        plan_version=change.plan_version,
        previous_plan=change.previous_plan,
        previous_plan_version=change.previous_plan_version,
        status=change.status,
        reason=change.reason,
        created_at=change.created_at,
    )
