"""10,000 events for one user become a digest with the exact count, and delay no other user."""

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from uuid import UUID

from shared.chassis.events.headers import headers_of
from shared.chassis.events.producer import Outgoing
from shared.contracts.envelope import Event
from shared.contracts.notifications import AlertTriggered
from shared.contracts.types import new_id
from tests.integration.accounts import eventually
from tests.integration.notifications.conftest import Platform
from tests.integration.notifications.test_inbox import session
from tests.integration.notifications.test_telling import MORNING

STORM = 10_000
SINGLY = 20
AT_ONCE = 500


def triggered(number: int) -> AlertTriggered:
    alert_id = new_id()
    return AlertTriggered(
        user_id=1,
        public_id=UUID(int=1),
        aggregate=f"alert:{alert_id}",
        aggregate_seq=1,
        alert_id=alert_id,
        alert_name=f"a{number}",
        alert_type="PRICE",
        symbol=f"S{number % 7}USDT",
        interval="15",
        open_time=MORNING,
        price=Decimal(number),
        value_seen=None,
        condition={},
        channels=("dashboard",),
    )


def message(event: Event, event_id: str) -> Outgoing:
    """Return the event as a message; all are published within one minute."""
    headers = headers_of(event, event_id, event.source, MORNING)
    return Outgoing(event.topic, event.key(), headers, event.model_dump_json().encode())


async def send(platform: Platform, messages: Sequence[Outgoing]) -> None:
    for start in range(0, len(messages), AT_ONCE):
        await platform.running.producer.send(list(messages[start : start + AT_ONCE]))


async def count_handled(platform: Platform) -> int:
    async with platform.database.tenant(1) as connection:
        count: int = await connection.fetchval("SELECT count(*) FROM deliveries")
        return count


async def test_a_storm_is_counted_and_delays_no_other_user(platform: Platform) -> None:
    stormy, calm = await platform.user(1), await platform.user(2)
    storm = [message(triggered(number), str(new_id())) for number in range(STORM)]
    other = session(2)[0]
    await send(platform, storm[: STORM // 2])
    await send(platform, [message(other, str(new_id()))])
    await send(platform, storm[STORM // 2 :])
    await send(platform, storm[:100])  # duplicates
    (message_of_other,) = await eventually(lambda: platform.inbox(calm), bool, 60)
    await eventually(lambda: count_handled(platform), lambda count: count >= STORM, 120)

    messages = await platform.inbox(stormy)
    (digest,) = [each for each in messages if each["event_type"] == "DIGEST"]
    assert len(messages) == SINGLY + 1
    expected = Counter(f"S{number % 7}USDT" for number in range(SINGLY, STORM))
    assert digest["data"] == {
        "event_type": "ALERT_TRIGGERED",
        "minute": "2026-01-31T09:00:00.000Z",
        "count": STORM - SINGLY,
        "counts": expected,
    }
    assert str(digest["message"]).startswith("9,980 more alerts in the minute of 31 Jan 2026, 09:00 UTC: ")
    assert message_of_other["session_id"] == str(other.session_id)
    async with platform.database.tenant(1) as connection:
        ledger = await connection.fetch(
            "SELECT state, count(*) AS n, count(DISTINCT message_id) AS m FROM deliveries GROUP BY state ORDER BY 1"
        )
        last = await connection.fetchval("SELECT max(created_at) FROM deliveries")
    assert [tuple(row) for row in ledger] == [("DELIVERED", SINGLY, SINGLY), ("DIGESTED", STORM - SINGLY, 1)]
    async with platform.database.tenant(2) as connection:
        assert await connection.fetchval("SELECT created_at FROM user_system_events") < last
    assert await platform.inbox(stormy, "event_type=DIGEST&is_read=false") == [digest]
