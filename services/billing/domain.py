"""Rules of plans, periods, usage and quotas."""

import calendar
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Literal
from uuid import UUID

from shared.contracts.billing import Features, Limits, PlanName, QuotaState, SubscriptionStatus

TRIAL_PLAN: PlanName = "PREMIUM"
TRIAL = timedelta(days=14)
THRESHOLDS: tuple[Literal[80, 100], ...] = (80, 100)
LIVE_STATUSES: tuple[SubscriptionStatus, ...] = ("ACTIVE", "TRIAL", "PAST_DUE")


@dataclass(frozen=True)
class PlanTerms:
    """The terms of a plan; prices in EUR."""

    name: PlanName
    display_name: str
    description: str
    price_monthly: Decimal
    price_yearly: Decimal
    stripe_price_id_monthly: str | None
    stripe_price_id_yearly: str | None
    limits: Limits
    features: Features


@dataclass(frozen=True)
class Plan:
    """A row of the catalogue: one version of a plan. At most one version per name is active."""

    plan_id: int
    version: int
    is_active: bool
    created_at: datetime
    terms: PlanTerms

    @property
    def name(self) -> PlanName:
        return self.terms.name

    @property
    def limits(self) -> Limits:
        return self.terms.limits

    @property
    def features(self) -> Features:
        return self.terms.features


@dataclass(frozen=True)
class Period:
    """A period from `start`, inclusive, to `end`, exclusive."""

    start: datetime
    end: datetime


@dataclass(frozen=True)
class Subscriber:
    """The aggregate of a user's subscriptions: `version` counts their changes."""

    user_id: int
    public_id: UUID
    version: int
    trial_started_at: datetime | None


@dataclass(frozen=True)
class Subscription:
    user_id: int
    subscription_id: UUID
    plan_id: int
    plan: PlanName
    plan_version: int
    status: SubscriptionStatus
    start_date: datetime
    trial_end_date: datetime | None
    period: Period


@dataclass(frozen=True)
class Change:
    """The new plan and status of a subscription, and the reason: `trial_started`, `trial_ended`, `granted`, …"""

    plan: PlanName
    status: SubscriptionStatus
    reason: str


@dataclass(frozen=True)
class PlanChange:
    """One entry of a user's plan history."""

    change_number: int
    plan: PlanName
    plan_version: int
    previous_plan: PlanName | None
    previous_plan_version: int | None
    status: SubscriptionStatus
    reason: str
    created_at: datetime


@dataclass(frozen=True)
class Usage:
    """Distinct closed trades in a period."""

    paper_trades: int
    live_trades: int

    @property
    def trades(self) -> int:
        return self.paper_trades + self.live_trades


def month_containing(anchor: datetime, now: datetime) -> Period:
    """Return the month containing `now`, counted from `anchor`; the 31st becomes a shorter month's last day."""
    months = max(0, (now.year - anchor.year) * 12 + now.month - anchor.month)
    if months > 0 and _add_months(anchor, months) > now:
        months -= 1
    return Period(_add_months(anchor, months), _add_months(anchor, months + 1))


def _add_months(anchor: datetime, months: int) -> datetime:
    years, month = divmod(anchor.month - 1 + months, 12)
    year = anchor.year + years
    last_day = calendar.monthrange(year, month + 1)[1]
    return anchor.replace(year=year, month=month + 1, day=min(anchor.day, last_day))


def first_period(status: SubscriptionStatus, start: datetime) -> Period:
    """Return the trial's period for a trial, else the first month."""
    return Period(start, start + TRIAL) if status == "TRIAL" else month_containing(start, start)


def ended_status(subscription: Subscription, now: datetime) -> SubscriptionStatus:
    """Return EXPIRED for a trial that is over, CANCELLED for a subscription that ends early."""
    over = subscription.trial_end_date is not None and subscription.trial_end_date <= now
    return "EXPIRED" if subscription.status == "TRIAL" and over else "CANCELLED"


def is_due(subscription: Subscription, now: datetime) -> bool:
    """Return whether the trial or the period is over."""
    return subscription.period.end <= now


def initial_change(*, is_new_person: bool, trial: bool) -> Change:
    """Return the first change of an account: a trial, once per person, unless auth grants none."""
    if not is_new_person:
        return Change("FREE", "ACTIVE", "registered_again")
    if not trial:
        return Change("FREE", "ACTIVE", "no_trial")
    return Change(TRIAL_PLAN, "TRIAL", "trial_started")


def remaining(limit: int | None, used: int) -> int | None:
    """Return what remains of a limit; None if there is no limit."""
    return None if limit is None else max(0, limit - used)


@dataclass(frozen=True)
class ApiDay:
    """A row of `user_api_usage`."""

    date: date
    total_requests: int
    trading_requests: int
    analysis_requests: int
    backtest_requests: int
    daily_limit: int | None
    requests_remaining: int | None


@dataclass(frozen=True)
class Quota:
    """The quota of a user's day, which ends at `until`. A limit of None is no limit."""

    user_id: int
    state: QuotaState
    until: datetime
    limit: int | None
    used: int


@dataclass(frozen=True)
class QuotaRefusal:
    """A refused request: service, operation, login, usage and time."""

    user_id: int
    service: str
    operation: str
    login_id: UUID | None
    used: int
    limit: int
    refused_at: datetime

    @property
    def date(self) -> date:
        return self.refused_at.astimezone(UTC).date()


def day_of(now: datetime) -> Period:
    """Return the UTC day containing `now`."""
    start = datetime.combine(now.astimezone(UTC).date(), time(), UTC)
    return Period(start, start + timedelta(days=1))


def quota_of(user_id: int, used: int, limit: int | None, day: Period) -> Quota:
    state: QuotaState = "EXHAUSTED" if limit is not None and used >= limit else "OK"
    return Quota(user_id, state, day.end, limit, used)


def is_news(quota: Quota, published: Quota | None) -> bool:
    """Return whether the quota has to be published: users without a published one are taken to be OK."""
    if quota.state == "OK":
        return published is not None and published.state != "OK"
    return published is None or (published.state, published.until, published.limit) != (
        quota.state,
        quota.until,
        quota.limit,
    )


def reached_thresholds(used: int, limit: int | None) -> list[Literal[80, 100]]:
    """Return the thresholds, in percent, that this usage has reached."""
    if not limit:
        return []
    return [percent for percent in THRESHOLDS if used * 100 >= limit * percent]
