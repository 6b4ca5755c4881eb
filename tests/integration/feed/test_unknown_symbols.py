"""A symbol that the exchange does not list: logged once, retried with growing delay, dropped without demand."""

import asyncio

import structlog

from services.trading.bybit_api import MarketApi
from services.trading.feed.series_feed import SERIES_UNKNOWN, UNKNOWN_LONGEST_S, SeriesFeed
from tests.integration.accounts import eventually
from tests.integration.feed.conftest import FeedScene


def unknown_count() -> float:
    return float(SERIES_UNKNOWN._value.get())


async def test_an_unknown_symbol_is_logged_once_and_retried_with_growing_delay(scene: FeedScene) -> None:
    before, stop, api = unknown_count(), asyncio.Event(), MarketApi(scene.settings.bybit_rest_url)
    feed = SeriesFeed("NOSUCH", "1", scene.database, scene.producer(), api, lambda: None, unknown_first_s=0.1)
    requests = await scene.exchange.count_requests("/v5/market/instruments-info")
    with structlog.testing.capture_logs() as logs:
        running = asyncio.create_task(feed.run(stop))
        await asyncio.sleep(2)
        assert unknown_count() == before + 1
        stop.set()
        await running
    assert [each["event"] for each in logs].count("unknown_symbol") == 1
    tries = await scene.exchange.count_requests("/v5/market/instruments-info") - requests
    assert 2 <= tries <= 6  # at 0, 0.1, 0.3, 0.7 and 1.5 s
    assert unknown_count() == before
    assert UNKNOWN_LONGEST_S == 3600
    api.close()


async def test_an_unknown_symbol_is_dropped_without_demand_and_retried_with_it(scene: FeedScene) -> None:
    before = unknown_count()
    await scene.demand("NOSUCH")
    await scene.demand("BTCUSDT")
    async with scene.feed():
        await scene.until_subscribed("BTCUSDT")
        await eventually(_unknown_count, lambda value: value == before + 1)
        await scene.demand("NOSUCH", version=2, wanted=False)
        await eventually(_unknown_count, lambda value: value == before)
        await asyncio.sleep(0.3)
        assert unknown_count() == before
        await scene.demand("NOSUCH", version=3)
        await eventually(_unknown_count, lambda value: value == before + 1)
    assert unknown_count() == before


async def _unknown_count() -> float:
    return unknown_count()
