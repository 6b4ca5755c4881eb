"""No alert waits for what the exchange does not have; while nobody can tell, the client is asked to come again."""

import pytest

from tests.integration.notifications.conftest import ABOVE_TEN, History, Platform


@pytest.mark.parametrize("path", ["$.symbol", "$.interval"])
async def test_an_alert_on_a_series_that_the_exchange_does_not_have_is_refused(
    platform: Platform, history: History, path: str
) -> None:
    ann = await platform.user(1)
    history.lacks = path
    refused = await platform.call("POST", "/v1/alerts", ann, ABOVE_TEN)
    assert (refused.status, refused.body["errors"]) == (
        422,
        [{"path": path, "reason": "the exchange does not have it"}],
    )
    assert await platform.every("/v1/alerts?", ann) == []


async def test_while_trading_is_away_it_is_asked_for_later_unless_the_series_is_known(
    platform: Platform, history: History
) -> None:
    ann = await platform.user(1)
    assert (await platform.call("POST", "/v1/alerts", ann, ABOVE_TEN)).status == 201
    history.down = True
    other = {**ABOVE_TEN, "alert_name": "other"}
    refused = await platform.call("POST", "/v1/alerts", ann, {**other, "symbol": "ETHUSDT"})
    assert (refused.status, refused.headers["Retry-After"]) == (503, "2")
    assert (await platform.call("POST", "/v1/alerts", ann, other)).status == 201
