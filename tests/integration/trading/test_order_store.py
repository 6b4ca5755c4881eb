"""What live sessions write: intents before orders, executions once, and nothing under a lost lease."""

from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal

import pytest

from services.trading.exchange.venue import ExecutionKind, OrderOrigin, OrderSide
from services.trading.orders.actor import CannotStep
from services.trading.orders.intents import IntentState
from services.trading.orders.store import Change, Control
from services.trading.worker.live_session import load_session
from services.trading.worker.postgres_store import OrderWriter
from services.trading.worker.session_bars import SessionBars
from shared.contracts.trading import TradeClosed, TradeOpened
from shared.contracts.types import from_ms
from tests.integration.trading.conftest import Trading
from tests.integration.trading.live import BARS, Live, add_account, claim, open_live, start_live, store_bars

ONE = Decimal("0.001")


@pytest.fixture
async def writer(trading: Trading) -> AsyncIterator[OrderWriter]:
    writer = OrderWriter(trading.database)
    yield writer
    await writer.close()


@pytest.fixture
async def live(trading: Trading, writer: OrderWriter) -> Live:
    await store_bars(trading)
    caller = await trading.subscribe(1)
    return await open_live(trading, await start_live(trading, caller, await add_account(trading, 1, "u1")), writer)


async def test_an_entry_is_recorded_with_its_decision_before_it_may_be_sent(trading: Trading, live: Live) -> None:
    assert (await live.step()) is not None
    entry = live.entry()
    (row,) = await trading.fetch(
        """
        SELECT i.state, i.link_id, i.send_before, i.expected_price, i.counted_in, d.outcome, d.time, i.bar
        FROM order_intents AS i JOIN decisions AS d USING (user_id, decision_id)
        """
    )
    assert (row["state"], row["link_id"], row["outcome"]) == ("INTENT", entry.link_id, "pending")
    assert row["time"] == row["bar"] == entry.bar
    assert row["send_before"] == entry.send_before
    assert row["expected_price"] is not None
    assert row["counted_in"] is not None
    assert [tuple(each) for each in await trading.fetch("SELECT user_id, entries FROM live_entry_counts")] == [
        (1, 1)
    ]


async def test_the_gate_opens_once(live: Live) -> None:
    await live.step()
    link = live.entry().link_id
    assert await live.store.pass_gate([link], live.now) == frozenset({link})
    assert await live.store.pass_gate([link], live.now) == frozenset()


async def test_a_late_entry_does_not_pass_the_gate(live: Live) -> None:
    await live.step()
    entry = live.entry()
    assert entry.send_before is not None
    late = entry.send_before + (entry.send_before - live.now)
    assert await live.store.pass_gate([entry.link_id], late) == frozenset()


async def test_nothing_passes_or_is_written_under_a_lost_lease(trading: Trading, live: Live) -> None:
    await live.step()
    await claim(trading, live.session, "another")
    assert await live.store.pass_gate([live.entry().link_id], live.now) is None
    assert await live.store.control() is None
    live.book.put(live.entry().to(IntentState.DROPPED))
    assert await live.commit() is None
    assert [row["state"] for row in await trading.fetch("SELECT state FROM order_intents")] == ["INTENT"]


async def fill_entry(live: Live) -> None:
    """Fill an entry in two parts, in one change."""
    await live.step()
    entry = await live.send(live.entry())
    side = entry.side
    live.execute("e1", ONE, Decimal(100), link_id=entry.link_id, side=side)
    live.execute("e2", entry.quantity - ONE, Decimal(101), link_id=entry.link_id, side=side)
    assert await live.commit() is not None


async def test_executions_become_one_trade_with_the_fees_as_booked(trading: Trading, live: Live) -> None:
    await fill_entry(live)
    entry = live.entry()
    (trade,) = await trading.fetch("SELECT * FROM user_trades")
    average = (ONE * 100 + (entry.quantity - ONE) * 101) / entry.quantity
    assert abs(trade["entry_price"] - average) < Decimal("1e-8")
    assert (trade["quantity"], trade["fee"], trade["is_paper_trade"]) == (entry.quantity, Decimal("0.02"), False)
    rows = await trading.fetch("SELECT execution_id, intent_id, decision_id, qty FROM fills ORDER BY fill_number")
    assert [row["execution_id"] for row in rows] == ["e1", "e2"]
    assert {row["intent_id"] for row in rows} == {entry.intent_id}
    (decision,) = await trading.fetch("SELECT decision_id, outcome FROM decisions")
    assert {row["decision_id"] for row in rows} == {decision["decision_id"]}
    assert decision["outcome"] == "filled"
    (intent,) = await trading.fetch("SELECT state, filled FROM order_intents")
    assert tuple(intent) == ("FILLED", entry.quantity)


async def test_later_parts_of_an_entry_enlarge_its_trade(trading: Trading, live: Live) -> None:
    await live.step()
    entry = await live.send(live.entry())
    for number, price in enumerate((100, 101)):
        quantity = ONE if number == 0 else entry.quantity - ONE
        live.execute(f"e{number}", quantity, Decimal(price), link_id=entry.link_id, side=entry.side)
        assert await live.commit() is not None
    (trade,) = await trading.fetch("SELECT quantity, entry_price, fee FROM user_trades")
    average = (ONE * 100 + (entry.quantity - ONE) * 101) / entry.quantity
    assert trade["quantity"] == entry.quantity
    assert abs(trade["entry_price"] - average) < Decimal("1e-8")
    assert trade["fee"] == Decimal("0.02")


async def test_an_execution_is_booked_once(trading: Trading, live: Live, writer: OrderWriter) -> None:
    await fill_entry(live)
    again = await open_live(trading, await live.row(), writer)
    assert {"e1", "e2"} <= again.book.booked
    again.book.booked.clear()
    again.execute("e2", ONE, Decimal(101), link_id=again.entry().link_id, side=again.entry().side)
    assert await again.commit() is None
    assert len(await trading.fetch("SELECT FROM fills")) == 2


async def test_a_reloaded_session_continues_where_it_was(trading: Trading, live: Live, writer: OrderWriter) -> None:
    await fill_entry(live)
    again = await open_live(trading, await live.row(), writer)
    assert again.book.signed_position == live.book.signed_position
    assert again.book.intents == live.book.intents
    position = again.book.execution.position
    assert position is not None
    closing: OrderSide = "SELL" if position.side == "LONG" else "BUY"
    again.execute("x1", position.left, Decimal(102), side=closing, origin=OrderOrigin.STOP_LOSS)
    assert await again.commit() is not None
    (trade,) = await trading.fetch("SELECT status, strategy_signal, pnl, fee FROM user_trades")
    assert (trade["status"], trade["strategy_signal"]) == ("CLOSED", "stop_loss")
    row = await again.row()
    assert (row.total_trades, row.total_pnl, row.fill_count) == (1, trade["pnl"], 3)
    topics = await trading.fetch("SELECT topic, payload FROM outbox WHERE topic LIKE 'trade.%' ORDER BY id")
    opened, closed = (each["payload"] for each in topics)
    assert TradeOpened.model_validate_json(opened).is_paper_trade is False
    event = TradeClosed.model_validate_json(closed)
    assert (event.pnl, event.fee, event.is_paper_trade) == (trade["pnl"], trade["fee"], False)


async def test_a_reloaded_order_has_the_quantity_that_was_left_to_close(
    trading: Trading, live: Live, writer: OrderWriter
) -> None:
    await fill_entry(live)
    position = live.book.execution.position
    assert position is not None
    bar = from_ms(position.entry_time)
    close = live.book.new_intent("stop", bar, position.side, position.left, "stop_loss", live.now)
    for quantity in (position.left, ONE):
        live.book.put(replace(close, quantity=quantity))
        await live.commit()
    again = await open_live(trading, await live.row(), writer)
    assert again.book.of_leg("stop", bar)[0].quantity == ONE


async def test_the_orders_of_an_adopted_position_are_loaded_however_old(
    trading: Trading, live: Live, writer: OrderWriter
) -> None:
    await live.step(until_entry=False)
    live.execute("f1", Decimal(2), Decimal(100))
    live.book.control = Control(answer="adopt")
    await live.commit()
    live.book.answer_foreign(Decimal(0), [])
    assert await live.commit() is not None
    position = live.book.execution.position
    assert position is not None
    target = live.book.new_intent(
        "target-1", from_ms(position.entry_time), "LONG", ONE, "take_profit", live.now, price=Decimal(110)
    )
    live.book.put(replace(target, state=IntentState.CANCELLED))
    await live.commit()
    await trading.fetch("UPDATE order_intents SET updated_at = now() - interval '2 days'")
    again = await open_live(trading, await live.row(), writer)
    assert again.book.intents.keys() == {target.link_id}


async def test_the_executions_of_an_earlier_session_are_not_booked_by_the_next_one(
    trading: Trading, writer: OrderWriter
) -> None:
    await store_bars(trading)
    caller, account = await trading.subscribe(1), await add_account(trading, 1, "u1")
    first = await open_live(trading, await start_live(trading, caller, account), writer)
    await fill_entry(first)
    first.book.end()
    assert await first.commit() is not None
    second = await open_live(trading, await start_live(trading, caller, account), writer)
    assert second.book.booked == {"e1", "e2"}


async def test_funding_is_booked_apart(trading: Trading, live: Live) -> None:
    await fill_entry(live)
    live.execute("f1", ONE, Decimal(100), kind=ExecutionKind.FUNDING, fee=Decimal("0.5"))
    assert await live.commit() is not None
    (payment,) = await trading.fetch("SELECT amount, trade_id FROM funding_payments")
    (trade,) = await trading.fetch("SELECT trade_id, fee FROM user_trades")
    assert (payment["amount"], payment["trade_id"]) == (Decimal("0.5"), trade["trade_id"])
    assert trade["fee"] == Decimal("0.02")
    assert (await live.row()).total_pnl == 0


async def test_a_foreign_execution_freezes_and_is_answered(
    trading: Trading, live: Live, writer: OrderWriter
) -> None:
    await live.step(until_entry=False)
    live.execute("f1", Decimal(2), Decimal(100))
    assert await live.commit() is not None
    control = await live.store.control()
    assert control is not None
    assert (control.frozen, control.refuses_entries) == (True, "frozen")
    alarms = await trading.fetch("SELECT payload FROM outbox WHERE topic = 'session.alarmed'")
    assert b'"reason":"foreign_change"' in alarms[0]["payload"]
    again = await open_live(trading, await live.row(), writer)
    assert [booking.execution.execution_id for booking in again.book.foreign] == ["f1"]
    await trading.fetch("UPDATE session_leases SET frozen_answer = 'ignore'")
    control = await again.store.control()
    assert control is not None
    again.book.control = control
    again.execute("f2", Decimal(1), Decimal(100))
    assert await again.commit() is not None
    control = await again.store.control()
    assert control is not None
    assert control.answer is None  # it was not given to this one
    await trading.fetch("UPDATE session_leases SET frozen_answer = 'ignore'")
    control = await again.store.control()
    assert control is not None
    again.book.control = control
    again.book.answer_foreign(Decimal(0), ["o-1"])
    assert await again.commit() is not None
    control = await again.store.control()
    assert control is not None
    assert (control.frozen, control.answer, control.refuses_entries) == (False, None, None)
    last = await open_live(trading, await live.row(), writer)
    assert (last.book.foreign, last.book.ignored, last.book.ignored_orders) == ([], Decimal(3), {"o-1"})
    kinds = [row["kind"] for row in await trading.fetch("SELECT kind FROM session_restrictions ORDER BY 1")]
    assert kinds == ["FROZEN", "FROZEN_LIFTED"]


async def test_a_bar_that_cannot_be_stepped_stops_entries_until_one_can(trading: Trading, live: Live) -> None:
    live.book.fail()
    assert await live.commit() is not None
    control = await live.store.control()
    assert control is not None
    assert (control.failed, control.refuses_entries) == (True, "session_failed")
    (alarm,) = await trading.fetch("SELECT payload FROM outbox WHERE topic = 'session.alarmed'")
    assert b'"reason":"session_failed"' in alarm["payload"]
    assert await trading.fetch("SELECT FROM session_leases WHERE allows = 'FAILED'")
    assert await live.step(until_entry=False) is not None
    control = await live.store.control()
    assert control is not None
    assert (control.failed, control.refuses_entries) == (False, None)
    kinds = [row["kind"] for row in await trading.fetch("SELECT kind FROM session_restrictions ORDER BY 1")]
    assert kinds == ["FAILED", "FAILED_LIFTED"]


async def test_a_session_whose_replay_differs_is_restored_as_it_was_stored(trading: Trading, live: Live) -> None:
    session = await load_session(trading.database, live.lease)
    assert session is not None
    bars, last = SessionBars(session, live.series), from_ms(BARS[-1].open_time_ms)  # type: ignore[arg-type]
    with pytest.raises(CannotStep):  # an entry is decided at one of them
        bars.restore(None, last)
    restored = bars.restore(None, last, replays=False)
    assert (restored.opened_ms, restored.pending) == (None, False)


async def test_an_entry_that_ends_unfilled_is_no_trade_of_the_plan(trading: Trading, live: Live) -> None:
    await live.step()
    entry = await live.send(live.entry())
    live.book.put(entry.to(IntentState.REJECTED, venue_code=110007, venue_message="not enough balance"))
    assert await live.commit() is not None
    (decision,) = await trading.fetch("SELECT outcome, refusal FROM decisions")
    assert tuple(decision) == ("refused", "order_refused")
    assert [row["entries"] for row in await trading.fetch("SELECT entries FROM live_entry_counts")] == [0]


async def test_a_final_state_never_changes(trading: Trading, live: Live) -> None:
    await live.step()
    entry = live.entry()
    live.book.put(entry.to(IntentState.DROPPED))
    await live.commit()
    await live.store.commit(Change(snapshot=live.book.execution.snapshot(), intents=(entry,)))
    assert [row["state"] for row in await trading.fetch("SELECT state FROM order_intents")] == ["DROPPED"]


async def test_a_quiet_bar_moves_the_cursor_only(trading: Trading, live: Live) -> None:
    assert await live.step(until_entry=False) is not None
    row = await live.row()
    assert row.last_bar == live.book.last_bar
    assert row.snapshot is None
