"""Margin, leverage, position mode, liquidation, deleveraging and funding."""

from dataclasses import replace
from decimal import Decimal

import pytest

from sandbox.bybit.exchange.terms import AccountTerms
from tests.unit.sandbox.exchange.scene import BTC, ETH, UID, Scene, code_of, fill

FEE = Decimal("0.001")
TERMS = AccountTerms(balance=Decimal(1000), taker_fee=FEE, maker_fee=FEE, leverage=Decimal(10))


def leverage(scene: Scene, value: str, sell: str | None = None) -> None:
    scene.exchange.set_leverage(UID, scene.body(buyLeverage=value, sellLeverage=sell or value), 0)


def switch(scene: Scene, mode: object, **fields: object) -> None:
    scene.exchange.switch_mode(UID, {"category": "linear", "mode": mode, **fields}, 0)


def test_an_order_needs_its_margin_and_both_fees() -> None:
    scene = Scene(TERMS)
    affordable = Decimal(1000) / (100 * (Decimal("0.1") + 2 * FEE))
    assert code_of(scene.order, "Buy", "98.040", "100") == 110007
    assert scene.order("Buy", "98.039", "99.9").order_status == "New"
    assert Decimal("98.039") < affordable < Decimal("98.040")


def test_open_orders_hold_margin_and_cancelling_frees_it() -> None:
    scene = Scene(TERMS)
    order = scene.order("Buy", "50", "90")
    assert scene.wallet.order_im == 50 * 90 * (Decimal("0.1") + 2 * FEE)
    assert code_of(scene.order, "Buy", "60", "90") == 110007
    scene.cancel(order)
    assert scene.order("Buy", "60", "90").order_status == "New"


def test_orders_that_close_hold_no_margin() -> None:
    scene = Scene(TERMS)
    scene.order("Buy", "90")
    assert scene.order("Sell", "90", "110").order_status == "New"
    assert scene.wallet.order_im == 0
    assert code_of(scene.order, "Sell", "90", "111") == 110007


def test_orders_that_only_reduce_hold_no_margin() -> None:
    scene = Scene(TERMS)
    scene.order("Buy", "90")
    for price in ("110", "120"):
        scene.order("Sell", "90", price, reduceOnly=True)
    assert scene.wallet.order_im == 0


def test_conditional_orders_hold_no_margin() -> None:
    scene = Scene(TERMS)
    scene.order("Buy", "400", triggerPrice="110", triggerDirection=1)
    assert scene.wallet.available == 1000


def test_an_empty_wallet_opens_nothing() -> None:
    scene = Scene(replace(TERMS, balance=Decimal(0)))
    assert code_of(scene.order, "Buy", "1") == 110004


def test_position_and_wallet_show_the_margin() -> None:
    scene = Scene(TERMS)
    scene.order("Buy", "20")
    scene.price("110")
    position, wallet = scene.position, scene.wallet
    assert position.position_im == wallet.position_im == 20 * 110 * (Decimal("0.1") + FEE)
    assert position.position_mm == wallet.position_mm == 11
    assert (position.unrealised_pnl, position.cur_realised_pnl) == (Decimal(200), Decimal(-2))
    assert (wallet.wallet_balance, wallet.equity) == (Decimal(998), Decimal(1198))
    assert wallet.available == 1198 - wallet.position_im
    assert position.break_even_price == pytest.approx(Decimal(2002) / (20 * (1 - FEE)))


def test_isolated_margin_does_not_lend_unrealised_gains() -> None:
    scene = Scene(replace(TERMS, margin_mode="ISOLATED_MARGIN"))
    scene.order("Buy", "20")
    scene.price("110")
    assert scene.wallet.available == 998 - scene.wallet.position_im
    assert scene.position.trade_mode == 1


def test_leverage() -> None:
    scene = Scene(TERMS)
    assert code_of(leverage, scene, "10") == 110043
    assert code_of(leverage, scene, "10.0") == 110043
    assert code_of(leverage, scene, "100.01") == 110013
    assert code_of(leverage, scene, "0.5") == 10001
    assert code_of(leverage, scene, "5.001") == 10001
    assert code_of(leverage, scene, "5", "6") == 10001
    leverage(scene, "20")
    assert scene.state.leverages == {BTC: 20, ETH: 10}
    scene.order("Buy", "100")
    assert code_of(leverage, scene, "5") == 110012
    leverage(scene, "25")


def test_position_mode() -> None:
    scene = Scene(TERMS)
    assert code_of(switch, scene, 0, symbol=BTC) == 110025
    assert code_of(switch, scene, 1, symbol=BTC) == 10001
    assert code_of(switch, scene, None, symbol=BTC) == 10001
    assert code_of(switch, scene, 3) == 10001
    order = scene.order("Buy", "1", "90")
    assert code_of(switch, scene, 3, coin="USDT") == 110028
    scene.cancel(order)
    scene.order("Buy", "1")
    assert code_of(switch, scene, 3, symbol=BTC) == 110024
    switch(scene, 3, symbol=ETH)
    assert scene.state.modes == {BTC: 0, ETH: 3}


@pytest.mark.parametrize(("side", "adverse"), [("Buy", "80"), ("Sell", "120")])
def test_a_position_without_maintenance_margin_is_liquidated(side: str, adverse: str) -> None:
    scene = Scene(TERMS)
    scene.order(side, "90")
    resting = scene.order(side, "1", "50" if side == "Buy" else "200", symbol=ETH)
    liquidated_at, bust = scene.position.liq_price, scene.position.bust_price
    assert liquidated_at is not None
    assert bust is not None
    assert abs(100 - bust) > abs(100 - liquidated_at)
    scene.price(adverse)
    execution = scene.executions()[-1]
    assert (execution.exec_type, execution.exec_price) == ("BustTrade", bust)
    assert execution.create_type == "CreateByTakeOver_PassThrough"
    assert scene.position.size == 0
    assert 0 <= scene.wallet.wallet_balance < 90 * Decimal("0.2")
    assert scene.status(resting)[:2] == ("Cancelled", "CancelAllBeforeLiq")
    assert scene.state.transactions[-1].type == "LIQUIDATION"


def test_a_position_is_liquidated_exactly_below_its_maintenance_margin() -> None:
    scene = Scene(TERMS)
    scene.order("Buy", "90")
    liquidated_at = scene.position.liq_price
    assert liquidated_at is not None
    scene.price(str(liquidated_at))
    assert scene.position.size == 90
    scene.price(str(liquidated_at - Decimal("0.1")))
    assert scene.position.size == 0


def test_a_stop_before_the_liquidation_price_saves_the_position() -> None:
    scene = Scene(TERMS)
    scene.order("Buy", "90", stopLoss="95")
    scene.price("50")
    assert scene.fills()[-1] == fill("Sell", "90", "95")
    assert scene.executions()[-1].exec_type == "Trade"


def test_a_stop_behind_the_liquidation_price_comes_too_late() -> None:
    scene = Scene(TERMS)
    scene.order("Buy", "90", stopLoss="85")
    scene.price("50")
    assert [row.exec_type for row in scene.executions()] == ["Trade", "BustTrade"]


def test_a_gap_leaves_no_debt() -> None:
    scene = Scene(TERMS)
    scene.order("Buy", "90")
    scene.close()
    scene.open("20")
    assert scene.executions()[-1].exec_type == "BustTrade"
    assert scene.wallet.wallet_balance >= 0


def test_isolated_positions_are_liquidated_alone() -> None:
    scene = Scene(replace(TERMS, margin_mode="ISOLATED_MARGIN"))
    scene.order("Buy", "10")
    scene.order("Buy", "10", symbol=ETH)
    scene.price("89")
    assert scene.position.size == 0
    assert scene.state.positions[ETH].size == 10
    assert 870 < scene.wallet.wallet_balance < 900


def test_in_cross_margin_one_position_stands_for_the_other() -> None:
    scene = Scene(TERMS)
    scene.order("Buy", "45")
    scene.order("Buy", "45", symbol=ETH)
    scene.price("120", symbol=ETH)
    scene.price("82")
    assert scene.position.size == 45
    scene.price("50")
    assert scene.position.size == 0


def test_the_mark_price_liquidates_and_the_last_price_does_not() -> None:
    scene = Scene(TERMS)
    scene.order("Buy", "90")
    scene.exchange.set_mark_price(BTC, Decimal(100), 0)
    scene.price("70")
    assert scene.position.size == 90
    assert scene.exchange.mark_price(BTC) == 100
    scene.exchange.set_mark_price(BTC, None, 0)
    assert scene.position.size == 0


@pytest.mark.parametrize(("side", "paid"), [("Buy", "0.2"), ("Sell", "-0.2")])
def test_funding_is_paid_by_longs_and_received_by_shorts(side: str, paid: str) -> None:
    scene = Scene(AccountTerms(taker_fee=Decimal(0)))
    scene.order(side, "20")
    scene.exchange.take_changes()
    scene.exchange.fund(BTC, Decimal("0.0001"), scene.now)
    execution = scene.executions()[-1]
    assert (execution.exec_type, execution.exec_fee, execution.exec_qty) == ("Funding", Decimal(paid), Decimal(20))
    assert (execution.side, execution.order_type, execution.exec_price) == (side, "UNKNOWN", Decimal(100))
    assert scene.wallet.wallet_balance == 10_000 - Decimal(paid)
    assert scene.position.cur_realised_pnl == -Decimal(paid)
    assert [each.topic for each in scene.exchange.take_changes()] == ["execution", "position", "wallet"]


def test_funding_skips_flat_accounts() -> None:
    scene = Scene()
    scene.order("Buy", "1", "90")
    scene.exchange.fund(BTC, Decimal("0.0001"), scene.now)
    assert scene.executions() == []


def test_deleveraging_closes_a_part_at_its_price() -> None:
    scene = Scene(TERMS)
    scene.order("Sell", "3", stopLoss="120")
    scene.exchange.deleverage(UID, BTC, Decimal(1), Decimal(90), scene.now)
    execution = scene.executions()[-1]
    assert (execution.exec_type, execution.side, execution.exec_pnl) == ("AdlTrade", "Buy", Decimal(10))
    assert (execution.exec_fee, execution.order_link_id) == (Decimal(0), "")
    assert (scene.position.size, scene.open_stops()["StopLoss"].qty) == (Decimal(2), Decimal(2))
    with pytest.raises(ValueError, match="2"):
        scene.exchange.deleverage(UID, BTC, Decimal(5), Decimal(90), scene.now)
