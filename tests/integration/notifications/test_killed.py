"""The program is killed while bars arrive; nothing is lost or duplicated."""

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from shared.chassis.events.producer import Producer
from shared.chassis.postgres import Database
from stack.migrate import ROOT
from tests.integration.accounts import eventually
from tests.integration.analytics.conftest import candles
from tests.integration.notifications.conftest import (
    History,
    ServiceEnv,
    list_fired_bars,
    make_alert,
    settings_of,
)
from tests.integration.notifications.test_firing import list_triggered, reload, times
from tests.unit.analytics.facts import wavy_bars
from tests.unit.notifications.plain import crosses


@asynccontextmanager
async def killed_at_the_end(env: Mapping[str, str]) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.notifications",
        cwd=ROOT,
        env={**os.environ, **env},
        stdout=DEVNULL,
        stderr=DEVNULL,
    )
    try:
        yield
    finally:
        process.kill()
        await process.wait()


async def test_a_killed_evaluator_continues_where_it_stopped(
    database: Database, service_env: ServiceEnv, history: History
) -> None:
    bars = history.bars = wavy_bars(600)
    cross = {"fast": 3, "slow": 8, "direction": "above"}
    alerts = [
        await make_alert(database, user_id, alert_type="EMA_CROSS", condition_data=cross) for user_id in (1, 2)
    ]
    published = candles(bars)
    expected = times(bars, crosses(bars, 3, 8))
    env = {**service_env("notifications"), "TRADING_INTERNAL_URL": history.url, "LOG_LEVEL": "WARNING"}
    settings = settings_of(env)
    producer = Producer(settings.kafka_bootstrap, settings.kafka_topic_prefix, "trading")

    async def firings() -> list[list[object]]:
        return [list(await list_fired_bars(database, alert)) for alert in alerts]

    async def publish(start: int, stop: int) -> None:
        for number in range(start, stop):
            await producer.publish(published[number : number + 1])

    await publish(0, 50)
    async with killed_at_the_end(env):
        await eventually(firings, lambda found: all(found), 30)
        publishing = asyncio.create_task(publish(50, 400))
        await eventually(firings, lambda found: any(len(one) > 10 for one in found), 30)
    await publishing
    assert await firings() != [expected, expected]
    await publish(400, 600)
    async with killed_at_the_end(env):
        await eventually(firings, lambda found: found == [expected, expected], 60)
    await producer.stop()
    assert [(await reload(database, alert)).triggered_count for alert in alerts] == [len(expected)] * 2
    assert len(await list_triggered(database)) == 2 * len(expected)
