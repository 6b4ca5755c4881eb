"""Sessions stepped by workers: the fills are the backtest's, whatever happens to the workers."""

from shared.strategy.backtest import Report, run_backtest
from shared.strategy.bars import Bar, Terms
from shared.strategy.document import parse_strategy
from shared.strategy.fingerprint import fingerprint
from services.trading.operations.sessions import stop_session
from services.trading.queries import trades
from tests.integration.trading.conftest import CROSS, Trading
from tests.integration.trading.market import BEFORE, INSTRUMENT, wavy_bars


def backtest(bars: list[Bar]) -> Report:
    return run_backtest(parse_strategy(CROSS), bars, Terms(INSTRUMENT))


async def test_the_fills_of_a_session_are_those_of_the_backtest(trading: Trading) -> None:
    bars = wavy_bars(120)
    ann = await trading.subscribe(1)
    session = await trading.start(ann, await trading.strategy(1))
    async with trading.worker():
        market = await trading.market(bars)
        for _ in range(12):
            await trading.until_at(await market.tell(10))
    await stop_session(trading.database, 1, session.session_id, "end_of_data", BEFORE)
    async with trading.database.tenant(1) as connection:
        fills = (await trades.list_fills_of(connection, 1, [session.session_id]))[session.session_id]
    expected = backtest(bars)
    assert len(fills) > 20
    assert fingerprint(fills) == expected.fingerprint
