"""Alerts fire at the bars that a plain computation says, once, whatever happens to the evaluator."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import asyncpg
import pytest

from services.notifications.alert_evaluator import Evaluator
from services.notifications.operations.alerts import change_alert, delete_alert
from services.notifications.operations.firing import OWNERS_PER_BLOCK
from services.notifications.queries.alerts import AlertRow, get_alert
from shared.chassis.clock import utc_now
from shared.chassis.errors import Unavailable
from shared.chassis.postgres import Database
from shared.contracts.market import CandleClosed
from shared.contracts.types import from_ms
from shared.strategy.bars import Bar
from stack.migrate import DatabaseAccess
from tests.integration.analytics.conftest import candles
from tests.integration.notifications.conftest import (
    History,
    ServiceEnv,
    bars_at,
    fired,
    make_alert,
    new_evaluator,
)
from tests.pace import patient
from tests.unit.analytics.facts import wavy_bars
from tests.unit.notifications.plain import BREAKOUT, breaks_out, crosses, heavy, price_above

RESTLESS = bars_at(*["9", "11"] * 5)  # above ten at every odd bar


def times(bars: Sequence[Bar], indices: Sequence[int]) -> list[object]:
    return [from_ms(bars[index].open_time_ms) for index in indices]


async def now(database: Database, alert: AlertRow) -> AlertRow:
    async with database.tenant(alert.user_id) as connection:
        found = await get_alert(connection, alert.user_id, alert.alert_id)
    assert found is not None
    return found


async def events(database: Database) -> list[tuple[int, str]]:
    """What was said of firings: user and aggregate's number, in order."""
    async with database.queue() as connection:
        rows = await connection.fetch(
            "SELECT user_id, payload FROM outbox WHERE topic = 'alert.triggered' ORDER BY id"
        )
    return [(row["user_id"], row["payload"].decode()) for row in rows]


async def test_each_type_fires_where_a_plain_computation_says(
    database: Database, evaluator: Evaluator, service_env: ServiceEnv, history: History
) -> None:
    bars = history.bars = wavy_bars(300)
    value = str(bars[150].close)
    mean = {"period": 10, "multiple": "2"}
    cross = {"fast": 5, "slow": 13, "direction": "above"}
    alerts = [
        await make_alert(database, user_id, alert_name=kind, alert_type=kind, condition_data=data)
        for user_id in (1, 2)
        for kind, data in (
            ("PRICE", {"op": "above", "value": value}),
            ("EMA_CROSS", cross),
            ("VOLUME", mean),
            ("CUSTOM", BREAKOUT),
        )
    ]
    said = candles(bars)
    # Batches that overlap, a restart in between, all of it once more.
    for start in range(0, 150, 25):
        await evaluator.on_candle_closed(said[max(0, start - 5) : start + 25])
    restarted = new_evaluator(database, service_env, history)
    await restarted.on_candle_closed(said[120:])
    await new_evaluator(database, service_env, history).on_candle_closed(said)

    expected = [price_above(bars, value), crosses(bars, 5, 13), heavy(bars, 10, 2), breaks_out(bars, 12)] * 2
    assert [await fired(database, alert) for alert in alerts] == [times(bars, indices) for indices in expected]
    counts = [(await now(database, alert)).triggered_count for alert in alerts]
    assert counts == [len(indices) for indices in expected]
    assert len(await events(database)) == sum(counts)


async def test_numbers_of_an_alerts_events_rise_by_one(database: Database, evaluator: Evaluator) -> None:
    alert = await make_alert(database, 1)
    for candle in candles(RESTLESS):
        await evaluator.on_candle_closed([candle])
    await evaluator.on_candle_closed(candles(bars_at(*["9", "11"] * 8))[10:])
    numbers = [int(body.partition('"aggregate_seq":')[2].partition(",")[0]) for _, body in await events(database)]
    assert numbers == list(range(1, 9))
    assert (await now(database, alert)).triggered_count == 8


async def test_a_cooldown_and_an_expiry_go_by_the_exchanges_time(database: Database, evaluator: Evaluator) -> None:
    calm = await make_alert(database, 1, alert_name="calm", cooldown_seconds=45 * 60)
    brief = await make_alert(database, 1, alert_name="brief", expires_at="1970-01-01T01:00:00Z")
    said = candles(RESTLESS)
    await evaluator.on_candle_closed(said[:2])
    await evaluator.on_candle_closed(said[2:7])
    await evaluator.on_candle_closed(said[7:])
    assert await fired(database, calm) == times(RESTLESS, [1, 5, 9])
    assert await fired(database, brief) == times(RESTLESS, [1, 3])
    assert not (await now(database, brief)).is_active
    async with database.queue() as connection:
        interests = await connection.fetch("SELECT object_id FROM market_interests")
    assert [row["object_id"] for row in interests] == [calm.alert_id]


def said_at(candle: CandleClosed, ahead: timedelta) -> CandleClosed:
    candle.set_published_at(utc_now() + ahead)
    return candle


async def test_bars_said_before_an_alert_was_made_do_not_fire_it(database: Database, evaluator: Evaluator) -> None:
    before = [said_at(candle, timedelta(0)) for candle in candles(RESTLESS)[:4]]
    alert = await make_alert(database, 1)
    after = [said_at(candle, timedelta(minutes=1)) for candle in candles(RESTLESS)[4:]]
    await evaluator.on_candle_closed([*before, *after])
    assert await fired(database, alert) == times(RESTLESS, [5, 7, 9])


async def test_a_bar_said_again_does_not_fire_a_younger_alert(database: Database, evaluator: Evaluator) -> None:
    await evaluator.on_candle_closed(candles(RESTLESS)[:4])
    alert = await make_alert(database, 1)
    again = [said_at(candle, timedelta(minutes=1)) for candle in candles(RESTLESS)]
    await evaluator.on_candle_closed(again[:4])
    assert await fired(database, alert) == []


async def test_an_alert_that_is_switched_on_again_does_not_make_up_for_it(
    database: Database, evaluator: Evaluator
) -> None:
    alert = await make_alert(database, 1)
    await change_alert(database, 1, alert.alert_id, {"is_active": False})
    said = [said_at(candle, timedelta(0)) for candle in candles(RESTLESS)]
    await change_alert(database, 1, alert.alert_id, {"is_active": True})
    await evaluator.on_candle_closed(said[:6])
    assert await fired(database, alert) == []
    await change_alert(database, 1, alert.alert_id, {"alert_name": "again"})
    await evaluator.on_candle_closed([said_at(candle, timedelta(minutes=1)) for candle in said[6:]])
    assert await fired(database, alert) == times(RESTLESS, [7, 9])


async def test_a_broken_chain_is_mended_from_the_history(
    database: Database, evaluator: Evaluator, history: History
) -> None:
    bars = wavy_bars(200)
    cross = {"fast": 5, "slow": 13, "direction": "above"}
    alert = await make_alert(database, 1, alert_type="EMA_CROSS", condition_data=cross)
    said, expected = candles(bars), crosses(bars, 5, 13)
    await evaluator.on_candle_closed(said[:60])
    history.bars, history.down = bars, True
    with pytest.raises(Unavailable):
        await evaluator.on_candle_closed(said[100:])
    assert await fired(database, alert) == times(bars, [at for at in expected if at < 60])
    history.down = False
    await evaluator.on_candle_closed(said[100:])
    assert await fired(database, alert) == times(bars, [at for at in expected if at < 60 or at >= 100])


async def test_two_evaluators_at_once_fire_once(
    database: Database, evaluator: Evaluator, service_env: ServiceEnv, history: History
) -> None:
    bars = history.bars = bars_at(*["9", "11"] * 30)
    alerts = [await make_alert(database, user_id) for user_id in range(1, 9)]
    said = candles(bars)

    async def work(one: Evaluator, size: int) -> None:
        for start in range(0, len(said), size):
            await one.on_candle_closed(said[start : start + size])

    await asyncio.gather(work(evaluator, 4), work(new_evaluator(database, service_env, history), 6))
    odd = times(bars, range(1, 60, 2))
    assert [await fired(database, alert) for alert in alerts] == [odd] * 8
    assert [(await now(database, alert)).triggered_count for alert in alerts] == [30] * 8
    assert len(await events(database)) == 240


async def test_alerts_of_many_tenants_are_worked_in_blocks(
    database: Database, evaluator: Evaluator, database_access: DatabaseAccess
) -> None:
    await make_alert(database, 1)
    tenants = 2 * OWNERS_PER_BLOCK + 1
    owner = await asyncpg.connect(database_access.owner_dsn)
    await owner.execute(
        f"""
        SET search_path = notifications;
        INSERT INTO user_alerts (user_id, alert_id, public_id, alert_name, symbol, interval, alert_type,
                                 condition_data)
        SELECT u, gen_random_uuid(), gen_random_uuid(), alert_name, symbol, interval, alert_type, condition_data
        FROM user_alerts, generate_series(2, {tenants}) u;
        INSERT INTO market_interests (user_id, object_id, symbol, interval)
        SELECT user_id, alert_id, symbol, interval FROM user_alerts WHERE user_id > 1;
        """
    )
    await evaluator.on_candle_closed(candles(RESTLESS))
    counted = await owner.fetch("SELECT count(*) FROM notifications.alert_firings GROUP BY user_id")
    await owner.close()
    assert [row["count"] for row in counted] == [5] * tenants


async def test_an_alert_that_is_removed_while_it_is_looked_at_fires_nothing(
    database: Database, evaluator: Evaluator
) -> None:
    gone, stays = await make_alert(database, 1), await make_alert(database, 2)
    async with database.tenant(1) as connection:
        await connection.execute("DELETE FROM user_alerts WHERE alert_id = $1", gone.alert_id)
        working = asyncio.create_task(evaluator.on_candle_closed(candles(RESTLESS)))
        await _waits_for_a_lock(database)
    await working
    assert await fired(database, stays) == times(RESTLESS, range(1, 10, 2))
    assert {user_id for user_id, _ in await events(database)} == {2}
    await delete_alert(database, 2, stays.alert_id)


async def _waits_for_a_lock(database: Database) -> None:
    async with asyncio.timeout(patient(20)):
        while True:
            async with database.untenanted() as connection:
                waiting = await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if waiting:
                return
            await asyncio.sleep(0.02)


async def test_a_condition_that_is_no_longer_understood_holds_nobody_up(
    database: Database, evaluator: Evaluator
) -> None:
    old, good = await make_alert(database, 1), await make_alert(database, 2)
    async with database.tenant(1) as connection:
        await connection.execute('UPDATE user_alerts SET condition_data = \'{"op": "near"}\'')
    await evaluator.on_candle_closed(candles(RESTLESS))
    assert await fired(database, old) == []
    assert len(await fired(database, good)) == 5
