"""Create, change and delete alerts, and update their demand for market series in the same transaction."""

from collections.abc import Mapping
from dataclasses import replace
from uuid import UUID

import asyncpg

from services.notifications.domain.conditions import ConditionFault, normalise_condition
from services.notifications.errors import AlertsFull
from services.notifications.queries import alerts
from services.notifications.queries.alerts import AlertRow, AlertValues
from services.notifications.queries.entitlements import find_entitlement
from shared.chassis.auth import Principal
from shared.chassis.errors import AccountNotReady, InvalidInput, NameTaken, PlanLimitReached
from shared.chassis.http.etags import ANY_STATE, IfMatch
from shared.chassis.postgres import Connection
from shared.contracts.notifications import Channel
from shared.contracts.types import new_id
from shared.market.demand import delete_demand

DELIVERING_CHANNELS: tuple[Channel, ...] = ("dashboard",)  # no other channel delivers
MAX_ALERTS = 200


async def create_alert(connection: Connection, caller: Principal, values: AlertValues) -> AlertRow:
    """Raises InvalidInput, PlanLimitReached, AlertsFull, NameTaken."""
    values = _with_checked_condition(values)
    try:
        await _check_plan(connection, caller.user_id, telegram=values.notify_telegram)
        if await alerts.count_alerts(connection, caller.user_id) >= MAX_ALERTS:
            raise AlertsFull(f"a tenant can have at most {MAX_ALERTS} alerts", limit=MAX_ALERTS)
        alert = await alerts.insert_alert(connection, caller.user_id, caller.public_id, new_id(), values)
        await alerts.set_demand(connection, alert)
        return alert
    except asyncpg.UniqueViolationError as error:
        raise NameTaken(f"an alert named {values.alert_name!r} already exists") from error


async def change_alert(
    connection: Connection,
    user_id: int,
    alert_id: UUID,
    changes: Mapping[str, object],
    if_match: IfMatch = ANY_STATE,
) -> AlertRow:
    """Apply `changes`. Switching off a feature is always allowed, also one that the plan does not include.

    Raises NotFound, PreconditionFailed, InvalidInput, PlanLimitReached, NameTaken.
    """
    try:
        found = await alerts.get_alert(connection, user_id, alert_id, lock=True)
        if_match.check(found.updated_at)
        await _check_plan(connection, user_id, telegram=bool(changes.get("notify_telegram")))
        values = AlertValues(**{**{name: getattr(found, name) for name in alerts.WRITABLE}, **changes})
        if "condition_data" in changes:
            values = _with_checked_condition(values)
        alert = await alerts.update_alert(connection, user_id, alert_id, values)
        await alerts.set_demand(connection, alert)
        return alert
    except asyncpg.UniqueViolationError as error:
        raise NameTaken("an alert with that name already exists") from error


async def delete_alert(connection: Connection, user_id: int, alert_id: UUID, if_match: IfMatch = ANY_STATE) -> None:
    """Raises NotFound, PreconditionFailed."""
    found = await alerts.get_alert(connection, user_id, alert_id, lock=True)
    if_match.check(found.updated_at)
    await delete_demand(connection, user_id, alert_id)
    await alerts.delete_alert(connection, user_id, alert_id)


def channels_of(alert: AlertRow) -> tuple[Channel, ...]:
    """Return the channels that the alert asks for and that deliver today."""
    wanted: dict[Channel, bool] = {
        "dashboard": alert.notify_dashboard,
        "telegram": alert.notify_telegram,
        "email": alert.notify_email,
        "webhook": alert.notify_webhook,
    }
    return tuple(channel for channel in DELIVERING_CHANNELS if wanted[channel])


def _with_checked_condition(values: AlertValues) -> AlertValues:
    """Normalise `condition_data`. Raises InvalidInput with the JSON path of each fault."""
    try:
        return replace(values, condition_data=normalise_condition(values.alert_type, values.condition_data))
    except ConditionFault as error:
        raise InvalidInput(
            "the alert's condition is not valid",
            errors=[{"path": f"$.condition_data{path}", "reason": reason} for path, reason in error.faults],
        ) from error


async def _check_plan(connection: Connection, user_id: int, *, telegram: bool) -> None:
    """Raises PlanLimitReached if a requested channel is not in the plan, AccountNotReady if the plan is unknown."""
    if not telegram:
        return
    entitlement = await find_entitlement(connection, user_id)
    if entitlement is None:
        raise AccountNotReady
    if not entitlement.telegram_alerts:
        raise PlanLimitReached(
            f"the plan {entitlement.plan} does not include Telegram alerts",
            feature="telegram_alerts",
            limit_name="telegram_alerts",
            allowed=0,
            used=0,
            plan=entitlement.plan,
        )
