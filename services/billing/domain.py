"""The rules of plans, periods and usage."""

import calendar
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Literal
from uuid import UUID

from shared.contracts.billing import Features, Limits, PlanName, SubscriptionStatus

TRIAL_PLAN: PlanName = "PREMIUM"
TRIAL = timedelta(days=14)
LARGEST_BLOCK = 50
BLOCKS_OF_A_DAY = 50  # a block is 2 % of the day
LEASE = timedelta(seconds=60)
GIVING_BACK = timedelta(seconds=10)  # of a lease's time: a service stops using it so long before it expires
THRESHOLDS: tuple[Literal[80, 100], ...] = (80, 100)
LIVE_STATUSES: tuple[SubscriptionStatus, ...] = ("ACTIVE", "TRIAL", "PAST_DUE")


@dataclass(frozen=True)
class PlanTerms:
    """What a plan is; prices in EUR."""

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
    """A row of the catalogue: one version of a plan. Of all versions of a name one at most is active."""

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
    """From `start` on, up to but without `end`."""

    start: datetime
    end: datetime


@dataclass(frozen=True)
class Subscriber:
    """The aggregate: its version numbers every change of the user's subscription."""

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
    """What a subscription becomes, and why: `trial_started`, `trial_ended`, `granted`, …"""

    plan: PlanName
    status: SubscriptionStatus
    reason: str


@dataclass(frozen=True)
class PlanChange:
    """One step of a user's history."""

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
    """Distinct closed trades of a period."""

    paper_trades: int
    live_trades: int

    @property
    def trades(self) -> int:
        return self.paper_trades + self.live_trades


def month_containing(anchor: datetime, now: datetime) -> Period:
    """The month that `now` is in, counted from `anchor`; the 31st becomes the last day of a shorter month."""
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
    """A trial is one period; everything else runs by months."""
    return Period(start, start + TRIAL) if status == "TRIAL" else month_containing(start, start)


def status_when_left(subscription: Subscription, now: datetime) -> SubscriptionStatus:
    """A trial that has run its time is expired; what is left earlier is cancelled."""
    over = subscription.trial_end_date is not None and subscription.trial_end_date <= now
    return "EXPIRED" if subscription.status == "TRIAL" and over else "CANCELLED"


def is_due(subscription: Subscription, now: datetime) -> bool:
    """Whether the trial or the period is over."""
    return subscription.period.end <= now


def first_change(*, is_new_person: bool, trial: bool) -> Change:
    """How an account begins: with the trial, once per person, unless auth gives it none."""
    if not is_new_person:
        return Change("FREE", "ACTIVE", "registered_again")
    if not trial:
        return Change("FREE", "ACTIVE", "no_trial")
    return Change(TRIAL_PLAN, "TRIAL", "trial_started")


def remaining(limit: int | None, used: int) -> int | None:
    """What is left of a limit; None of no limit."""
    return None if limit is None else max(0, limit - used)


@dataclass(frozen=True)
class ApiDay:
    """A row of user_api_usage."""

    date: date
    total_requests: int
    trading_requests: int
    analysis_requests: int
    backtest_requests: int
    daily_limit: int | None
    requests_remaining: int | None


@dataclass(frozen=True)
class Lease:
    """A block of requests. `usable` from when it was asked for; billing keeps it until `expires_at`."""

    user_id: int
    lease_id: UUID
    date: date
    service: str
    granted: int
    granted_at: datetime
    expires_at: datetime
    usable: timedelta


@dataclass(frozen=True)
class GivenBack:
    """A block that is used no more, and how much of it was."""

    user_id: int
    lease_id: UUID
    used: int


@dataclass(frozen=True)
class Refused:
    """A request that the day had no place for."""

    used: int
    limit: int
    retry_after_s: int


@dataclass(frozen=True)
class QuotaRefusal:
    """Who was refused what, when and why."""

    service: str
    operation: str
    login_id: UUID | None
    used: int
    allowed: int
    refused_at: datetime


def day_of(now: datetime) -> Period:
    """The UTC day."""
    start = datetime.combine(now.astimezone(UTC).date(), time(), UTC)
    return Period(start, start + timedelta(days=1))


def block_of(limit: int | None, gone: int) -> int:
    """How many requests are leased at once, of a day of which so many are used or leased; 0: none are left."""
    if limit is None:
        return LARGEST_BLOCK
    return max(0, min(LARGEST_BLOCK, max(1, limit // BLOCKS_OF_A_DAY), limit - gone))


def seconds_until(moment: datetime, now: datetime) -> int:
    """Rounded up, at least 1."""
    return max(1, -((now - moment) // timedelta(seconds=1)))


def reached(used: int, limit: int | None) -> list[Literal[80, 100]]:
    """The thresholds that this use has come to."""
    if not limit:
        return []
    return [percent for percent in THRESHOLDS if used * 100 >= limit * percent]
