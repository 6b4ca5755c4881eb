"""One row per user, watched symbol and closed candle; its values are TA-Lib's, computed from the series' anchor."""

from datetime import datetime
from decimal import Decimal

import numpy as np
import pytest
import talib

from services.analytics.market import MarketWatch
from services.analytics.operations.watchlist import MAX_WATCHES, watch
from services.analytics.settings import AnalyticsSettings
from shared.chassis.errors import Unavailable
from shared.chassis.postgres import Database
from shared.contracts.types import instant_text
from shared.market.history_client import CandleHistory
from shared.strategy.bars import Bar
from tests.as_tenant import as_tenant
from tests.integration.accounts import eventually
from tests.integration.analytics.conftest import History, Platform, ServiceEnv, candles
from tests.unit.analytics.facts import INTERVAL, wavy_bars

ANALYSIS = "/v1/market-analysis"


def averages(bars: list[Bar], period: int) -> list[str | None]:
    closes = np.array([str(bar.close) for bar in bars], dtype=np.float64)
    return [None if np.isnan(ema) else repr(ema.item()) for ema in talib.EMA(closes, period)]


@pytest.fixture
def market(database: Database, service_env: ServiceEnv, history: History) -> MarketWatch:
    return market_watch(database, service_env, history)


@pytest.fixture
def market_after_restart(database: Database, service_env: ServiceEnv, history: History) -> MarketWatch:
    """A second watch on the same data, as after a restart."""
    return market_watch(database, service_env, history)


def market_watch(database: Database, service_env: ServiceEnv, history: History) -> MarketWatch:
    values: dict[str, object] = {name.lower(): value for name, value in service_env("analytics").items()}
    settings = AnalyticsSettings.model_validate(
        {**values, "http_port": 0, "jwks_url": "", "trading_internal_url": history.url}
    )
    return MarketWatch(database, CandleHistory(settings))


async def list_analyses(database: Database, user_id: int) -> list[tuple[datetime, int, str | None]]:
    async with database.tenant(user_id) as connection:
        rows = await connection.fetch(
            "SELECT timestamp, ema_period, ema_value FROM user_market_analysis ORDER BY ema_period, timestamp"
        )
    return [(row[0], row[1], None if row[2] is None else str(row[2])) for row in rows]


async def test_each_closed_candle_is_analysed_once_per_watch(database: Database, market: MarketWatch) -> None:
    bars = wavy_bars(120)
    events = candles(bars)
    for user_id, period in ((1, 20), (2, 20), (2, 5)):
        await as_tenant(database, watch, user_id, "BTCUSDT", INTERVAL, period)
    await as_tenant(database, watch, 3, "ETHUSDT", INTERVAL, 20)
    for start in range(0, 120, 10):
        await market.on_candle_closed(events[max(0, start - 4) : start + 10])
    await market.on_candle_closed(events[20:60])
    expected = [(candle.open_time, 20, ema) for candle, ema in zip(events, averages(bars, 20), strict=True)]
    shorter = [(candle.open_time, 5, ema) for candle, ema in zip(events, averages(bars, 5), strict=True)]
    assert await list_analyses(database, 1) == expected
    assert await list_analyses(database, 2) == shorter + expected
    assert await list_analyses(database, 3) == []


async def test_a_late_watch_has_values_computed_from_the_anchor(
    database: Database, market: MarketWatch, history: History
) -> None:
    bars = wavy_bars(100)
    events = candles(bars)
    await market.on_candle_closed(events[:50])
    await as_tenant(database, watch, 1, "BTCUSDT", INTERVAL, 20)
    history.bars = bars[:61]
    await market.on_candle_closed(events[60:70])
    assert [ema for _, _, ema in await list_analyses(database, 1)] == averages(bars, 20)[60:70]
    assert history.requests == 1


async def test_a_gap_is_repaired_from_the_history(
    database: Database, market: MarketWatch, history: History
) -> None:
    bars = wavy_bars(100)
    events = candles(bars)
    await as_tenant(database, watch, 1, "BTCUSDT", INTERVAL, 20)
    await market.on_candle_closed(events[:40])
    history.bars, history.down = bars, True
    with pytest.raises(Unavailable):
        await market.on_candle_closed(events[50:52])
    history.down = False
    await market.on_candle_closed(events[50:52])
    assert [ema for _, _, ema in await list_analyses(database, 1)] == averages(bars, 20)[:52]


async def test_each_watch_gets_the_candles_it_missed_and_no_others(
    database: Database, market: MarketWatch, history: History, market_after_restart: MarketWatch
) -> None:
    """Candles 40 to 59 were not consumed; a watch that was added meanwhile has not missed them."""
    bars = wavy_bars(100)
    events = candles(bars)
    await as_tenant(database, watch, 1, "BTCUSDT", INTERVAL, 20)
    await market.on_candle_closed(events[:40])
    await as_tenant(database, watch, 2, "BTCUSDT", INTERVAL, 20)
    history.bars = bars
    await market_after_restart.on_candle_closed(events[60:62])
    assert [ema for _, _, ema in await list_analyses(database, 1)] == averages(bars, 20)[:62]
    assert [ema for _, _, ema in await list_analyses(database, 2)] == averages(bars, 20)[60:62]


async def test_months_have_partitions_that_no_role_accesses_directly(
    database: Database, market: MarketWatch
) -> None:
    await as_tenant(database, watch, 1, "BTCUSDT", INTERVAL, 20)
    await market.on_candle_closed(candles(wavy_bars(120)))
    async with database.tenant(1) as connection:
        names = await connection.fetch(
            """
            SELECT tableoid::regclass::text AS name, count(*) FROM user_market_analysis GROUP BY 1 ORDER BY 1
            """
        )
        assert [tuple(row) for row in names] == [
            ("user_market_analysis_2026_01", 96),
            ("user_market_analysis_2026_02", 24),
        ]
        refused = await connection.fetch(
            """
            SELECT bool_or(has_table_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')),
                   bool_and(c.relforcerowsecurity)
            FROM pg_class c JOIN pg_inherits ON inhrelid = c.oid, pg_roles r
            WHERE c.relkind = 'r' AND r.rolname LIKE 'analytics\\_%'
                  AND c.relname LIKE 'user\\_market\\_analysis\\_%'
            """
        )
    assert tuple(refused[0]) == (False, True)


async def test_an_analysis_over_kafka_is_shown_to_its_watcher_only(platform: Platform) -> None:
    ann, ben = [await platform.register(f"{name}@example.org") for name in ("ann", "ben")]
    bars = wavy_bars(60)
    platform.history.bars = bars
    body: dict[str, object] = {"symbol": "BTCUSDT", "interval": INTERVAL}
    added = await platform.analytics.call("POST", "/v1/watchlist", body, token=ann)
    assert (added.status, added.body["ema_period"]) == (201, 20)
    assert added.headers["Location"] == f"/v1/watchlist/{added.body['watch_id']}"
    await platform.market.publish(candles(bars))
    await platform.market.publish(candles(bars)[30:])

    async def rows() -> list[dict[str, object]]:
        return await platform.every(f"{ANALYSIS}?symbol=BTCUSDT&sort=open_time", ann)

    seen = await eventually(rows, lambda found: len(found) == 60)
    assert [row["open_time"] for row in seen] == [instant_text(candle.open_time) for candle in candles(bars)]
    assert [row["ema_value"] for row in seen] == averages(bars, 20)
    assert [Decimal(str(row["price"])) for row in seen] == [bar.close for bar in bars]
    assert seen[0]["trend_direction"] is None
    assert {row["trend_direction"] for row in seen[20:]} <= {"UP", "DOWN", "FLAT"}
    assert await platform.every(f"{ANALYSIS}?symbol=ETHUSDT", ann) == []
    assert await platform.every(ANALYSIS, ben) == []
    last = await platform.every(f"{ANALYSIS}?sort=open_time&from={seen[-2]['open_time']}", ann)
    assert [row["open_time"] for row in last] == [row["open_time"] for row in seen[-2:]]


async def test_a_watch_is_published_as_demand_and_withdrawn(platform: Platform) -> None:
    ann, ben = [await platform.register(f"{name}@example.org") for name in ("ann", "ben")]
    body: dict[str, object] = {"symbol": "BTCUSDT", "interval": INTERVAL, "ema_period": 9}
    added = await platform.analytics.call("POST", "/v1/watchlist", body, token=ann)
    again = await platform.analytics.call("POST", "/v1/watchlist", body, token=ann)
    assert (again.status, again.body["type"]) == (409, "/problems/already-watched")

    async def published() -> list[tuple[str, bool]]:
        async with platform.database.queue() as connection:
            rows = await connection.fetch("SELECT symbol, wanted FROM published_interests")
        return [tuple(row) for row in rows]

    assert await eventually(published, bool) == [("BTCUSDT", True)]
    path = f"/v1/watchlist/{added.body['watch_id']}"
    assert (await platform.analytics.call("DELETE", path, token=ben)).status == 404
    assert [row["watch_id"] for row in await platform.every("/v1/watchlist", ann)] == [added.body["watch_id"]]
    assert (await platform.analytics.call("DELETE", path, token=ann)).status == 204
    assert (await platform.analytics.call("DELETE", path, token=ann)).status == 404
    assert await eventually(published, lambda found: found == [("BTCUSDT", False)])


async def test_an_invalid_watch_is_refused(platform: Platform) -> None:
    ann = await platform.register("ann@example.org")
    for name, value in (
        *(("symbol", "btc usdt"), ("symbol", ""), ("symbol", 7), ("interval", "7"), ("interval", 15)),
        *(("ema_period", 1), ("ema_period", 501), ("ema_period", "x"), ("ema_period", None), ("other", 1)),
    ):
        body: dict[str, object] = {"symbol": "BTCUSDT", "interval": INTERVAL, name: value}
        answer = await platform.analytics.call("POST", "/v1/watchlist", body, token=ann)
        assert (answer.status, answer.body["type"]) == (422, "/problems/invalid-input"), (name, value)
    for query in ("symbol=btc", "interval=7", "from=2026-01-01", "limit=0", "cursor=WyJ4Il0"):
        answer = await platform.analytics.call("GET", f"{ANALYSIS}?{query}", token=ann)
        assert (answer.status, answer.body["type"]) == (422, "/problems/invalid-input"), query
    assert await platform.every("/v1/watchlist", ann) == []


async def test_a_watchlist_is_bounded(platform: Platform) -> None:
    ann = await platform.register("ann@example.org")
    for number in range(MAX_WATCHES):
        await as_tenant(platform.database, watch, 1, f"S{number}USDT", INTERVAL, 20)
    body: dict[str, object] = {"symbol": "BTCUSDT", "interval": INTERVAL}
    answer = await platform.analytics.call("POST", "/v1/watchlist", body, token=ann)
    assert (answer.status, answer.body["type"], answer.body["limit"]) == (409, "/problems/watchlist-full", 200)
