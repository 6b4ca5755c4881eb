"""Live sessions of a worker on the sandbox exchange: their fills equal the backtest's."""

from services.trading.operations.stop_session import stop_session
from tests.as_tenant import as_tenant
from tests.integration.accounts import eventually
from tests.integration.trading.conftest import Trading
from tests.integration.trading.exchange_market import exchange_market
from tests.integration.trading.market import BEFORE
from tests.integration.trading.test_stepping import backtest
from tests.unit.trading.scenes import wavy_bars

BARS = wavy_bars(60)


async def test_a_live_session_fills_as_the_backtest(trading: Trading) -> None:
    async with exchange_market(trading, BARS) as market:
        session = await market.start()
        async with market.worker():
            await market.play(len(BARS))
            await as_tenant(
                trading.database, stop_session, session.user_id, session.session_id, "end_of_data", BEFORE
            )
            ended = await eventually(
                lambda: trading.fetch("SELECT status, fingerprint, fill_count FROM user_trading_sessions"),
                lambda rows: rows[0]["status"] == "STOPPED",
                60,
            )
        expected = backtest(BARS)
        assert len(expected.fills) > 5
        assert (ended[0]["fill_count"], ended[0]["fingerprint"]) == (len(expected.fills), expected.fingerprint)
        sent = [order["order_link_id"] for order in await market.sandbox.ledger("order", uid=market.account.uid)]
        assert sent
