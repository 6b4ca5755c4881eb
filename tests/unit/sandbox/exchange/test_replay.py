"""Stepping through a bar: the open, the rest, the close; and the price that simply moves."""

from sandbox.bybit.exchange.terms import AccountTerms
from tests.unit.sandbox.exchange.scene import BTC, Scene, fill


def test_market_orders_wait_from_the_close_to_the_open_and_fill_in_order() -> None:
    scene = Scene()
    scene.close()
    first, second = scene.order("Buy", "1"), scene.order("Buy", "2")
    assert first.order_status == second.order_status == "New"
    assert scene.fills() == []
    scene.open("103")
    assert scene.fills() == [fill("Buy", "1", "103"), fill("Buy", "2", "103")]


def test_orders_of_all_accounts_fill_in_the_order_of_their_arrival() -> None:
    scene = Scene()
    scene.exchange.open_account("2", AccountTerms())
    scene.close()
    scene.order("Buy", "1")
    body = {**scene.body(), "side": "Buy", "orderType": "Market", "qty": "1"}
    scene.exchange.create_order("2", body, scene.now)
    scene.order("Buy", "1")
    scene.exchange.take_changes()
    scene.open("100")
    assert [each.uid for each in scene.exchange.take_changes() if each.topic == "execution"] == ["100", "2", "100"]


def test_after_the_open_market_orders_fill_at_once() -> None:
    scene = Scene()
    scene.close()
    scene.open("103")
    scene.order("Sell", "1")
    assert scene.fills() == [fill("Sell", "1", "103")]


def test_a_limit_order_of_the_close_fills_at_a_better_open() -> None:
    scene = Scene()
    scene.close()
    order = scene.order("Buy", "1", "105")
    assert order.order_status == "New"
    scene.open("97")
    assert scene.fills() == [fill("Buy", "1", "97")]


def test_an_ioc_order_of_the_close_waits_for_the_open() -> None:
    scene = Scene()
    scene.close()
    good, bad = (scene.order("Buy", "1", price, timeInForce="IOC") for price in ("103", "101"))
    scene.open("102")
    assert scene.status(good)[0] == "Filled"
    assert scene.status(bad)[0] == "Cancelled"


def test_at_the_open_stops_come_before_targets_and_fill_at_the_open() -> None:
    scene = Scene()
    scene.order("Buy", "2", stopLoss="95")
    scene.order("Sell", "1", reduceOnly=True, triggerPrice="96", triggerDirection=2)
    scene.close()
    scene.open("90")
    assert scene.fills()[1:] == [fill("Sell", "2", "90")]


def test_targets_that_the_open_has_passed_fill_at_the_open() -> None:
    scene = Scene()
    scene.order("Buy", "3", stopLoss="95")
    for price in ("110", "105", "120"):
        scene.order("Sell", "1", price, reduceOnly=True)
    scene.close()
    scene.open("112")
    assert scene.fills()[1:] == [fill("Sell", "1", "112"), fill("Sell", "1", "112")]
    assert [row.order_price for row in scene.executions()[1:]] == [105, 110]


def test_an_exit_of_the_close_comes_before_the_stop() -> None:
    scene = Scene()
    scene.order("Buy", "1", stopLoss="95")
    scene.close()
    order = scene.order("Sell", "1", reduceOnly=True)
    scene.open("90")
    assert scene.status(order)[0] == "Filled"
    assert len(scene.fills()) == 2


def test_within_a_bar_the_stop_comes_before_the_targets() -> None:
    for side, other, stop, target in (("Buy", "Sell", "95", "105"), ("Sell", "Buy", "105", "95")):
        scene = Scene()
        scene.order(side, "2", stopLoss=stop)
        scene.order(other, "1", target, reduceOnly=True)
        scene.close()
        scene.open("100")
        scene.rest("100", "106", "94", "100")
        assert scene.fills()[1:] == [fill(other, "2", stop)]


def test_targets_fill_at_their_prices_nearest_first() -> None:
    scene = Scene()
    scene.order("Sell", "3", stopLoss="110")
    for price in ("90", "95", "80"):
        scene.order("Buy", "1", price, reduceOnly=True)
    scene.close()
    scene.open("100")
    scene.rest("100", "109.9", "90", "97")
    assert scene.fills()[1:] == [fill("Buy", "1", "95"), fill("Buy", "1", "90")]
    assert scene.exchange.last_price(BTC) == 97


def test_the_stop_that_a_waiting_order_brings_is_looked_at_after_the_open() -> None:
    scene = Scene()
    scene.close()
    scene.order("Buy", "1", stopLoss="95")
    scene.open("94")
    assert scene.position.size == 1
    scene.stop(stopLoss="90")
    scene.rest("94", "96", "91", "92")
    assert scene.position.size == 1


def test_a_passed_stop_that_is_not_replaced_fills_at_the_open() -> None:
    scene = Scene()
    scene.close()
    scene.order("Buy", "1", stopLoss="95")
    scene.open("94")
    scene.rest("94", "96", "91", "92")
    assert scene.fills()[1:] == [fill("Sell", "1", "94")]


def test_a_stop_entry_in_a_bar_can_be_stopped_out_on_the_way_to_the_close() -> None:
    scene = Scene()
    scene.order("Buy", "1", triggerPrice="105", triggerDirection=1, stopLoss="103")
    scene.close()
    scene.open("100")
    scene.rest("100", "106", "99", "101")
    assert scene.fills() == [fill("Buy", "1", "105"), fill("Sell", "1", "103")]


def test_prices_between_ticks_fill_at_the_nearest_tick() -> None:
    scene = Scene()
    scene.close()
    scene.order("Buy", "1")
    scene.order("Buy", "1", "110")
    scene.open("100.06")
    assert scene.fills() == [fill("Buy", "1", "100.1"), fill("Buy", "1", "100.1")]


def test_without_a_close_nothing_waits() -> None:
    scene = Scene()
    scene.open("100")
    scene.rest("100", "101", "99", "100.5")
    scene.order("Buy", "1")
    assert scene.fills() == [fill("Buy", "1", "100.5")]


def test_a_moving_price_fills_what_waited_for_the_open() -> None:
    scene = Scene()
    scene.close()
    scene.order("Buy", "1", stopLoss="95")
    scene.price("94")
    assert scene.fills() == [fill("Buy", "1", "94")]
