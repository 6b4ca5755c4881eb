"""Lost stored candles: their series halts, is repaired from the exchange, and continues as if nothing was lost."""

import asyncio

from services.trading.operations.stop_session import stop_session
from shared.contracts.types import from_ms
from shared.strategy.backtest.run import run_backtest
from shared.strategy.bars import Terms
from shared.strategy.document.parse import parse_strategy
from tests.as_tenant import as_tenant
from tests.integration.trading.conftest import Trading
from tests.integration.trading.market import BEFORE
from tests.unit.trading.scenes import CROSS, INSTRUMENT, wavy_bars

BARS = wavy_bars(80)
SESSIONS = "user_trading_sessions JOIN session_cursors USING (user_id, session_id)"


async def delete_candles(trading: Trading, *bars: int) -> None:
    times = [from_ms(BARS[bar].open_time_ms) for bar in bars]
    await trading.fetch("DELETE FROM candles WHERE open_time = ANY ($1::timestamptz[])", times)


async def test_a_series_with_lost_bars_halts_until_the_exchange_serves_them(trading: Trading) -> None:
    session = await trading.start(await trading.subscribe(1), await trading.strategy(1))
    async with trading.worker():
        market = await trading.market(BARS)
        await trading.until_stepped(await market.close_bars(20))
        await market.close_bars(10, announce=False)
        await delete_candles(trading, 25, 26)
        await market.close_bars(10)
        await trading.until_stepped(BARS[24].open_time_ms)
        await market.close_bars(10)
        await asyncio.sleep(1.5)  # the worker checks every second
        await trading.until_stepped(BARS[24].open_time_ms)
        trading.exchange.klines = BARS
        await trading.until_stepped(BARS[49].open_time_ms, within_s=60)
        await trading.until_stepped(await market.close_bars(30))
    expected = run_backtest(parse_strategy(CROSS), BARS, Terms(INSTRUMENT))
    stopped = await as_tenant(trading.database, stop_session, 1, session.session_id, "end_of_data", BEFORE)
    assert stopped.fingerprint == expected.fingerprint
    (stored,) = await trading.fetch("SELECT count(*) AS n FROM candles")
    assert stored["n"] == 80


async def test_another_series_continues_meanwhile(trading: Trading) -> None:
    await trading.start(await trading.subscribe(1), await trading.strategy(1))
    market = await trading.market(BARS)
    await market.close_bars(20)
    await delete_candles(trading, 10)
    await trading.start(await trading.subscribe(2), await trading.strategy(2), "ETHUSDT")
    other = await trading.market(BARS, "ETHUSDT")
    async with trading.worker():
        last = await other.close_bars(20)
        await market.close_bars(5)
        caught_up = f"SELECT 1 FROM {SESSIONS} WHERE symbol = 'ETHUSDT' AND last_bar = $1"
        await trading.until(caught_up, from_ms(last))
        halted = f"SELECT 1 FROM {SESSIONS} WHERE symbol = 'BTCUSDT' AND last_bar = $1"
        await trading.until(halted, from_ms(BARS[9].open_time_ms))
