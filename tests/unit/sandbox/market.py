"""A small market, and orders on it."""

from sandbox.bybit.client import SandboxAccount, SandboxClient
from sandbox.bybit.messages import Json
from sandbox.bybit.replay import Candle

HOUR = 3_600_000
FIRST = 470_000 * HOUR


def hourly_bars(count: int = 20) -> list[Candle]:
    """Every bar opens at 100, touches 98 and 104, and closes at 101."""
    return [Candle(FIRST + number * HOUR, "100", "104", "98", "101", "35") for number in range(count)]


async def buy(sandbox: SandboxClient, account: SandboxAccount, link_id: str = "", **more: object) -> Json:
    """Send a market order to buy 1; `more` replaces and adds fields."""
    order = {"symbol": "BTCUSDT", "side": "Buy", "orderType": "Market", "qty": "1", "orderLinkId": link_id, **more}
    return await sandbox.post(account, "/v5/order/create", category="linear", **order)


async def rest_order(sandbox: SandboxClient, account: SandboxAccount, link_id: str) -> Json:
    """Send a limit order to buy 1 at 99, which rests."""
    return await buy(sandbox, account, link_id, orderType="Limit", price="99")


def rows(answer: Json) -> list[Json]:
    result = answer["result"]
    assert isinstance(result, dict)
    listed = result["list"]
    assert isinstance(listed, list)
    return listed


def cursor_of(answer: Json) -> str:
    result = answer["result"]
    assert isinstance(result, dict)
    return str(result["nextPageCursor"])


async def orders(
    sandbox: SandboxClient, account: SandboxAccount, where: str = "realtime", **query: str
) -> list[Json]:
    """Return what `/v5/order/{where}` lists."""
    return rows(await sandbox.get(account, f"/v5/order/{where}", category="linear", symbol="BTCUSDT", **query))
