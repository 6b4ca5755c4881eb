"""The budget of an address, shared by processes through the database."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from services.trading.exchange.address_budget import AddressLimit
from services.trading.exchange.rate_budget import Ticket
from services.trading.exchange.request_gate import COUNTED_SLOTS, SLOT_S, NoRoom, RequestGate
from services.trading.exchange.request_window import Lane
from services.trading.exchange.stored_budgets import StoredBudgets
from services.trading.settings import TradingSettings
from shared.chassis.postgres import Database
from stack.migrate import DatabaseAccess
from tests.conftest import ServiceEnv

LIMIT = AddressLimit(60, SLOT_S, COUNTED_SLOTS)
HERE = "SANDBOX here"


@pytest.fixture
async def stores(
    service_env: ServiceEnv, database_access: DatabaseAccess
) -> AsyncIterator[tuple[StoredBudgets, StoredBudgets]]:
    """Two processes' stores, each with connections of its own."""
    values: dict[str, object] = {name.lower(): value for name, value in service_env("trading").items()}
    databases = [await Database.connect(TradingSettings.model_validate(values)) for _ in range(2)]
    yield StoredBudgets(databases[0]), StoredBudgets(databases[1])
    for database in databases:
        await database.close()


async def test_processes_that_ask_at_once_get_the_limit_together(
    stores: tuple[StoredBudgets, StoredBudgets],
) -> None:
    grants = await asyncio.gather(*(stores[n % 2].take(HERE, (5, 0, 0, 0), LIMIT) for n in range(20)))
    assert sum(given.amount for given in grants) == 60
    assert (await stores[0].take("SANDBOX elsewhere", (5, 0, 0, 0), LIMIT)).amount == 5


async def test_a_ban_that_one_process_notices_stops_all(stores: tuple[StoredBudgets, StoredBudgets]) -> None:
    first, second = stores
    assert (await first.take(HERE, (1, 0, 0, 0), LIMIT)).amount == 1
    await first.block(HERE, 600)
    given = await second.take(HERE, (1, 0, 0, 0), LIMIT)
    assert given.amount == 0
    assert 595 < given.retry_s <= 600


async def test_tenants_of_two_processes_share_the_limit_and_closing_goes_first(
    stores: tuple[StoredBudgets, StoredBudgets],
) -> None:
    gates = [RequestGate(store, most=60) for store in stores]
    passed: Counter[Lane] = Counter()

    async def send(number: int, lane: Lane) -> None:
        deadline = asyncio.get_running_loop().time() + 2
        await gates[number % 2].admit(Ticket(number, f"uid-{number}", HERE, "/v5/order/create", lane), deadline)
        passed[lane] += 1

    polls = asyncio.gather(*(send(n, Lane.POLL) for n in range(80)), return_exceptions=True)
    await asyncio.sleep(0.5)
    assert passed == {Lane.POLL: 36}
    closes = await asyncio.gather(*(send(n, Lane.CLOSE) for n in range(100, 130)), return_exceptions=True)
    assert passed == {Lane.POLL: 36, Lane.CLOSE: 24}
    assert sum(isinstance(each, NoRoom) for each in (*closes, *await polls)) == 6 + 44
    for gate in gates:
        await gate.close()
