"""Old events are dropped by the day, and none that is still needed with them."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

from shared.chassis.postgres import Database
from shared.chassis.settings import ServiceSettings
from stack.migrate import DatabaseAccess

TODAY = datetime.now(UTC).date()


def id_of(days_ago: int, number: int = 1) -> UUID:
    """Return a UUIDv7 of noon `days_ago` days ago."""
    noon = datetime(TODAY.year, TODAY.month, TODAY.day, 12, tzinfo=UTC) - timedelta(days=days_ago)
    return UUID(int=int(noon.timestamp() * 1000) << 80 | 0x7 << 76 | 0x8 << 60 | number)


@pytest.fixture
async def owner(database_access: DatabaseAccess) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_access.owner_dsn, server_settings={"search_path": "analytics"})
    yield connection
    await connection.close()


async def run_retention(settings: ServiceSettings) -> list[str]:
    database = await Database.connect(settings)
    try:
        async with database.queue() as connection:
            return [row["what"] for row in await connection.fetch("SELECT keep_event_days() AS what")]
    finally:
        await database.close()


async def insert_outbox_row(owner: asyncpg.Connection, event_id: UUID, days_ago: int, **columns: object) -> None:
    sent, dead, dropped = (columns.get(name) for name in ("sent_at", "dead_reason", "dropped_at"))
    await owner.execute(
        """
        INSERT INTO outbox (user_id, bucket, event_id, topic, key, headers, payload, created_at,
                            sent_at, dead_reason, dropped_at)
        VALUES (1, 0, $1, 'trade.closed', '1', '{}', '', now() - $2::interval, $3, $4, $5)
        """,
        event_id,
        timedelta(days=days_ago),
        sent,
        dead,
        dropped,
    )


async def insert_inbox_row(owner: asyncpg.Connection, event_id: UUID, days_ago: int) -> None:
    await owner.execute(
        "INSERT INTO inbox VALUES (1, 'analytics', $1, '', now() - $2::interval)",
        event_id,
        timedelta(days=days_ago),
    )


async def make_day(owner: asyncpg.Connection, parent: str, days_ago: int) -> None:
    await owner.execute("SELECT make_event_day($1, $2)", parent, TODAY - timedelta(days=days_ago))


async def test_an_event_is_stored_in_the_partition_of_its_day(owner: asyncpg.Connection) -> None:
    await insert_inbox_row(owner, id_of(0), 0)
    partition = await owner.fetchval("SELECT tableoid::regclass::text FROM inbox")
    assert partition == f"inbox_{TODAY:%Y_%m_%d}"


async def test_rows_that_came_before_their_partition_move_into_it(owner: asyncpg.Connection) -> None:
    await insert_inbox_row(owner, id_of(-3), 0)
    assert await owner.fetchval("SELECT tableoid::regclass::text FROM inbox") == "inbox_other"
    await make_day(owner, "inbox", -3)
    assert await owner.fetchval("SELECT tableoid::regclass::text FROM inbox") == (
        f"inbox_{TODAY + timedelta(days=3):%Y_%m_%d}"
    )


async def test_sent_days_of_the_outbox_are_dropped_after_a_week(
    settings: ServiceSettings, owner: asyncpg.Connection
) -> None:
    for days_ago in (7, 8):
        await make_day(owner, "outbox", days_ago)
        await insert_outbox_row(owner, id_of(days_ago), days_ago, sent_at=datetime.now(UTC))
    assert await run_retention(settings) == [f"dropped outbox of {TODAY - timedelta(days=8)}"]
    assert [row["event_id"] for row in await owner.fetch("SELECT event_id FROM outbox")] == [id_of(7)]


@pytest.mark.parametrize(
    ("days_ago", "columns", "stays"),
    [
        (20, {}, True),
        (13, {"dead_reason": "too large"}, True),
        (15, {"dead_reason": "too large"}, False),
        (10, {"dead_reason": "too large", "dropped_at": datetime.now(UTC)}, False),
    ],
    ids=["unsent", "dead", "dead for two weeks", "dropped by a person"],
)
async def test_unsent_events_are_kept_longer(
    settings: ServiceSettings, owner: asyncpg.Connection, days_ago: int, columns: dict[str, object], stays: bool
) -> None:
    await make_day(owner, "outbox", days_ago)
    await insert_outbox_row(owner, id_of(days_ago), days_ago, **columns)
    await run_retention(settings)
    assert await owner.fetchval("SELECT count(*) FROM outbox") == int(stays)


async def test_days_of_the_inbox_are_dropped_after_thirty(
    settings: ServiceSettings, owner: asyncpg.Connection
) -> None:
    for days_ago in (30, 31):
        await make_day(owner, "inbox", days_ago)
        await insert_inbox_row(owner, id_of(days_ago), days_ago)
    assert await run_retention(settings) == [f"dropped inbox of {TODAY - timedelta(days=31)}"]
    assert [row["event_id"] for row in await owner.fetch("SELECT event_id FROM inbox")] == [id_of(30)]


async def test_an_id_without_a_day_is_deleted_by_its_time_of_receipt(
    settings: ServiceSettings, owner: asyncpg.Connection
) -> None:
    young, old = UUID(int=1), UUID(int=2)
    await insert_inbox_row(owner, young, 29)
    await insert_inbox_row(owner, old, 31)
    await run_retention(settings)
    assert [row["event_id"] for row in await owner.fetch("SELECT event_id FROM inbox")] == [young]


async def test_a_day_in_use_is_dropped_later(settings: ServiceSettings, owner: asyncpg.Connection) -> None:
    await make_day(owner, "inbox", 40)
    async with owner.transaction():
        await owner.execute("SELECT count(*) FROM inbox")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await run_retention(settings)
    assert await run_retention(settings) == [f"dropped inbox of {TODAY - timedelta(days=40)}"]


async def test_dead_and_dropped_events_are_kept_two_weeks(
    settings: ServiceSettings, owner: asyncpg.Connection
) -> None:
    states = [("WAITING", 40), ("HALTED", 40), ("DEAD", 13), ("DEAD", 15), ("DROPPED", 15)]
    for number, (state, days_ago) in enumerate(states):
        await owner.execute(
            """
            INSERT INTO parked (user_id, consumer, event_id, topic, key, headers, payload, kafka_partition,
                                kafka_offset, reason, state, parked_at)
            VALUES (1, 'analytics', $1, 't', '1', '{}', '', 0, 0, 'because', $2, now() - $3::interval)
            """,
            UUID(int=number),
            state,
            timedelta(days=days_ago),
        )
    await run_retention(settings)
    rest = await owner.fetch("SELECT state FROM parked ORDER BY id")
    assert [row["state"] for row in rest] == ["WAITING", "HALTED", "DEAD"]
