"""Begin, change, renew and end subscriptions, and publish every change."""

from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from services.billing.domain import (
    Change,
    Period,
    Plan,
    Subscriber,
    Subscription,
    ended_status,
    first_period,
    initial_change,
    is_due,
    month_containing,
)
from services.billing.operations.quotas import refresh_quota
from services.billing.queries import plans, subscriptions
from shared.chassis.crash_points import point
from shared.chassis.events.outbox import emit
from shared.chassis.identity import claim_users
from shared.chassis.postgres import Connection, Database
from shared.contracts.auth import UserRegistered
from shared.contracts.billing import PlanName, SubscriptionChanged
from shared.contracts.emails import email_sha256

DUE_AT_ONCE = 100


async def begin_subscription(connection: Connection, event: UserRegistered, now: datetime) -> None:
    """Begin the trial, or FREE for a person who had a trial or gets none. Does nothing for a known user."""
    await claim_users(connection, [event])
    owner = await subscriptions.locate_email(connection, email_sha256(event.email), claim=event.user_id)
    await subscriptions.insert_subscriber(connection, event.user_id, event.public_id)
    subscriber = await subscriptions.lock_subscriber(connection, event.user_id)
    if subscriber is None or subscriber.version > 0:
        return
    change = initial_change(is_new_person=owner == event.user_id, trial=event.trial)
    await _begin(connection, subscriber, None, change, now)


async def change_plan(connection: Connection, user_id: int, change: Change, now: datetime) -> bool:
    """Change the plan; every change at a trial's end or by a grant goes through here.

    Returns False if the user is unknown or already has this plan and status.
    """
    subscriber = await subscriptions.lock_subscriber(connection, user_id)
    if subscriber is None:
        return False
    live = await subscriptions.find_live_subscription(connection, user_id)
    if live is not None and (live.plan, live.status) == (change.plan, change.status):
        return False
    if live is not None:
        await subscriptions.update_ended(connection, live, ended_status(live, now), now)
    await _begin(connection, subscriber, live, change, now)
    return True


@dataclass(frozen=True)
class PlanGrant:
    """The current plan, and whether the grant changed it."""

    public_id: UUID
    plan: PlanName
    version: int
    changed: bool


async def grant_plan(database: Database, email: str, plan: PlanName, now: datetime) -> PlanGrant | None:
    """Put a person on a plan, by an operator. Returns None for an unknown e-mail."""
    async with database.untenanted() as connection:
        user_id = await subscriptions.locate_email(connection, email_sha256(email))
    if user_id is None:
        return None
    async with database.tenant(user_id) as connection:
        changed = await change_plan(connection, user_id, Change(plan, "ACTIVE", "granted"), now)
        subscriber = await subscriptions.lock_subscriber(connection, user_id)
    assert subscriber is not None, "claimed together with the e-mail"
    return PlanGrant(subscriber.public_id, plan, subscriber.version, changed)


async def move_to_active_version(
    connection: Connection, user_id: int, name: PlanName, now: datetime, *, dry_run: bool = False
) -> bool:
    """Move a subscriber of this plan to its active version; period, status and trial do not change."""
    subscriber = await subscriptions.lock_subscriber(connection, user_id)
    live = await subscriptions.find_live_subscription(connection, user_id)
    if subscriber is None or live is None or live.plan != name:
        return False
    plan = await plans.get_plan(connection, name)
    if plan.plan_id == live.plan_id or dry_run:
        return plan.plan_id != live.plan_id
    await subscriptions.update_plan(connection, live, plan)
    moved = replace(live, plan_id=plan.plan_id, plan_version=plan.version)
    await _record_and_publish(connection, subscriber, moved, plan, live, "plan_migrated", now)
    return True


async def _begin(
    connection: Connection, subscriber: Subscriber, previous: Subscription | None, change: Change, now: datetime
) -> None:
    plan = await plans.get_plan(connection, change.plan)
    period = first_period(change.status, now)
    begun = await subscriptions.insert_subscription(connection, subscriber.user_id, plan, change, period)
    await _record_and_publish(connection, subscriber, begun, plan, previous, change.reason, now)


async def _record_and_publish(
    connection: Connection,
    subscriber: Subscriber,
    subscription: Subscription,
    plan: Plan,
    previous: Subscription | None,
    reason: str,
    now: datetime,
) -> None:
    """Insert an entry of the plan history, numbered by the version that is published with it, and publish the
    subscription and the quota."""
    await subscriptions.insert_change(connection, subscriber.version + 1, subscription, previous, reason, now)
    await _publish(connection, subscriber, subscription, plan, None if previous is None else previous.plan, reason)
    await refresh_quota(connection, subscriber.user_id, subscriber.public_id, now)


async def _publish(
    connection: Connection,
    subscriber: Subscriber,
    subscription: Subscription,
    plan: Plan,
    previous: PlanName | None,
    reason: str,
) -> None:
    """Publish the whole entitlement under the next version, and set the next deadline."""
    version = subscriber.version + 1
    trial_started_at = subscriber.trial_started_at
    if subscription.status == "TRIAL":
        trial_started_at = subscription.start_date
    await subscriptions.update_subscriber(connection, subscriber.user_id, version, trial_started_at)
    await subscriptions.insert_deadline(connection, subscriber.user_id, subscription.period.end)
    await emit(
        connection,
        SubscriptionChanged(
            user_id=subscriber.user_id,
            public_id=subscriber.public_id,
            aggregate=f"subscription:{subscriber.public_id}",
            aggregate_seq=version,
            subscription_version=version,
            plan=plan.name,
            status=subscription.status,
            limits=plan.limits,
            features=plan.features,
            period_start=subscription.period.start,
            period_end=subscription.period.end,
            previous_plan=previous,
            reason=reason,
        ),
    )


async def process_deadlines(database: Database, now: datetime) -> int:
    """End trials that are over and renew periods. Returns how many subscriptions changed."""
    async with database.queue() as connection:
        due = await subscriptions.list_due(connection, now, DUE_AT_ONCE)
    changed = 0
    for user_id in due:
        point("billing.deadline_due")
        async with database.tenant(user_id) as connection:
            changed += await _process_deadline(connection, user_id, now)
    return changed


async def _process_deadline(connection: Connection, user_id: int, now: datetime) -> bool:
    subscriber = await subscriptions.lock_subscriber(connection, user_id)
    live = await subscriptions.find_live_subscription(connection, user_id)
    if subscriber is None or live is None or not is_due(live, now):
        return False  # another process handled it between the list and the lock
    if live.status == "TRIAL":
        return await change_plan(connection, user_id, Change("FREE", "ACTIVE", "trial_ended"), now)
    await _renew_period(connection, subscriber, live, month_containing(live.start_date, now))
    return True


async def _renew_period(connection: Connection, subscriber: Subscriber, live: Subscription, period: Period) -> None:
    plan = await plans.get_version(connection, live.plan_id)
    await subscriptions.update_period(connection, live, period)
    renewed = replace(live, period=period)
    await _publish(connection, subscriber, renewed, plan, live.plan, "period_renewed")
