"""Market and limit orders, their times in force, and fills in several executions."""

from dataclasses import replace
from decimal import Decimal

import pytest

from sandbox.bybit.exchange.rows import ExecutionRow, OrderRow
from sandbox.bybit.exchange.terms import AccountTerms
from tests.unit.sandbox.exchange.scene import UID, Scene, code_of, fill


def test_a_market_order_fills_at_the_price_and_opens_a_position() -> None:
    scene = Scene()
    order = scene.order("Buy", "2", orderLinkId="a-1")
    assert scene.status(order)[0] == "Filled"
    assert scene.fills() == [fill("Buy", "2", "100")]
    assert (scene.position.side, scene.position.size, scene.position.entry_price) == (
        "Buy",
        Decimal(2),
        Decimal(100),
    )
    assert scene.executions()[0].order_link_id == "a-1"


def test_a_fill_is_published_as_order_execution_position_and_wallet() -> None:
    scene = Scene()
    scene.exchange.take_changes()
    scene.order("Buy", "1")
    changes = scene.exchange.take_changes()
    assert [change.topic for change in changes] == ["order", "execution", "position", "wallet"]
    assert [change.seq for change in changes] == sorted({change.seq for change in changes})
    assert {change.uid for change in changes} == {UID}
    assert {change.at_ms for change in changes} == {scene.now}
    assert scene.exchange.take_changes() == []


def test_slippage_is_against_market_orders_and_rounded_to_the_tick() -> None:
    scene = Scene(AccountTerms(slippage=Decimal("0.0123"), taker_fee=Decimal(0)))
    scene.order("Buy", "1")
    scene.order("Sell", "1")
    assert scene.fills() == [fill("Buy", "1", "101.2"), fill("Sell", "1", "98.8")]


def test_fees_depend_on_the_side_of_the_book() -> None:
    scene = Scene(AccountTerms(taker_fee=Decimal("0.001"), maker_fee=Decimal("0.0002")))
    scene.order("Buy", "1")
    scene.order("Sell", "1", "110")
    scene.price("111")
    taker, maker = scene.executions()
    assert (taker.exec_fee, taker.is_maker, taker.fee_rate) == (Decimal("0.1"), False, Decimal("0.001"))
    assert (maker.exec_fee, maker.is_maker, maker.exec_price) == (Decimal("0.022"), True, Decimal(110))
    assert scene.wallet.wallet_balance == 10_000 + 10 - Decimal("0.122")


def test_fees_in_mnt_do_not_touch_the_wallet() -> None:
    scene = Scene(AccountTerms(taker_fee=Decimal("0.001"), fmsef=True, mnt_price=Decimal("0.5")))
    scene.order("Buy", "1")
    (execution,) = scene.executions()
    assert (execution.exec_fee, execution.fee_currency) == (Decimal("0.2"), "MNT")
    assert scene.wallet.wallet_balance == 10_000


def test_a_limit_order_rests_until_the_price_reaches_it() -> None:
    scene = Scene()
    order = scene.order("Buy", "1", "95")
    assert scene.status(order)[0] == "New"
    scene.price("95.1")
    assert scene.fills() == []
    scene.price("94")
    assert scene.fills() == [fill("Buy", "1", "95")]
    assert scene.state.open_orders == []


def test_a_limit_order_that_crosses_fills_at_the_better_price() -> None:
    scene = Scene()
    scene.order("Buy", "1", "105")
    assert scene.fills() == [fill("Buy", "1", "100")]


def test_nearer_orders_fill_first() -> None:
    scene = Scene()
    for price in ("103", "101", "102"):
        scene.order("Sell", "1", price)
    scene.price("104")
    assert [row.exec_price for row in scene.executions()] == [101, 102, 103]


@pytest.mark.parametrize(
    ("time_in_force", "status"),
    [
        ("GTC", ("PartiallyFilled", "UNKNOWN", "EC_NoError")),
        ("IOC", ("Cancelled", "UNKNOWN", "EC_NoImmediateQtyToFill")),
        ("FOK", ("Cancelled", "UNKNOWN", "EC_NoEnoughQtyToFill")),
        ("PostOnly", ("Cancelled", "UNKNOWN", "EC_PostOnlyWillTakeLiquidity")),
    ],
)
def test_time_in_force_where_there_is_not_enough(time_in_force: str, status: tuple[str, str, str]) -> None:
    scene = Scene()
    scene.liquidity((0, "1"), (1, "1"), (50, "9"))
    order = scene.order("Buy", "3", "100.1", timeInForce=time_in_force)
    assert scene.status(order) == status
    filled = 2 if time_in_force in ("GTC", "IOC") else 0
    assert scene.now_of(order).cum_exec_qty == filled


def test_a_fok_order_fills_where_there_is_enough() -> None:
    scene = Scene()
    scene.liquidity((0, "1"), (1, None))
    order = scene.order("Buy", "3", "100.1", timeInForce="FOK")
    assert scene.status(order)[0] == "Filled"


def test_a_market_order_ends_cancelled_where_liquidity_ends() -> None:
    scene = Scene()
    scene.liquidity((0, "1"), (2, "0.5"))
    order = scene.now_of(scene.order("Sell", "4"))
    assert (order.order_status, order.cum_exec_qty, order.leaves_qty) == ("Cancelled", Decimal("1.5"), Decimal(0))
    assert scene.fills() == [fill("Sell", "1", "100"), fill("Sell", "0.5", "99.8")]
    assert order.avg_price == Decimal("99.933333333333333333")


def test_a_resting_order_gets_what_lies_at_its_price_each_time() -> None:
    scene = Scene()
    order = scene.order("Buy", "3", "99")
    scene.liquidity((0, "1"), (1, "1"))
    scene.price("99")
    assert scene.status(order)[0] == "PartiallyFilled"
    scene.price("98")
    scene.price("97")
    assert scene.status(order)[0] == "Filled"
    assert [row.leaves_qty for row in scene.executions()] == [2, 1, 0]


def test_a_post_only_order_away_from_the_price_rests() -> None:
    scene = Scene()
    assert scene.status(scene.order("Sell", "1", "100.1", timeInForce="PostOnly"))[0] == "New"


@pytest.mark.parametrize(
    ("kind", "tolerance", "filled"), [("TickSize", "1", "1"), ("TickSize", "4", "2"), ("Percent", "0.5", "3")]
)
def test_slippage_tolerance_caps_a_market_order(kind: str, tolerance: str, filled: str) -> None:
    scene = Scene()
    scene.liquidity((0, "1"), (4, "1"), (5, "1"))
    order = scene.order("Buy", "9", slippageToleranceType=kind, slippageTolerance=tolerance)
    row = scene.now_of(order)
    assert (row.order_status, row.cum_exec_qty) == ("Cancelled", Decimal(filled))


def test_a_market_order_that_waits_is_cancelled_beyond_its_tolerance() -> None:
    scene = Scene()
    scene.close("100")
    order = scene.order("Buy", "1", slippageToleranceType="TickSize", slippageTolerance="10")
    scene.open("101.1")
    assert scene.status(order) == ("Cancelled", "UNKNOWN", "EC_ReachMarketPriceLimit")


def test_an_order_through_zero_closes_and_opens_in_one_execution() -> None:
    scene = Scene()
    scene.order("Buy", "1")
    scene.price("110")
    scene.order("Sell", "3")
    execution = scene.executions()[-1]
    assert (execution.closed_size, execution.exec_pnl, execution.exec_qty) == (Decimal(1), Decimal(10), Decimal(3))
    assert (scene.position.side, scene.position.size, scene.position.entry_price) == (
        "Sell",
        Decimal(2),
        Decimal(110),
    )
    assert scene.position.cur_realised_pnl == 0
    assert scene.position.cum_realised_pnl == 10


def test_a_part_is_closed_at_its_exact_share_of_the_entry() -> None:
    scene = Scene()
    scene.order("Buy", "1")
    scene.price("100.1")
    scene.order("Buy", "2")
    scene.price("110")
    scene.order("Sell", "1.5")
    assert scene.executions()[-1].exec_pnl == Decimal("14.9")


def test_closed_pnl_is_one_record_per_order_after_fees() -> None:
    scene = Scene(AccountTerms(taker_fee=Decimal("0.001"), maker_fee=Decimal(0)))
    scene.order("Buy", "3")
    scene.price("110")
    scene.liquidity((0, "1"), (10, "1"))
    scene.order("Sell", "2", reduceOnly=True)
    (record,) = scene.state.closed_pnl
    assert (record.closed_size, record.fill_count, record.cum_exit_value) == (Decimal(2), 2, Decimal(219))
    assert (record.open_fee, record.close_fee) == (Decimal("0.2"), Decimal("0.219"))
    assert record.closed_pnl == 219 - 200 - Decimal("0.419")
    assert (record.avg_entry_price, record.avg_exit_price) == (Decimal(100), Decimal("109.5"))


def test_the_transaction_log_adds_up_to_the_wallet() -> None:
    scene = Scene(AccountTerms())
    scene.order("Buy", "3")
    scene.price("110")
    scene.order("Sell", "2", reduceOnly=True)
    scene.exchange.fund("BTCUSDT", Decimal("0.0001"), scene.now)
    log = scene.state.transactions
    assert [row.type for row in log] == ["TRANSFER_IN", "TRADE", "TRADE", "SETTLEMENT"]
    assert sum(row.change for row in log) == scene.wallet.wallet_balance == log[-1].cash_balance
    assert all(row.change == row.cash_flow + (row.funding or 0) - row.fee for row in log)


def test_rows_are_frozen_and_stay_what_they_were() -> None:
    scene = Scene()
    order = scene.order("Buy", "1", "95")
    before = replace(order)
    scene.price("90")
    assert order == before
    rows = [change.row for change in scene.exchange.take_changes()]
    statuses = [row.order_status for row in rows if isinstance(row, OrderRow)]
    assert statuses == ["New", "Filled"]
    assert sum(isinstance(row, ExecutionRow) for row in rows) == 1


def test_accounts_are_forgotten() -> None:
    scene = Scene()
    scene.order("Buy", "1", "95")
    scene.exchange.close_account(UID)
    scene.price("90")
    with pytest.raises(KeyError):
        scene.exchange.account(UID)


def test_an_account_is_opened_once_and_with_known_symbols() -> None:
    scene = Scene()
    with pytest.raises(ValueError, match="exists"):
        scene.exchange.open_account(UID, AccountTerms())
    with pytest.raises(ValueError, match="XUSDT"):
        scene.exchange.open_account("2", AccountTerms(hedge_symbols=("XUSDT",)))


def test_deposits_and_withdrawals_change_the_wallet_and_not_the_result() -> None:
    scene = Scene()
    scene.exchange.deposit(UID, Decimal(500), scene.now)
    scene.exchange.deposit(UID, Decimal(-10_200), scene.now)
    assert (scene.wallet.wallet_balance, scene.wallet.cum_realised_pnl) == (Decimal(300), Decimal(0))
    assert [row.type for row in scene.state.transactions] == ["TRANSFER_IN", "TRANSFER_IN", "TRANSFER_OUT"]
    with pytest.raises(ValueError, match="300"):
        scene.exchange.deposit(UID, Decimal(-301), scene.now)


def test_terms_can_be_replaced_while_the_account_trades() -> None:
    scene = Scene()
    scene.order("Buy", "1")
    terms = AccountTerms(taker_fee=Decimal("0.01"), lpa_perp=True, hedge_symbols=("BTCUSDT",), balance=Decimal(1))
    scene.exchange.set_terms(UID, terms, scene.now)
    assert scene.wallet.wallet_balance == 10_000
    assert scene.state.lpa_perp
    assert scene.state.modes == {"BTCUSDT": 3, "ETHUSDT": 0}
    assert code_of(scene.order, "Buy", "1") == 10001
