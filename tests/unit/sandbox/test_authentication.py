"""Requests are admitted as Bybit admits them: key, expiry, address, timestamp, signature, permission."""

import asyncio
import json
import time
from collections.abc import Mapping

import aiohttp
import pytest
from yarl import URL

from sandbox.bybit.client import SandboxAccount, SandboxClient
from sandbox.bybit.messages import Json
from sandbox.bybit.signing import sign
from tests.unit.sandbox.market import FIRST, buy

INFO = "/v5/account/info"


async def ask(
    sandbox: SandboxClient, headers: Mapping[str, str], path: str = INFO, body: str | None = None, source: str = ""
) -> Json:
    connector = aiohttp.TCPConnector(local_addr=(source, 0)) if source else None
    async with aiohttp.ClientSession(connector=connector, headers={"Content-Type": "application/json"}) as http:
        method = "GET" if body is None else "POST"
        url = URL(sandbox.url + path, encoded=True)  # otherwise aiohttp would encode the query in its own way
        async with http.request(method, url, data=body, headers=headers) as answer:
            found: Json = await answer.json()
            return found


async def test_a_query_is_signed_as_it_stands(sandbox: SandboxClient, account: SandboxAccount) -> None:
    query = "symbol=BTCUSDT&category=linear&cursor=1%3A1"
    signed = sandbox.signature(account, query)
    assert (await ask(sandbox, signed, f"/v5/execution/list?{query}"))["retCode"] == 0
    other_order = "category=linear&symbol=BTCUSDT&cursor=1%3A1"
    assert (await ask(sandbox, signed, f"/v5/execution/list?{other_order}"))["retCode"] == 10004


@pytest.mark.parametrize("separators", [(", ", ": "), (",", ":")])
async def test_a_body_is_signed_as_it_is_sent(
    sandbox: SandboxClient, account: SandboxAccount, separators: tuple[str, str]
) -> None:
    body = json.dumps({"modifyEnable": True, "category": "linear"}, separators=separators)
    path = "/v5/account/set-limit-px-action"
    assert (await ask(sandbox, sandbox.signature(account, body), path, body))["retCode"] == 0
    assert (await ask(sandbox, sandbox.signature(account, body), path, f"{body} "))["retCode"] == 10004


async def test_a_request_without_a_receive_window_is_signed_without_it(
    sandbox: SandboxClient, account: SandboxAccount
) -> None:
    now = str(int(time.time() * 1000))
    headers = {
        "X-BAPI-API-KEY": account.api_key,
        "X-BAPI-TIMESTAMP": now,
        "X-BAPI-SIGN": sign(account.api_secret, now + account.api_key),
    }
    assert (await ask(sandbox, headers))["retCode"] == 0


@pytest.mark.parametrize(("off_ms", "code"), [(0, 0), (-4_000, 0), (-5_500, 10002), (1_500, 10002)])
async def test_a_timestamp_may_be_five_seconds_old_and_less_than_one_ahead(
    sandbox: SandboxClient, account: SandboxAccount, off_ms: int, code: int
) -> None:
    signed = sandbox.signature(account, "", int(time.time() * 1000) + off_ms)
    assert (await ask(sandbox, signed))["retCode"] == code


async def test_the_refusal_of_a_timestamp_names_the_time_of_the_exchange(
    sandbox: SandboxClient, account: SandboxAccount
) -> None:
    await sandbox.control("POST", "clock", {"skew_ms": 20_000})
    refused = await sandbox.get(account, INFO)
    assert refused["retCode"] == 10002
    server_ms = int(str(refused["retMsg"]).partition("server_timestamp[")[2].partition("]")[0])
    assert abs(server_ms - time.time() * 1000 - 20_000) < 5_000
    assert (await ask(sandbox, sandbox.signature(account, "", server_ms)))["retCode"] == 0


async def test_the_time_of_the_market_is_accepted_too(sandbox: SandboxClient, account: SandboxAccount) -> None:
    assert (await ask(sandbox, sandbox.signature(account, "", FIRST)))["retCode"] == 0


async def test_a_request_without_signature_is_refused(sandbox: SandboxClient) -> None:
    assert (await ask(sandbox, {}))["retCode"] == 10001


async def test_an_unknown_key_is_refused(sandbox: SandboxClient) -> None:
    stranger = SandboxAccount("1", "no-such-key", "secret")
    assert (await sandbox.get(stranger, INFO))["retCode"] == 10003


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ({"revoked": True}, 10003),
        ({"expires_ms": 1_000}, 33004),
        ({"ips": ["10.0.0.1"]}, 10010),
        ({"ips": ["127.0.0.1"]}, 0),
        ({"read_only": True}, 0),
    ],
)
async def test_a_key_is_checked_at_each_request(
    sandbox: SandboxClient, account: SandboxAccount, facts: Mapping[str, object], code: int
) -> None:
    await sandbox.change_key(account, **facts)
    assert (await sandbox.get(account, INFO))["retCode"] == code


async def test_a_key_is_bound_to_the_address_of_the_client(sandbox: SandboxClient, account: SandboxAccount) -> None:
    await sandbox.change_key(account, ips=["127.0.0.7"])
    assert (await ask(sandbox, sandbox.signature(account, "")))["retCode"] == 10010
    assert (await ask(sandbox, sandbox.signature(account, ""), source="127.0.0.7"))["retCode"] == 0


@pytest.mark.parametrize("facts", [{"read_only": True}, {"permissions": {"ContractTrade": ["Position"]}}])
async def test_an_order_needs_the_permission(
    sandbox: SandboxClient, account: SandboxAccount, facts: Mapping[str, object]
) -> None:
    await sandbox.change_key(account, **facts)
    assert (await buy(sandbox, account))["retCode"] == 10005


async def test_query_api_shows_the_key(sandbox: SandboxClient) -> None:
    withdraw = {"Wallet": ["Withdraw"], "ContractTrade": ["Order", "Position"], "Novelty": ["Something"]}
    account = await sandbox.open_account(key={"permissions": withdraw, "ips": ["127.0.0.1"], "kyc_region": "DEU"})
    shown = (await sandbox.get(account, "/v5/user/query-api"))["result"]
    assert isinstance(shown, dict)
    assert shown["permissions"]["Wallet"] == ["Withdraw"]
    assert shown["permissions"]["Novelty"] == ["Something"]
    assert (shown["ips"], shown["deadlineDay"], shown["kycRegion"]) == (["127.0.0.1"], -2, "DEU")
    assert account.api_secret not in json.dumps(shown)


async def test_a_key_without_addresses_expires_after_ninety_days(
    sandbox: SandboxClient, account: SandboxAccount
) -> None:
    shown = (await sandbox.get(account, "/v5/user/query-api"))["result"]
    assert isinstance(shown, dict)
    assert (shown["ips"], shown["deadlineDay"]) == (["*"], 89)


@pytest.mark.parametrize(("path", "code"), [("/v5/no/such/route", 10017), ("/v5/order/create", 10017)])
async def test_a_route_that_does_not_exist_is_refused(
    sandbox: SandboxClient, account: SandboxAccount, path: str, code: int
) -> None:
    assert (await sandbox.get(account, path))["retCode"] == code


async def test_a_question_with_a_body_is_forbidden(sandbox: SandboxClient) -> None:
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{sandbox.url}/v5/market/time", data="{}") as answer:
            assert answer.status == 403


async def test_a_body_that_is_no_object_is_refused(sandbox: SandboxClient, account: SandboxAccount) -> None:
    answers = await asyncio.gather(
        *(
            ask(sandbox, sandbox.signature(account, body), "/v5/order/create", body)
            for body in ("[]", "{", "[" * 100_000, '"x"')
        )
    )
    assert [answer["retCode"] for answer in answers] == [10001] * 4
