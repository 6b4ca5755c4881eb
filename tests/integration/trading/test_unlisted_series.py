"""Series that the exchange does not list are refused at the request, and nothing waits for them."""

from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from shared.chassis.errors import ExchangeUnreachable, InvalidInput
from shared.market.history_client import CandleHistory
from tests.integration.trading.callers import Api, reasons
from tests.unit.trading.scenes import CROSS, wavy_bars

MINUTES = {**CROSS, "strategy_config": {**CROSS["strategy_config"], "interval": "5"}}  # type: ignore[dict-item]
NO_SUCH = {"symbol": "NOSUCHUSDT", "interval": "15"}
NOT_AT = {"symbol": "BTCUSDT", "interval": "5"}


@pytest.fixture
async def api_15m(api: Api) -> Api:
    """Trading with an exchange that has bars of 15 minutes and no other interval."""
    api.trading.exchange.other_intervals = {"15"}
    return api


async def test_a_session_is_refused_by_symbol_and_by_its_strategys_interval(api_15m: Api) -> None:
    ann = await api_15m.caller()
    fits = await ann.make_strategy()
    assert list(reasons(await ann.start(fits, symbol="NOSUCHUSDT"))) == ["$.symbol"]
    other = (await ann.call("POST", "/v1/strategies", {**MINUTES, "strategy_name": "5"})).text("strategy_id")
    for _ in range(2):
        refused = await ann.start(other)
        assert refused.status == 422
        assert reasons(refused)["$.strategy_id"].startswith("its interval is 5")
    assert (await ann.start(fits)).status == 201
    assert await api_15m.trading.fetch("SELECT 1 FROM market_interests WHERE interval = '5'") == []


async def test_candles_of_an_unlisted_series_are_refused_and_of_an_unfollowed_one_empty(api_15m: Api) -> None:
    ann = await api_15m.caller()
    for query, path in ((NO_SUCH, "$.symbol"), (NOT_AT, "$.interval")):
        answer = await ann.call("GET", f"/v1/candles?symbol={query['symbol']}&interval={query['interval']}")
        assert (answer.status, list(reasons(answer))) == (422, [path])
    answer = await ann.call("GET", "/v1/candles?symbol=BTCUSDT&interval=15")
    assert (answer.status, answer.body["items"]) == (200, [])


async def test_a_market_without_any_bars_yet_is_accepted(api: Api) -> None:
    ann = await api.caller()
    assert (await ann.start(await ann.make_strategy())).status == 201


async def test_stored_candles_prove_a_series_while_the_exchange_has_none(api_15m: Api) -> None:
    api_15m.trading.exchange.other_intervals = {"5"}
    ann = await api_15m.caller()
    strategy_id = await ann.make_strategy()
    assert (await ann.start(strategy_id)).status == 422
    api_15m.trading.exchange.other_intervals = {"15"}
    market = await api_15m.trading.market(wavy_bars(2), "ETHUSDT")
    await market.close_bars(2)
    assert (await ann.start(strategy_id, symbol="ETHUSDT")).status == 201


async def test_other_services_learn_that_a_series_is_unlisted_or_unknown_for_now(
    api_15m: Api, service_env: Callable[[str], dict[str, str]]
) -> None:
    caller = {
        "service": "notifications",
        "service_key_file": Path(service_env("notifications")["SERVICE_KEY_FILE"]),
        "trading_internal_url": api_15m.running.internal_url,
    }
    history = CandleHistory(api_15m.trading.settings.model_copy(update=caller))
    await history.check_series("BTCUSDT", "15")
    for query, path in ((NO_SUCH, "$.symbol"), (NOT_AT, "$.interval")):
        with pytest.raises(InvalidInput) as refused:
            await history.check_series(query["symbol"], query["interval"])
        faults = cast("list[dict[str, str]]", refused.value.extra["errors"])
        assert [fault["path"] for fault in faults] == [path]
    api_15m.trading.exchange.is_down = True
    await history.check_series("BTCUSDT", "15")  # known already
    with pytest.raises(ExchangeUnreachable) as away:
        await history.check_series("ETHUSDT", "15")
    assert away.value.extra["retry_after_s"] == 5


async def test_a_start_during_an_exchange_outage_is_asked_to_retry(api_15m: Api) -> None:
    ann = await api_15m.caller()
    strategy_id = await ann.make_strategy()
    api_15m.trading.exchange.is_down = True
    refused = await ann.start(strategy_id)
    assert (refused.status, refused.headers["Retry-After"]) == (424, "5")
