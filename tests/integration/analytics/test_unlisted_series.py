"""Series that the exchange does not list are not watched; while that is unknown, the client is asked to retry."""

import pytest

from shared.testing.api_client import Json
from tests.integration.analytics.conftest import Platform

WATCH: Json = {"symbol": "NOSUCHUSDT", "interval": "15", "ema_period": 20}


@pytest.mark.parametrize("path", ["$.symbol", "$.interval"])
async def test_an_unlisted_series_is_refused(platform: Platform, path: str) -> None:
    ann = await platform.register("ann@example.org")
    platform.history.missing = path
    for _ in range(2):
        refused = await platform.analytics.call("POST", "/v1/watchlist", WATCH, ann)
        assert (refused.status, refused.body["errors"]) == (
            422,
            [{"path": path, "reason": "the exchange does not have it"}],
        )
    assert await platform.every("/v1/watchlist", ann) == []


async def test_during_an_outage_of_trading_only_known_series_are_accepted(platform: Platform) -> None:
    ann = await platform.register("ann@example.org")
    assert (await platform.analytics.call("POST", "/v1/watchlist", WATCH, ann)).status == 201
    platform.history.down = True
    refused = await platform.analytics.call("POST", "/v1/watchlist", {**WATCH, "symbol": "ETHUSDT"}, ann)
    assert (refused.status, refused.headers["Retry-After"]) == (503, "2")
    assert (await platform.analytics.call("POST", "/v1/watchlist", {**WATCH, "ema_period": 9}, ann)).status == 201
