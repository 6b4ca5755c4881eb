"""Events forged for another tenant have no effect on them, and an expiry that cannot be compared is refused."""

from decimal import Decimal

import asyncpg
import pytest

from services.notifications.consumers import on_alert_triggered, on_subscription_changed
from services.notifications.operations.alerts import change_alert
from services.notifications.queries.alerts import AlertRow
from services.notifications.queries.firings import FiringRow, insert_firings
from shared.chassis.events.producer import Outgoing
from shared.chassis.postgres import Database
from shared.contracts.envelope import Event
from shared.contracts.notifications import AlertTriggered
from shared.contracts.types import from_ms, new_id
from tests.as_tenant import as_tenant
from tests.integration.accounts import eventually
from tests.integration.notifications.conftest import Platform, make_alert, subscription

REFUSED = asyncpg.InsufficientPrivilegeError


def triggered(alert: AlertRow, user_id: int) -> AlertTriggered:
    return AlertTriggered(
        user_id=user_id,
        public_id=alert.public_id,
        aggregate=f"alert:{alert.alert_id}",
        aggregate_seq=1,
        alert_id=alert.alert_id,
        alert_name="forged",
        alert_type="PRICE",
        symbol="BTCUSDT",
        interval="15",
        open_time=from_ms(0),
        price=Decimal(1),
        value_seen=None,
        condition={},
        channels=("dashboard",),
    )


async def dead_letters(platform: Platform) -> list[str]:
    async with platform.database.queue() as connection:
        rows = await connection.fetch("SELECT topic FROM outbox WHERE topic LIKE '%.dlq' ORDER BY topic")
    return [row["topic"] for row in rows]


async def forge(platform: Platform, event: Event, key: str) -> None:
    """Send a message whose key names one tenant and whose body another."""
    headers = {"ce_id": str(new_id()), "ce_time": "2026-01-31T09:30:00Z", "ce_dataschema": "x:1"}
    await platform.running.producer.send([Outgoing(event.topic, key, headers, event.model_dump_json().encode())])


async def test_events_forged_for_another_tenant_have_no_effect(platform: Platform) -> None:
    victim = await make_alert(platform.database, 1)
    token = platform.issuer.make_token(victim.public_id)
    await forge(platform, triggered(victim, 1), "2")
    await forge(platform, subscription(1, victim.public_id, "FREE", 9), "2")
    both = ["alert.triggered.dlq", "subscription.changed.dlq"]
    await eventually(lambda: dead_letters(platform), lambda topics: topics == both)
    assert await platform.inbox(token) == []
    changed = await as_tenant(platform.database, change_alert, 1, victim.alert_id, {"notify_telegram": True})
    assert changed.notify_telegram, "the plan was not taken away"


async def test_the_database_refuses_rows_for_a_tenant_outside_the_batch(database: Database) -> None:
    victim = await make_alert(database, 1)
    with pytest.raises(REFUSED):
        async with database.tenants([2]) as connection:
            await on_alert_triggered(connection, [triggered(victim, 1)])
    with pytest.raises(REFUSED):
        async with database.tenants([2]) as connection:
            await on_subscription_changed(connection, [subscription(1, victim.public_id, "FREE", 9)])
    with pytest.raises(REFUSED):
        async with database.tenants([2]) as connection:
            await insert_firings(
                connection, [FiringRow(1, victim.alert_id, from_ms(0), from_ms(1), Decimal(1), None)]
            )


@pytest.mark.parametrize("moment", ["infinity", "-infinity", "2200-01-01Z"])
async def test_an_expiry_that_cannot_be_compared_is_refused(database: Database, moment: str) -> None:
    alert = await make_alert(database, 1)
    with pytest.raises(asyncpg.CheckViolationError):
        async with database.tenant(1) as connection:
            await connection.execute(
                f"UPDATE user_alerts SET expires_at = '{moment}' WHERE alert_id = $1", alert.alert_id
            )
