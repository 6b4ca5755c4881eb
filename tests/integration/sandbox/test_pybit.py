"""pybit, unmodified but for its addresses, trades on the sandbox over REST and the private stream."""

import asyncio
import queue
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from pybit.exceptions import FailedRequestError, InvalidRequestError
from pybit.unified_trading import HTTP, WebSocket

from sandbox.bybit.client import SandboxAccount, SandboxClient, serve
from sandbox.bybit.replay import Candle, Market
from sandbox.bybit.server import Options
from tests.pace import patient

HOUR = 3_600_000
BARS = [Candle((470_000 + number) * HOUR, "100", "104", "98", "101", "35") for number in range(10)]
BTC = {"category": "linear", "symbol": "BTCUSDT"}


@pytest.fixture
async def sandbox() -> AsyncIterator[SandboxClient]:
    async with serve(Market({"BTCUSDT": BARS}, two_phase=True), options=Options()) as client:
        await client.step(2)
        yield client


def session(sandbox: SandboxClient, account: SandboxAccount) -> HTTP:
    http = HTTP(
        api_key=account.api_key, api_secret=account.api_secret, max_retries=1, retry_codes={-1}, timeout=patient(3)
    )
    http.endpoint = sandbox.url
    return http


def private_socket(sandbox: SandboxClient, account: SandboxAccount) -> WebSocket:
    class Local(WebSocket):  # type: ignore[misc]
        def _connect(self, url: str) -> None:
            super()._connect(f"{sandbox.stream_url}/v5/{url.split('/v5/', 1)[1]}")

    return Local(
        testnet=False,
        channel_type="private",
        api_key=account.api_key,
        api_secret=account.api_secret,
        retries=0,
        private_auth_expire=10,
    )


async def call(method: Callable[..., Any], **arguments: object) -> Any:  # Any: as pybit answers
    return await asyncio.to_thread(method, **arguments)


async def test_pybit_lives_through_a_position(sandbox: SandboxClient) -> None:
    account = await sandbox.open_account()
    http = session(sandbox, account)
    pushed: queue.Queue[Any] = queue.Queue()
    socket = await asyncio.to_thread(private_socket, sandbox, account)
    try:
        for subscribe in (
            socket.order_stream,
            socket.execution_stream,
            socket.position_stream,
            socket.wallet_stream,
        ):
            await asyncio.to_thread(subscribe, pushed.put)
        await _subscribed(sandbox, account, 4)
        await call(http.set_leverage, **BTC, buyLeverage="5", sellLeverage="5")
        order = {"side": "Buy", "orderType": "Market", "qty": "1", "stopLoss": "90", "orderLinkId": "entry-1"}
        await call(http.place_order, **BTC, **order)
        await call(http.set_trading_stop, **BTC, stopLoss="97", positionIdx=0, tpslMode="Full")
        target = {"side": "Sell", "orderType": "Limit", "qty": "0.5", "price": "103", "reduceOnly": True}
        await call(http.place_order, **BTC, **target, orderLinkId="target-1")
        await sandbox.step(2)
        (position,) = (await call(http.get_positions, category="linear", settleCoin="USDT"))["result"]["list"]
        assert (position["size"], position["stopLoss"], position["leverage"]) == ("0.5", "97", "5")
        executions = (await call(http.get_executions, category="linear", settleCoin="USDT"))["result"]["list"]
        assert [row["orderLinkId"] for row in executions] == ["target-1", "entry-1"]
        await call(http.cancel_all_orders, category="linear", settleCoin="USDT")
    finally:
        await asyncio.to_thread(socket.exit)
    topics = {pushed.get(timeout=5)["topic"] for _ in range(pushed.qsize())}
    assert topics == {"order", "execution", "position", "wallet"}


async def test_pybit_raises_what_the_exchange_refuses(sandbox: SandboxClient) -> None:
    http = session(sandbox, await sandbox.open_account())
    with pytest.raises(InvalidRequestError) as refused:
        await call(http.cancel_order, **BTC, orderLinkId="unknown")
    assert refused.value.status_code == 110001
    await sandbox.fault("ret_code", code=10006, reset_in_ms=-1_000)
    with pytest.raises(InvalidRequestError) as limited:
        await call(http.get_account_info)
    assert limited.value.status_code == 10006
    assert "X-Bapi-Limit-Reset-Timestamp" in limited.value.resp_headers
    await sandbox.fault("answer", status=502)
    with pytest.raises(FailedRequestError):
        await call(http.get_account_info)


async def test_pybit_returns_to_a_private_stream_that_was_dropped(sandbox: SandboxClient) -> None:
    account = await sandbox.open_account()
    pushed: queue.Queue[Any] = queue.Queue()
    socket = await asyncio.to_thread(private_socket, sandbox, account)
    try:
        await asyncio.to_thread(socket.order_stream, pushed.put)
        await _subscribed(sandbox, account, 1)
        await sandbox.stream_fault("cut", stream="private")
        await _subscribed(sandbox, account, 0)
        await _subscribed(sandbox, account, 1)
        http = session(sandbox, account)
        await call(http.place_order, **BTC, side="Buy", orderType="Limit", qty="1", price="50", orderLinkId="after")
        message = await asyncio.to_thread(pushed.get, timeout=patient(5))
        assert message["data"][0]["orderLinkId"] == "after"
    finally:
        await asyncio.to_thread(socket.exit)


async def _subscribed(sandbox: SandboxClient, account: SandboxAccount, count: int) -> None:
    """Wait until the account has subscribed to so many topics."""
    async with asyncio.timeout(patient(10)):
        while len(await sandbox.private_topics(account)) != count:
            await asyncio.sleep(0.02)
