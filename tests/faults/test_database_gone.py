"""A database that crashes, freezes or stays away: every event has its effect once, and all are back in seconds."""

import asyncio
import signal
import time

from shared.chassis.postgres import COMMAND_TIMEOUT_S
from tests.faults.scene import Scene, some_trades
from tests.faults.servers import OwnServers
from tests.integration.accounts import eventually
from tests.pace import patient

BACK_S = patient(5)
GONE_S = 60
FREEZE_BOUND_S = COMMAND_TIMEOUT_S + 5


async def test_a_database_that_crashes_in_mid_stream_delays_and_doubles_nothing(
    own_scene: Scene, own_servers: OwnServers
) -> None:
    """What others say over the topic meanwhile waits there; what the relay was sending is sent again."""
    relay, consumer = own_scene.spawn("relay"), await own_scene.start("consumers")
    await relay.ready()
    await own_scene.say(said := some_trades(200, 2))
    await eventually(own_scene.heard, lambda heard: len(heard) > 10)
    told = asyncio.create_task(consumer.logs("consumer_retries"))
    own_servers.postgres.stop_at_once()
    await own_scene.produce(produced := [trade for trade in some_trades(200, 4) if trade.user_id > 2])
    await told
    assert consumer.process.poll() is None
    own_servers.postgres.start()
    await own_servers.postgres.answers()
    back_at = time.monotonic()
    await consumer.ready()
    await relay.ready()
    assert time.monotonic() - back_at < BACK_S
    await own_scene.settled([*said, *produced], within_s=30)


async def test_a_database_that_is_gone_for_a_minute_ends_nobody_and_loses_nothing(
    own_scene: Scene, own_servers: OwnServers
) -> None:
    relay, consumer = own_scene.spawn("relay"), await own_scene.start("consumers")
    await relay.ready()
    await own_scene.say(said := some_trades(50, 2))
    own_servers.postgres.stop_at_once()
    gone_at, produced = time.monotonic(), [trade for trade in some_trades(1_200, 4) if trade.user_id > 2]
    for begin in range(0, len(produced), 50):
        await own_scene.produce(produced[begin : begin + 50])
        await asyncio.sleep(max(0, gone_at + GONE_S * (begin + 50) / len(produced) - time.monotonic()))
    assert (relay.process.poll(), consumer.process.poll()) == (None, None)
    own_servers.postgres.start()
    await own_servers.postgres.answers()
    for member in (relay, consumer):
        await member.ready(BACK_S)
    await own_scene.settled([*said, *produced], within_s=40)


async def test_a_database_that_freezes_is_waited_for_so_long_and_doubles_nothing(
    own_scene: Scene, own_servers: OwnServers
) -> None:
    relay, consumer = own_scene.spawn("relay"), await own_scene.start("consumers")
    await relay.ready()
    told = [
        asyncio.create_task(member.logs(event, FREEZE_BOUND_S))
        for member, event in ((consumer, "consumer_retries"), (relay, "relay_retries"))
    ]
    await asyncio.sleep(0)
    own_servers.postgres.send(signal.SIGSTOP)
    await own_scene.produce(events := some_trades(100))
    await asyncio.gather(*told)
    own_servers.postgres.send(signal.SIGCONT)
    await own_scene.say(more := some_trades(50, after=100))
    await own_scene.settled([*events, *more], within_s=30)
    for member in (relay, consumer):
        await member.ready(BACK_S)
