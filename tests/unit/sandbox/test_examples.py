"""Each official example is emitted with the same names and types, or listed as not built with the reason."""

import json
import re
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sandbox.bybit.client import SandboxAccount, SandboxClient, serve
from sandbox.bybit.replay import Market
from sandbox.bybit.signing import sign
from tests.unit.sandbox.examples import NOT_BUILT, differences, reason_not_built
from tests.unit.sandbox.market import buy, hourly_bars, rest_order

OFFICIAL = Path(__file__).parents[4] / "shared" / "data" / "bybit"
pytestmark = pytest.mark.beside_checkout

Emitted = dict[str, Any]  # Any: JSON
Socket = aiohttp.ClientWebSocketResponse

LINEAR: dict[str, object] = {"category": "linear"}
BTC: dict[str, object] = {**LINEAR, "symbol": "BTCUSDT"}
QUESTIONS: dict[str, tuple[str, dict[str, object]]] = {
    "account__account-info__0": ("/v5/account/info", {}),
    "account__fee-rate__0": ("/v5/account/fee-rate", BTC),
    "account__transaction-log__0": ("/v5/account/transaction-log", {"limit": 1}),
    "account__wallet-balance__0": ("/v5/account/wallet-balance", {"accountType": "UNIFIED"}),
    "market__instrument__0": ("/v5/market/instruments-info", LINEAR),
    "market__kline__0": ("/v5/market/kline", {**BTC, "interval": "60"}),
    "market__order-price-limit__0": ("/v5/market/price-limit", BTC),
    "market__orderbook__0": ("/v5/market/orderbook", BTC),
    "market__recent-trade__0": ("/v5/market/recent-trade", BTC),
    "market__tickers__0": ("/v5/market/tickers", LINEAR),
    "market__time__0": ("/v5/market/time", {}),
    "order__execution__0": ("/v5/execution/list", LINEAR),
    "order__open-order__0": ("/v5/order/realtime", BTC),
    "order__order-list__0": ("/v5/order/history", LINEAR),
    "position__batch-lvg__0": ("/v5/position/symbol-info", LINEAR),
    "position__close-pnl__0": ("/v5/position/closed-pnl", LINEAR),
    "position__position__0": ("/v5/position/list", BTC),
    "user__apikey-info__0": ("/v5/user/query-api", {}),
}
TOPICS = {
    "websocket__private__execution__1": "execution",
    "websocket__private__fast-execution__1": "execution.fast",
    "websocket__private__order__1": "order",
    "websocket__private__position__1": "position",
    "websocket__private__wallet__1": "wallet",
    "websocket__public__kline__0": "kline.60.BTCUSDT",
    "websocket__public__ticker__0": "tickers.BTCUSDT",
    "websocket__public__trade__0": "publicTrade.BTCUSDT",
}
# Examples of what a client sends: the sandbox accepts them.
REQUESTS = {
    "websocket__wss-authentication__7": "public",
    "websocket__wss-authentication__8": "public",
    "websocket__wss-authentication__2": "public",
    "websocket__private__execution__0": "private",
    "websocket__private__fast-execution__0": "private",
    "websocket__private__order__0": "private",
    "websocket__private__position__0": "private",
    "websocket__private__wallet__0": "private",
}


def example(name: str) -> Any:
    return json.loads((OFFICIAL / f"{name}.json").read_text())


@pytest.fixture
async def emitted() -> AsyncIterator[Emitted]:
    """Return what the sandbox emits in a life of a few orders, by the name of the example."""
    topics = ["order", "execution", "execution.fast", "position", "wallet"]
    async with (
        serve(Market({"BTCUSDT": hourly_bars(), "ETHUSDT": hourly_bars()})) as sandbox,
        aiohttp.ClientSession() as http,
    ):
        await sandbox.step(2)
        await sandbox.control("POST", "limits", {"factor": 100})
        account = await sandbox.open_account()
        async with (
            http.ws_connect(f"{sandbox.stream_url}/v5/public/linear") as public,
            http.ws_connect(f"{sandbox.stream_url}/v5/private") as own,
        ):
            found = await _converse(account, public, own)
            await own.send_json({"op": "subscribe", "args": topics})
            await own.receive_json()
            found |= await _trade(sandbox, account)
            await sandbox.step()
            found |= {**await _receive(public), **await _receive(own)}
        for name, (path, query) in QUESTIONS.items():
            found[name] = await sandbox.get(account, path, **query)
        yield found


async def _trade(sandbox: SandboxClient, account: SandboxAccount) -> Emitted:
    def post(route: str, **body: object) -> Awaitable[Any]:
        return sandbox.post(account, f"/v5/{route}", **{**BTC, **body})

    found: Emitted = {"order__create-order__0": await buy(sandbox, account, "entry", stopLoss="90", qty="2")}
    await buy(sandbox, account, "exit", side="Sell", reduceOnly=True)
    found["position__trading-stop__0"] = await post("position/trading-stop", stopLoss="91", positionIdx=0)
    found["position__leverage__0"] = await post("position/set-leverage", buyLeverage="5", sellLeverage="5")
    for number in range(3):
        await rest_order(sandbox, account, f"order-{number}")
    found["order__amend-order__0"] = await post("order/amend", orderLinkId="order-0", qty="1.5")
    found["order__cancel-order__0"] = await post("order/cancel", orderLinkId="order-0")
    requests = [{"symbol": "BTCUSDT", "orderLinkId": f"order-{number}"} for number in (1, 2)]
    found["order__batch-amend__0"] = await post("order/amend-batch", request=[{**requests[0], "qty": "1.2"}])
    found["order__batch-cancel__0"] = await post("order/cancel-batch", request=requests)
    order = {"symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "price": "99", "qty": "1"}
    found["order__batch-place__0"] = await post("order/create-batch", request=[order])
    found["order__cancel-all__0"] = await post("order/cancel-all")
    await buy(sandbox, account, "open", orderType="Limit", price="50")
    other = await sandbox.open_account(hedge_symbols=["BTCUSDT"])
    found["position__position-mode__0"] = await sandbox.post(other, "/v5/position/switch-mode", **BTC, mode=0)
    return found


async def _converse(account: SandboxAccount, public: Socket, own: Socket) -> Emitted:
    """Log in, ping, subscribe and unsubscribe with the requests of the examples."""

    async def ask(socket: Socket, request: Any) -> Any:
        await socket.send_json(request)
        while "topic" in (answer := await socket.receive_json()):
            pass  # the snapshot that a subscription begins with
        assert answer.get("success", True) is True, answer
        return answer

    expires = int(time.time() * 1000) + 10_000
    login = [account.api_key, expires, sign(account.api_secret, f"GET/realtime{expires}")]
    found: Emitted = {"websocket__wss-authentication__0": {"req_id": "10001", "op": "auth", "args": login}}
    found["websocket__wss-authentication__1"] = await ask(own, {"op": "auth", "args": login})
    for name, stream in REQUESTS.items():
        found[name] = example(name)
        await ask(public if stream == "public" else own, found[name])
    found["websocket__wss-authentication__4"] = await ask(public, {"op": "ping"})
    found["websocket__wss-authentication__6"] = await ask(own, {"op": "ping", "req_id": "test"})
    found["websocket__wss-authentication__10"] = await ask(own, {"op": "subscribe", "args": ["order"]})
    leave = {"req_id": "customised_id", "op": "unsubscribe", "args": ["publicTrade.BTCUSDT"]}
    found["websocket__wss-authentication__9"] = leave
    await ask(public, leave)
    public_topics = [topic for name, topic in TOPICS.items() if name.startswith("websocket__public")]
    found["websocket__wss-authentication__12"] = await ask(public, {"op": "subscribe", "args": public_topics})
    return found


async def _receive(socket: Socket) -> Emitted:
    """Return the first message of each topic."""
    names = {topic: name for name, topic in TOPICS.items()}
    found: Emitted = {}
    with suppress(TimeoutError):
        while True:
            message = await socket.receive_json(timeout=0.5)
            if message.get("topic") in names:
                found.setdefault(names[message["topic"]], message)
    return found


async def test_each_example_is_emitted_or_listed(emitted: Emitted, capsys: pytest.CaptureFixture[str]) -> None:
    names = sorted(file.stem for file in OFFICIAL.glob("*.json"))
    emits = [name for name in names if name in emitted]
    unmatched = [name for name in names if name not in emits and reason_not_built(name) is None]
    found = {name: list(differences(example(name), emitted[name])) for name in emits}
    wrong = {name: different for name, different in found.items() if different}
    both = [name for name in emits if reason_not_built(name)]
    with capsys.disabled():
        count = len(unmatched) + len(wrong)
        print(f"\nofficial examples: {len(emits)} of {len(names)} emitted, {count} unmatched")  # noqa: T201
    assert (unmatched, wrong, both) == ([], {}, [])


def test_a_difference_is_found() -> None:
    one = {"a": "x", "list": [{"b": 1}], "cumFeeDetail": {"MNT": "1"}}
    assert list(differences(one, {"a": "y", "list": [{"b": 2}], "cumFeeDetail": {"USDT": "3"}})) == []
    assert list(differences(one, {"a": 1, "list": [{"b": 1}], "cumFeeDetail": {}})) == [".a: int instead of str"]
    assert list(differences({"a": "x"}, {"b": "x"})) == [".a is missing", ".b is not in the example"]
    assert list(differences({"list": [1]}, {"list": []})) == [".list is empty"]


def test_every_reason_is_of_an_example() -> None:
    names = [file.stem for file in OFFICIAL.glob("*.json")]
    assert [pattern for pattern in NOT_BUILT if not any(re.fullmatch(pattern, name) for name in names)] == []
