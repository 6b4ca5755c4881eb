"""The faults of the exchange: demands on the sandbox's control API (docs/sandbox-bybit.md), by name."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any  # JSON of the control API

import aiohttp

CREATE = "/v5/order/create"
ANSWER_TIMEOUT_S = 10
LOOK_EVERY_S = 0.5


@dataclass(frozen=True)
class ExchangeFault:
    """A body that is posted to `path` and holds until `end` is posted; without one, until its rules are removed."""

    path: str
    body: Mapping[str, object]
    end: Mapping[str, object] | None = None


def _calls(action: str, route: str = CREATE, **rule: object) -> ExchangeFault:
    """The next two of these calls."""
    return ExchangeFault("faults", {"action": action, "route": route, "times": 2, **rule})


def _stream(fault: str, end: str | None = None, **rule: object) -> ExchangeFault:
    ended = {"fault": end, "stream": "private"} if end else None
    return ExchangeFault("stream", {"fault": fault, "stream": "private", **rule}, ended)


def _liquidity(*levels: tuple[int, str | None]) -> ExchangeFault:
    """What each order finds: ticks from the price, and how much there."""
    contract = {"symbol": "ETHUSDT"}
    return ExchangeFault("liquidity", {**contract, "levels": levels}, {**contract, "levels": None})


EXCHANGE_FAULTS: Mapping[str, ExchangeFault] = {
    "an order's answer is lost": _calls("cut", when="after"),
    "an order is lost": _calls("cut"),
    "an order's answer hangs": _calls("hang", when="after", ms=8_000),
    "10006 with a past reset time": _calls("ret_code", code=10006, reset_in_ms=-500),
    "10016 after an order": _calls("ret_code", code=10016, when="after"),
    "10016 before an order": _calls("ret_code", code=10016),
    "110079 after an order": _calls("ret_code", code=110079, when="after"),
    "502 after an order": _calls("answer", when="after"),
    "truncated after an order": _calls("truncate", when="after"),
    "empty after an order": _calls("answer", when="after", status=200, body=""),
    "a stop's answer is lost": _calls("cut", "/v5/position/trading-stop", when="after"),
    "10016 before a stop": _calls("ret_code", "/v5/position/trading-stop", code=10016),
    "a cancel's order fills first": _calls("race", "/v5/order/cancel"),
    "502 to questions": _calls("answer", "/v5/position/list", times=5),
    "truncated executions": _calls("truncate", "/v5/execution/list", times=5),
    "orders are not found": ExchangeFault("delays", {"lookup_ms": 3_000}, {"lookup_ms": 0}),
    "slow answers": ExchangeFault("delays", {"answer_ms": 700}, {"answer_ms": 0}),
    "what happened shows late": ExchangeFault("delays", {"read_ms": 1_500}, {"read_ms": 0}),
    "the clock jumps ahead": ExchangeFault("clock", {"skew_ms": 8_000}, {"skew_ms": 0}),
    "orders fill at several prices": _liquidity((0, "0.2"), (2, "0.1"), (5, None)),
    "orders fill in part": _liquidity((0, "0.3")),
    "a silent stream": _stream("mute", "speak"),
    "streams drop": _stream("drop"),
    "streams are refused": _stream("refuse", "accept"),
    "half-open streams": _stream("half_open"),
    "repeated executions": _stream("duplicate", topic="execution", count=20),
    "reordered executions": _stream("reorder", topic="execution", count=20),
}


class FaultyExchange:
    """The sandbox exchange of a run."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def begin(self, fault: ExchangeFault) -> None:
        await self._control("POST", fault.path, fault.body)

    async def end(self, fault: ExchangeFault) -> None:
        """Rules of requests wait for their calls until `heal`."""
        if fault.end is not None:
            await self._control("POST", fault.path, fault.end)

    async def heal(self) -> None:
        await self._control("DELETE", "faults")
        for fault in EXCHANGE_FAULTS.values():
            await self.end(fault)

    async def open_account(self) -> tuple[str, str]:
        """Return the key and the secret of a new account."""
        opened = await self._control("POST", "accounts", {"balance": "1000000"})
        return opened["api_key"], opened["api_secret"]

    async def accounts(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self._control("GET", "accounts")
        return found

    async def await_executions(self, count: int, within_s: float) -> None:
        """Wait until so many more executions have happened, but not longer."""
        newest = await self._control("GET", "ledger?kind=*&limit=1")
        since = newest[0]["seq"] if newest else 0
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while len(await self._control("GET", f"ledger?kind=execution&since={since}")) < count:
                    await asyncio.sleep(LOOK_EVERY_S)

    async def count_open_orders(self) -> int:
        """Count the open orders that were sent; a position's stop is none of them."""
        orders = [order for account in await self.accounts() for order in account["open_orders"]]
        return sum(bool(order["order_link_id"]) for order in orders)

    async def ledger(self, kind: str) -> list[dict[str, object]]:
        entries: list[dict[str, object]] = await self._control("GET", f"ledger?kind={kind}&limit=200000")
        return entries

    async def _control(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Any:
        timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S)
        async with (
            aiohttp.ClientSession(timeout=timeout) as http,
            http.request(method, f"{self._url}/control/{path}", json=body) as answer,
        ):
            answer.raise_for_status()
            return await answer.json()
