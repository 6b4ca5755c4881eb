"""A symbol the exchange does not list: logged once, asked for ever less often, dropped when nobody needs it."""

import asyncio

import structlog

from services.trading.bybit_api import MarketApi
from services.trading.feed.series_feed import SERIES_UNKNOWN, UNKNOWN_LONGEST_S, SeriesFeed
from tests.integration.accounts import eventually
from tests.integration.feed.conftest import FeedScene


def unknown() -> float:
    return float(SERIES_UNKNOWN._value.get())


async def test_it_is_logged_once_and_asked_for_less_and_less_often(scene: FeedScene) -> None:
    before, stop, api = unknown(), asyncio.Event(), MarketApi(scene.settings.bybit_rest_url)
    feed = SeriesFeed("NOSUCH", "1", scene.database, scene.producer(), api, lambda: None, unknown_first_s=0.1)
    asked = await scene.exchange.asked("/v5/market/instruments-info")
    with structlog.testing.capture_logs() as logs:
        running = asyncio.create_task(feed.run(stop))
        await asyncio.sleep(2)
        assert unknown() == before + 1
        stop.set()
        await running
    assert [each["event"] for each in logs].count("unknown_symbol") == 1
    tries = await scene.exchange.asked("/v5/market/instruments-info") - asked
    assert 2 <= tries <= 6  # at 0, 0.1, 0.3, 0.7 and 1.5 s
    assert unknown() == before
    assert UNKNOWN_LONGEST_S == 3600
    api.close()


async def test_it_is_dropped_at_once_when_nobody_needs_it_and_taken_up_when_somebody_does(scene: FeedScene) -> None:
    before = unknown()
    await scene.wish("NOSUCH")
    await scene.wish("BTCUSDT")
    async with scene.feed():
        await scene.subscribed("BTCUSDT")
        await eventually(_unknown, lambda value: value == before + 1)
        await scene.wish("NOSUCH", version=2, wanted=False)
        await eventually(_unknown, lambda value: value == before)
        await asyncio.sleep(0.3)
        assert unknown() == before
        await scene.wish("NOSUCH", version=3)
        await eventually(_unknown, lambda value: value == before + 1)
    assert unknown() == before


async def _unknown() -> float:
    return unknown()
