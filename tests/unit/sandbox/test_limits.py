"""Requests beyond the limits of an account are refused, those of an address forbidden."""

import aiohttp

from sandbox.bybit.client import SandboxAccount, SandboxClient
from sandbox.bybit.limits import BAN_MS, RateLimits
from tests.unit.sandbox.market import buy

CREATE = "/v5/order/create"


def test_the_window_of_a_second_rolls() -> None:
    limits = RateLimits()
    assert [limits.visit("1", CREATE, now_ms).remaining for now_ms in range(0, 1_000, 100)] == list(
        range(9, -1, -1)
    )
    refused = limits.visit("1", CREATE, 999)
    assert (refused.exceeded, refused.reset_ms) == (True, 1_000)
    assert not limits.visit("1", CREATE, 1_000).exceeded


def test_accounts_and_routes_are_counted_apart() -> None:
    limits = RateLimits()
    for _ in range(10):
        limits.visit("1", CREATE, 0)
    assert limits.visit("1", CREATE, 0).exceeded
    assert not limits.visit("2", CREATE, 0).exceeded
    assert not limits.visit("1", "/v5/order/cancel", 0).exceeded


def test_a_batch_counts_each_of_its_orders() -> None:
    limits = RateLimits()
    assert limits.visit("1", "/v5/order/create-batch", 0, cost=7).remaining == 3
    assert limits.visit("1", "/v5/order/create-batch", 0, cost=4).exceeded
    assert limits.visit("1", "/v5/order/create-batch", 0, cost=3).remaining == 0


def test_an_address_is_banned_for_ten_minutes() -> None:
    limits = RateLimits()
    assert not any(limits.is_banned("here", 0) for _ in range(600))
    assert limits.is_banned("here", 4_999)
    assert not limits.is_banned("there", 4_999)
    assert limits.is_banned("here", 4_998 + BAN_MS)
    assert not limits.is_banned("here", 4_999 + BAN_MS)


def test_a_factor_raises_all_limits() -> None:
    limits = RateLimits(factor=100)
    assert limits.visit("1", CREATE, 0).limit == 1_000
    assert not any(limits.is_banned("here", 0) for _ in range(60_000))


async def test_answers_carry_the_limits(sandbox: SandboxClient, account: SandboxAccount) -> None:
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{sandbox.url}/v5/account/info", headers=sandbox.signature(account, "")) as answer:
            headers = answer.headers
    assert (headers["X-Bapi-Limit"], headers["X-Bapi-Limit-Status"]) == ("50", "49")
    assert abs(int(headers["X-Bapi-Limit-Reset-Timestamp"]) - int(headers["Timenow"])) < 1_000


async def test_the_eleventh_order_within_a_second_is_refused(
    sandbox: SandboxClient, account: SandboxAccount
) -> None:
    codes = [(await buy(sandbox, account, f"order-{number}"))["retCode"] for number in range(11)]
    assert codes == [0] * 10 + [10006]


async def test_a_banned_address_is_forbidden_everything(sandbox: SandboxClient) -> None:
    await sandbox.control("POST", "ban", {"for_ms": 60_000})
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{sandbox.url}/v5/market/time") as answer:
            assert answer.status == 403
        await sandbox.control("POST", "ban", {"for_ms": 0})
        async with http.get(f"{sandbox.url}/v5/market/time") as answer:
            assert answer.status == 200
