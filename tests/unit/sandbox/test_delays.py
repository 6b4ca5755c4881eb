"""An answer, REST and the streams agree only after delays that can be set."""

import asyncio
import time

import pytest

from sandbox.bybit.client import ControlError, SandboxAccount, SandboxClient
from tests.unit.sandbox.market import buy, orders, rest_order, rows


async def size(sandbox: SandboxClient, account: SandboxAccount) -> object:
    found = await sandbox.get(account, "/v5/position/list", category="linear", symbol="BTCUSDT")
    return rows(found)[0]["size"]


async def test_without_delays_a_question_sees_the_command_before(
    sandbox: SandboxClient, account: SandboxAccount
) -> None:
    await buy(sandbox, account)
    assert await size(sandbox, account) == "1"


async def test_rest_shows_a_change_after_its_delay(sandbox: SandboxClient, account: SandboxAccount) -> None:
    await sandbox.delay(account, read_ms=400)
    await buy(sandbox, account, "unseen")
    assert await size(sandbox, account) == "0"
    assert await orders(sandbox, account, "history") == []
    assert rows(await sandbox.get(account, "/v5/execution/list", category="linear")) == []
    await asyncio.sleep(0.5)
    assert await size(sandbox, account) == "1"
    assert len(await orders(sandbox, account, "history")) == 1
    assert len(rows(await sandbox.get(account, "/v5/execution/list", category="linear"))) == 1


async def test_a_lookup_of_an_order_may_lag_behind_its_position(
    sandbox: SandboxClient, account: SandboxAccount
) -> None:
    await sandbox.delay(lookup_ms=400)
    await buy(sandbox, account, "unseen")
    assert await size(sandbox, account) == "1"
    assert await orders(sandbox, account, orderLinkId="unseen") == []
    assert await orders(sandbox, account, "history", orderLinkId="unseen") == []
    await asyncio.sleep(0.5)
    assert len(await orders(sandbox, account, orderLinkId="unseen")) == 1


async def test_an_answer_may_come_after_the_fill(sandbox: SandboxClient, account: SandboxAccount) -> None:
    await sandbox.delay(account, answer_ms=300)
    began = time.monotonic()
    order = asyncio.create_task(buy(sandbox, account))
    async with asyncio.timeout(5):
        while await size(sandbox, account) == "0":
            await asyncio.sleep(0.02)
    assert not order.done()
    await order
    assert time.monotonic() - began >= 0.3


async def test_a_restart_of_the_exchange_clears_closed_orders_from_realtime(
    sandbox: SandboxClient, account: SandboxAccount
) -> None:
    await buy(sandbox, account, "closed")
    await rest_order(sandbox, account, "open")
    assert len(await orders(sandbox, account, openOnly="1")) == 1
    await sandbox.control("POST", f"accounts/{account.uid}/clear-recent")
    assert await orders(sandbox, account, orderLinkId="closed") == []
    assert await orders(sandbox, account, openOnly="1") == []
    assert [order["orderLinkId"] for order in await orders(sandbox, account)] == ["open"]
    assert len(await orders(sandbox, account, "history", orderLinkId="closed")) == 1


@pytest.mark.parametrize("delays", [{"read_ms": -1}, {"read_ms": "5"}, {"other_ms": 5}])
async def test_an_invalid_delay_is_refused(
    sandbox: SandboxClient, account: SandboxAccount, delays: dict[str, object]
) -> None:
    with pytest.raises(ControlError):
        await sandbox.control("POST", f"accounts/{account.uid}/delays", delays)
