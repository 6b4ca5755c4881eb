"""What the exchange refuses when an order is created."""

from dataclasses import replace
from decimal import Decimal

import pytest

from sandbox.bybit.exchange.exchange import Exchange
from sandbox.bybit.exchange.terms import AccountTerms, InstrumentFilters, Rules
from tests.unit.sandbox.exchange.scene import BTC, ETH, UID, Scene, code_of


@pytest.mark.parametrize(
    ("code", "fields"),
    [
        (10001, {"category": "spot"}),
        (10001, {"category": None}),
        (10001, {"symbol": "XUSDT"}),
        (10001, {"symbol": 5}),
        (10001, {"side": "buy"}),
        (10001, {"orderType": "Stop"}),
        (10001, {"timeInForce": "GTD"}),
        (10001, {"timeInForce": "PostOnly", "orderType": "Market"}),
        (10001, {"qty": "abc"}),
        (10001, {"qty": "NaN"}),
        (10001, {"qty": "-1"}),
        (10001, {"qty": "1e3"}),
        (10001, {"qty": True}),
        (10001, {"qty": None}),
        (10001, {"qty": "0"}),
        (10001, {"qty": "0.0005"}),
        (10001, {"qty": "1.0005"}),
        (10001, {"qty": "1190.001"}),
        (10001, {"qty": "500.001", "orderType": "Market"}),
        (10001, {"price": None}),
        (10001, {"price": "95.05"}),
        (110003, {"price": "0"}),
        (110003, {"price": "2000000"}),
        (110094, {"qty": "0.052"}),
        (10001, {"reduceOnly": "true"}),
        (110017, {"reduceOnly": True}),
        (10001, {"positionIdx": 1}),
        (10001, {"positionIdx": 4}),
        (10001, {"orderLinkId": "a" * 37}),
        (10001, {"orderLinkId": "a b"}),
        (10001, {"orderLinkId": "ä"}),
        (10001, {"orderLinkId": 7}),
        (10001, {"takeProfit": "110", "reduceOnly": True}),
        (10001, {"takeProfit": "94"}),
        (10001, {"stopLoss": "96"}),
        (10001, {"stopLoss": "90.05"}),
        (10001, {"stopLoss": "90", "slOrderType": "Limit", "slLimitPrice": "89"}),
        (10001, {"stopLoss": "90", "slOrderType": "Limit", "tpslMode": "Partial"}),
        (10001, {"triggerPrice": "110"}),
        (110092, {"triggerPrice": "100", "triggerDirection": 1}),
        (110093, {"triggerPrice": "100", "triggerDirection": 2}),
        (10001, {"slippageToleranceType": "TickSize", "slippageTolerance": "5"}),
        (10001, {"orderType": "Market", "slippageToleranceType": "TickSize"}),
        (10001, {"orderType": "Market", "slippageTolerance": "5"}),
        (110108, {"orderType": "Market", "slippageToleranceType": "TickSize", "slippageTolerance": "0"}),
        (110108, {"orderType": "Market", "slippageToleranceType": "TickSize", "slippageTolerance": "10001"}),
        (110108, {"orderType": "Market", "slippageToleranceType": "TickSize", "slippageTolerance": "1.5"}),
        (110109, {"orderType": "Market", "slippageToleranceType": "Percent", "slippageTolerance": "0.001"}),
        (110109, {"orderType": "Market", "slippageToleranceType": "Percent", "slippageTolerance": "10.01"}),
        (
            10001,
            {
                "orderType": "Market",
                "slippageToleranceType": "Percent",
                "slippageTolerance": "1",
                "stopLoss": "90",
            },
        ),
    ],
)
def test_malformed_and_forbidden_orders(code: int, fields: dict[str, object]) -> None:
    scene = Scene()
    body = {"category": "linear", "symbol": BTC, "side": "Buy", "orderType": "Limit", "qty": "1", "price": "95"}
    assert code_of(scene.exchange.create_order, UID, {**body, **fields}, 0) == code
    assert scene.exchange.take_changes() == []


def test_numbers_of_the_json_text_are_read_like_strings() -> None:
    scene = Scene()
    order = scene.order("Buy", "1", "95", takeProfit=120, stopLoss=Decimal("90.0"), positionIdx="0")
    assert (order.take_profit, order.stop_loss) == (Decimal(120), Decimal(90))


def test_empty_fields_are_absent() -> None:
    scene = Scene()
    order = scene.order("Buy", "1", "95", takeProfit="", triggerPrice="", orderLinkId="", stopLoss="0")
    assert (order.take_profit, order.stop_loss, order.order_link_id) == (None, None, "")


def test_a_link_id_is_unique_for_ever() -> None:
    scene = Scene()
    scene.order("Buy", "1", orderLinkId="x")
    assert code_of(scene.order, "Buy", "1", orderLinkId="x") == 110072
    assert code_of(scene.order, "Buy", "1", "90", symbol=ETH, orderLinkId="x") == 110072


def test_a_refused_order_does_not_use_up_its_link_id() -> None:
    scene = Scene()
    assert code_of(scene.order, "Buy", "0.01", "95", orderLinkId="x") == 110094
    assert scene.order("Buy", "1", "95", orderLinkId="x").order_status == "New"


@pytest.mark.parametrize("status", ["PreLaunch", "Delivering", "Closed"])
def test_a_contract_that_is_not_trading(status: str) -> None:
    scene = Scene()
    scene.exchange.set_status(BTC, status)
    assert code_of(scene.order, "Buy", "1") == 110074


def test_the_smallest_notional_does_not_bind_reduce_only_orders() -> None:
    scene = Scene()
    scene.order("Buy", "0.052", "110")
    scene.price("90")
    assert scene.order("Sell", "0.052", reduceOnly=True).order_status == "Filled"


def test_active_and_conditional_orders_are_limited() -> None:
    scene = Scene(rules=Rules(has_price_band=False, max_active_orders=3, max_conditional_orders=2))
    for _ in range(3):
        scene.order("Buy", "1", "95")
    assert code_of(scene.order, "Buy", "1", "95") == 110020
    for _ in range(2):
        scene.order("Buy", "1", triggerPrice="110", triggerDirection=1)
    assert code_of(scene.order, "Buy", "1", triggerPrice="110", triggerDirection=1) == 110009
    assert scene.order("Buy", "1", "95", symbol=ETH).order_status == "New"


def test_a_position_and_its_orders_keep_to_the_risk_limit() -> None:
    scene = Scene(filters=replace(InstrumentFilters(BTC), risk_limit_value=Decimal(1000)))
    scene.order("Buy", "6")
    scene.order("Buy", "2", "90")
    assert code_of(scene.order, "Buy", "3", "90") == 110090
    assert scene.order("Sell", "6", "110").order_status == "New"


@pytest.mark.parametrize(
    ("side", "beyond", "edge", "code"), [("Buy", "150", "101.0", 110120), ("Sell", "50", "99.0", 110121)]
)
def test_the_price_band_refuses_or_moves_by_the_account_s_choice(
    side: str, beyond: str, edge: str, code: int
) -> None:
    scene = Scene(rules=Rules())
    assert scene.order(side, "1", beyond).price == Decimal(edge)
    scene.exchange.set_limit_price_action(UID, {"category": "linear", "modifyEnable": False}, 0)
    assert code_of(scene.order, side, "1", beyond) == code
    assert scene.order(side, "1", edge).price == Decimal(edge)
    assert scene.exchange.price_limits(BTC) == (Decimal(101), Decimal(99))


def test_before_the_first_price_nothing_trades() -> None:
    scene = Scene()
    scene.exchange = Exchange({BTC: InstrumentFilters(BTC)})
    scene.exchange.open_account(UID, AccountTerms())
    assert code_of(scene.order, "Buy", "1") == 110074
    assert scene.exchange.last_price(BTC) is None


def test_hedge_mode_takes_no_orders() -> None:
    scene = Scene(AccountTerms(hedge_symbols=(BTC,)))
    assert code_of(scene.order, "Buy", "1") == 10001
    assert code_of(scene.order, "Buy", "1", positionIdx=1) == 10001
