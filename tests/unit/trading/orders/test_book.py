"""Intents, link ids, and how executions are booked."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from services.trading.exchange.venue import ExecutionKind, OrderOrigin
from services.trading.orders.intents import TRANSITIONS, IntentState
from services.trading.orders.link_ids import link_id
from shared.contracts.types import from_ms
from tests.unit.strategy.scenes import HOUR, START
from tests.unit.trading.orders.scenes import D, Scene
from tests.unit.trading.orders.schedules import SESSION

S = IntentState
BAR = datetime(2026, 1, 1, tzinfo=UTC)


def effects(scene: Scene) -> list[tuple[str, str, str | None]]:
    return [(each.effect, str(each.part), each.reason) for each in scene.change().bookings]


def test_a_link_id_is_deterministic_differs_by_each_part_and_fits_the_exchange() -> None:
    ids = {
        link_id(SESSION, BAR, "entry", 1),
        link_id(SESSION, BAR, "entry", 2),
        link_id(SESSION, BAR, "exit", 1),
        link_id(SESSION, BAR.replace(hour=1), "entry", 1),
    }
    assert len(ids) == 4
    assert link_id(SESSION, BAR, "entry", 1) in ids
    assert all(len(each) == 32 and each.isalnum() and each.startswith("tf") for each in ids)


def test_only_listed_transitions_exist() -> None:
    intent = Scene().close("100").intent("entry")
    for state in IntentState:
        moved = replace(intent, state=state)
        for target in IntentState:
            if target in TRANSITIONS[state]:
                assert moved.to(target).state is target
            else:
                with pytest.raises(AssertionError):
                    moved.to(target)


def test_a_final_state_never_changes() -> None:
    final = {state for state in IntentState if state.is_final}
    assert final == {S.FILLED, S.CANCELLED, S.REJECTED, S.STALE, S.DROPPED}


def test_a_step_records_its_decision_and_its_intent_together() -> None:
    change = Scene().close("100").change()
    assert change.bar == from_ms(START)
    assert [each.kind for each in change.outcome.decisions] == ["entry"]
    (entry,) = change.intents
    assert (entry.leg, entry.bar, entry.state) == ("entry", from_ms(START), S.INTENT)
    assert entry.send_before == from_ms(START + HOUR + 20_000)


def test_a_reversal_records_exit_and_entry() -> None:
    scene = Scene().entered()
    scene.change()
    intents = scene.close("99").change().intents
    assert [(each.leg, each.side, each.quantity, each.reduce_only) for each in intents] == [
        ("exit", "SELL", D(1), True),
        ("entry", "SELL", D(1), False),
    ]


def test_a_refused_decision_has_no_intent() -> None:
    assert Scene().close("100", refusal="paused").change().intents == ()


def test_an_execution_is_booked_once() -> None:
    scene = Scene().close("100").sent("entry")
    execution = scene.fill("entry", "0.4", "100")
    scene.book.book(execution)
    assert scene.intent("entry").filled == D("0.4")
    assert scene.intent("entry").state is S.PARTIALLY_FILLED
    scene.fill("entry", "0.6", "101")
    assert scene.intent("entry").state is S.FILLED
    assert effects(scene) == [("entry", "0.4", "entry"), ("entry", "0.6", "entry")]


def test_a_fill_belongs_to_the_bar_in_which_it_happened() -> None:
    scene = Scene().close("100").sent("entry").wait(1800)
    scene.fill("entry", "1", "100")
    assert [fill.time_ms for fill in scene.change().outcome.fills] == [START + HOUR]


@pytest.mark.parametrize(
    ("kind", "origin", "reason"),
    [
        (ExecutionKind.TRADE, OrderOrigin.STOP_LOSS, "stop_loss"),
        (ExecutionKind.TRADE, OrderOrigin.REQUEST, "manual"),
        (ExecutionKind.TRADE, OrderOrigin.TAKE_PROFIT, "manual"),
        (ExecutionKind.LIQUIDATION, OrderOrigin.OTHER, "liquidation"),
        (ExecutionKind.ADL, OrderOrigin.OTHER, "adl"),
    ],
)
def test_a_close_that_is_no_order_of_ours_has_its_reason(
    kind: ExecutionKind, origin: OrderOrigin, reason: str
) -> None:
    scene = Scene().entered()
    scene.executes("SELL", "1", "90", kind=kind, origin=origin, fee="0.1")
    (trade,) = scene.change().outcome.trades
    assert (trade.reason, trade.pnl) == (reason, D("-10.1"))
    assert not scene.book.control.frozen


def test_the_stop_has_the_reason_of_the_trailing_stop_once_that_is_tighter() -> None:
    scene = Scene(trailing_stop={"type": "percent", "value": "5"}).entered()
    scene.executes("SELL", "1", "95", origin=OrderOrigin.STOP_LOSS)
    assert scene.change().outcome.trades[0].reason == "trailing_stop"


def test_a_manual_close_of_a_part_leaves_the_trade_open() -> None:
    scene = Scene().entered()
    scene.executes("SELL", "0.4", "101")
    assert scene.change().outcome.trades == ()
    assert scene.book.signed_position == D("0.6")


def test_an_execution_beyond_the_position_closes_it_and_the_rest_is_foreign() -> None:
    scene = Scene().entered()
    scene.change()
    scene.executes("SELL", "1.5", "101", fee="0.3")
    change = scene.change()
    assert [(each.effect, each.part) for each in change.bookings] == [("close", D(1)), ("foreign", D("0.5"))]
    assert change.outcome.fills[0].fee == D("0.2")
    assert change.freezes
    assert scene.book.expected_position == D("-0.5")


def test_a_foreign_position_freezes_and_an_adopted_one_is_a_trade() -> None:
    scene = Scene().shows()
    scene.executes("BUY", "2", "100")
    assert scene.change().freezes
    scene.control(answer="adopt")
    scene.book.answer_foreign(D(0), ())
    change = scene.change()
    assert change.thaws
    assert [each.effect for each in change.bookings] == ["entry"]
    assert scene.execution.desired_stop() == (D(90), "stop_loss")


def test_an_ignored_position_is_left_to_the_person_who_reduces_it() -> None:
    scene = Scene().entered()
    scene.executes("BUY", "2", "100")
    scene.control(answer="ignore")
    scene.book.answer_foreign(D(0), ("o1",))
    assert (scene.book.ignored, scene.book.ignored_orders) == (D(2), {"o1"})
    scene.executes("SELL", "1", "100")
    assert (scene.book.ignored, scene.book.signed_position) == (D(1), D(1))


def test_the_stop_of_the_whole_position_closes_ours_and_what_is_ignored() -> None:
    scene = Scene().entered()
    scene.executes("BUY", "2", "100")
    scene.control(answer="ignore")
    scene.book.answer_foreign(D(0), ())
    scene.executes("SELL", "3", "90", origin=OrderOrigin.STOP_LOSS)
    assert (scene.book.ignored, scene.execution.position) == (D(0), None)
    assert scene.change().outcome.trades[0].reason == "stop_loss"


def test_funding_is_booked_apart() -> None:
    scene = Scene().entered()
    scene.change()
    scene.executes("BUY", "1", "100", kind=ExecutionKind.FUNDING, fee="0.5")
    change = scene.change()
    assert [each.effect for each in change.bookings] == ["funding"]
    assert not change.outcome.must_be_stored


def test_a_fee_in_another_coin_is_not_part_of_the_trade_and_reported() -> None:
    scene = Scene().close("100").sent("entry")
    scene.executes("BUY", "1", "100", link=scene.intent("entry").link_id, fee="0.5", coin="MNT")
    change = scene.change()
    assert change.outcome.fills[0].fee == 0
    assert [each.kind for each in change.incidents] == ["fee_in_other_coin"]


def test_executions_of_a_final_intent_are_booked_and_leave_its_state() -> None:
    scene = Scene().close("100").move("entry", S.DROPPED)
    assert not scene.execution.pending
    scene.fill("entry", "1", "100")
    entry = scene.intent("entry")
    assert (entry.state, entry.filled) == (S.DROPPED, D(1))
    assert scene.book.signed_position == 1


def test_a_flatten_is_booked_at_the_sessions_last_bar() -> None:
    scene = Scene(take_profits=None).entered().control(flatten="manual", ends=True)
    last = scene.execution.opened_ms
    scene.book.put(scene.book.new_intent("flatten", from_ms(last or 0), "LONG", D(1), "manual", scene.now))
    scene.wait(7200).sent("flatten").fill("flatten", "1", "101")
    assert scene.change().outcome.fills[-1].time_ms == last


def test_nothing_new_is_no_change() -> None:
    scene = Scene().entered()
    scene.change()
    assert scene.book.take_change(scene.execution.snapshot) is None


@pytest.mark.parametrize("answer", ["adopt", "ignore"])
def test_a_foreign_position_that_an_entry_met_has_closed_a_part_of_it(answer: str) -> None:
    scene = Scene().close("100").sent("entry")
    scene.executes("SELL", "0.3", "100")
    scene.fill("entry", "1", "100")
    scene.control(answer=answer)
    scene.book.answer_foreign(D(0), ())
    assert (scene.book.signed_position, scene.book.ignored) == (D("0.7"), D(0))
    assert scene.change().outcome.fills[-1].reason == "manual"
