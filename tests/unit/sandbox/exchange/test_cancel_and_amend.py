"""Orders that are cancelled or changed."""

from decimal import Decimal

import pytest

from sandbox.bybit.exchange.rows import OrderRow
from tests.unit.sandbox.exchange.scene import ETH, UID, Scene, code_of, fill


def test_a_cancelled_order_is_done() -> None:
    scene = Scene()
    order = scene.order("Buy", "1", "95")
    scene.cancel(order)
    assert scene.status(order) == ("Cancelled", "CancelByUser", "EC_PerCancelRequest")
    scene.price("90")
    assert scene.fills() == []
    assert scene.state.closed_orders[-1].order_id == order.order_id


def test_what_cannot_be_cancelled() -> None:
    scene = Scene()
    cancelled, filled = scene.order("Buy", "1", "95", orderLinkId="a"), scene.order("Buy", "1")
    other = scene.order("Buy", "1", "95", symbol=ETH)
    scene.cancel(cancelled)
    assert code_of(scene.cancel, cancelled) == 110010
    assert code_of(scene.cancel, filled) == 110008
    assert code_of(scene.cancel, other) == 110001
    assert code_of(scene.exchange.cancel_order, UID, scene.body(orderLinkId="b"), 0) == 110001
    assert code_of(scene.exchange.cancel_order, UID, scene.body(), 0) == 10001


def test_an_order_is_cancelled_by_its_link_id() -> None:
    scene = Scene()
    order = scene.order("Buy", "1", "95", orderLinkId="a")
    scene.exchange.cancel_order(UID, scene.body(orderLinkId="a"), 0)
    assert scene.status(order)[0] == "Cancelled"


def test_a_cancellation_that_loses_gives_two_filled_rows() -> None:
    scene = Scene()
    order = scene.order("Buy", "1", "95")
    scene.exchange.take_changes()
    scene.cancel(order, loses=True)
    rows = [change.row for change in scene.exchange.take_changes() if isinstance(change.row, OrderRow)]
    assert [(row.order_status, row.cancel_type, row.reject_reason) for row in rows] == [
        ("Filled", "UNKNOWN", "EC_NoError"),
        ("Filled", "CancelByUser", "EC_OrigClOrdIDDoesNotExist"),
    ]
    assert scene.fills() == [fill("Buy", "1", "95")]
    assert code_of(scene.cancel, order) == 110008


def test_a_market_order_that_waits_can_be_cancelled() -> None:
    scene = Scene()
    scene.close()
    order = scene.order("Buy", "1")
    scene.cancel(order)
    scene.open("100")
    assert scene.fills() == []


def test_cancel_all_takes_conditional_orders_and_stops_too() -> None:
    scene = Scene()
    scene.order("Buy", "1")
    scene.stop(stopLoss="90")
    scene.order("Buy", "1", "95")
    scene.order("Buy", "1", triggerPrice="110", triggerDirection=1)
    scene.order("Buy", "1", "95", symbol=ETH)
    assert len(scene.exchange.cancel_all(UID, scene.body(), 0)) == 3
    assert [row.symbol for row in scene.state.open_orders] == [ETH]
    assert scene.position.stop_loss == 0


@pytest.mark.parametrize(
    ("fields", "left"),
    [
        ({"orderFilter": "Order"}, ["", "Stop", "StopLoss"]),
        ({"orderFilter": "StopOrder"}, ["", "", "StopLoss"]),
        ({"orderFilter": "tpslOrder"}, ["", "", "Stop"]),
        ({"symbol": None, "settleCoin": "USDT"}, []),
        ({"symbol": None, "baseCoin": "ETH"}, ["", "Stop", "StopLoss"]),
    ],
)
def test_cancel_all_of_some(fields: dict[str, object], left: list[str]) -> None:
    scene = Scene()
    scene.order("Buy", "1")
    scene.stop(stopLoss="90")
    scene.order("Buy", "1", "95")
    scene.order("Buy", "1", triggerPrice="110", triggerDirection=1)
    scene.order("Buy", "1", "95", symbol=ETH)
    scene.exchange.cancel_all(UID, {**scene.body(), **fields}, 0)
    assert sorted(row.stop_order_type for row in scene.state.open_orders) == left


def test_cancel_all_needs_a_symbol_or_coin() -> None:
    scene = Scene()
    assert code_of(scene.exchange.cancel_all, UID, {"category": "linear"}, 0) == 10001


def test_price_and_quantity_can_be_changed() -> None:
    scene = Scene()
    order = scene.order("Buy", "1", "95")
    scene.amend(order, qty="2", price="97")
    scene.price("96")
    assert scene.fills() == [fill("Buy", "2", "97")]


def test_an_amended_order_that_crosses_fills_at_once() -> None:
    scene = Scene()
    order = scene.order("Buy", "1", "95")
    scene.amend(order, price="101")
    assert scene.fills() == [fill("Buy", "1", "100")]


def test_what_an_amendment_refuses() -> None:
    scene = Scene()
    order = scene.order("Buy", "2", "95")
    assert code_of(scene.amend, order, price="95", qty="2") == 10001
    assert code_of(scene.amend, order, price="95.05") == 10001
    assert code_of(scene.amend, order, qty="0.0001") == 10001
    assert code_of(scene.amend, order, qty="1190") == 110007
    assert code_of(scene.amend, order, takeProfit="110") == 10001
    scene.liquidity((0, "1"))
    scene.price("95")
    assert code_of(scene.amend, order, qty="1") == 110063
    scene.cancel(order)
    assert code_of(scene.amend, order, qty="3") == 110010


def test_a_trigger_can_be_moved_but_not_past_the_price() -> None:
    scene = Scene()
    order = scene.order("Buy", "1", triggerPrice="110", triggerDirection=1)
    assert code_of(scene.amend, order, triggerPrice="99") == 110092
    scene.amend(order, triggerPrice="105")
    scene.price("106")
    assert scene.fills() == [fill("Buy", "1", "105")]


def test_the_stops_of_an_unfilled_order_can_be_changed() -> None:
    scene = Scene()
    order = scene.order("Buy", "1", "95", stopLoss="90", takeProfit="120")
    assert code_of(scene.amend, order, stopLoss="96") == 10001
    scene.amend(order, stopLoss="85", takeProfit="0")
    scene.price("95")
    assert (scene.position.stop_loss, scene.position.take_profit) == (Decimal(85), Decimal(0))
