"""Lists have pages, and windows of seven days."""

import pytest

from sandbox.bybit.client import SandboxAccount, SandboxClient
from sandbox.bybit.messages import Json
from tests.unit.sandbox.market import FIRST, HOUR, buy, cursor_of, orders, rest_order, rows

DAY = 24 * HOUR


async def pages(sandbox: SandboxClient, account: SandboxAccount, path: str, **query: object) -> list[list[Json]]:
    """Follow the cursors, with two rows a page."""
    found, cursor = [], ""
    while True:
        answer = await sandbox.get(account, path, category="linear", limit=2, cursor=cursor, **query)
        found.append(rows(answer))
        cursor = cursor_of(answer)
        if not cursor:
            return found
        assert "%" in cursor  # encoded, as Bybit's


async def test_open_orders_have_pages_newest_first(sandbox: SandboxClient, account: SandboxAccount) -> None:
    for number in range(5):
        await rest_order(sandbox, account, f"order-{number}")
    found = await pages(sandbox, account, "/v5/order/realtime", symbol="BTCUSDT")
    assert [[row["orderLinkId"] for row in page] for page in found] == [
        ["order-4", "order-3"],
        ["order-2", "order-1"],
        ["order-0"],
    ]


async def test_a_page_is_not_shifted_by_newer_rows(sandbox: SandboxClient, account: SandboxAccount) -> None:
    for number in range(3):
        await buy(sandbox, account, f"order-{number}")
    first = await sandbox.get(account, "/v5/execution/list", category="linear", limit=2)
    await buy(sandbox, account, "newer")
    query = {"category": "linear", "limit": 2, "cursor": cursor_of(first)}
    second = await sandbox.get(account, "/v5/execution/list", **query)
    assert [row["orderLinkId"] for row in rows(second)] == ["order-0"]


@pytest.mark.parametrize("path", ["/v5/order/history", "/v5/execution/list", "/v5/position/closed-pnl"])
async def test_a_window_is_seven_days_at_most(sandbox: SandboxClient, account: SandboxAccount, path: str) -> None:
    await buy(sandbox, account)
    await buy(sandbox, account, side="Sell", reduceOnly=True)
    count = 1 if path.endswith("closed-pnl") else 2
    for query, expected in (
        ({}, count),
        ({"startTime": FIRST}, count),
        ({"startTime": FIRST + 1}, 0),
        ({"endTime": FIRST + 7 * DAY}, count),
        ({"endTime": FIRST + 7 * DAY + 1}, 0),
        ({"startTime": FIRST, "endTime": FIRST}, count),
    ):
        assert len(rows(await sandbox.get(account, path, category="linear", **query))) == expected, query
    too_long = await sandbox.get(account, path, category="linear", startTime=FIRST, endTime=FIRST + 7 * DAY + 1)
    assert too_long["retCode"] == 10001


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 101}, {"cursor": "x"}, {"startTime": "x"}])
async def test_an_invalid_page_is_refused(
    sandbox: SandboxClient, account: SandboxAccount, query: dict[str, object]
) -> None:
    assert (await sandbox.get(account, "/v5/execution/list", category="linear", **query))["retCode"] == 10001


async def test_a_symbol_or_a_coin_is_needed(sandbox: SandboxClient, account: SandboxAccount) -> None:
    for path in ("/v5/order/realtime", "/v5/position/list"):
        assert (await sandbox.get(account, path, category="linear"))["retCode"] == 10001
        assert (await sandbox.get(account, path, category="linear", settleCoin="USDT"))["retCode"] == 0


async def test_a_position_is_listed_by_symbol_also_if_it_is_flat(
    sandbox: SandboxClient, account: SandboxAccount
) -> None:
    path = "/v5/position/list"
    (flat,) = rows(await sandbox.get(account, path, category="linear", symbol="BTCUSDT"))
    assert (flat["side"], flat["size"], flat["positionIdx"]) == ("", "0", 0)
    assert rows(await sandbox.get(account, path, category="linear", settleCoin="USDT")) == []
    await buy(sandbox, account)
    assert len(rows(await sandbox.get(account, path, category="linear", settleCoin="USDT"))) == 1


@pytest.mark.parametrize("query", [{"category": "inverse"}, {"category": "linear", "settleCoin": "USDC"}])
async def test_of_other_categories_and_coins_there_is_nothing(
    sandbox: SandboxClient, account: SandboxAccount, query: dict[str, object]
) -> None:
    await buy(sandbox, account)
    for path in ("/v5/order/history", "/v5/execution/list", "/v5/position/list", "/v5/position/closed-pnl"):
        assert rows(await sandbox.get(account, path, **query)) == []
        assert (await sandbox.get(account, path, category="other"))["retCode"] == 10001


async def test_conditional_orders_have_a_filter(sandbox: SandboxClient, account: SandboxAccount) -> None:
    await rest_order(sandbox, account, "plain")
    await buy(sandbox, account, "conditional", triggerPrice="103", triggerDirection=1)
    assert [row["orderLinkId"] for row in await orders(sandbox, account, orderFilter="Order")] == ["plain"]
    assert [row["orderLinkId"] for row in await orders(sandbox, account, orderFilter="StopOrder")] == [
        "conditional"
    ]


async def test_a_batch_may_succeed_in_part(sandbox: SandboxClient, account: SandboxAccount) -> None:
    order = {"symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "price": "99", "qty": "1"}
    requests = [{**order, "orderLinkId": "a"}, {**order, "orderLinkId": "a"}, {**order, "qty": "0"}]
    answer = await sandbox.post(account, "/v5/order/create-batch", category="linear", request=requests)
    extra = answer["retExtInfo"]
    assert isinstance(extra, dict)
    codes = [each["code"] for each in extra["list"]]
    assert (answer["retCode"], codes[0], codes[1]) == (0, 0, 110072)
    assert codes[2] != 0
    assert [bool(row["orderId"]) for row in rows(answer)] == [True, False, False]
    assert len(await orders(sandbox, account)) == 1
