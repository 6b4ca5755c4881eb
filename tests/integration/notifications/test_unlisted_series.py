"""An alert on a series that the exchange does not list is refused; while that cannot be checked, the client is
asked to retry."""

import pytest

from tests.integration.notifications.conftest import ABOVE_TEN, History, Platform


@pytest.mark.parametrize("path", ["$.symbol", "$.interval"])
async def test_an_alert_on_an_unlisted_series_is_refused(platform: Platform, history: History, path: str) -> None:
    ann = await platform.user(1)
    history.missing = path
    refused = await platform.call("POST", "/v1/alerts", ann, ABOVE_TEN)
    assert (refused.status, refused.body["errors"]) == (
        422,
        [{"path": path, "reason": "the exchange does not have it"}],
    )
    assert await platform.list_all("/v1/alerts", ann) == []


async def test_while_trading_is_down_only_known_series_are_accepted(platform: Platform, history: History) -> None:
    ann = await platform.user(1)
    assert (await platform.call("POST", "/v1/alerts", ann, ABOVE_TEN)).status == 201
    history.down = True
    other = {**ABOVE_TEN, "alert_name": "other"}
    refused = await platform.call("POST", "/v1/alerts", ann, {**other, "symbol": "ETHUSDT"})
    assert (refused.status, refused.headers["Retry-After"]) == (503, "2")
    assert (await platform.call("POST", "/v1/alerts", ann, other)).status == 201
