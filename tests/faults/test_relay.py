"""Published events are sent, in order per key, whichever process is killed."""

import asyncio
import signal
from collections.abc import Sequence

import asyncpg
import pytest
from aiokafka import ConsumerRecord

from shared.chassis.events.outbox import emit
from shared.chassis.postgres import Database
from tests.backend import admin_execute
from tests.faults.scene import Scene, some_trades
from tests.integration.accounts import eventually
from tests.pace import FULL, patient

UNSENT = "SELECT count(*) FROM outbox WHERE sent_at IS NULL"


def first_seqs(records: Sequence[ConsumerRecord]) -> dict[bytes, list[int]]:
    """Return the sequence numbers of each key's events, in the order of their first appearance."""
    seen: set[bytes] = set()
    seqs: dict[bytes, list[int]] = {}
    for record in records:
        event_id = dict(record.headers)["ce_id"]
        if event_id not in seen:
            seen.add(event_id)
            number = int(record.value.partition(b'"aggregate_seq":')[2].partition(b",")[0])
            seqs.setdefault(record.key, []).append(number)
    return seqs


async def _first_seqs(scene: Scene) -> dict[bytes, list[int]]:
    return first_seqs(await scene.read_topic())


async def assert_all_sent_in_order(scene: Scene, count: int) -> None:
    await eventually(lambda: scene.number(UNSENT), lambda left: left == 0, 40)
    seqs = await eventually(
        lambda: _first_seqs(scene), lambda seqs: sum(len(each) for each in seqs.values()) >= count, 10
    )
    assert sum(len(each) for each in seqs.values()) == count
    assert all(each == sorted(each) for each in seqs.values())


@pytest.mark.parametrize(
    "where", ["relay.after_rows_read", "relay.after_ack", "relay.after_mark", "relay.after_commit"]
)
async def test_a_killed_relay_beside_another_loses_nothing_and_keeps_the_order(scene: Scene, where: str) -> None:
    first, _ = await scene.start("relay"), await scene.start("relay")
    first.arm(f"{where} KILL 3")
    events = some_trades()
    await scene.publish(events)
    if where != "relay.after_commit":
        await eventually(lambda: asyncio.to_thread(first.process.poll), lambda code: code is not None, 30)
        assert first.process.returncode == -signal.SIGKILL
    await assert_all_sent_in_order(scene, len(events))


async def test_a_frozen_relay_holds_its_bucket_for_a_bounded_time(scene: Scene, postgres: str) -> None:
    if not FULL:  # the role has 35 seconds, as the next test checks
        role = f"ALTER ROLE analytics_queue IN DATABASE {scene.access.name}"
        await admin_execute(postgres, f"{role} SET transaction_timeout = '5s'")
    frozen = await scene.start("relay")
    frozen.arm("relay.after_rows_read STOP 1")
    events = some_trades(20, 2)
    await scene.publish(events)
    await frozen.wait_until_struck()
    await scene.start("relay")
    await assert_all_sent_in_order(scene, len(events))
    frozen.send(signal.SIGCONT)
    await scene.publish(more := some_trades(20, 2, after=20))
    await assert_all_sent_in_order(scene, len(events) + len(more))


async def test_a_client_frozen_within_a_statement_does_not_hold_its_locks_for_ever(scene: Scene) -> None:
    """Postgres counts such a client as active, not idle, and the statement time-out does not apply while it waits
    for it."""
    database = await Database.connect(scene.settings)
    async with database.tenant(1) as connection, database.queue() as queue:
        limits = [await each.fetchval("SHOW transaction_timeout") for each in (connection, queue)]
    await database.close()
    assert limits == ["90s", "35s"]
    holder = await asyncpg.connect(scene.settings.postgres_queue_dsn.get_secret_value())
    await holder.execute("BEGIN; SET LOCAL transaction_timeout = 0")
    await holder.execute("SET LOCAL transaction_timeout = '2s'; SELECT count(*) FROM parked")
    half = await holder._get_statement("SELECT 1 + $1::int", 10)  # described, and never bound
    other = await asyncpg.connect(scene.access.owner_dsn, server_settings={"search_path": "analytics"})
    async with asyncio.timeout(patient(20)):
        await other.execute("BEGIN; LOCK TABLE parked IN ACCESS EXCLUSIVE MODE; ROLLBACK")
    assert half is not None
    holder.terminate()
    await other.close()


@pytest.mark.parametrize("first_commits", [0, 1])
async def test_interleaved_transactions_of_two_tenants_are_sent_in_either_commit_order(
    scene: Scene, first_commits: int
) -> None:
    """The slow transaction's rows have lower ids than the rows sent before it."""
    await scene.start("relay")
    database = await Database.connect(scene.settings)
    events = some_trades(2, 2)
    managers = [database.tenant(event.user_id) for event in events]
    connections = [await manager.__aenter__() for manager in managers]
    for connection, event in zip(connections, events, strict=True):
        await emit(connection, event)
    await managers[first_commits].__aexit__(None, None, None)
    await eventually(lambda: scene.number(UNSENT), lambda left: left == 0)
    await managers[1 - first_commits].__aexit__(None, None, None)
    await assert_all_sent_in_order(scene, 2)
    await database.close()


async def test_a_long_transaction_stalls_no_relay_and_shows_in_a_metric(scene: Scene) -> None:
    relay = await scene.start("relay")
    database = await Database.connect(scene.settings)
    async with database.tenant(99) as connection:
        await connection.fetch("SELECT pg_current_xact_id()")
        await scene.publish(events := some_trades(10, 2))
        await assert_all_sent_in_order(scene, len(events))
        await eventually(
            lambda: relay.metric("postgres_oldest_transaction_seconds"), lambda seconds: seconds > 1, 15
        )
    await database.close()
