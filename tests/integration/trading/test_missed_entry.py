"""A live session whose entry is refused by the exchange: verified without it, and shown as a missed fill."""

import asyncio
from collections.abc import Callable
from decimal import Decimal

from click.testing import CliRunner

from cli.session import session as command
from services.trading.operations.stop_session import stop_session
from services.trading.orders.intents import IntentState
from services.trading.worker.postgres_store import OrderWriter
from tests.as_tenant import as_tenant
from tests.integration.trading.callers import Api
from tests.integration.trading.live import add_account, open_live, start_live, store_bars
from tests.integration.trading.market import BEFORE


async def test_a_missed_entry_is_no_difference_but_drift(
    api_without_worker: Api, service_env: Callable[[str], dict[str, str]]
) -> None:
    trading, ann = api_without_worker.trading, await api_without_worker.caller()
    writer = OrderWriter(trading.database)
    await store_bars(trading)
    session = await start_live(trading, await trading.subscribe(1), await add_account(trading, 1, "u1"))
    live = await open_live(trading, session, writer)
    await live.step()
    sending = live.entry().to(IntentState.SENDING, sent_at=live.now)
    live.book.put(sending.to(IntentState.REJECTED, venue_code=110007, venue_message="balance not enough"))
    await live.commit()
    for _ in range(3):
        await live.step(until_entry=False)
    await as_tenant(trading.database, stop_session, 1, session.session_id, "manual", BEFORE)
    live.book.end()
    await live.commit()
    await writer.close()

    async def run(what: str) -> str:
        env = {"POSTGRES_APP_DSN": service_env("trading")["POSTGRES_APP_DSN"], "COLUMNS": "200"}
        done = await asyncio.to_thread(CliRunner().invoke, command, [what, str(session.session_id)], env=env)
        assert done.exit_code == 0, done.output
        return done.stdout

    await run("verify")
    drift = await ann.must("GET", f"/v1/sessions/{session.session_id}/drift")
    (trade,) = drift["trades"]
    assert trade["session"] is None
    gap = -Decimal(trade["backtest"]["pnl"])
    assert gap
    assert [Decimal(drift["sums"][part]) for part in ("gap", "missed_fill")] == [gap, gap]
    assert all(drift["sums"][part] == "0" for part in ("price", "fee", "funding", "latency"))
    table = await run("drift")
    assert f"none / {trade['backtest']['quantity']}" in table
    assert drift["sums"]["gap"] in table
