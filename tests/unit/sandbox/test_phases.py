"""How orders meet the bars of a replay: in two phases, in one step, and paced."""

from collections.abc import AsyncIterator

import pytest

from sandbox.bybit.client import SandboxAccount, SandboxClient, serve
from sandbox.bybit.messages import Json
from sandbox.bybit.replay import Candle, Market
from sandbox.bybit.server import Options
from tests.unit.sandbox.market import FIRST, HOUR, buy, hourly_bars, orders, rows

BARS = [
    Candle(FIRST, "100", "104", "98", "101", "35"),
    Candle(FIRST + HOUR, "102", "110", "95", "108", "35"),
    Candle(FIRST + 2 * HOUR, "90", "91", "85", "88", "35"),
]


@pytest.fixture
async def two_phase() -> AsyncIterator[SandboxClient]:
    """At the close of the first bar."""
    async with serve(Market({"BTCUSDT": BARS}, two_phase=True)) as client:
        await client.step(3)
        assert (await client.state())["stands_at_close"] is True
        yield client


async def executions(sandbox: SandboxClient, account: SandboxAccount) -> list[tuple[str, object]]:
    listed = rows(await sandbox.get(account, "/v5/execution/list", category="linear"))
    return [(str(row["orderLinkId"] or row["stopOrderType"]), row["execPrice"]) for row in reversed(listed)]


async def set_stop(sandbox: SandboxClient, account: SandboxAccount, price: str) -> Json:
    return await sandbox.post(
        account, "/v5/position/trading-stop", category="linear", symbol="BTCUSDT", stopLoss=price, positionIdx=0
    )


async def test_an_order_at_the_close_fills_at_the_next_open(two_phase: SandboxClient) -> None:
    account = await two_phase.open_account()
    await buy(two_phase, account, "entry")
    assert [order["orderStatus"] for order in await orders(two_phase, account)] == ["New"]
    await two_phase.step()
    assert await executions(two_phase, account) == [("entry", "102")]


async def test_at_the_open_the_exact_stop_is_set_and_the_rest_meets_it(two_phase: SandboxClient) -> None:
    account = await two_phase.open_account()
    await buy(two_phase, account, "entry", stopLoss="80")
    await two_phase.step()
    assert (await set_stop(two_phase, account, "96"))["retCode"] == 0
    target = {"side": "Sell", "orderType": "Limit", "price": "109", "reduceOnly": True}
    await buy(two_phase, account, "target", **target)
    await two_phase.step()  # the adverse extreme comes first
    assert await executions(two_phase, account) == [("entry", "102"), ("StopLoss", "96")]


async def test_an_open_beyond_the_stop_fills_it_at_the_open(two_phase: SandboxClient) -> None:
    account = await two_phase.open_account()
    await buy(two_phase, account, "entry")
    await two_phase.step(2)
    await set_stop(two_phase, account, "94")
    await two_phase.step()
    assert await executions(two_phase, account) == [("entry", "102"), ("StopLoss", "90")]


async def test_one_step_goes_from_close_to_open() -> None:
    async with serve(Market({"BTCUSDT": BARS})) as sandbox:
        account = await sandbox.open_account()
        await buy(sandbox, account, "before")
        await sandbox.step()
        await buy(sandbox, account, "at-the-open")
        await sandbox.step()
        assert await executions(sandbox, account) == [("before", "100"), ("at-the-open", "100")]


async def test_orders_at_the_end_fill_at_the_last_price() -> None:
    async with serve(Market({"BTCUSDT": BARS})) as sandbox:
        account = await sandbox.open_account()
        await sandbox.step(4)
        await buy(sandbox, account, "late")
        assert await executions(sandbox, account) == [("late", "88")]


async def test_in_a_paced_market_an_order_fills_at_the_current_price() -> None:
    async with serve(Market({"BTCUSDT": BARS}), options=Options(bar_ms=60_000)) as sandbox:
        account = await sandbox.open_account()
        await sandbox.step(2)
        await buy(sandbox, account, "now")
        assert await executions(sandbox, account) == [("now", "102")]


async def test_after_a_jump_the_prices_are_those_of_now() -> None:
    async with serve(Market({"BTCUSDT": hourly_bars()})) as sandbox:
        account = await sandbox.open_account()
        await sandbox.control("POST", "jump", {"steps_done": 5})
        await buy(sandbox, account, "now")
        assert await executions(sandbox, account) == [("now", "100")]


async def test_an_order_that_waits_at_the_end_stays_and_a_later_one_fills_at_the_last_price() -> None:
    async with serve(Market({"BTCUSDT": BARS}, two_phase=True)) as sandbox:
        account = await sandbox.open_account()
        await sandbox.step(7)
        await buy(sandbox, account, "waits")
        await sandbox.step()
        assert (await sandbox.state())["done"] is True
        await buy(sandbox, account, "late")
        assert await executions(sandbox, account) == [("late", "88")]


async def test_what_a_bar_reaches_is_executed_within_the_bar(two_phase: SandboxClient) -> None:
    account = await two_phase.open_account()
    await buy(two_phase, account, "entry", stopLoss="96")
    await two_phase.step(2)
    listed = rows(await two_phase.get(account, "/v5/execution/list", category="linear"))
    assert [int(str(row["execTime"])) for row in reversed(listed)] == [FIRST + HOUR, FIRST + 2 * HOUR - 1]
