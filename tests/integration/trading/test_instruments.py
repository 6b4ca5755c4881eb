"""Instruments of the exchange: starts and backtests use the current one, running sessions from their next entry."""

import asyncio
import random
from collections.abc import Callable
from decimal import Decimal

from services.trading.bybit_api import VENUE, MarketApi
from services.trading.feed.instruments import refresh_instruments
from services.trading.operations.stop_session import stop_session
from services.trading.queries import candles
from shared.strategy.bars import Instrument
from shared.testing.api_client import Json
from tests.as_tenant import as_tenant
from tests.integration.accounts import eventually
from tests.integration.trading.callers import Api
from tests.integration.trading.conftest import Trading
from tests.integration.trading.market import BEFORE
from tests.integration.trading.test_derived_fields import strategy_in_parts
from tests.integration.trading.test_outcomes import RESTLESS
from tests.integration.trading.test_verify import verification_of
from tests.unit.trading.scenes import CROSS, wavy_bars

ServiceEnv = Callable[[str], dict[str, str]]
OLD_TICK = "UPDATE instruments SET tick_size = 5 WHERE symbol = 'BTCUSDT'"
COARSE = Instrument(Decimal("0.5"), Decimal("0.1"))
ODD = Instrument(Decimal("0.03"), Decimal("0.007"), Decimal("0.007"), Decimal(1))
FINE = Instrument()


async def store_instrument(trading: Trading, instrument: Instrument) -> None:
    """Store the instrument, as the feed or a session start does."""
    async with trading.database.tenants(()) as connection:
        await candles.upsert_instrument(connection, VENUE, "BTCUSDT", instrument)


async def until_recorded(trading: Trading, instrument: Instrument, sessions: int) -> None:
    """Wait until the worker has recorded the new instrument for all sessions."""
    query = """SELECT DISTINCT ON (session_id) session_id, tick_size FROM session_restrictions
               WHERE kind = 'INSTRUMENT_CHANGED' ORDER BY session_id, restriction_number DESC"""

    def all_recorded(rows: list[object]) -> bool:
        return [row["tick_size"] for row in rows] == [instrument.tick_size] * sessions  # type: ignore[index]

    await eventually(lambda: trading.fetch(query), all_recorded)


async def test_a_start_uses_and_stores_the_exchanges_instrument(api: Api) -> None:
    ann = await api.caller()
    market = await api.trading.market(wavy_bars(20))
    await ann.start((await ann.call("POST", "/v1/strategies", RESTLESS)).text("strategy_id"))
    await api.trading.fetch(OLD_TICK)
    made = await ann.call("POST", "/v1/strategies", {**RESTLESS, "strategy_name": "later"})
    session = (await ann.start(made.text("strategy_id"))).text("session_id")
    (stored,) = await api.trading.fetch("SELECT tick_size FROM instruments WHERE symbol = 'BTCUSDT'")
    assert stored["tick_size"] == Decimal("0.01")
    await api.trading.until_stepped(await market.close_bars(20))
    prices = [
        Decimal(fill["price"]) for fill in await ann.list_all(f"/v1/sessions/{session}/fills?sort=fill_number")
    ]
    assert len(prices) > 5
    assert any(price % 5 for price in prices)
    assert await ann.list_all(f"/v1/sessions/{session}/restrictions") == []


async def test_a_backtest_uses_the_exchanges_instrument_or_the_stored_one_during_an_outage(api: Api) -> None:
    ann = await api.caller()
    await api.trading.fetch("UPDATE entitlements SET has_backtesting = true")
    market = await api.trading.market(wavy_bars(20))
    await market.close_bars(20)
    strategy_id = await ann.make_strategy()
    body: Json = {"strategy_id": strategy_id, "symbol": "BTCUSDT"}
    body |= {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"}
    await api.trading.fetch(OLD_TICK)
    answer = await ann.call("POST", "/v1/backtests", body)
    assert answer.status == 202, answer.body
    taken = "SELECT tick_size FROM backtests ORDER BY created_at DESC LIMIT 1"
    assert [row["tick_size"] for row in await api.trading.fetch(taken)] == [Decimal("0.01")]
    await api.trading.fetch(OLD_TICK)
    api.trading.exchange.is_down = True
    assert (await ann.call("POST", "/v1/backtests", body)).status == 202
    assert [row["tick_size"] for row in await api.trading.fetch(taken)] == [Decimal(5)]


async def test_the_feed_refreshes_the_instruments_it_follows(trading: Trading) -> None:
    await store_instrument(trading, COARSE)
    stop, api = asyncio.Event(), MarketApi(trading.exchange.url)
    refreshing = asyncio.create_task(
        refresh_instruments(trading.database, api, lambda: {"BTCUSDT", "NOSUCH"}, 0.05, stop)
    )
    stored = "SELECT tick_size FROM instruments"
    await eventually(lambda: trading.fetch(stored), lambda rows: rows[0]["tick_size"] == Decimal("0.01"))
    trading.exchange.steps["tickSize"] = "0.05"
    await eventually(lambda: trading.fetch(stored), lambda rows: rows[0]["tick_size"] == Decimal("0.05"))
    stop.set()
    await refreshing
    api.close()


async def test_running_sessions_use_a_new_instrument_from_their_next_entry_and_match_their_backtests(
    trading: Trading, service_env: ServiceEnv
) -> None:
    ann, draw = await trading.subscribe(1), random.Random(4)
    documents = [CROSS, RESTLESS, strategy_in_parts(1), strategy_in_parts(7)]
    sessions = [(await trading.start(ann, await trading.strategy(1, each))).session_id for each in documents]
    market = await trading.market(wavy_bars(150))
    for instrument in (COARSE, ODD, FINE, COARSE):
        async with trading.worker():
            await trading.until_stepped(await market.close_bars(draw.randint(5, 15)), within_s=120)
            await store_instrument(trading, instrument)
            await until_recorded(trading, instrument, len(sessions))
            await trading.until_stepped(await market.close_bars(draw.randint(5, 15)), within_s=120)
    for session_id in sessions:
        await as_tenant(trading.database, stop_session, 1, session_id, "manual", BEFORE)
        shown = await verification_of(service_env("trading"), session_id)
        assert shown["equal"], shown
        assert [note["kind"] for note in shown["restrictions"]].count("INSTRUMENT_CHANGED") == 4
    off_grid = """SELECT f.price FROM fills f JOIN LATERAL (
                      SELECT r.tick_size FROM session_restrictions r
                      WHERE r.session_id = f.session_id AND r.kind = 'INSTRUMENT_CHANGED' AND r.after_bar < (
                          SELECT d.time FROM decisions d WHERE d.decision_id = f.decision_id)
                      ORDER BY r.restriction_number DESC LIMIT 1) r ON true
                  WHERE f.action = 'open' AND f.price % r.tick_size <> 0"""
    assert await trading.fetch(off_grid) == []
