"""Live sessions start on a usable account over an empty symbol, one per symbol, and stop when they are flat."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from typing import cast

import pytest

from services.trading.errors import (
    ExchangeAccountNotUsable,
    ForeignPosition,
    LiveTradingOff,
    SessionEnded,
    SymbolInUse,
)
from services.trading.operations.answer_freeze import answer_freeze
from services.trading.operations.pause_session import pause_session
from services.trading.operations.start_live_session import check_contract
from services.trading.operations.stop_session import stop_session
from services.trading.orders.intents import IntentState
from services.trading.worker.postgres_store import OrderWriter
from shared.chassis.errors import InvalidInput
from shared.contracts.trading import SessionStarted, SessionStopped
from tests.as_tenant import as_tenant
from tests.integration.trading.conftest import Trading
from tests.integration.trading.live import (
    CONTRACT,
    NOTHING_THERE,
    add_account,
    foreign_order,
    open_live,
    start_live,
    store_bars,
    with_position,
)
from tests.integration.trading.market import BEFORE
from tests.unit.trading.scenes import CROSS

UNPROTECTED = {**CROSS, "risk_management": {"position_size": {"type": "percent_of_equity", "value": "50"}}}


@pytest.fixture
async def writer(trading: Trading) -> AsyncIterator[OrderWriter]:
    writer = OrderWriter(trading.database)
    yield writer
    await writer.close()


def words(error: InvalidInput) -> str:
    (fault,) = cast("list[dict[str, str]]", error.extra["errors"])
    return f"{fault['path']}: {fault['reason']}"


async def test_a_live_session_starts_as_such(trading: Trading) -> None:
    caller = await trading.subscribe(1)
    account = await add_account(trading, 1, "u1")
    session = await start_live(trading, caller, account)
    assert (session.is_paper_trading, session.exchange_account_id, session.slippage) == (False, account, Decimal(0))
    (event,) = await trading.fetch("SELECT payload FROM outbox WHERE topic = 'session.started'")
    assert SessionStarted.model_validate_json(event["payload"]).mode == "LIVE"


async def test_an_unusable_account_is_refused_in_words(trading: Trading) -> None:
    caller = await trading.subscribe(1)
    refused = await add_account(trading, 1, "u1", status="REFUSED")
    with pytest.raises(ExchangeAccountNotUsable) as not_usable:
        await start_live(trading, caller, refused)
    assert not_usable.value.extra["refusals"] == [{"field": "margin_mode", "reason": "too clever"}]
    with pytest.raises(LiveTradingOff):
        await start_live(trading, caller, await add_account(trading, 1, "u2", "LIVE"))
    with pytest.raises(InvalidInput) as missing:
        await start_live(trading, caller, await add_account(trading, 2, "u3"))
    assert words(missing.value) == "$.exchange_account_id: there is no such exchange account"


async def test_a_strategy_without_a_stop_is_refused(trading: Trading) -> None:
    caller = await trading.subscribe(1)
    strategy = await trading.strategy(1, UNPROTECTED)
    with pytest.raises(InvalidInput) as error:
        await start_live(trading, caller, await add_account(trading, 1, "u1"), strategy_id=strategy)
    assert words(error.value).startswith("$.strategy_id: a LIVE session needs a stop_loss")


async def test_leverage_beyond_the_instrument_is_refused(trading: Trading) -> None:
    caller = await trading.subscribe(1)
    risk = {**CROSS["risk_management"], "leverage": "20"}  # type: ignore[dict-item]
    strategy = await trading.strategy(1, CROSS, risk_management=risk)
    account, state = (
        await add_account(trading, 1, "u1"),
        replace(NOTHING_THERE, contract=replace(CONTRACT, max_leverage=Decimal("12.5"))),
    )
    with pytest.raises(InvalidInput) as error:
        await start_live(trading, caller, account, state=state, strategy_id=strategy)
    assert words(error.value) == "$.strategy_id: its leverage is 20; the exchange allows 12.5"


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"symbol_type": "stock"}, "it is a contract of a stock; a LIVE session trades only crypto coins"),
        ({"status": "PreLaunch"}, "its status at the exchange is PreLaunch; to be traded it must be Trading"),
        (
            {"settle_coin": "USDC"},
            "it is a LinearPerpetual settled in USDC; a LIVE session trades only LinearPerpetual settled in USDT",
        ),
    ],
)
def test_a_contract_that_is_not_traded_is_refused_by_name(facts: dict[str, str], reason: str) -> None:
    check_contract(replace(CONTRACT, symbol_type="innovation"))
    with pytest.raises(InvalidInput) as error:
        check_contract(replace(CONTRACT, **facts))  # type: ignore[arg-type]
    assert words(error.value) == f"$.symbol: {reason}"


async def test_a_symbol_with_a_position_or_orders_is_refused_and_they_are_listed(trading: Trading) -> None:
    caller = await trading.subscribe(1)
    account = await add_account(trading, 1, "u1")
    with pytest.raises(ForeignPosition) as error:
        await start_live(trading, caller, account, state=with_position("0.5", [foreign_order()]))
    assert error.value.extra["found"] == ["position LONG 0.5", "order f-1 (BUY 1)"]
    assert not await trading.fetch("SELECT FROM live_symbol_locator")
    await start_live(trading, caller, account)


async def test_of_many_starts_on_one_symbol_one_wins(trading: Trading) -> None:
    caller = await trading.subscribe(1)
    account = await add_account(trading, 1, "u1")
    strategies = [await trading.strategy(1, strategy_name=f"s{number}") for number in range(8)]
    starts = [start_live(trading, caller, account, strategy_id=strategy) for strategy in strategies]
    outcomes = await asyncio.gather(*starts, return_exceptions=True)
    assert sum(isinstance(each, SymbolInUse) for each in outcomes) == 7
    assert len(await trading.fetch("SELECT FROM session_leases")) == 1


async def test_the_same_account_of_another_tenant_is_the_same_account(trading: Trading) -> None:
    await start_live(trading, await trading.subscribe(1), await add_account(trading, 1, "u1"))
    with pytest.raises(SymbolInUse):
        await start_live(trading, await trading.subscribe(2), await add_account(trading, 2, "u1"))
    await start_live(trading, await trading.subscribe(2), await add_account(trading, 2, "u2"))


async def test_a_stop_is_done_when_the_session_is_flat(trading: Trading, writer: OrderWriter) -> None:
    await store_bars(trading)
    caller = await trading.subscribe(1)
    account = await add_account(trading, 1, "u1")
    live = await open_live(trading, await start_live(trading, caller, account), writer)
    await live.step()
    session_id = live.session.session_id
    stopping = await as_tenant(trading.database, stop_session, 1, session_id, "manual", BEFORE)
    assert (stopping.status, stopping.ended_at) == ("STOPPING", None)
    assert await as_tenant(trading.database, stop_session, 1, session_id, "manual", BEFORE) == stopping
    with pytest.raises(SessionEnded):
        await as_tenant(trading.database, pause_session, 1, session_id)
    control = await live.store.control()
    assert control is not None
    assert (control.ends, control.flatten, control.refusal) == (True, "manual", "stopping")
    assert await live.store.pass_gate([live.entry().link_id], live.now) == frozenset()
    with pytest.raises(SymbolInUse):
        await start_live(trading, caller, account)
    live.book.put(live.entry().to(IntentState.DROPPED))
    live.book.end()
    assert await live.commit() is not None
    row = await live.row()
    assert (row.status, row.stop_reason, row.final_balance) == ("STOPPED", "manual", Decimal(10_000))
    assert await live.store.control() is None
    (event,) = await trading.fetch("SELECT payload FROM outbox WHERE topic = 'session.stopped'")
    assert SessionStopped.model_validate_json(event["payload"]).mode == "LIVE"
    await start_live(trading, caller, account)


async def test_only_a_frozen_session_is_answered(trading: Trading, writer: OrderWriter) -> None:
    await store_bars(trading)
    session = await start_live(trading, await trading.subscribe(1), await add_account(trading, 1, "u1"))
    live = await open_live(trading, session, writer)
    await as_tenant(trading.database, answer_freeze, 1, session.session_id, "ignore")
    await live.step(until_entry=False)
    live.execute("f1", Decimal(2), Decimal(100))
    await live.commit()
    await as_tenant(trading.database, answer_freeze, 1, session.session_id, "adopt")
    control = await live.store.control()
    assert control is not None
    assert (control.frozen, control.answer) == (True, "adopt")
