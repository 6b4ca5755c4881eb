"""Calls that hang at the exchange: they delay no other tenant, and a cancelled command is not repeated or lost."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from services.trading.exchange.bybit_venue import BybitVenue
from services.trading.exchange.exchange import Exchange
from services.trading.exchange.venue import NewOrder, NotSent, OutcomeUnknown
from tests.unit.trading.exchange.server import Scripted, account, envelope, scripted

CREATE = "/v5/order/create"
HUNG = "HUNGUSDT"


@dataclass
class Scene:
    script: Scripted
    exchange: Exchange
    arrived: list[str] = field(default_factory=list)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    def venue(self, user_id: int) -> BybitVenue:
        return self.exchange.venue(account(user_id, f"uid-{user_id}"))

    async def answer(self, _: web.Request, body: Mapping[str, str]) -> web.Response:
        self.arrived.append(body["orderLinkId"])
        if body["symbol"] == HUNG:
            await self.released.wait()
        return web.json_response(envelope({"orderId": "o-1"}))

    async def until_arrived(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.arrived) < count:
                await asyncio.sleep(0.01)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with scripted() as (script, exchange, _):
        scene = Scene(script, exchange)
        script.answers[CREATE] = scene.answer
        yield scene
        scene.released.set()


def order(link_id: str, symbol: str = "BTCUSDT") -> NewOrder:
    return NewOrder(link_id, symbol, "SELL", Decimal(1), reduce_only=True)


async def test_one_tenants_hung_orders_do_not_delay_anothers(scene: Scene) -> None:
    hung = [asyncio.create_task(scene.venue(1).create_order(order(f"h-{n}", HUNG))) for n in range(9)]
    await scene.until_arrived(4)
    loop = asyncio.get_running_loop()
    began = loop.time()
    for user_id in range(2, 12):
        await scene.venue(user_id).create_order(order(f"q-{user_id}"))
    assert loop.time() - began < 2
    assert sorted(scene.arrived[4:]) == sorted(f"q-{user_id}" for user_id in range(2, 12))
    scene.released.set()
    assert await asyncio.gather(*hung) == ["o-1"] * 9


async def test_hung_polling_does_not_delay_the_same_tenants_orders(scene: Scene) -> None:
    async def hang(*_: object) -> web.Response:
        await scene.released.wait()
        return web.json_response(envelope({"list": []}))

    scene.script.answers["/v5/order/realtime"] = hang
    polls = [asyncio.create_task(scene.venue(1).list_open_orders()) for _ in range(9)]
    await asyncio.sleep(0.2)
    async with asyncio.timeout(2):
        await scene.venue(1).create_order(order("close"))
    scene.released.set()
    assert await asyncio.gather(*polls) == [[]] * 9


async def test_an_order_cancelled_in_flight_is_sent_once_and_its_end_is_logged(scene: Scene) -> None:
    with capture_logs() as logs:
        sending = asyncio.create_task(scene.venue(1).create_order(order("once", HUNG)))
        await scene.until_arrived(1)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        scene.released.set()
        async with asyncio.timeout(10):
            while not any(each["event"] == "exchange_request_ended_late" for each in logs):
                await asyncio.sleep(0.01)
    (late,) = [each for each in logs if each["event"] == "exchange_request_ended_late"]
    assert (late["path"], late["user_id"], late["outcome"]) == (CREATE, 1, "0")
    assert scene.arrived == ["once"]
    assert scene.exchange._gate._budget._windows["SANDBOX uid-1", CREATE]._in_flight == 0


async def test_an_order_cancelled_while_it_waits_is_never_sent(scene: Scene) -> None:
    hung = [asyncio.create_task(scene.venue(1).create_order(order(f"h-{n}", HUNG))) for n in range(4)]
    await scene.until_arrived(4)
    waiting = asyncio.create_task(scene.venue(1).create_order(order("never", HUNG)))
    await asyncio.sleep(0.1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    scene.released.set()
    await asyncio.gather(*hung)
    await scene.venue(1).create_order(order("after"))
    assert "never" not in scene.arrived


async def test_an_entry_that_gets_its_thread_late_is_never_sent(scene: Scene) -> None:
    hung = [asyncio.create_task(scene.venue(1).create_order(order(f"h-{n}", HUNG))) for n in range(4)]
    await scene.until_arrived(4)
    until = asyncio.get_running_loop().time() + 0.1
    entry = NewOrder("late", "BTCUSDT", "BUY", Decimal(1), send_until=until)
    sending = asyncio.create_task(scene.venue(1).create_order(entry))
    await asyncio.sleep(0.2)
    scene.released.set()
    with pytest.raises(NotSent):
        await sending
    await asyncio.gather(*hung)
    assert "late" not in scene.arrived


async def test_an_answer_that_drips_is_given_up(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    async def drip(request: web.Request, _: Mapping[str, str]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        while not scene.released.is_set():
            await response.write(b" ")
            await asyncio.sleep(0.05)
        return response

    scene.script.answers[CREATE] = drip
    monkeypatch.setattr("services.trading.exchange.account_calls.CALL_S", 0.5)
    with pytest.raises(OutcomeUnknown, match="no answer in time"):
        await scene.venue(1).create_order(order("slow"))
