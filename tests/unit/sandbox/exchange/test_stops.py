"""Stop loss, take profit and trailing stop of a position: attached to an order, or set afterwards."""

from decimal import Decimal

import pytest

from sandbox.bybit.exchange.rows import OrderRow, PositionRow
from sandbox.bybit.exchange.terms import AccountTerms
from tests.unit.sandbox.exchange.scene import UID, Scene, code_of, fill


def test_an_attached_stop_protects_the_position_and_names_its_parent() -> None:
    scene = Scene()
    scene.order("Buy", "2", orderLinkId="entry", stopLoss="95", takeProfit="120")
    stops = scene.open_stops()
    assert set(stops) == {"StopLoss", "TakeProfit"}
    stop = stops["StopLoss"]
    assert (stop.side, stop.qty, stop.trigger_price, stop.order_status) == (
        "Sell",
        Decimal(2),
        Decimal(95),
        "Untriggered",
    )
    assert (stop.parent_order_link_id, stop.order_link_id, stop.trigger_direction) == ("entry", "", 2)
    assert (stop.reduce_only, stop.close_on_trigger, stop.order_type) == (True, True, "Market")
    assert (scene.position.stop_loss, scene.position.take_profit, scene.position.tpsl_mode) == (
        Decimal(95),
        Decimal(120),
        "Full",
    )


def test_a_stop_that_is_hit_closes_all_and_clears_the_other() -> None:
    scene = Scene()
    scene.order("Buy", "2", orderLinkId="entry", stopLoss="95", takeProfit="120")
    stops = scene.open_stops()
    scene.price("90")
    assert scene.fills()[-1] == fill("Sell", "2", "95")
    execution = scene.executions()[-1]
    assert (execution.stop_order_type, execution.create_type) == ("StopLoss", "CreateByStopLoss")
    assert (execution.order_id, execution.parent_order_link_id) == (stops["StopLoss"].order_id, "entry")
    assert scene.status(stops["TakeProfit"]) == ("Deactivated", "CancelByTpSlTsClear", "EC_NoError")
    assert (scene.position.size, scene.position.stop_loss) == (Decimal(0), Decimal(0))


def test_a_triggered_stop_is_published_in_each_state() -> None:
    scene = Scene()
    scene.order("Sell", "1", stopLoss="105")
    stop = scene.open_stops()["StopLoss"]
    scene.exchange.take_changes()
    scene.price("105")
    rows = [change.row for change in scene.exchange.take_changes()]
    statuses = [row.order_status for row in rows if isinstance(row, OrderRow) and row.order_id == stop.order_id]
    assert statuses == ["Triggered", "Filled"]


def test_the_stop_of_a_short_slips_upwards() -> None:
    scene = Scene(AccountTerms(slippage=Decimal("0.01"), taker_fee=Decimal(0)))
    scene.order("Sell", "1", stopLoss="105")
    scene.price("110")
    assert scene.fills()[-1] == fill("Buy", "1", "106.1")


def test_stops_are_set_moved_and_removed() -> None:
    scene = Scene()
    scene.order("Buy", "1")
    scene.stop(stopLoss="90", takeProfit="120")
    before = scene.open_stops()["StopLoss"]
    scene.stop(stopLoss="92")
    assert scene.open_stops()["StopLoss"].order_id == before.order_id
    assert (scene.position.stop_loss, scene.position.take_profit) == (Decimal(92), Decimal(120))
    scene.stop(stopLoss="0")
    assert set(scene.open_stops()) == {"TakeProfit"}
    assert scene.status(before)[:2] == ("Deactivated", "CancelByUser")
    assert scene.position.stop_loss == 0


def test_a_moved_stop_keeps_its_parent() -> None:
    scene = Scene()
    scene.order("Buy", "1", orderLinkId="entry", stopLoss="90")
    scene.stop(stopLoss="95")
    assert scene.open_stops()["StopLoss"].parent_order_link_id == "entry"


def test_an_unchanged_stop_is_refused() -> None:
    scene = Scene()
    scene.order("Buy", "1", stopLoss="90")
    assert code_of(scene.stop, stopLoss="90") == 34040
    assert code_of(scene.stop, takeProfit="0") == 34040
    assert code_of(scene.stop) == 34040
    scene.stop(stopLoss="90", slTriggerBy="MarkPrice")


@pytest.mark.parametrize(
    ("side", "fields"),
    [
        ("Buy", {"stopLoss": "100"}),
        ("Buy", {"stopLoss": "101"}),
        ("Buy", {"takeProfit": "100"}),
        ("Sell", {"stopLoss": "100"}),
        ("Sell", {"takeProfit": "100"}),
        ("Buy", {"stopLoss": "90.05"}),
        ("Buy", {"trailingStop": "5", "activePrice": "99"}),
        ("Sell", {"trailingStop": "5", "activePrice": "101"}),
        ("Buy", {"trailingStop": "100"}),
        ("Buy", {"stopLoss": "90", "positionIdx": 1}),
        ("Buy", {"stopLoss": "90", "tpslMode": "Half"}),
        ("Buy", {"stopLoss": "90", "tpslMode": "Partial"}),
        ("Buy", {"stopLoss": "90", "tpslMode": "Partial", "slSize": "3"}),
        ("Buy", {"stopLoss": "90", "takeProfit": "110", "tpslMode": "Partial", "slSize": "1", "tpSize": "2"}),
        ("Buy", {"stopLoss": "90", "tpslMode": "Partial", "slSize": "1", "slOrderType": "Limit"}),
        ("Buy", {"stopLoss": "90", "tpslMode": "Partial", "slSize": "1", "trailingStop": "3"}),
    ],
)
def test_a_stop_on_the_wrong_side_or_malformed(side: str, fields: dict[str, object]) -> None:
    scene = Scene()
    scene.order(side, "2")
    scene.exchange.take_changes()
    assert code_of(scene.stop, **fields) == 10001
    assert scene.exchange.take_changes() == []


def test_a_flat_position_has_no_stop() -> None:
    assert code_of(Scene().stop, stopLoss="90") == 10001


def test_stops_stay_as_large_as_the_position() -> None:
    scene = Scene()
    scene.order("Buy", "1", stopLoss="90")
    scene.order("Buy", "2")
    assert scene.open_stops()["StopLoss"].qty == 3
    scene.order("Sell", "1", reduceOnly=True)
    scene.price("90")
    assert scene.fills()[-1] == fill("Sell", "2", "90")


def test_a_new_entry_replaces_the_stop() -> None:
    scene = Scene()
    scene.order("Buy", "1", stopLoss="90", orderLinkId="a")
    scene.order("Buy", "1", stopLoss="95", orderLinkId="b")
    stop = scene.open_stops()["StopLoss"]
    assert (stop.trigger_price, stop.qty, stop.parent_order_link_id) == (Decimal(95), Decimal(2), "b")


def test_an_order_that_turns_the_position_brings_its_own_stop() -> None:
    scene = Scene()
    scene.order("Buy", "1", stopLoss="90")
    scene.order("Sell", "3", stopLoss="110", orderLinkId="turn")
    stop = scene.open_stops()["StopLoss"]
    assert (stop.side, stop.qty, stop.trigger_price) == ("Buy", Decimal(2), Decimal(110))


def test_an_order_that_only_closes_brings_no_stop() -> None:
    scene = Scene()
    scene.order("Buy", "2")
    scene.order("Sell", "1", stopLoss="110")
    assert scene.open_stops() == {}


def test_a_trailing_stop_follows_the_best_price() -> None:
    scene = Scene()
    scene.order("Buy", "1")
    scene.stop(trailingStop="5")
    assert scene.open_stops()["TrailingStop"].trigger_price == 95
    scene.price("110")
    scene.price("106")
    assert scene.open_stops()["TrailingStop"].trigger_price == 105
    scene.price("100")
    assert scene.fills()[-1] == fill("Sell", "1", "105")
    assert scene.executions()[-1].stop_order_type == "TrailingStop"


def test_a_trailing_stop_waits_for_its_activation() -> None:
    scene = Scene()
    scene.order("Sell", "1")
    scene.stop(trailingStop="5", activePrice="90")
    assert (scene.position.trailing_stop, scene.position.active_price) == (Decimal(5), Decimal(90))
    scene.price("99")
    scene.price("94.5")
    assert scene.position.size == 1
    scene.price("88")
    assert scene.open_stops()["TrailingStop"].trigger_price == 93
    scene.price("95")
    assert scene.fills()[-1] == fill("Buy", "1", "93")


def test_a_trailing_stop_is_not_triggered_before_it_is_active() -> None:
    scene = Scene()
    scene.order("Buy", "1")
    scene.stop(trailingStop="1", activePrice="110")
    scene.price("80")
    assert scene.position.size == 1


def test_a_trailing_stop_can_be_removed_and_is_unchanged_otherwise() -> None:
    scene = Scene()
    scene.order("Buy", "1")
    scene.stop(trailingStop="5")
    assert code_of(scene.stop, trailingStop="5") == 34040
    scene.stop(trailingStop="0")
    assert scene.position.trailing_stop == 0


def test_partial_stops_close_a_part_and_cancel_each_other() -> None:
    scene = Scene()
    scene.order("Buy", "3")
    scene.stop(tpslMode="Partial", takeProfit="110", stopLoss="90", tpSize="1", slSize="1")
    scene.stop(tpslMode="Partial", takeProfit="120", tpSize="2")
    stop = scene.open_stops()["PartialStopLoss"]
    scene.price("111")
    assert scene.fills()[-1] == fill("Sell", "1", "110")
    assert scene.status(stop)[:2] == ("Deactivated", "CancelByOCOSlCanceledByTpTriggered")
    assert scene.position.size == 2
    scene.price("121")
    assert scene.position.size == 0


def test_a_partial_take_profit_can_be_a_limit_order() -> None:
    scene = Scene()
    scene.order("Buy", "2")
    scene.stop(tpslMode="Partial", takeProfit="110", tpSize="1", tpOrderType="Limit", tpLimitPrice="112")
    scene.price("111")
    assert scene.open_stops()["PartialTakeProfit"].order_status == "New"
    scene.price("113")
    assert scene.fills()[-1] == fill("Sell", "1", "112")


def test_partial_stops_are_limited() -> None:
    scene = Scene()
    scene.order("Buy", "2")
    for _ in range(20):
        scene.stop(tpslMode="Partial", takeProfit="110", tpSize="1")
    assert code_of(scene.stop, tpslMode="Partial", takeProfit="110", tpSize="1") == 110060


def test_partial_stops_of_an_order_grow_with_its_fills() -> None:
    scene = Scene()
    scene.liquidity((0, "1"))
    scene.order("Buy", "2", "95", tpslMode="Partial", stopLoss="90", takeProfit="120", orderLinkId="entry")
    scene.price("95")
    assert scene.open_stops()["PartialStopLoss"].qty == 1
    scene.price("95")
    stops = scene.open_stops()
    assert {each.qty for each in stops.values()} == {Decimal(2)}
    assert {each.parent_order_link_id for each in stops.values()} == {"entry"}
    assert len(scene.state.open_orders) == 2


def test_a_stop_can_be_moved_and_cancelled_as_an_order() -> None:
    scene = Scene()
    scene.order("Buy", "1", stopLoss="90")
    scene.amend(scene.open_stops()["StopLoss"], triggerPrice="92")
    assert scene.position.stop_loss == 92
    scene.cancel(scene.open_stops()["StopLoss"])
    assert scene.position.stop_loss == 0
    rows = [change.row for change in scene.exchange.take_changes()]
    assert [row.stop_loss for row in rows if isinstance(row, PositionRow)] == [90, 92, 0]


def test_a_stop_by_mark_price_ignores_the_last_price() -> None:
    scene = Scene()
    scene.order("Buy", "1")
    scene.exchange.set_mark_price("BTCUSDT", Decimal(100), 0)
    scene.stop(stopLoss="90", slTriggerBy="MarkPrice")
    scene.price("85")
    assert scene.position.size == 1
    scene.exchange.set_mark_price("BTCUSDT", Decimal(89), 0)
    assert scene.fills()[-1] == fill("Sell", "1", "85")


def test_a_stop_that_finds_too_little_liquidity_leaves_the_rest() -> None:
    scene = Scene()
    scene.order("Buy", "3", stopLoss="90")
    stop = scene.open_stops()["StopLoss"]
    scene.liquidity((0, "1"))
    scene.price("89")
    row = scene.now_of(stop)
    assert (row.order_status, row.cum_exec_qty) == ("Cancelled", Decimal(1))
    assert (scene.position.size, scene.position.stop_loss) == (Decimal(2), Decimal(0))


def test_conditional_orders_fill_after_their_trigger() -> None:
    scene = Scene()
    market = scene.order("Buy", "1", triggerPrice="110", triggerDirection=1)
    limit = scene.order("Sell", "1", "92", triggerPrice="90", triggerDirection=2)
    assert (market.order_status, market.stop_order_type, market.create_type) == (
        "Untriggered",
        "Stop",
        "CreateByStopOrder",
    )
    scene.price("111")
    assert scene.fills() == [fill("Buy", "1", "110")]
    scene.price("89")
    assert scene.status(limit)[0] == "New"
    scene.price("93")
    assert scene.fills()[-1] == fill("Sell", "1", "92")


def test_a_cancelled_conditional_order_is_deactivated() -> None:
    scene = Scene()
    order = scene.order("Buy", "1", triggerPrice="110", triggerDirection=1)
    scene.cancel(order)
    assert scene.status(order)[0] == "Deactivated"


def test_a_conditional_order_that_is_not_affordable_at_its_trigger_is_rejected() -> None:
    scene = Scene(AccountTerms(balance=Decimal(100), leverage=Decimal(1)))
    order = scene.order("Buy", "10", triggerPrice="110", triggerDirection=1)
    scene.price("111")
    assert scene.status(order)[0] == "Rejected"
    assert UID in {change.uid for change in scene.exchange.take_changes()}
    assert scene.fills() == []
