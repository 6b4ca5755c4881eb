"""What the exchange does not have is refused where it is asked for, and nothing waits for it."""

from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from shared.chassis.errors import InvalidInput, Unavailable
from shared.market.history_client import CandleHistory
from tests.integration.trading.callers import Api, reasons
from tests.unit.trading.scenes import CROSS, wavy_bars

MINUTES = {**CROSS, "strategy_config": {**CROSS["strategy_config"], "interval": "5"}}  # type: ignore[dict-item]
NO_SUCH = {"symbol": "NOSUCHUSDT", "interval": "15"}
NOT_AT = {"symbol": "BTCUSDT", "interval": "5"}


@pytest.fixture
async def quarters(api: Api) -> Api:
    """The market has bars of a quarter of an hour, and of nothing else."""
    api.trading.exchange.elsewhere = {"15"}
    return api


async def test_a_session_is_refused_by_symbol_and_by_its_strategys_interval(quarters: Api) -> None:
    ann = await quarters.caller()
    fits = await ann.make_strategy()
    assert list(reasons(await ann.start(fits, symbol="NOSUCHUSDT"))) == ["$.symbol"]
    other = (await ann.call("POST", "/v1/strategies", {**MINUTES, "strategy_name": "5"})).text("strategy_id")
    for _ in range(2):
        refused = await ann.start(other)
        assert refused.status == 422
        assert reasons(refused)["$.strategy_id"].startswith("its interval is 5")
    assert (await ann.start(fits)).status == 201
    assert await quarters.trading.see("SELECT 1 FROM market_interests WHERE interval = '5'") == []


async def test_candles_of_such_a_series_are_refused_and_of_one_that_nobody_follows_are_none(quarters: Api) -> None:
    ann = await quarters.caller()
    for query, path in ((NO_SUCH, "$.symbol"), (NOT_AT, "$.interval")):
        answer = await ann.call("GET", f"/v1/candles?symbol={query['symbol']}&interval={query['interval']}")
        assert (answer.status, list(reasons(answer))) == (422, [path])
    answer = await ann.call("GET", "/v1/candles?symbol=BTCUSDT&interval=15")
    assert (answer.status, answer.body["items"]) == (200, [])


async def test_a_market_that_has_not_begun_has_bars_of_no_interval_and_is_accepted(api: Api) -> None:
    ann = await api.caller()
    assert (await ann.start(await ann.make_strategy())).status == 201


async def test_stored_candles_are_proof_while_the_exchange_has_none_to_show(quarters: Api) -> None:
    quarters.trading.exchange.elsewhere = {"5"}
    ann = await quarters.caller()
    strategy_id = await ann.make_strategy()
    assert (await ann.start(strategy_id)).status == 422
    quarters.trading.exchange.elsewhere = {"15"}
    market = await quarters.trading.market(wavy_bars(2), "ETHUSDT")
    await market.tell(2)
    assert (await ann.start(strategy_id, symbol="ETHUSDT")).status == 201


async def test_other_services_learn_what_is_not_there_and_what_cannot_be_told_now(
    quarters: Api, service_env: Callable[[str], dict[str, str]]
) -> None:
    caller = {
        "service": "notifications",
        "service_key_file": Path(service_env("notifications")["SERVICE_KEY_FILE"]),
        "trading_internal_url": quarters.running.internal_url,
    }
    history = CandleHistory(quarters.trading.settings.model_copy(update=caller))
    await history.check_series("BTCUSDT", "15")
    for query, path in ((NO_SUCH, "$.symbol"), (NOT_AT, "$.interval")):
        with pytest.raises(InvalidInput) as refused:
            await history.check_series(query["symbol"], query["interval"])
        faults = cast("list[dict[str, str]]", refused.value.extra["errors"])
        assert [fault["path"] for fault in faults] == [path]
    quarters.trading.exchange.is_away = True
    await history.check_series("BTCUSDT", "15")  # known
    with pytest.raises(Unavailable) as away:
        await history.check_series("ETHUSDT", "15")
    assert away.value.extra["retry_after_s"] == 2


async def test_a_start_while_the_exchange_is_away_is_asked_to_come_again(quarters: Api) -> None:
    ann = await quarters.caller()
    strategy_id = await ann.make_strategy()
    quarters.trading.exchange.is_away = True
    refused = await ann.start(strategy_id)
    assert (refused.status, refused.headers["Retry-After"]) == (503, "2")
