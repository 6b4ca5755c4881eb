"""The rules of plans, periods and usage."""

import calendar
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from shared.contracts.billing import Features, Limits, PlanName, SubscriptionStatus

TRIAL_PLAN: PlanName = "PREMIUM"
TRIAL = timedelta(days=14)
LIVE_STATUSES: tuple[SubscriptionStatus, ...] = ("ACTIVE", "TRIAL", "PAST_DUE")


@dataclass(frozen=True)
class Plan:
    """A row of the catalogue; prices in EUR."""

    plan_id: int
    name: PlanName
    display_name: str
    description: str
    price_monthly: Decimal
    price_yearly: Decimal
    version: int
    limits: Limits
    features: Features


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
    plan: PlanName
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


def first_change(is_new_person: bool) -> Change:
    """How an account begins: with the trial, once per person."""
    if is_new_person:
        return Change(TRIAL_PLAN, "TRIAL", "trial_started")
    return Change("FREE", "ACTIVE", "registered_again")


def remaining(limit: int | None, used: int) -> int | None:
    """What is left of a limit; None of no limit."""
    return None if limit is None else max(0, limit - used)
