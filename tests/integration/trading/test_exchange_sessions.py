"""Live sessions of a worker on the sandbox exchange: their fills equal the backtest's."""

from tests.integration.trading.conftest import Trading
from tests.integration.trading.exchange_market import exchange_market
from tests.unit.trading.scenes import wavy_bars

BARS = wavy_bars(60)


async def test_a_live_session_fills_as_the_backtest(trading: Trading) -> None:
    async with exchange_market(trading, BARS) as market:
        session = await market.start()
        market.outages = 2  # the worker tries again
        async with market.worker():
            await market.play(len(BARS))
            await market.finish(session.session_id)
