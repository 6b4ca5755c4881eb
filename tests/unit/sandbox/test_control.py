"""Accounts and their facts, and what only an exchange can do, over the control API."""

import pytest

from sandbox.bybit.client import ControlError, SandboxAccount, SandboxClient
from sandbox.bybit.messages import Json
from tests.unit.sandbox.market import buy, orders, rest_order, rows


async def result(sandbox: SandboxClient, account: SandboxAccount, path: str, **query: object) -> Json:
    found = (await sandbox.get(account, path, **query))["result"]
    assert isinstance(found, dict)
    return found


async def position(sandbox: SandboxClient, account: SandboxAccount) -> Json:
    return rows(await sandbox.get(account, "/v5/position/list", category="linear", symbol="BTCUSDT"))[0]


async def kinds(sandbox: SandboxClient, account: SandboxAccount) -> list[object]:
    listed = rows(await sandbox.get(account, "/v5/execution/list", category="linear"))
    return [row["execType"] for row in reversed(listed)]


async def test_an_account_has_the_facts_it_was_opened_with(sandbox: SandboxClient) -> None:
    account = await sandbox.open_account(
        uid="77", balance="123.5", taker_fee="0.001", leverage="3", lpa_perp=True, fmsef=True, delta_neutral=True,
        margin_mode="ISOLATED_MARGIN", unified_margin_status=5, key={"api_key": "mykey", "api_secret": "mysecret"},
    )  # fmt: skip
    assert (account.uid, account.api_key, account.api_secret) == ("77", "mykey", "mysecret")
    info = await result(sandbox, account, "/v5/account/info")
    assert (info["marginMode"], info["unifiedMarginStatus"]) == ("ISOLATED_MARGIN", 5)
    settings = await result(sandbox, account, "/v5/account/user-setting-config")
    assert (settings["lpaPerp"], settings["fmsef"], settings["deltaEnable"]) == (True, True, True)
    (fees,) = rows(await sandbox.get(account, "/v5/account/fee-rate", category="linear"))
    assert fees["takerFeeRate"] == "0.001"
    (wallet,) = rows(await sandbox.get(account, "/v5/account/wallet-balance", accountType="UNIFIED"))
    assert wallet["totalEquity"] == "123.5"
    (info,) = rows(await sandbox.get(account, "/v5/position/symbol-info", category="linear", symbol="BTCUSDT"))
    assert (info["leverage"], info["positionIdx"]) == ("3", 0)


async def test_facts_change_while_an_account_trades(sandbox: SandboxClient, account: SandboxAccount) -> None:
    await sandbox.control("PATCH", f"accounts/{account.uid}", {"fmsef": True, "taker_fee": "0.002"})
    assert (await result(sandbox, account, "/v5/account/user-setting-config"))["fmsef"] is True
    assert rows(await sandbox.get(account, "/v5/account/fee-rate"))[0]["takerFeeRate"] == "0.002"


async def test_limit_prices_beyond_the_band_are_refused_once_set_so(
    sandbox: SandboxClient, account: SandboxAccount
) -> None:
    high = {"orderType": "Limit", "price": "150"}
    assert (await buy(sandbox, account, **high))["retCode"] == 0
    await sandbox.post(account, "/v5/account/set-limit-px-action", category="linear", modifyEnable=False)
    assert (await result(sandbox, account, "/v5/account/user-setting-config"))["lpaPerp"] is True
    assert (await buy(sandbox, account, **high))["retCode"] in (110003, 110120)


async def test_a_second_key_opens_the_same_account(sandbox: SandboxClient, account: SandboxAccount) -> None:
    made = await sandbox.control("POST", f"accounts/{account.uid}/keys", {"read_only": True})
    assert isinstance(made, dict)
    second = SandboxAccount(account.uid, made["api_key"], made["api_secret"])
    assert (await result(sandbox, second, "/v5/user/query-api"))["userID"] == int(account.uid)
    assert (await buy(sandbox, second))["retCode"] == 10005


async def test_money_can_be_deposited(sandbox: SandboxClient, account: SandboxAccount) -> None:
    await sandbox.control("POST", f"accounts/{account.uid}/deposit", {"amount": "50.5"})
    (wallet,) = rows(await sandbox.get(account, "/v5/account/wallet-balance", accountType="UNIFIED"))
    assert wallet["totalWalletBalance"] == "10050.5"


async def test_funding_is_booked_on_demand(sandbox: SandboxClient, account: SandboxAccount) -> None:
    await buy(sandbox, account)
    await sandbox.control("POST", "funding", {"symbol": "BTCUSDT", "rate": "0.0001"})
    assert await kinds(sandbox, account) == ["Trade", "Funding"]
    log = rows(await sandbox.get(account, "/v5/account/transaction-log"))
    assert (log[0]["type"], log[0]["funding"]) == ("SETTLEMENT", "-0.01")


async def test_a_position_is_deleveraged_on_demand(sandbox: SandboxClient, account: SandboxAccount) -> None:
    await buy(sandbox, account)
    adl = {"symbol": "BTCUSDT", "quantity": "0.4", "price": "101"}
    await sandbox.control("POST", f"accounts/{account.uid}/deleverage", adl)
    assert await kinds(sandbox, account) == ["Trade", "AdlTrade"]
    assert (await position(sandbox, account))["size"] == "0.6"


async def test_a_mark_price_liquidates(sandbox: SandboxClient) -> None:
    account = await sandbox.open_account(balance="30", leverage="10")
    await buy(sandbox, account, qty="2")
    await sandbox.control("POST", "mark-price", {"symbol": "BTCUSDT", "price": "80"})
    assert await kinds(sandbox, account) == ["Trade", "BustTrade"]
    assert (await position(sandbox, account))["size"] == "0"


async def test_liquidity_makes_partial_fills(sandbox: SandboxClient, account: SandboxAccount) -> None:
    await sandbox.control("POST", "liquidity", {"symbol": "BTCUSDT", "levels": [[0, "0.3"], [5, "0.2"]]})
    await buy(sandbox, account, "partial")
    (order,) = await orders(sandbox, account, "history")
    assert (order["orderStatus"], order["cumExecQty"]) == ("Cancelled", "0.5")
    assert len(await kinds(sandbox, account)) == 2


async def test_a_contract_may_stop_trading(sandbox: SandboxClient, account: SandboxAccount) -> None:
    await sandbox.control("POST", "status", {"symbol": "BTCUSDT", "status": "Closed"})
    assert (await rest_order(sandbox, account, "refused"))["retCode"] == 110074


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "accounts", {"balance": "x"}),
        ("POST", "accounts", {"balance": True}),
        ("POST", "accounts", {"uid": "no number"}),
        ("POST", "accounts", {"margin_mode": "OTHER"}),
        ("POST", "accounts", {"lpa_perp": 1}),
        ("POST", "accounts", {"hedge_symbols": ["NOSUCH"]}),
        ("POST", "accounts", {"key": {"permissions": []}}),
        ("POST", "accounts", {"colour": "red"}),
        ("POST", "accounts/1/deposit", {"amount": "5"}),
        ("PATCH", "keys/unknown", {}),
        ("POST", "funding", {"symbol": "NOSUCH", "rate": "0.1"}),
        ("POST", "liquidity", {"symbol": "BTCUSDT", "levels": [[1]]}),
        ("POST", "stream", {"fault": "other"}),
        ("POST", "clock", {"skew_ms": "1"}),
        ("POST", "limits", {"factor": 0}),
    ],
)
async def test_an_invalid_demand_is_refused(
    sandbox: SandboxClient, method: str, path: str, body: dict[str, object]
) -> None:
    with pytest.raises(ControlError, match="error"):
        await sandbox.control(method, path, body)


async def test_the_secret_is_shown_once(sandbox: SandboxClient, account: SandboxAccount) -> None:
    assert account.api_secret not in str(await sandbox.control("GET", "accounts"))
