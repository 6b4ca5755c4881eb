"""Requests pass when every limit has room, whatever becomes of the store or of the one that waits."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from services.trading.exchange.address_budget import AddressLimit, Grant
from services.trading.exchange.rate_budget import Ticket
from services.trading.exchange.request_gate import EMERGENCY_CREDIT, NoRoom, RequestGate
from services.trading.exchange.request_window import Lane
from tests.unit.trading.exchange.server import MemoryBudgets

HERE = "LIVE here"


def ticket(lane: Lane, number: int = 0) -> Ticket:
    return Ticket(1, f"uid-{number}", HERE, "/v5/order/create", lane)


class Unreachable:
    async def take(self, address: str, wanted: tuple[int, ...], limit: AddressLimit) -> Grant:
        raise ConnectionError("the database is unreachable")

    async def block(self, address: str, for_s: float) -> None:
        raise ConnectionError("the database is unreachable")


def soon(seconds: float = 5.0) -> float:
    return asyncio.get_running_loop().time() + seconds


@pytest.fixture
async def gate() -> AsyncIterator[RequestGate]:
    gate = RequestGate(MemoryBudgets(), most=100)
    yield gate
    await gate.close()


async def test_a_burst_passes_within_the_limit_of_the_address(gate: RequestGate) -> None:
    passed = 0

    async def pass_one(number: int) -> None:
        nonlocal passed
        await gate.admit(ticket(Lane.CLOSE, number), soon(0.4))
        passed += 1

    results = await asyncio.gather(*map(pass_one, range(130)), return_exceptions=True)
    assert passed == 100
    assert sum(isinstance(each, NoRoom) for each in results) == 30
    assert gate._budget.addresses() == []


async def test_closing_overtakes_what_waits(gate: RequestGate) -> None:
    entries = [asyncio.create_task(gate.admit(ticket(Lane.ENTRY, n), soon(0.5))) for n in range(200)]
    await asyncio.sleep(0.2)
    assert sum(each.done() for each in entries) == 80
    await gate.admit(ticket(Lane.CLOSE), soon(0.5))
    results = await asyncio.gather(*entries, return_exceptions=True)
    assert sum(isinstance(each, NoRoom) for each in results) == 120


async def test_room_is_used_as_soon_as_an_account_has_it(gate: RequestGate) -> None:
    first = [ticket(Lane.CLOSE) for _ in range(10)]
    for each in first:
        await gate.admit(each, soon())
    waiting = asyncio.create_task(gate.admit(ticket(Lane.CLOSE), soon()))
    await asyncio.sleep(0.05)
    gate.end(first[0])
    began = asyncio.get_running_loop().time()
    await waiting
    assert asyncio.get_running_loop().time() - began >= 0.95


async def test_a_request_cancelled_while_it_waits_takes_nobodys_turn(gate: RequestGate) -> None:
    held = [ticket(Lane.CLOSE) for _ in range(10)]
    for each in held:
        await gate.admit(each, soon())
    waiting = asyncio.create_task(gate.admit(ticket(Lane.CLOSE), soon()))
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert gate._budget.addresses() == []


async def test_a_request_cancelled_in_the_moment_of_its_turn_gives_it_back(gate: RequestGate) -> None:
    waiting = asyncio.create_task(gate.admit(ticket(Lane.CLOSE), soon()))
    while not any(future.done() for future in gate._admitted.values()):
        await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    window = gate._budget._windows["uid-0", "/v5/order/create"]
    assert window._in_flight == 0


async def test_without_the_store_only_a_few_requests_that_close_or_protect_pass() -> None:
    gate = RequestGate(Unreachable(), most=100)
    with pytest.raises(NoRoom):
        await gate.admit(ticket(Lane.ENTRY), soon(0.2))
    closing = [gate.admit(ticket(Lane.CLOSE, n), soon(0.3)) for n in range(10)]
    results = await asyncio.gather(*closing, return_exceptions=True)
    assert sum(each is None for each in results) == EMERGENCY_CREDIT
    await gate.block_address(ticket(Lane.CLOSE), 600)
    await gate.close()
