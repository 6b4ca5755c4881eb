"""Kill switches on running workers: entries are refused with stored decisions, and the effect is measured."""

from services.trading.operations.kill_switch import lift, switch_on
from services.trading.operations.stop_session import stop_session
from services.trading.operations.verify_session import read_session, verify
from services.trading.orders.intents import IntentState
from services.trading.queries.kill_switches import measure_switches
from services.trading.worker.postgres_store import OrderWriter
from tests.as_tenant import as_tenant
from tests.integration.trading.conftest import Trading
from tests.integration.trading.live import add_account, open_live, start_live, store_bars
from tests.integration.trading.market import BEFORE
from tests.unit.trading.scenes import wavy_bars


async def test_a_session_under_a_kill_switch_equals_its_backtest_under_it(trading: Trading) -> None:
    ann = await trading.subscribe(1)
    session = await trading.start(ann, await trading.strategy(1))
    async with trading.worker():
        market = await trading.market(wavy_bars(161))
        await trading.until_stepped(await market.close_bars(40))
        row = await as_tenant(trading.database, switch_on, 1, None, BEFORE, flatten=False, reason=None)
        await trading.until_stepped(await market.close_bars(60))
        await as_tenant(trading.database, lift, 1, row.kill_switch_id, BEFORE)
        await trading.until_stepped(await market.close_bars(60))
        await as_tenant(trading.database, stop_session, 1, session.session_id, "end_of_data", BEFORE)
    refused = await trading.fetch("SELECT DISTINCT refusal FROM decisions WHERE outcome = 'refused'")
    assert [row["refusal"] for row in refused] == ["kill_switch"]
    recorded = await read_session(trading.database, session.session_id)
    assert [note.kind for note in recorded.restrictions] == ["KILL_SWITCH", "KILL_SWITCH_LIFTED", "STOPPED"]
    assert verify(recorded).holds
    assert recorded.fills


async def test_the_effect_is_measured_once_no_entry_is_under_way(trading: Trading) -> None:
    writer = OrderWriter(trading.database)
    await store_bars(trading)
    session = await start_live(trading, await trading.subscribe(1), await add_account(trading, 1, "u1"))
    live = await open_live(trading, session, writer)
    await live.step()
    entry = live.entry()
    assert await live.store.pass_gate([entry.link_id], live.now)
    await as_tenant(trading.database, switch_on, 1, None, BEFORE, flatten=True, reason=None)
    async with trading.database.tenants([1]) as connection:
        (effect,) = await measure_switches(connection, [1], [session.session_id])
    assert (effect.stopped_s, effect.flat_s) == (None, None)
    sending = entry.to(IntentState.SENDING, sent_at=live.now)
    live.book.put(sending.to(IntentState.REJECTED, venue_code=1, venue_message="no"))
    assert await live.commit() is not None
    async with trading.database.tenants([1]) as connection:
        (effect,) = await measure_switches(connection, [1], [session.session_id])
    assert effect.stopped_s is not None
    assert effect.stopped_s > 0
    assert effect.flat_s == 0
    await writer.close()
