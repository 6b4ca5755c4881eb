"""A database that crashes, freezes or stays down: every event has its effect once, and all processes recover in
seconds."""

import asyncio
import signal
import time

from shared.chassis.postgres import COMMAND_TIMEOUT_S
from tests.faults.scene import Scene, some_trades
from tests.faults.servers import OwnServers
from tests.integration.accounts import eventually
from tests.pace import FULL, patient

BACK_S = patient(5)
GONE_S = 60 if FULL else 10
FREEZE_BOUND_S = COMMAND_TIMEOUT_S + 5


async def test_a_database_crash_in_mid_stream_loses_and_duplicates_nothing(
    own_scene: Scene, own_servers: OwnServers
) -> None:
    """Events of other services wait in the topic meanwhile; the relay sends its unfinished batch again."""
    relay, consumer = own_scene.spawn("relay"), await own_scene.start("consumers")
    await relay.ready()
    await own_scene.publish(published := some_trades(200, 2))
    await eventually(own_scene.list_effects, lambda effects: len(effects) > 10)
    retrying = asyncio.create_task(consumer.logs("consumer_retries"))
    own_servers.postgres.stop_at_once()
    await own_scene.produce(produced := [trade for trade in some_trades(200, 4) if trade.user_id > 2])
    await retrying
    assert consumer.process.poll() is None
    own_servers.postgres.start()
    await own_servers.postgres.answers()
    back_at = time.monotonic()
    await consumer.ready()
    await relay.ready()
    assert time.monotonic() - back_at < BACK_S
    await own_scene.assert_settled([*published, *produced], within_s=30)


async def test_a_long_time_without_a_database_ends_no_process_and_loses_nothing(
    own_scene: Scene, own_servers: OwnServers
) -> None:
    relay, consumer = own_scene.spawn("relay"), await own_scene.start("consumers")
    await relay.ready()
    await own_scene.publish(published := some_trades(50, 2))
    own_servers.postgres.stop_at_once()
    down_at, produced = time.monotonic(), [trade for trade in some_trades(1_200, 4) if trade.user_id > 2]
    for begin in range(0, len(produced), 50):
        await own_scene.produce(produced[begin : begin + 50])
        await asyncio.sleep(max(0, down_at + GONE_S * (begin + 50) / len(produced) - time.monotonic()))
    assert (relay.process.poll(), consumer.process.poll()) == (None, None)
    own_servers.postgres.start()
    await own_servers.postgres.answers()
    for member in (relay, consumer):
        await member.ready(BACK_S)
    await own_scene.assert_settled([*published, *produced], within_s=40)


async def test_waiting_for_a_frozen_database_is_bounded_and_duplicates_nothing(
    own_scene: Scene, own_servers: OwnServers
) -> None:
    relay, consumer = own_scene.spawn("relay"), await own_scene.start("consumers")
    await relay.ready()
    retrying = [
        asyncio.create_task(member.logs(event, FREEZE_BOUND_S))
        for member, event in ((consumer, "consumer_retries"), (relay, "relay_retries"))
    ]
    await asyncio.sleep(0)
    own_servers.postgres.send(signal.SIGSTOP)
    await own_scene.produce(events := some_trades(100))
    await asyncio.gather(*retrying)
    own_servers.postgres.send(signal.SIGCONT)
    await own_scene.publish(more := some_trades(50, after=100))
    await own_scene.assert_settled([*events, *more], within_s=30)
    for member in (relay, consumer):
        await member.ready(BACK_S)
