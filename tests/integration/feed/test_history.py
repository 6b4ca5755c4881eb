"""Candle history on the internal listener, as analytics and notifications request it."""

from pathlib import Path

import aiohttp
import pytest

from services.trading.app import build
from shared.chassis.service import RunningService
from shared.chassis.service_tokens import ServiceTokens
from shared.market.history_client import CandleHistory
from stack.service_keys import key_file_of
from tests.integration.feed.conftest import FeedScene, until_published
from tests.integration.feed.exchange import FIRST_MS, MINUTE_MS


async def test_history_ends_with_the_requested_bar_and_begins_at_the_anchor(
    scene: FeedScene, service_keys: Path
) -> None:
    await scene.demand("BTCUSDT")
    async with scene.feed() as producer:
        await scene.until_subscribed("BTCUSDT")
        await scene.exchange.step(10)
        await until_published(producer, 19)
    async with RunningService(build, scene.settings, {"http"}) as running:
        signing = {"service": "analytics", "service_key_file": key_file_of(service_keys, "analytics")}
        settings = scene.settings.model_copy(update={"trading_internal_url": running.internal_url, **signing})
        history = CandleHistory(settings)
        bars = await history.fetch("BTCUSDT", "1", FIRST_MS + 6 * MINUTE_MS)
        assert [(bar.open_time_ms - FIRST_MS) // MINUTE_MS for bar in bars] == list(range(7))
        assert str(bars[0].close) == "1001.25"
        assert await history.fetch("NOSUCH", "1", FIRST_MS) == []


@pytest.mark.parametrize(
    ("caller", "query", "status"),
    [
        ("", "to_ms=1", 401),
        ("billing", "to_ms=1", 403),
        ("analytics", "to_ms=253402300799999", 200),
        ("analytics", "to_ms=253402300800000", 422),
        ("analytics", "to_ms=-1", 422),
    ],
)
async def test_callers_and_queries_are_checked(
    scene: FeedScene, service_keys: Path, caller: str, query: str, status: int
) -> None:
    key_file = key_file_of(service_keys, caller)
    token = ServiceTokens(caller, key_file).sign("trading") if caller else "wrong"
    async with RunningService(build, scene.settings, {"http"}) as running:
        url = f"{running.internal_url}/internal/v1/candles?symbol=BTCUSDT&interval=1&{query}"
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as http:
            async with http.get(url) as answer:
                assert answer.status == status, await answer.text()
