"""Faults hit the calls they are meant for, and do to them what they say."""

import asyncio
import json
import time
from collections.abc import Mapping

import aiohttp
import pytest

from sandbox.bybit.client import ControlError, SandboxAccount, SandboxClient
from sandbox.bybit.faults import Faults
from tests.unit.sandbox.market import buy, orders, rest_order, rows

CREATE = "/v5/order/create"


def hits(rule: Mapping[str, object], calls: list[tuple[str, str]]) -> list[int]:
    """Return the places of the calls (route, account) that a fault hits."""
    faults = Faults()
    faults.add({"action": "cut", **rule}, 0)
    return [place for place, (route, uid) in enumerate(calls) if faults.hit(route, uid, "", 0)]


def test_a_fault_hits_the_nth_call_of_a_route_and_account() -> None:
    calls = [(CREATE, "1"), ("/v5/order/cancel", "2"), (CREATE, "2"), (CREATE, "2"), (CREATE, "2")]
    assert hits({}, calls) == [0]
    assert hits({"route": CREATE, "account": "2", "nth": 2}, calls) == [3]
    assert hits({"route": "/v5/order/*", "account": "2", "times": 2}, calls) == [1, 2]
    assert hits({"times": None}, calls) == [0, 1, 2, 3, 4]


def test_a_fault_ends_after_its_time() -> None:
    faults = Faults()
    faults.add({"action": "cut", "times": None, "for_ms": 100}, now_ms=1_000)
    assert [faults.hit(CREATE, "", "", now_ms) is not None for now_ms in (1_000, 1_099, 1_100)] == [
        True,
        True,
        False,
    ]


def test_a_fault_may_be_meant_for_one_order() -> None:
    faults = Faults()
    faults.add({"action": "cut", "payload": "mine"}, 0)
    assert faults.hit(CREATE, "", '{"orderLinkId": "other"}', 0) is None
    assert faults.hit(CREATE, "", '{"orderLinkId": "mine"}', 0) is not None


@pytest.mark.parametrize(
    "rule",
    [{}, {"action": "no"}, {"action": "cut", "nth": 0}, {"action": "cut", "when": "later"},
     {"action": "cut", "x": 1}, {"action": "delay", "ms": "5"}, {"action": "delay", "ms": True},
     {"action": "delay", "ms": -1},
     {"action": "answer", "status": 99}],
)  # fmt: skip
async def test_an_invalid_fault_is_refused(sandbox: SandboxClient, rule: dict[str, object]) -> None:
    with pytest.raises(ControlError, match="error"):
        await sandbox.control("POST", "faults", rule)


async def test_a_lost_answer_leaves_the_order(sandbox: SandboxClient, account: SandboxAccount) -> None:
    await sandbox.fault("cut", when="after", route=CREATE)
    with pytest.raises(aiohttp.ClientError):
        await buy(sandbox, account, "lost")
    assert [order["orderStatus"] for order in await orders(sandbox, account, "history")] == ["Filled"]
    (entry,) = await sandbox.ledger(route=CREATE)
    assert (entry["outcome"], entry["answer"], entry["orderLinkId"]) == (0, "cut", "lost")


async def test_a_connection_cut_before_leaves_nothing(sandbox: SandboxClient, account: SandboxAccount) -> None:
    await sandbox.fault("cut", route=CREATE)
    with pytest.raises(aiohttp.ClientError):
        await buy(sandbox, account, "lost")
    assert await orders(sandbox, account, "history") == []
    (entry,) = await sandbox.ledger(route=CREATE)
    assert (entry["outcome"], entry["answer"]) == (None, "cut")
    assert (await buy(sandbox, account, "lost"))["retCode"] == 0


async def test_a_half_open_connection_gets_no_answer(sandbox: SandboxClient, account: SandboxAccount) -> None:
    await sandbox.fault("hang", when="after", ms=60_000)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await buy(sandbox, account)
    assert len(await orders(sandbox, account, "history")) == 1


@pytest.mark.parametrize("when", ["before", "after"])
async def test_an_answer_may_be_late(sandbox: SandboxClient, account: SandboxAccount, when: str) -> None:
    await sandbox.fault("delay", when=when, ms=200)
    began = time.monotonic()
    assert (await buy(sandbox, account))["retCode"] == 0
    assert time.monotonic() - began >= 0.2


@pytest.mark.parametrize(("when", "count"), [("before", 0), ("after", 1)])
async def test_a_gateway_answers_in_html(
    sandbox: SandboxClient, account: SandboxAccount, when: str, count: int
) -> None:
    await sandbox.fault("answer", when=when, status=502)
    with pytest.raises(aiohttp.ContentTypeError) as failure:
        await buy(sandbox, account)
    assert failure.value.status == 502
    assert len(await orders(sandbox, account, "history")) == count


async def test_a_body_may_be_empty(sandbox: SandboxClient, account: SandboxAccount) -> None:
    await sandbox.fault("answer", when="after", status=200, body="", content_type="application/json")
    with pytest.raises((json.JSONDecodeError, AssertionError)):
        await buy(sandbox, account)


async def test_json_may_be_truncated(sandbox: SandboxClient, account: SandboxAccount) -> None:
    await sandbox.fault("truncate", length=30)
    with pytest.raises(json.JSONDecodeError):
        await buy(sandbox, account)
    assert len(await orders(sandbox, account, "history")) == 1


async def test_any_code_may_be_returned(sandbox: SandboxClient, account: SandboxAccount) -> None:
    await sandbox.fault("ret_code", code=110079, when="after")
    await sandbox.fault("ret_code", code=10016)
    assert (await buy(sandbox, account, "first"))["retCode"] == 110079
    assert (await buy(sandbox, account, "second"))["retCode"] == 10016
    assert [order["orderLinkId"] for order in await orders(sandbox, account, "history")] == ["first"]


async def test_a_limit_may_reset_in_the_past(sandbox: SandboxClient, account: SandboxAccount) -> None:
    await sandbox.fault("ret_code", code=10006, reset_in_ms=-5_000)
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{sandbox.url}/v5/account/info", headers=sandbox.signature(account, "")) as answer:
            assert (await answer.json())["retCode"] == 10006
            assert int(answer.headers["X-Bapi-Limit-Reset-Timestamp"]) < time.time() * 1000 - 4_000


async def test_a_lookup_finds_nothing_for_a_while(sandbox: SandboxClient, account: SandboxAccount) -> None:
    await rest_order(sandbox, account, "there")
    await sandbox.fault("empty_list", route="/v5/order/realtime", times=None, for_ms=300)
    assert await orders(sandbox, account) == []
    await asyncio.sleep(0.3)
    assert len(await orders(sandbox, account)) == 1


async def test_an_order_fills_before_its_cancellation(sandbox: SandboxClient, account: SandboxAccount) -> None:
    await rest_order(sandbox, account, "racing")
    await sandbox.fault("race", route="/v5/order/cancel")
    await sandbox.post(account, "/v5/order/cancel", category="linear", symbol="BTCUSDT", orderLinkId="racing")
    (order,) = await orders(sandbox, account, "history")
    assert order["orderStatus"] == "Filled"
    position = await sandbox.get(account, "/v5/position/list", category="linear", symbol="BTCUSDT")
    assert rows(position)[0]["size"] == "1"


async def test_faults_can_be_listed_and_removed(sandbox: SandboxClient, account: SandboxAccount) -> None:
    number = await sandbox.fault("cut", route=CREATE)
    assert [fault["number"] for fault in await _faults(sandbox)] == [number]
    await sandbox.clear_faults()
    assert await _faults(sandbox) == []
    assert (await buy(sandbox, account))["retCode"] == 0


async def _faults(sandbox: SandboxClient) -> list[dict[str, object]]:
    listed = await sandbox.control("GET", "faults")
    assert isinstance(listed, list)
    return listed
