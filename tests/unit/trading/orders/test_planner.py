"""The planner, rule by rule."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from services.trading.exchange.venue import OrderOrigin, OrderStatus, SlippageTolerance
from services.trading.orders.intents import IntentState
from services.trading.orders.plan import (
    AnswerForeign,
    Ask,
    Cancel,
    End,
    Freeze,
    Note,
    Read,
    Record,
    RefusedStop,
    Send,
    SetLeverage,
    SetStop,
    observe,
)
from services.trading.orders.planner import plan
from services.trading.orders.store import Control
from tests.unit.trading.orders.scenes import D, Scene

S = IntentState


def recorded(scene: Scene) -> list[tuple[str, IntentState]]:
    return [(each.intent.leg, each.intent.state) for each in scene.plan().records if isinstance(each, Record)]


def incidents(scene: Scene) -> list[str]:
    found = [each.incident for each in scene.plan().records if isinstance(each, Note | Freeze)]
    return [incident.kind for incident in found]


def sends(scene: Scene) -> list[str]:
    return [each.intent.leg for each in scene.plan().commands if isinstance(each, Send)]


# Entries.


def test_nothing_is_sent_before_the_account_was_read() -> None:
    scene = Scene().close("100")
    assert scene.plan().commands == [Read()]


def test_an_entry_is_sent_with_a_provisional_stop_when_the_account_is_flat() -> None:
    scene = Scene().shows().close("100").shows()
    assert sends(scene) == ["entry"]
    entry = scene.intent("entry")
    assert (entry.side, entry.quantity, entry.stop_loss, entry.reduce_only) == ("BUY", D(1), D(90), False)


def test_an_entry_that_was_decided_at_a_close_needs_no_new_view() -> None:
    scene = Scene().close("50").shows()
    scene.seen.view = None
    scene.wait(3590).shows().close("100")
    assert sends(scene) == ["entry"]


def test_no_entry_over_a_position() -> None:
    scene = Scene().close("100").shows("SHORT", "1")
    assert sends(scene) == []


def test_the_leverage_is_set_before_an_entry() -> None:
    scene = Scene(leverage="3").close("100").shows(leverage="10")
    assert scene.plan().commands == [SetLeverage(D(3))]


@pytest.mark.parametrize(
    "control",
    [
        Control(refusal="paused"),
        Control(refusal="kill_switch"),
        Control(frozen=True),
        Control(flatten="manual", ends=True),
    ],
)
def test_an_entry_that_is_not_allowed_any_more_is_dropped(control: Control) -> None:
    scene = Scene().close("100").shows()
    scene.book.control = control
    assert ("entry", S.DROPPED) in recorded(scene)
    assert sends(scene) == []


def test_an_entry_past_its_deadline_is_stale_and_reported() -> None:
    scene = Scene().close("100").wait(20.1).shows()
    assert recorded(scene) == [("entry", S.STALE)]
    assert incidents(scene) == ["entry_stale"]


def test_a_reversing_entry_waits_until_the_exit_is_done_and_the_account_flat() -> None:
    scene = Scene().entered().close("99").shows("LONG", "1", stop=D(90))
    assert sends(scene) == ["exit"]
    scene.sent("exit").fill("exit", "1", "99")
    scene.wait(1).shows("LONG", "1", stop=D(90))
    assert sends(scene) == []
    scene.wait(1).shows()
    assert sends(scene) == ["entry"]


def test_a_reversing_entry_that_waits_for_the_exit_leaves_nothing_to_be_done_now() -> None:
    scene = Scene().entered().close("99").shows("LONG", "1", stop=D(90))
    scene.sent("exit").wait(1).shows("LONG", "1", stop=D(90), orders=(scene.order(scene.intent("exit").link_id),))
    made = scene.plan()
    assert (made.commands, made.records, made.is_deferred) == ([], [], False)


def test_a_command_that_waits_for_its_back_off_is_still_to_be_done() -> None:
    scene = Scene().close("100").shows()
    scene.seen.not_before["send:entry"] = scene.now + timedelta(seconds=1)
    assert (scene.plan().commands, scene.plan().is_deferred) == ([], True)


def test_an_entry_is_late_by_the_exchanges_clock_however_long_was_waited() -> None:
    scene = Scene().close("100").shows()
    waited = scene.now + timedelta(seconds=30)
    made = plan(scene.book, scene.seen, waited, scene.now)
    assert made.commands == [Send(scene.intent("entry"))]


def test_a_reversing_entry_without_equity_is_dropped() -> None:
    scene = Scene().entered().close("99").sent("exit")
    scene.book.book(scene.executes("SELL", "0.5", "1", link=scene.intent("exit").link_id))
    scene.executes("SELL", "0.5", "1", link=scene.intent("exit").link_id, fee="100000")
    assert scene.execution.equity <= 0
    scene.wait(1).shows()
    assert ("entry", S.DROPPED) in recorded(scene)


# Unknown orders.


def test_an_interrupted_send_is_unknown() -> None:
    scene = Scene().close("100").move("entry", S.SENDING).shows()
    assert ("entry", S.UNKNOWN) in recorded(scene)
    assert sends(scene) == []


def test_an_unknown_order_is_asked_for_and_never_sent() -> None:
    scene = Scene().close("100").move("entry", S.SENDING, S.UNKNOWN).wait(1).shows()
    assert scene.plan().commands == [Ask(scene.intent("entry"))]


def test_the_account_is_read_again_if_an_open_order_was_not_in_it() -> None:
    scene = Scene().close("100").sent("entry").wait(1).shows().answers("entry", OrderStatus.NEW).wait(2)
    assert Read() in scene.plan().commands


def test_an_unknown_order_that_is_not_found_within_the_window_stays_unknown() -> None:
    scene = Scene().close("100").move("entry", S.SENDING, S.UNKNOWN).wait(9).shows().answers("entry", None)
    assert recorded(scene) == []
    assert sends(scene) == []


def test_after_the_window_it_is_sent_again_under_the_same_link_id() -> None:
    scene = Scene().entered().close("98").move("exit", S.SENDING, S.UNKNOWN).wait(11)
    scene.shows("LONG", "1", stop=D(90)).answers("exit", None)
    before = scene.intent("exit")
    (record,) = [each for each in scene.plan().records if isinstance(each, Record)]
    assert record.intent.state is S.INTENT
    assert (record.intent.link_id, record.intent.attempt) == (before.link_id, 1)


def test_an_answer_from_before_it_was_sent_proves_nothing() -> None:
    scene = Scene().close("100").answers("entry", None).wait(1).move("entry", S.SENDING, S.UNKNOWN).wait(15)
    assert scene.shows().plan().commands == [Ask(scene.intent("entry"))]


def test_an_unknown_order_that_is_open_is_acknowledged() -> None:
    scene = Scene().close("100").move("entry", S.SENDING, S.UNKNOWN).wait(1)
    scene.shows(orders=(scene.order(scene.intent("entry").link_id),))
    assert recorded(scene) == [("entry", S.ACKED)]


def test_an_order_that_the_exchange_has_forgotten_is_over() -> None:
    scene = with_targets(Scene().entered()).sent("target-1").sent("target-2")
    week = timedelta(days=7).total_seconds()
    scene.wait(week - 1).shows("LONG", "1", stop=D(90)).answers("target-1", None).answers(
        "target-2", OrderStatus.NEW
    )
    assert recorded(scene) == []
    scene.wait(1).shows("LONG", "1", stop=D(90)).answers("target-1", None)
    assert recorded(scene)[0] == ("target-1", S.CANCELLED)


def test_an_order_ends_only_when_its_executions_are_booked() -> None:
    scene = Scene().close("100").sent("entry").wait(1).shows().answers("entry", OrderStatus.CANCELLED, "0.4")
    assert recorded(scene) == []
    scene.fill("entry", "0.4", "100")
    scene.wait(1).shows("LONG", "0.4", stop=D(90)).answers("entry", OrderStatus.CANCELLED, "0.4")
    assert recorded(scene) == [("entry", S.CANCELLED)]


def test_an_order_that_is_rejected_later_is_reported() -> None:
    scene = Scene().close("100").sent("entry").wait(1).shows().answers("entry", OrderStatus.REJECTED)
    assert recorded(scene) == [("entry", S.REJECTED)]
    assert incidents(scene) == ["order_refused"]


# In a position.


def test_the_stop_is_set_exactly_before_the_targets() -> None:
    scene = Scene().close("100").sent("entry")
    scene.fill("entry", "1", "101")
    scene.shows("LONG", "1", stop=D(90))
    assert scene.plan().commands == [SetStop(D("90.9"))]


def test_a_stop_that_stands_is_not_set_again() -> None:
    assert not [each for each in Scene().entered().plan().commands if isinstance(each, SetStop)]


def test_targets_rest_as_reduce_only_limit_orders() -> None:
    scene = Scene().entered()
    records = [each.intent for each in scene.plan().records if isinstance(each, Record)]
    assert [(each.leg, each.price, each.quantity, each.side) for each in records] == [
        ("target-1", D(110), D("0.5"), "SELL"),
        ("target-2", D(120), D("0.5"), "SELL"),
    ]
    assert all(each.reduce_only for each in records)


def test_no_target_while_the_entry_may_still_fill() -> None:
    scene = Scene().close("100").sent("entry")
    scene.fill("entry", "0.5", "100")
    scene.shows("LONG", "0.5", stop=D(90), orders=(scene.order(scene.intent("entry").link_id),))
    assert recorded(scene) == []


def with_targets(scene: Scene) -> Scene:
    for record in scene.plan().records:
        assert isinstance(record, Record)
        scene.book.put(record.intent)
    return scene


def test_a_target_that_the_exchange_cancelled_is_placed_again_with_what_is_left_of_it() -> None:
    scene = with_targets(Scene().entered()).sent("target-1").sent("target-2")
    scene.fill("target-1", "0.2", "110")
    scene.move("target-1", S.CANCELLED).wait(5)
    scene.shows("LONG", "0.8", stop=D(90), orders=(scene.order(scene.intent("target-2").link_id),))
    (again,) = [each.intent for each in scene.plan().records if isinstance(each, Record)]
    assert (again.leg, again.attempt, again.quantity) == ("target-1", 2, D("0.3"))


def test_targets_never_exceed_what_is_left_of_the_position() -> None:
    scene = Scene().entered()
    scene.executes("SELL", "0.7", "100")
    scene.shows("LONG", "0.3", stop=D(90))
    (only,) = [each.intent for each in scene.plan().records if isinstance(each, Record)]
    assert (only.leg, only.quantity) == ("target-1", D("0.3"))


def test_a_trailing_stop_is_moved_at_a_close() -> None:
    scene = Scene(trailing_stop={"type": "percent", "value": "5"}, take_profits=None).entered()
    scene.close("110").shows("LONG", "1", stop=D(95))
    assert scene.plan().commands == [SetStop(D("104.5"))]


def test_a_stop_that_is_refused_closes_the_position_with_the_stops_reason() -> None:
    scene = Scene().entered().shows("LONG", "1", stop=None)
    scene.seen.stop_refused = RefusedStop(D(90), scene.now, is_passed=False)
    assert not [each for each in scene.plan().commands if isinstance(each, SetStop)]
    scene.wait(1).shows("LONG", "1", stop=None)
    (close,) = [each.intent for each in scene.plan().records if isinstance(each, Record)]
    assert (close.leg, close.reason, close.quantity, close.price) == ("stop", "stop_loss", D(1), None)


def trailed_to_a_refused_stop(*, is_passed: bool) -> Scene:
    scene = Scene(trailing_stop={"type": "percent", "value": "5"}, take_profits=None).entered()
    scene.close("110").shows("LONG", "1", stop=D(95))
    scene.seen.stop_refused = RefusedStop(D("104.5"), scene.now, is_passed)
    return scene.wait(1).shows("LONG", "1", stop=D(95))


def test_a_stop_that_cannot_be_moved_stays_until_its_next_level() -> None:
    scene = trailed_to_a_refused_stop(is_passed=False)
    made = scene.plan()
    assert (made.records, made.commands) == ([], [])
    assert scene.close("120").shows("LONG", "1", stop=D(95)).plan().commands == [SetStop(D(114))]


def test_a_stop_that_the_price_has_passed_closes_the_position() -> None:
    assert recorded(trailed_to_a_refused_stop(is_passed=True)) == [("stop", S.INTENT)]


def test_a_position_without_a_stop_is_an_incident_after_5_seconds_and_closed_after_15() -> None:
    scene = Scene().entered().shows("LONG", "1", stop=None)
    scene.seen.not_before["stop:90"] = scene.at(60)
    assert incidents(scene) == []
    assert incidents(scene.wait(5)) == ["unprotected"]
    scene.wait(10)
    assert ("stop", S.INTENT) not in recorded(scene)  # the last reading is 15 s old
    assert Read() in scene.plan().commands
    scene.shows("LONG", "1", stop=None)
    assert ("stop", S.INTENT) in recorded(scene)


def test_a_position_that_can_have_no_stop_is_closed() -> None:
    scene = Scene(stop_loss={"type": "percent", "value": "10"})
    scene.close("50")
    scene.executes("BUY", "1", "100")
    scene.shows("LONG", "1").control(answer="adopt")
    scene.execution.book_entry(0, "LONG", D(1), D(100), D(0))
    assert scene.execution.position is not None
    scene.execution.position.stop = None
    scene.book.foreign.clear()
    scene.control(frozen=False, answer=None)
    assert ("stop", S.INTENT) in recorded(scene)


def test_an_exit_is_sent_with_what_is_left() -> None:
    scene = with_targets(Scene().entered()).sent("target-1").sent("target-2").close("98")
    scene.fill("target-1", "0.5", "110")
    scene.shows("LONG", "0.5", stop=D(90), orders=(scene.order(scene.intent("target-2").link_id),))
    (smaller,) = [each.intent for each in scene.plan().records if isinstance(each, Record)]
    assert (smaller.leg, smaller.quantity, smaller.state) == ("exit", D("0.5"), S.INTENT)


def test_an_exit_that_was_refused_is_tried_again_later_as_another_attempt() -> None:
    scene = Scene(take_profits=None).entered().close("98").move("exit", S.SENDING, S.REJECTED)
    scene.shows("LONG", "1", stop=D(90))
    assert recorded(scene) == []
    assert scene.plan().wake_at == scene.at(1)
    scene.wait(1)
    (again,) = [each.intent for each in scene.plan().records if isinstance(each, Record)]
    assert (again.leg, again.attempt) == ("exit", 2)
    assert again.link_id != scene.intent("exit").link_id


def test_while_an_exit_is_unknown_no_other_order_closes_the_position() -> None:
    scene = Scene().entered().close("98").move("exit", S.SENDING, S.UNKNOWN).wait(1)
    scene.shows("LONG", "1", stop=D(90)).control(flatten="manual", ends=True)
    assert recorded(scene) == []
    assert sends(scene) == []


def test_a_stop_that_was_refused_to_an_earlier_position_is_set_to_the_next_one() -> None:
    scene = Scene(take_profits=None).entered().shows("LONG", "1", stop=None)
    scene.seen.stop_refused = RefusedStop(D(90), scene.now, is_passed=False)
    scene.executes("SELL", "1", "90")
    scene.wait(1).shows().entered().shows("LONG", "1", stop=None)
    assert recorded(scene) == []
    assert scene.plan().commands == [SetStop(D(90))]


def test_a_stop_that_is_accepted_and_never_shown_leaves_the_position_unprotected() -> None:
    scene = Scene(take_profits=None).entered().shows("LONG", "1", stop=None)
    view = scene.seen.view
    assert view is not None
    for _ in range(4):
        scene.seen.view = replace(view, position=replace(view.position, stop_loss=D(90)), is_assumed=True)
        observe(scene.seen, scene.book, scene.seen.view)
        scene.wait(1.25).shows("LONG", "1", stop=None)
    assert incidents(scene) == ["unprotected"]


# Flat, and the end.


def test_when_flat_what_is_left_of_ours_is_cancelled_and_what_was_not_sent_dropped() -> None:
    scene = with_targets(Scene().entered()).sent("target-1")
    link = scene.intent("target-1").link_id
    scene.executes("SELL", "1", "90", origin=OrderOrigin.STOP_LOSS)
    scene.wait(1).shows(orders=(scene.order(link),))
    assert recorded(scene) == [("target-2", S.DROPPED)]
    assert Cancel(link) in scene.plan().commands


def test_a_stop_closes_the_position_and_ends_when_nothing_of_ours_is_open() -> None:
    scene = Scene(take_profits=None).entered().control(flatten="end_of_data", ends=True)
    (close,) = [each.intent for each in scene.plan().records if isinstance(each, Record)]
    assert (close.leg, close.reason, close.reduce_only) == ("flatten", "end_of_data", True)
    scene.book.put(close)
    scene.sent("flatten").fill("flatten", "1", "101")
    scene.wait(1).shows("LONG", "1", stop=D(90))
    assert End() not in scene.plan().records
    scene.wait(1).shows()
    assert End() in scene.plan().records


def test_a_session_does_not_end_while_an_order_is_unknown() -> None:
    scene = Scene().close("100").move("entry", S.SENDING, S.UNKNOWN).control(flatten="manual", ends=True)
    scene.wait(1).shows()
    assert End() not in scene.plan().records


def test_a_kill_switch_that_flattens_does_not_end_the_session() -> None:
    scene = Scene().shows().control(refusal="kill_switch", flatten="kill_switch")
    assert End() not in scene.plan().records


def test_a_resting_entry_is_cancelled_by_a_stop() -> None:
    scene = Scene().close("100").sent("entry").wait(1).control(flatten="manual", ends=True)
    link = scene.intent("entry").link_id
    scene.shows(orders=(scene.order(link),))
    assert scene.plan().commands == [Cancel(link)]


# Foreign changes.


def test_a_foreign_order_freezes_the_session() -> None:
    scene = Scene().shows()
    scene.shows(orders=(scene.order("by-hand"),))
    assert incidents(scene) == ["foreign_change"]


def test_the_stop_of_the_position_is_not_foreign() -> None:
    scene = Scene(take_profits=None).entered()
    stop = scene.order("", OrderStatus.UNTRIGGERED, origin=OrderOrigin.STOP_LOSS)
    assert scene.shows("LONG", "1", stop=D(90), orders=(stop,)).plan().records == []


@pytest.mark.parametrize(("side", "qty"), [("LONG", "1.5"), ("LONG", "0.5"), (None, "0"), ("SHORT", "1")])
def test_a_position_that_no_execution_explains_freezes_after_a_while(side: str | None, qty: str) -> None:
    scene = Scene(take_profits=None).entered()
    scene.wait(1).shows(side, qty, stop=D(90) if side else None)  # type: ignore[arg-type]
    assert incidents(scene) == []
    scene.wait(10).shows(side, qty, stop=D(90) if side else None)  # type: ignore[arg-type]
    assert "foreign_change" in incidents(scene)


def test_a_difference_counts_only_if_a_later_reading_shows_it_too() -> None:
    scene = Scene(take_profits=None).entered()
    scene.wait(1).shows("LONG", "0.5", stop=D(90))
    assert incidents(scene.wait(60)) == []
    assert Read() in scene.plan().commands
    assert incidents(scene.shows("LONG", "1", stop=D(90))) == []


def test_a_frozen_session_waits_for_an_answer_and_keeps_its_stop() -> None:
    scene = Scene(take_profits=None).entered()
    scene.executes("BUY", "0.5", "100")
    scene.shows("LONG", "1.5", stop=None)
    assert scene.book.control.frozen
    assert SetStop(D(90)) in scene.plan().commands
    scene.control(answer="ignore")
    assert AnswerForeign(Decimal(0), ()) in scene.plan().records


def test_an_answer_does_not_count_for_a_change_that_comes_after_it() -> None:
    scene = Scene(take_profits=None).entered()
    scene.executes("BUY", "0.5", "100")
    scene.control(answer="adopt")
    scene.executes("BUY", "3", "100")
    scene.shows("LONG", "4.5", stop=D(90))
    assert not [each for each in scene.plan().records if isinstance(each, AnswerForeign)]


@pytest.mark.parametrize(("answer", "left", "ignored"), [("adopt", "1.5", "0"), ("ignore", "1", "0.5")])
def test_a_foreign_enlargement_is_adopted_or_ignored(answer: str, left: str, ignored: str) -> None:
    scene = Scene(take_profits=None).entered()
    scene.executes("BUY", "0.5", "100")
    scene.control(answer=answer)
    scene.book.answer_foreign(D(0), ())
    position = scene.execution.position
    assert position is not None
    assert (position.left, scene.book.ignored) == (D(left), D(ignored))
    assert not scene.book.control.frozen
    scene.shows("LONG", "1.5", stop=D(90))
    assert scene.seen.differs_since is None


# Waiting.


def test_the_account_is_read_every_minute_and_after_a_hint() -> None:
    scene = Scene().shows()
    assert scene.plan().commands == []
    assert scene.plan().wake_at == scene.at(60)
    assert scene.wait(60).plan().commands == [Read()]
    scene.shows().seen.is_outdated = True
    assert scene.plan().commands == [Read()]


def test_a_command_waits_for_its_back_off() -> None:
    scene = Scene(take_profits=None).entered().shows("LONG", "1", stop=D(80))
    scene.seen.not_before["stop:90"] = scene.at(2)
    assert scene.plan().commands == []
    assert scene.plan().wake_at == scene.at(2)


def test_a_stop_withdraws_an_exit_that_rests_and_closes_with_its_own_reason() -> None:
    scene = Scene(take_profits=None).entered().close("98").control(flatten="end_of_data", ends=True)
    scene.shows("LONG", "1", stop=D(90))
    assert recorded(scene) == [("exit", S.DROPPED)]
    scene.sent("exit").wait(1)
    link = scene.intent("exit").link_id
    scene.shows("LONG", "1", stop=D(90), orders=(scene.order(link),))
    assert scene.plan().commands == [Cancel(link)]
    scene.move("exit", S.CANCELLED)
    assert recorded(scene) == [("flatten", S.INTENT)]


def test_an_incident_that_was_noted_is_not_noted_again() -> None:
    scene = Scene().close("100").wait(20.1).shows()
    for record in scene.plan().records:
        if isinstance(record, Note):
            scene.book.note(record.incident)
    assert incidents(scene) == []


def test_no_entry_over_a_foreign_position_that_is_ignored() -> None:
    scene = Scene().shows()
    scene.executes("SELL", "1", "100")
    scene.control(answer="ignore")
    scene.book.answer_foreign(D(0), ())
    scene.close("100").shows("SHORT", "1")
    assert sends(scene) == []


def test_an_entry_needs_a_view_from_shortly_before_its_close() -> None:
    scene = Scene().close("50").wait(3589).shows().close("100")
    assert scene.plan().commands == [Read()]


def test_the_account_is_read_shortly_before_each_close() -> None:
    scene = Scene().close("50").wait(3560).shows()
    lead = (scene.at(40) - scene.plan().wake_at).total_seconds()
    assert 2 <= lead <= 8
    scene.wait(40 - lead)
    assert scene.plan().commands == [Read()]
    scene.shows()
    assert scene.plan().commands == []


# An account that is not reconciled.


def waiting() -> Scene:
    return Scene(Control(waits=True))


def test_an_entry_waits_until_the_account_is_reconciled() -> None:
    scene = waiting().shows().close("100").shows()
    made = scene.plan()
    assert (made.records, made.commands) == ([], [])
    assert sends(scene.control(waits=False)) == ["entry"]


def test_an_entry_that_waited_too_long_is_stale_and_says_why() -> None:
    scene = waiting().shows().close("100").wait(21).shows()
    (note,) = [each for each in scene.plan().records if isinstance(each, Note)]
    assert note.incident.detail == {"message": "its account was not reconciled in time"}


def test_an_entry_that_a_restored_database_decides_again_keeps_its_execution() -> None:
    scene = waiting().shows().close("100").wait(3600)
    assert recorded(scene) == [("entry", S.STALE)]
    scene.seen.awaited = frozenset({scene.intent("entry").link_id})
    assert recorded(scene) == []


def test_what_a_restored_database_does_not_know_yet_is_not_foreign() -> None:
    scene = waiting().shows().close("50")
    for seconds in (11, 0):
        scene.shows("LONG", "1", orders=(scene.order("tf1"),)).wait(seconds)
    assert incidents(scene) == []
    assert incidents(scene.control(waits=False)) == ["foreign_change", "foreign_change"]


def test_exits_and_stops_go_on_while_the_account_is_not_reconciled() -> None:
    scene = Scene().entered().control(waits=True).close("98").shows("LONG", "1", stop=D(90))
    assert sends(scene) == ["exit"]
    assert SetStop(D(90)) in Scene().entered().control(waits=True).shows("LONG", "1").plan().commands


# A slippage tolerance.


def test_an_entry_with_a_tolerance_has_no_stop_until_it_has_filled() -> None:
    scene = Scene()
    tolerance = SlippageTolerance("TICKS", D(5))
    scene.facts = scene.book.facts = replace(scene.facts, tolerance=tolerance)
    scene.close("100")
    order = scene.intent("entry").order("X", tolerance)
    assert (order.stop_loss, order.slippage) == (None, tolerance)
    scene.sent("entry").fill("entry", "1", "100")
    assert scene.shows("LONG", "1").plan().commands[0] == SetStop(D(90))
    assert scene.close("98").intent("exit").order("X", tolerance).slippage is None


def test_an_entry_that_the_exchange_cancels_unfilled_is_reported_with_the_reason() -> None:
    scene = Scene().close("100").sent("entry").wait(1).shows().answers("entry", OrderStatus.CANCELLED)
    assert incidents(scene) == ["order_refused"]
    assert incidents(scene.control(flatten="manual", ends=True)) == []
