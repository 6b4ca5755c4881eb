"""A new member of a group handles its first events without waiting for more."""

import time

from shared.chassis.events.handlers import FETCH_WAIT_MS
from shared.chassis.service import RunningService
from shared.chassis.settings import ServiceSettings
from tests.integration.accounts import eventually
from tests.integration.chassis.conftest import Listener, publish, user_registered

ATTEMPTS = 3  # the fastest counts: without the wait for the positions, each takes FETCH_WAIT_MS and more


async def test_events_that_wait_are_handled_at_once_by_a_member_that_knows_no_positions(
    settings: ServiceSettings, listener: Listener
) -> None:
    took_s = []
    for user_id in range(1, ATTEMPTS + 1):
        async with RunningService(listener.build, settings, {"relay"}) as running:
            async with running.database.queue() as connection:
                await connection.execute("UPDATE event_broker SET replays = replays + 1")
            await publish(running.database, user_registered(user_id))
            await eventually(lambda: _unsent(running), lambda count: count == 0)
        began = time.monotonic()
        async with RunningService(listener.build, settings, {"consumers"}):
            await eventually(lambda: _seqs(listener, user_id), lambda seqs: seqs == [1])  # noqa: B023 - awaited here
            took_s.append(time.monotonic() - began)
    assert min(took_s) < FETCH_WAIT_MS / 1000


async def _unsent(running: RunningService) -> int:
    async with running.database.queue() as connection:
        return int(await connection.fetchval("SELECT count(*) FROM outbox WHERE sent_at IS NULL"))


async def _seqs(listener: Listener, user_id: int) -> list[int]:
    return listener.seqs(user_id)
