"""Alerts fire once at the bars that a simple computation gives, despite restarts and concurrency."""

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
from tests.as_tenant import as_tenant
from tests.integration.analytics.conftest import candles
from tests.integration.notifications.conftest import (
    History,
    ServiceEnv,
    bars_at,
    list_fired_bars,
    make_alert,
    new_evaluator,
)
from tests.pace import patient
from tests.unit.analytics.facts import wavy_bars
from tests.unit.notifications.plain import BREAKOUT, breaks_out, crosses, heavy, price_above

ALTERNATING = bars_at(*["9", "11"] * 5)  # above ten at every odd bar


def times(bars: Sequence[Bar], indices: Sequence[int]) -> list[object]:
    return [from_ms(bars[index].open_time_ms) for index in indices]


async def reload(database: Database, alert: AlertRow) -> AlertRow:
    async with database.tenant(alert.user_id) as connection:
        found = await get_alert(connection, alert.user_id, alert.alert_id)
    assert found is not None
    return found


async def list_triggered(database: Database) -> list[tuple[int, str]]:
    """Return the `alert.triggered` events in the outbox, in order, as user and payload."""
    async with database.queue() as connection:
        rows = await connection.fetch(
            "SELECT user_id, payload FROM outbox WHERE topic = 'alert.triggered' ORDER BY id"
        )
    return [(row["user_id"], row["payload"].decode()) for row in rows]


async def test_each_type_fires_where_a_simple_computation_says(
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
    published = candles(bars)
    # Overlapping batches, a restart in between, then all bars again.
    for start in range(0, 150, 25):
        await evaluator.on_candle_closed(published[max(0, start - 5) : start + 25])
    restarted = new_evaluator(database, service_env, history)
    await restarted.on_candle_closed(published[120:])
    await new_evaluator(database, service_env, history).on_candle_closed(published)

    expected = [price_above(bars, value), crosses(bars, 5, 13), heavy(bars, 10, 2), breaks_out(bars, 12)] * 2
    assert [await list_fired_bars(database, alert) for alert in alerts] == [
        times(bars, indices) for indices in expected
    ]
    counts = [(await reload(database, alert)).triggered_count for alert in alerts]
    assert counts == [len(indices) for indices in expected]
    assert len(await list_triggered(database)) == sum(counts)


async def test_the_sequence_numbers_of_an_alert_rise_by_one(database: Database, evaluator: Evaluator) -> None:
    alert = await make_alert(database, 1)
    for candle in candles(ALTERNATING):
        await evaluator.on_candle_closed([candle])
    await evaluator.on_candle_closed(candles(bars_at(*["9", "11"] * 8))[10:])
    numbers = [
        int(body.partition('"aggregate_seq":')[2].partition(",")[0]) for _, body in await list_triggered(database)
    ]
    assert numbers == list(range(1, 9))
    assert (await reload(database, alert)).triggered_count == 8


async def test_cooldown_and_expiry_use_the_time_of_the_exchange(database: Database, evaluator: Evaluator) -> None:
    calm = await make_alert(database, 1, alert_name="calm", cooldown_seconds=45 * 60)
    brief = await make_alert(database, 1, alert_name="brief", expires_at="1970-01-01T01:00:00Z")
    published = candles(ALTERNATING)
    await evaluator.on_candle_closed(published[:2])
    await evaluator.on_candle_closed(published[2:7])
    await evaluator.on_candle_closed(published[7:])
    assert await list_fired_bars(database, calm) == times(ALTERNATING, [1, 5, 9])
    assert await list_fired_bars(database, brief) == times(ALTERNATING, [1, 3])
    assert not (await reload(database, brief)).is_active
    async with database.queue() as connection:
        interests = await connection.fetch("SELECT object_id FROM market_interests")
    assert [row["object_id"] for row in interests] == [calm.alert_id]


def published_in(candle: CandleClosed, ahead: timedelta) -> CandleClosed:
    return candle.received(utc_now() + ahead)


async def test_bars_published_before_an_alert_existed_do_not_fire_it(
    database: Database, evaluator: Evaluator
) -> None:
    before = [published_in(candle, timedelta(0)) for candle in candles(ALTERNATING)[:4]]
    alert = await make_alert(database, 1)
    after = [published_in(candle, timedelta(minutes=1)) for candle in candles(ALTERNATING)[4:]]
    await evaluator.on_candle_closed([*before, *after])
    assert await list_fired_bars(database, alert) == times(ALTERNATING, [5, 7, 9])


async def test_a_republished_bar_does_not_fire_a_newer_alert(database: Database, evaluator: Evaluator) -> None:
    await evaluator.on_candle_closed(candles(ALTERNATING)[:4])
    alert = await make_alert(database, 1)
    again = [published_in(candle, timedelta(minutes=1)) for candle in candles(ALTERNATING)]
    await evaluator.on_candle_closed(again[:4])
    assert await list_fired_bars(database, alert) == []


async def test_a_reactivated_alert_does_not_fire_for_earlier_bars(database: Database, evaluator: Evaluator) -> None:
    alert = await make_alert(database, 1)
    await as_tenant(database, change_alert, 1, alert.alert_id, {"is_active": False})
    published = [published_in(candle, timedelta(0)) for candle in candles(ALTERNATING)]
    await as_tenant(database, change_alert, 1, alert.alert_id, {"is_active": True})
    await evaluator.on_candle_closed(published[:6])
    assert await list_fired_bars(database, alert) == []
    await as_tenant(database, change_alert, 1, alert.alert_id, {"alert_name": "again"})
    await evaluator.on_candle_closed([published_in(candle, timedelta(minutes=1)) for candle in published[6:]])
    assert await list_fired_bars(database, alert) == times(ALTERNATING, [7, 9])


async def test_a_gap_is_filled_from_the_history(database: Database, evaluator: Evaluator, history: History) -> None:
    bars = wavy_bars(200)
    cross = {"fast": 5, "slow": 13, "direction": "above"}
    alert = await make_alert(database, 1, alert_type="EMA_CROSS", condition_data=cross)
    published, expected = candles(bars), crosses(bars, 5, 13)
    await evaluator.on_candle_closed(published[:60])
    history.bars, history.down = bars, True
    with pytest.raises(Unavailable):
        await evaluator.on_candle_closed(published[100:])
    assert await list_fired_bars(database, alert) == times(bars, [at for at in expected if at < 60])
    history.down = False
    await evaluator.on_candle_closed(published[100:])
    assert await list_fired_bars(database, alert) == times(bars, [at for at in expected if at < 60 or at >= 100])


async def test_a_series_without_history_does_not_delay_the_others(
    database: Database, evaluator: Evaluator, history: History
) -> None:
    waiting = await make_alert(database, 1, symbol="ETHUSDT")
    other = await make_alert(database, 2)
    with_gap, whole = candles(ALTERNATING, "ETHUSDT"), candles(ALTERNATING)
    await evaluator.on_candle_closed([*with_gap[:2], *whole[:2]])
    history.bars, history.down = ALTERNATING, True
    for _ in range(2):
        with pytest.raises(Unavailable):
            await evaluator.on_candle_closed([*with_gap[5:], *whole[2:]])
        assert await list_fired_bars(database, other) == times(ALTERNATING, [1, 3, 5, 7, 9])
        assert await list_fired_bars(database, waiting) == times(ALTERNATING, [1])
    history.down = False
    await evaluator.on_candle_closed([*with_gap[5:], *whole[2:]])
    assert await list_fired_bars(database, waiting) == times(ALTERNATING, [1, 5, 7, 9])
    assert (await reload(database, other)).triggered_count == 5


async def test_two_concurrent_evaluators_fire_once(
    database: Database, evaluator: Evaluator, service_env: ServiceEnv, history: History
) -> None:
    bars = history.bars = bars_at(*["9", "11"] * 30)
    alerts = [await make_alert(database, user_id) for user_id in range(1, 9)]
    published = candles(bars)

    async def work(one: Evaluator, size: int) -> None:
        for start in range(0, len(published), size):
            await one.on_candle_closed(published[start : start + size])

    await asyncio.gather(work(evaluator, 4), work(new_evaluator(database, service_env, history), 6))
    odd = times(bars, range(1, 60, 2))
    assert [await list_fired_bars(database, alert) for alert in alerts] == [odd] * 8
    assert [(await reload(database, alert)).triggered_count for alert in alerts] == [30] * 8
    assert len(await list_triggered(database)) == 240


async def test_alerts_of_many_tenants_are_evaluated_in_blocks(
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
    await evaluator.on_candle_closed(candles(ALTERNATING))
    counted = await owner.fetch("SELECT count(*) FROM notifications.alert_firings GROUP BY user_id")
    await owner.close()
    assert [row["count"] for row in counted] == [5] * tenants


async def test_an_alert_deleted_during_evaluation_fires_nothing(database: Database, evaluator: Evaluator) -> None:
    deleted, remaining = await make_alert(database, 1), await make_alert(database, 2)
    async with database.tenant(1) as connection:
        await connection.execute("DELETE FROM user_alerts WHERE alert_id = $1", deleted.alert_id)
        working = asyncio.create_task(evaluator.on_candle_closed(candles(ALTERNATING)))
        await _wait_for_a_waiting_lock(database)
    await working
    assert await list_fired_bars(database, remaining) == times(ALTERNATING, range(1, 10, 2))
    assert {user_id for user_id, _ in await list_triggered(database)} == {2}
    await as_tenant(database, delete_alert, 2, remaining.alert_id)


async def _wait_for_a_waiting_lock(database: Database) -> None:
    async with asyncio.timeout(patient(20)):
        while True:
            async with database.untenanted() as connection:
                waiting = await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if waiting:
                return
            await asyncio.sleep(0.02)


async def test_an_unreadable_condition_does_not_block_other_alerts(
    database: Database, evaluator: Evaluator
) -> None:
    old, good = await make_alert(database, 1), await make_alert(database, 2)
    async with database.tenant(1) as connection:
        await connection.execute('UPDATE user_alerts SET condition_data = \'{"op": "near"}\'')
    await evaluator.on_candle_closed(candles(ALTERNATING))
    assert await list_fired_bars(database, old) == []
    assert len(await list_fired_bars(database, good)) == 5
