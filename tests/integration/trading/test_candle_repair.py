"""Stored candles that were lost: the series stands, is mended from the exchange, and goes on as if nothing was."""

import asyncio

from services.trading.operations.stop_session import stop_session
from shared.contracts.types import from_ms
from shared.strategy.backtest.run import run_backtest
from shared.strategy.bars import Terms
from shared.strategy.document.parse import parse_strategy
from tests.integration.trading.conftest import Trading
from tests.integration.trading.market import BEFORE
from tests.unit.trading.scenes import CROSS, INSTRUMENT, wavy_bars

BARS = wavy_bars(80)


async def lose(trading: Trading, *bars: int) -> None:
    times = [from_ms(BARS[bar].open_time_ms) for bar in bars]
    await trading.see("DELETE FROM candles WHERE open_time = ANY ($1::timestamptz[])", times)


async def test_a_series_with_lost_bars_stands_until_the_exchange_gives_them(trading: Trading) -> None:
    session = await trading.start(await trading.subscribe(1), await trading.strategy(1))
    async with trading.worker():
        market = await trading.market(BARS)
        await trading.until_at(await market.tell(20))
        await market.tell(10, said=False)
        await lose(trading, 25, 26)
        await market.tell(10)
        await trading.until_at(BARS[24].open_time_ms)
        await market.tell(10)
        await asyncio.sleep(1.5)  # the worker looks again every second
        await trading.until_at(BARS[24].open_time_ms)
        trading.exchange.klines = BARS
        await trading.until_at(BARS[49].open_time_ms, within_s=60)
        await trading.until_at(await market.tell(30))
    expected = run_backtest(parse_strategy(CROSS), BARS, Terms(INSTRUMENT))
    stopped = await stop_session(trading.database, 1, session.session_id, "end_of_data", BEFORE)
    assert stopped.fingerprint == expected.fingerprint
    (held,) = await trading.see("SELECT count(*) AS n FROM candles")
    assert held["n"] == 80


async def test_another_series_goes_on_meanwhile(trading: Trading) -> None:
    await trading.start(await trading.subscribe(1), await trading.strategy(1))
    market = await trading.market(BARS)
    await market.tell(20)
    await lose(trading, 10)
    await trading.start(await trading.subscribe(2), await trading.strategy(2), "ETHUSDT")
    other = await trading.market(BARS, "ETHUSDT")
    async with trading.worker():
        last = await other.tell(20)
        await market.tell(5)
        whole = "SELECT 1 FROM user_trading_sessions WHERE symbol = 'ETHUSDT' AND last_bar = $1"
        await trading.until(whole, from_ms(last))
        standing = "SELECT 1 FROM user_trading_sessions WHERE symbol = 'BTCUSDT' AND last_bar = $1"
        await trading.until(standing, from_ms(BARS[9].open_time_ms))
