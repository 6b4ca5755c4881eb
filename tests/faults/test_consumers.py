"""Every distinct event has its effect once, in order per tenant, whatever happens to its consumer."""

import asyncio
import signal
import time
from collections.abc import Sequence

import asyncpg
import pytest

from benchmarks.trades import messages
from shared.chassis.events.producer import Producer
from stack.topics import create_topics, delete_topics, topics_of
from tests.faults.scene import Scene, some_trades
from tests.integration.accounts import eventually
from tests.pace import FULL
from tests.topic_sets import TEST_PARTITIONS

FAILING_S, FAILED_ATTEMPTS = (70, 5) if FULL else (3, 3)


@pytest.mark.parametrize(
    "where",
    [
        "inbox.after_rows",
        "inbox.after_effect",
        "transaction.before_commit",
        "consumer.after_work",  # the database has committed, the offsets are not committed yet
        "consumer.after_offsets",
    ],
)
async def test_the_successor_of_a_killed_consumer_duplicates_nothing(scene: Scene, where: str) -> None:
    doomed = await scene.start("consumers")
    doomed.arm(f"{where} KILL 1")
    await scene.produce(events := some_trades())
    await eventually(lambda: asyncio.to_thread(doomed.process.poll), lambda code: code is not None, 30)
    await scene.start("consumers")
    await scene.assert_settled(events)


async def test_a_frozen_member_wakes_next_to_its_successor_and_duplicates_nothing(scene: Scene) -> None:
    frozen = await scene.start("consumers")
    frozen.arm("consumer.after_fetch STOP 1")
    await scene.produce(events := some_trades())
    await frozen.wait_until_struck()
    await scene.start("consumers")
    await scene.assert_settled(events, within_s=40)  # the session time-out is 10 s
    frozen.send(signal.SIGCONT)
    await scene.produce(more := some_trades(50, after=200))
    await scene.assert_settled([*events, *more])


async def test_a_member_without_a_partition_takes_over_within_thirty_seconds(scene: Scene) -> None:
    members = [await scene.start("consumers") for _ in range(TEST_PARTITIONS + 1)]
    for member in members[:-1]:
        await member.end(signal.SIGKILL)
    killed_at = time.monotonic()
    await scene.produce(events := some_trades(20))
    await scene.assert_settled(events, within_s=30)
    assert time.monotonic() - killed_at < 30


async def test_members_that_join_and_leave_under_load_lose_and_duplicate_nothing(scene: Scene) -> None:
    await scene.start("consumers")
    events = []
    for round_number in range(4):
        comer = await scene.start("consumers")
        batch = some_trades(100)
        events += batch
        await scene.produce(batch)
        await asyncio.sleep(1)
        await comer.end(signal.SIGTERM if round_number % 2 else signal.SIGKILL)
    wanted = {event.trade_id for event in events}
    await eventually(scene.list_effects, lambda effects: set(effects) >= wanted, 60)
    assert len(await scene.list_effects()) == len(events)


@pytest.mark.timeout(300)
async def test_a_long_failing_tenant_keeps_its_order_and_delays_no_other(scene: Scene) -> None:
    scene.failing.write_text("3")
    await scene.start("consumers")
    events = some_trades()
    await scene.produce(events)
    others = {event.trade_id for event in events if event.user_id != 3}
    await eventually(scene.list_effects, lambda effects: set(effects) >= others, 40)
    failing_since = time.monotonic()
    while time.monotonic() - failing_since < FAILING_S:
        await scene.produce(more := some_trades(25, after=len(events)))
        events += more
        others = {event.trade_id for event in events if event.user_id != 3}
        await eventually(scene.list_effects, lambda effects: set(effects) >= others, 20)  # noqa: B023 - awaited here
    assert set(await scene.list_effects()) == others
    assert await scene.number("SELECT count(*) FROM parked WHERE state = 'WAITING'") == len(events) - len(others)
    attempts = "SELECT max(attempts) FROM parked"
    await eventually(lambda: scene.number(attempts), lambda made: made >= FAILED_ATTEMPTS)
    scene.failing.unlink()
    await scene.assert_settled(events, within_s=120)  # its next attempt may be two minutes away
    assert await scene.number("SELECT count(*) FROM parked") == 0


async def test_a_thousand_copies_have_one_effect_and_a_different_body_is_an_alarm(scene: Scene) -> None:
    member = await scene.start("consumers")
    (event,) = some_trades(1, 1)
    (message,) = messages([event])
    altered = message._replace(payload=message.payload.replace(b'"50010"', b'"60010"'))
    assert altered.payload != message.payload
    producer = Producer(scene.bootstrap, scene.prefix)
    await producer.send([message] * 1_000)
    await producer.send([altered])
    await producer.stop()
    await eventually(lambda: member.metric("events_altered_total{"), lambda altered: altered == 1)
    await scene.assert_settled([event])


async def test_cut_database_connections_lose_and_duplicate_nothing(scene: Scene, postgres: str) -> None:
    await scene.start("consumers")
    events = []
    admin = await asyncpg.connect(postgres)
    for _ in range(10):
        batch = some_trades(50)
        events += batch
        await scene.produce(batch)
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", scene.access.name
        )
    await admin.close()
    wanted = {event.trade_id for event in events}
    await eventually(scene.list_effects, lambda effects: set(effects) >= wanted, 40)
    assert len(await scene.list_effects()) == len(events)


REFUSES_FIVE_TIMES = """
    CREATE SEQUENCE refusals;
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = analytics AS $$
    DECLARE
        number bigint := nextval('refusals'); -- a sequence is not rolled back
    BEGIN
        IF number <= 5 THEN
            RAISE EXCEPTION 'refused' USING ERRCODE = CASE number % 2 WHEN 0 THEN '40001' ELSE '40P01' END;
        END IF;
        RETURN NULL;
    END
    $$;
    CREATE TRIGGER refuse AFTER INSERT ON heard FOR EACH STATEMENT EXECUTE FUNCTION refuse();
"""


async def test_deadlocks_and_serialization_failures_are_retried_with_one_effect(scene: Scene) -> None:
    connection = await asyncpg.connect(scene.access.owner_dsn, server_settings={"search_path": "analytics"})
    await connection.execute(REFUSES_FIVE_TIMES)
    await connection.close()
    await scene.start("consumers")
    await scene.produce(events := some_trades(50))
    await scene.assert_settled(events)
    assert await scene.number("SELECT last_value FROM refusals") > 5
    assert await scene.number("SELECT count(*) FROM parked") == 0


async def test_a_deleted_and_recreated_topic_is_consumed_again(scene: Scene) -> None:
    await scene.start("consumers")
    await scene.produce(events := some_trades(30))
    await scene.assert_settled(events)
    topics = [
        topic
        for topic in topics_of(prefix=scene.prefix, max_partitions=TEST_PARTITIONS)
        if topic.name == scene.topic
    ]
    await delete_topics(scene.bootstrap, [scene.topic])
    await eventually(lambda: _try_create(scene, topics), bool, 20)
    await scene.produce(more := some_trades(30, after=30))
    await scene.assert_settled([*events, *more], within_s=40)


async def _try_create(scene: Scene, topics: Sequence[object]) -> bool:
    await create_topics(scene.bootstrap, topics)  # type: ignore[arg-type]  # aiokafka has no types
    try:
        return await scene.read_topic() == []
    except Exception:  # noqa: BLE001 - the broker is still deleting the topic
        return False


async def test_sigterm_in_the_middle_of_a_batch_shuts_down_cleanly(scene: Scene) -> None:
    leaving = await scene.start("consumers")
    await scene.produce(events := some_trades(2_000))
    await eventually(scene.list_effects, lambda effects: len(effects) > 0, 30)
    began = time.monotonic()
    assert await leaving.end(signal.SIGTERM) == 0
    assert time.monotonic() - began < 10
    rows = await scene.sql("SELECT count(*) AS effects, count(DISTINCT object_id) AS trades FROM heard")
    assert rows[0]["effects"] == rows[0]["trades"]
    await scene.start("consumers")
    await scene.assert_settled(events)


async def test_it_starts_without_a_database_and_works_once_there_is_one(scene: Scene, postgres: str) -> None:
    admin = await asyncpg.connect(postgres)
    await admin.execute(f"ALTER DATABASE {scene.access.name} ALLOW_CONNECTIONS false")
    await admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", scene.access.name
    )
    starting = asyncio.create_task(scene.start("consumers"))
    await scene.produce(events := some_trades(20))
    await asyncio.sleep(1)
    assert not starting.done()
    await admin.execute(f"ALTER DATABASE {scene.access.name} ALLOW_CONNECTIONS true")
    began = time.monotonic()
    await starting
    assert time.monotonic() - began < 15
    await scene.assert_settled(events)
    await admin.close()
