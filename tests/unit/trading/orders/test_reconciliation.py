"""What the exchange has and the database does not know keeps entries of an account back."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from services.trading.exchange.venue import (
    ExecutionKind,
    OrderOrigin,
    OrderStatus,
    VenueExecution,
    VenueOrder,
    VenuePosition,
    VenueWallet,
)
from services.trading.orders.link_ids import is_ours, link_id
from services.trading.orders.reconciliation import AccountLook, Known, KnownSession, find_unknown
from shared.contracts.types import EPOCH
from tests.unit.trading.orders.schedules import SESSION

ONE, NOW = Decimal(1), EPOCH + timedelta(days=1)
OURS, LOST = link_id(SESSION, EPOCH, "entry", 1), link_id(SESSION, NOW, "entry", 1)
WALLET = VenueWallet(ONE, ONE, ONE)
LONG = VenuePosition("BTCUSDT", "LONG", ONE, ONE, ONE, ONE, NOW)
STATUS, ORIGIN = OrderStatus.NEW, OrderOrigin.REQUEST
ORDER = VenueOrder(
    "o-1", OURS, None, "BTCUSDT", "BUY", STATUS, ORIGIN, ONE, Decimal(0), None, None, False, None, NOW, NOW
)
EXECUTION = VenueExecution(
    "e-1", "o-1", OURS, None, "BTCUSDT", "BUY", ExecutionKind.TRADE, ORIGIN, ONE, ONE, ONE, "USDT", ONE, NOW
)
NOTHING = AccountLook((), (), (), WALLET)
FLAT = Known({"BTCUSDT": KnownSession(EPOCH, Decimal(0))}, frozenset(), frozenset({OURS}), frozenset())
IN_POSITION = replace(FLAT, sessions={"BTCUSDT": KnownSession(EPOCH, ONE)}, executions=frozenset({"e-1"}))
WITHOUT_SESSION = replace(FLAT, sessions={})


@pytest.mark.parametrize("link", ["mine", "tf1", LOST.upper(), f"{LOST}x", f"x{LOST}"])
def test_other_link_ids_are_not_ours(link: str) -> None:
    assert is_ours(LOST)
    assert not is_ours(link)


def test_an_account_whose_rows_are_all_known_is_reconciled() -> None:
    assert find_unknown(NOTHING, FLAT) == []
    look = replace(NOTHING, orders=[ORDER], executions=[EXECUTION], positions=[LONG])
    assert find_unknown(look, IN_POSITION) == []


def test_an_open_order_that_only_the_exchange_has_is_named() -> None:
    look = replace(NOTHING, orders=[replace(ORDER, link_id=LOST)])
    assert find_unknown(look, FLAT) == ["order o-1 (BUY 1 BTCUSDT)"]
    assert find_unknown(look, replace(FLAT, ignored_orders=frozenset({"o-1"}))) == []
    assert find_unknown(replace(NOTHING, orders=[replace(ORDER, link_id="the tenant's")]), FLAT) == []


def test_the_stop_of_a_lost_entry_is_named_unless_a_session_has_the_position() -> None:
    stop = replace(ORDER, link_id=None, parent_link_id=LOST, origin=OrderOrigin.STOP_LOSS)
    assert find_unknown(replace(NOTHING, orders=[stop]), WITHOUT_SESSION) == ["order o-1 (BUY 1 BTCUSDT)"]
    assert find_unknown(replace(NOTHING, orders=[stop], positions=[LONG]), IN_POSITION) == []


def test_an_execution_of_a_session_that_is_not_recorded_is_named() -> None:
    look = replace(NOTHING, executions=[EXECUTION])
    assert find_unknown(look, FLAT) == ["execution e-1 (BUY 1 BTCUSDT)"]
    before = {"BTCUSDT": KnownSession(NOW + timedelta(seconds=1), Decimal(0))}
    assert find_unknown(look, replace(FLAT, sessions=before)) == []


def test_a_position_other_than_the_known_one_is_named() -> None:
    assert find_unknown(replace(NOTHING, positions=[LONG]), FLAT) == ["position 1 BTCUSDT (known: 0)"]
    assert find_unknown(NOTHING, IN_POSITION) == ["position 0 BTCUSDT (known: 1)"]


def test_the_position_of_a_session_that_was_lost_is_named_and_the_tenants_own_is_not() -> None:
    look = replace(NOTHING, positions=[LONG], executions=[replace(EXECUTION, link_id=LOST)])
    assert find_unknown(look, WITHOUT_SESSION) == ["position 1 BTCUSDT of a session that is not known"]
    assert find_unknown(replace(look, positions=[]), WITHOUT_SESSION) == []
    assert find_unknown(replace(look, executions=[]), WITHOUT_SESSION) == []
