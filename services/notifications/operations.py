"""What notifications does."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

import asyncpg

from services.notifications import queries
from services.notifications.domain import AlertType, ConditionFault, compile_alert
from services.notifications.errors import ConditionInvalid, NameTaken, PlanLimitReached
from services.notifications.queries import AlertRow
from shared.chassis.auth import Principal
from shared.chassis.errors import AccountNotReady, NotFound
from shared.chassis.outbox import emit
from shared.chassis.postgres import Connection, Database
from shared.contracts.market import CandleClosed
from shared.contracts.notifications import AlertTriggered, Channel
from shared.contracts.types import new_id

Values = Mapping[str, object]
DELIVERED: tuple[Channel, ...] = ("dashboard",)  # the channels that exist today


async def create_alert(database: Database, caller: Principal, values: Values) -> AlertRow:
    check_condition(values)
    try:
        async with database.tenant(caller.user_id) as connection:
            await _check_plan(connection, caller.user_id, values)
            alert = await queries.insert_alert(connection, caller.user_id, caller.public_id, new_id(), values)
            await queries.set_interest(connection, alert)
            return alert
    except asyncpg.UniqueViolationError as error:
        raise NameTaken(f"an alert is named {values['alert_name']!r} already") from error


async def change_alert(database: Database, user_id: int, alert_id: UUID, changes: Values) -> AlertRow:
    try:
        async with database.tenant(user_id) as connection:
            found = await queries.get_alert(connection, user_id, alert_id, lock=True)
            if found is None:
                raise NotFound
            values = {**{name: getattr(found, name) for name in queries.WRITABLE}, **changes}
            check_condition(values)
            await _check_plan(connection, user_id, values)
            alert = await queries.update_alert(connection, user_id, alert_id, values)
            await queries.set_interest(connection, alert)
            return alert
    except asyncpg.UniqueViolationError as error:
        raise NameTaken("an alert has that name already") from error


async def delete_alert(database: Database, user_id: int, alert_id: UUID) -> None:
    async with database.tenant(user_id) as connection:
        await queries.delete_interest(connection, user_id, alert_id)
        if not await queries.delete_alert(connection, user_id, alert_id):
            raise NotFound


def check_condition(values: Values) -> None:
    """Raises ConditionInvalid with the JSON path of each fault."""
    alert_type, data = values["alert_type"], values["condition_data"]
    assert isinstance(data, dict), "validated by the route"
    try:
        compile_alert(_alert_type(alert_type), data)
    except ConditionFault as error:
        raise ConditionInvalid(
            errors=[{"path": f"$.condition_data{path}", "reason": reason} for path, reason in error.faults]
        ) from error


def _alert_type(value: object) -> AlertType:
    match value:
        case "PRICE" | "EMA_CROSS" | "VOLUME" | "CUSTOM":
            return value
    raise AssertionError(f"{value} is validated by the route")


async def _check_plan(connection: Connection, user_id: int, values: Values) -> None:
    entitlement = await queries.get_entitlement(connection, user_id)
    if entitlement is None:
        raise AccountNotReady(retry_after_s=1)
    if values["notify_telegram"] and not entitlement.telegram_alerts:
        raise PlanLimitReached(
            f"the plan {entitlement.plan} does not include Telegram alerts",
            feature="telegram_alerts",
            plan=entitlement.plan,
        )


def channels_of(alert: AlertRow) -> tuple[Channel, ...]:
    """Those that the alert asks for and that exist."""
    wanted: dict[Channel, bool] = {
        "dashboard": alert.notify_dashboard,
        "telegram": alert.notify_telegram,
        "email": alert.notify_email,
        "webhook": alert.notify_webhook,
    }
    return tuple(channel for channel in DELIVERED if wanted[channel])


async def fire(
    connection: Connection, alert: AlertRow, candle: CandleClosed, closed_at: datetime, value: str | None
) -> None:
    """Once for this alert and bar: the firing, the count and the event, or none of them."""
    count = await queries.insert_firing(connection, alert, candle.open_time, closed_at)
    if not count:
        return
    await emit(
        connection,
        AlertTriggered(
            user_id=alert.user_id,
            public_id=alert.public_id,
            aggregate=f"alert:{alert.alert_id}",
            aggregate_seq=count,
            alert_id=alert.alert_id,
            alert_name=alert.alert_name,
            alert_type=alert.alert_type,
            symbol=alert.symbol,
            interval=alert.interval,
            open_time=candle.open_time,
            price=candle.close,
            value_seen=value,
            condition=dict(alert.condition_data),
            channels=channels_of(alert),
        ),
    )
