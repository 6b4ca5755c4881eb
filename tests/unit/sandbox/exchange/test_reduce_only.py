"""Orders that only reduce: they never open, and end with the position."""

from decimal import Decimal

from tests.unit.sandbox.exchange.scene import Scene, code_of, fill


def test_it_needs_a_position_of_the_other_side() -> None:
    scene = Scene()
    assert code_of(scene.order, "Sell", "1", reduceOnly=True) == 110017
    scene.order("Buy", "1")
    assert code_of(scene.order, "Buy", "1", reduceOnly=True) == 110017


def test_its_quantity_is_cut_to_the_position() -> None:
    scene = Scene()
    scene.order("Buy", "1")
    order = scene.order("Sell", "5", reduceOnly=True)
    assert (order.qty, order.order_status) == (Decimal(1), "Filled")
    assert scene.position.size == 0


def test_quantity_zero_closes_the_position() -> None:
    scene = Scene()
    scene.order("Sell", "1.5")
    scene.order("Buy", "0", reduceOnly=True, closeOnTrigger=True)
    assert scene.fills()[-1] == fill("Buy", "1.5", "100")


def test_resting_ones_end_when_the_position_closes() -> None:
    scene = Scene()
    scene.order("Buy", "2")
    target, plain = scene.order("Sell", "1", "110", reduceOnly=True), scene.order("Sell", "1", "120")
    scene.order("Sell", "0", reduceOnly=True, closeOnTrigger=True)
    assert scene.status(target) == ("Cancelled", "CancelByReduceOnly", "EC_NoError")
    assert scene.status(plain)[0] == "New"


def test_one_larger_than_what_is_left_fills_only_that() -> None:
    scene = Scene()
    scene.order("Buy", "2")
    target = scene.order("Sell", "2", "110", reduceOnly=True)
    scene.order("Sell", "1.5", reduceOnly=True)
    scene.price("111")
    row = scene.now_of(target)
    assert (row.order_status, row.cancel_type, row.cum_exec_qty) == (
        "Cancelled",
        "CancelByReduceOnly",
        Decimal("0.5"),
    )
    assert scene.position.size == 0


def test_they_end_when_an_order_turns_the_position() -> None:
    scene = Scene()
    scene.order("Buy", "1")
    target = scene.order("Sell", "1", "110", reduceOnly=True)
    scene.order("Sell", "2")
    assert scene.status(target)[1] == "CancelByReduceOnly"
    assert scene.position.side == "Sell"


def test_two_waiting_exits_close_once() -> None:
    scene = Scene()
    scene.order("Buy", "1")
    scene.close()
    first, second = (scene.order("Sell", "1", reduceOnly=True) for _ in range(2))
    scene.open("101")
    assert scene.status(first)[0] == "Filled"
    assert scene.status(second)[:2] == ("Cancelled", "CancelByReduceOnly")
    assert len(scene.fills()) == 2


def test_a_conditional_one_without_a_position_ends_at_its_trigger() -> None:
    scene = Scene()
    order = scene.order("Sell", "1", triggerPrice="95", triggerDirection=2, reduceOnly=True)
    scene.price("94")
    assert scene.status(order)[:2] == ("Cancelled", "CancelByReduceOnly")
    assert scene.fills() == []


def test_a_conditional_one_that_closes_all_takes_the_position_of_its_trigger() -> None:
    scene = Scene()
    order = scene.order("Sell", "0", triggerPrice="95", triggerDirection=2, reduceOnly=True, closeOnTrigger=True)
    scene.order("Buy", "3")
    scene.price("94")
    assert scene.status(order)[0] == "Filled"
    assert scene.fills()[-1] == fill("Sell", "3", "95")
