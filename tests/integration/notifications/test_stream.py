"""The notification stream: each message once and in order, to every stream of its owner and to no one else."""

import asyncio
from datetime import timedelta
from uuid import UUID

from services.notifications import consumers
from shared.chassis.postgres import Database
from shared.chassis.service import RunningService
from shared.contracts.types import new_id
from shared.testing.api_client import Json
from tests.integration.notifications.conftest import Platform, StreamEvent, read_events, subscription
from tests.integration.notifications.test_inbox import INBOX
from tests.integration.notifications.test_telling import MORNING, handle, started_event

MINUTE = timedelta(minutes=1)
WRITERS, TIMES, TOGETHER = 8, 6, 3
USERS = 60


async def create_users(platform: Platform, *user_ids: int) -> list[str]:
    """Create users on PREMIUM, known to the service at once, and return their tokens."""
    public_ids = {user_id: new_id() for user_id in user_ids}
    async with platform.database.tenants(user_ids) as connection:
        await consumers.on_subscription_changed(
            connection, [subscription(user_id, one, "PREMIUM") for user_id, one in public_ids.items()]
        )
    return [platform.issuer.make_token(one) for one in public_ids.values()]


def numbers(sent: list[StreamEvent]) -> list[object]:
    return [each.data["position"] for each in sent if each.event == "message"]


async def test_a_stream_begins_with_the_unread_count_and_sends_new_messages(platform: Platform) -> None:
    (token,) = await create_users(platform, 1)
    await handle(platform.database, started_event(1))
    async with platform.stream(token) as one, platform.stream(token) as other:
        for stream in (one, other):
            (first,) = await read_events(stream, 1)
            assert (first.event, first.data) == ("unread", {"unread": 1, "position": 1})
        event = started_event(1)
        await handle(platform.database, event)
        for stream in (one, other):
            message, count = await read_events(stream, 2)
            assert (message.event, message.data["session_id"]) == ("message", str(event.session_id))
            assert (count.event, count.data) == ("unread", {"unread": 2, "position": 2})
    (listed, _) = await platform.inbox(token)
    assert listed == message.data


async def test_a_reconnected_stream_continues_after_the_last_event(platform: Platform) -> None:
    (token,) = await create_users(platform, 1)
    async with platform.stream(token, query="?seconds=0") as stream:
        (empty,) = await read_events(stream, 1)
        assert await read_events(stream, 1) == []
    await handle(platform.database, *(started_event(1, MORNING + number * MINUTE) for number in range(150)))
    async with platform.stream(token, empty.id) as stream:
        some = await read_events(stream, 70)
    assert numbers(some) == list(range(1, 71))
    async with platform.stream(token, some[-1].id, "?seconds=0") as stream:
        rest = await read_events(stream, 1_000)
    assert numbers(rest) == list(range(71, 151))
    assert (rest[-1].event, rest[-1].data) == ("unread", {"unread": 150, "position": 150})
    async with platform.stream(token, rest[-1].id, "?seconds=0") as stream:
        assert await read_events(stream, 1) == []


async def test_messages_read_elsewhere_update_the_count(platform: Platform) -> None:
    (token,) = await create_users(platform, 1)
    await handle(platform.database, started_event(1), started_event(1))
    (newest, _) = await platform.inbox(token)
    async with platform.stream(token) as stream:
        await read_events(stream, 1)
        await platform.call("POST", f"{INBOX}/{newest['event_id']}/read", token)
        (count,) = await read_events(stream, 1)
        assert (count.event, count.data["unread"]) == ("unread", 1)
        await platform.call("POST", f"{INBOX}/{newest['event_id']}/read", token)  # already read
        await platform.call("POST", f"{INBOX}/read", token)
        (count,) = await read_events(stream, 1)
        assert count.data == {"unread": 0, "position": 4}


async def test_concurrent_writers_cause_no_lost_or_duplicate_messages(platform: Platform) -> None:
    """Some writers keep their transaction open for a while, so that messages become visible out of order."""
    (token,) = await create_users(platform, 1)

    async def write(writer: int) -> None:
        for time in range(TIMES):
            published_at = MORNING + (writer * TIMES + time) * MINUTE
            async with platform.database.tenants([1]) as connection:
                events = [started_event(1, published_at) for _ in range(TOGETHER)]
                await consumers.on_session_started(connection, events)
                await asyncio.sleep(0.02 * (writer % 3))

    whole = WRITERS * TIMES * TOGETHER
    sent: list[StreamEvent] = []
    async with platform.stream(token) as stream:
        writing = asyncio.gather(*(write(writer) for writer in range(WRITERS)))
        while len(numbers(sent)) < whole:
            sent += await read_events(stream, 1)
        await writing
        (count,) = [sent[-1]] if sent[-1].event == "unread" else await read_events(stream, 1)
    assert numbers(sent) == list(range(1, whole + 1))
    assert len({each.data["event_id"] for each in sent if each.event == "message"}) == whole
    assert count.data == {"unread": whole, "position": whole}


async def test_each_of_many_streams_gets_its_own_messages(platform: Platform) -> None:
    tokens = await create_users(platform, *range(1, USERS + 1))

    async def follow(token: str, ready: asyncio.Semaphore) -> Json:
        async with platform.stream(token) as stream:
            await read_events(stream, 1)
            ready.release()
            message, _ = await read_events(stream, 2, within_s=60)
            return message.data

    ready = asyncio.Semaphore(0)
    following = [asyncio.create_task(follow(token, ready)) for token in tokens]
    for _ in tokens:
        await ready.acquire()
    events = [started_event(user_id) for user_id in range(1, USERS + 1)]
    await handle(platform.database, *events)
    found = await asyncio.gather(*following)
    assert [each["session_id"] for each in found] == [str(event.session_id) for event in events]


async def test_a_growing_digest_is_sent_again(platform: Platform) -> None:
    (token,) = await create_users(platform, 1)
    await handle(platform.database, *(started_event(1) for _ in range(25)))
    async with platform.stream(token) as stream:
        (count,) = await read_events(stream, 1)
        assert count.data == {"unread": 21, "position": 21}
        await platform.call("POST", f"{INBOX}/read", token)
        await read_events(stream, 1)
        await handle(platform.database, *(started_event(1) for _ in range(4)))
        digest, count = await read_events(stream, 2)
    assert (digest.event, digest.data["event_type"], digest.data["is_read"]) == ("digest", "DIGEST", False)
    assert digest.data["data"]["count"] == 9
    assert count.data == {"unread": 1, "position": 23}
    assert UUID(str(digest.data["event_id"])) in {
        UUID(str(each["event_id"])) for each in await platform.inbox(token)
    }


async def test_a_stream_survives_lost_database_connections(platform: Platform, database: Database) -> None:
    (token,) = await create_users(platform, 1)
    async with platform.stream(token) as stream:
        await read_events(stream, 1)
        async with database.untenanted() as connection:
            await connection.fetch("SELECT 1")
        await _cut_connections(platform.running)
        await handle(database, started_event(1))
        message, _ = await read_events(stream, 2)
    assert message.event == "message"


async def _cut_connections(running: RunningService) -> None:
    """Cut the connections of the service's pools."""
    for pool in (running.database._app, running.database._worker):
        await pool.expire_connections()
