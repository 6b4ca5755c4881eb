"""Events that billing publishes."""

from typing import ClassVar, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from shared.contracts.envelope import Event
from shared.contracts.types import Instant

PlanName = Literal["FREE", "PREMIUM", "PRO"]
QuotaState = Literal["OK", "EXHAUSTED"]
RequestKind = Literal["trading", "analysis", "backtest", "other"]
SubscriptionStatus = Literal["ACTIVE", "TRIAL", "PAST_DUE", "CANCELLED", "EXPIRED"]


class Limits(BaseModel):
    """None means unlimited."""

    model_config = ConfigDict(frozen=True)

    max_trades_per_month: int | None
    max_active_strategies: int | None
    max_symbols: int | None
    daily_api_requests: int | None
    max_backtests_per_day: int | None
    # Added after version 1 was first published; earlier messages have neither.
    max_running_sessions: int | None = None
    max_stored_strategies: int | None = None


class Features(BaseModel):
    model_config = ConfigDict(frozen=True)

    advanced_ai: bool
    api_access: bool
    backtesting: bool
    telegram_alerts: bool
    priority_support: bool


class SubscriptionChanged(Event):
    """Carries the whole entitlement. A consumer applies it only if `subscription_version` is higher than the one it
    has."""

    topic: ClassVar[str] = "subscription.changed"
    source: ClassVar[str] = "billing"
    on_poison: ClassVar[Literal["halt", "skip"]] = "halt"

    subscription_version: int = Field(ge=1)
    plan: PlanName
    status: SubscriptionStatus
    limits: Limits
    features: Features
    period_start: Instant
    period_end: Instant | None
    previous_plan: PlanName | None
    reason: str


class RequestRefusal(BaseModel):
    """The refused requests of one operation in a window, with the details of the last one."""

    model_config = ConfigDict(frozen=True)

    operation: str = Field(max_length=200)
    count: int = Field(ge=1)
    login_id: UUID | None
    refused_at: Instant
    used: int = Field(ge=0)
    limit: int = Field(ge=0)


class UsageRecorded(Event):
    """Requests of one kind that one instance of a service answered in a window. `count` includes the refused ones,
    which use nothing of the quota.

    User, instance (`lease_id`), kind and window are its natural key. An instance numbers its windows from 1, so
    that usage published twice, even under another event id, counts once. A window lies within one UTC day.
    """

    topic: ClassVar[str] = "usage.recorded"
    source: ClassVar[str] = "billing"
    source_field: ClassVar[str | None] = "recorded_by"

    recorded_by: Literal["auth", "billing", "trading", "analytics", "notifications"]
    lease_id: UUID  # the instance; published under this name since version 1
    kind: RequestKind
    count: int = Field(ge=1)
    window: int = Field(ge=1)
    window_start: Instant
    window_end: Instant
    # Added after version 1 was first published.
    refusals: tuple[RequestRefusal, ...] = ()

    @property
    def used(self) -> int:
        """The requests that count towards the quota."""
        return self.count - sum(refusal.count for refusal in self.refusals)


class QuotaChanged(Event):
    """A day's quota is exhausted, or available again. EXHAUSTED holds until `until`, the end of the UTC day; after
    that the quota is available without a further event.

    Carries the whole state. A consumer applies it only if `quota_version` is higher than the one it has.
    """

    topic: ClassVar[str] = "quota.changed"
    source: ClassVar[str] = "billing"
    compacted: ClassVar[bool] = True
    partitions: ClassVar[int] = 1  # every process that serves HTTP reads all of them

    quota_version: int = Field(ge=1)
    meter: Literal["api_requests"]
    state: QuotaState
    until: Instant
    limit: int | None = Field(ge=0)
    used: int = Field(ge=0)


class UsageThreshold(Event):
    """A threshold of a limit is reached. Published once per meter, period and percent."""

    topic: ClassVar[str] = "usage.threshold"
    source: ClassVar[str] = "billing"

    meter: Literal["trades", "api_requests"]
    used: int = Field(ge=0)
    limit: int = Field(ge=1)
    percent: Literal[80, 100]
    period_start: Instant
    period_end: Instant
