"""Live sessions of a worker on the sandbox exchange: their fills equal the backtest's."""

from services.trading.operations.stop_session import stop_session
from services.trading.queries.trades import list_session_fills
from tests.as_tenant import as_tenant
from tests.integration.trading.conftest import Trading
from tests.integration.trading.exchange_market import ExchangeMarket, exchange_market
from tests.integration.trading.market import BEFORE
from tests.integration.trading.test_stepping import backtest
from tests.unit.trading.scenes import wavy_bars

BARS = wavy_bars(60)


async def stop_and_compare(market: ExchangeMarket, session_id: object) -> None:
    """Stop the only session at the end of the data; its fills must be those of the backtest."""
    trading = market.trading
    await as_tenant(trading.database, stop_session, 1, session_id, "end_of_data", BEFORE)
    await trading.until("SELECT FROM user_trading_sessions WHERE status = 'STOPPED'")
    ended = (await trading.fetch("SELECT fingerprint FROM user_trading_sessions"))[0]
    fills = await as_tenant(trading.database, list_session_fills, 1, session_id)
    expected = backtest(BARS)
    assert [fill[:7] for fill in fills] == [fill[:7] for fill in expected.fills]
    assert ended["fingerprint"] == expected.fingerprint


async def test_a_live_session_fills_as_the_backtest(trading: Trading) -> None:
    async with exchange_market(trading, BARS) as market:
        session = await market.start()
        async with market.worker():
            await market.play(len(BARS))
            await stop_and_compare(market, session.session_id)
        orders = await market.sandbox.ledger("order", uid=market.account.uid)
        created = {order["order_id"]: order["order_link_id"] for order in orders if order["order_link_id"]}
        assert len(created) == len(set(created.values()))
        sent = await trading.fetch("SELECT link_id FROM order_intents WHERE sent_at IS NOT NULL")
        assert {row["link_id"] for row in sent} == set(created.values())
