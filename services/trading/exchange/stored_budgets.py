"""The budgets of addresses in Postgres, shared by all processes."""

from services.trading.exchange.address_budget import AddressLimit, Grant, block, grant
from services.trading.queries.egress_budgets import lock_budget, update_budget
from shared.chassis.postgres import Database


class StoredBudgets:
    """Implements `BudgetStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self, address: str, wanted: tuple[int, ...], limit: AddressLimit) -> Grant:
        async with self._database.queue() as connection:
            state, now = await lock_budget(connection, address)
            state, given = grant(state, now, wanted, limit)
            if given.amount:
                await update_budget(connection, address, state)
        return given

    async def block(self, address: str, for_s: float) -> None:
        async with self._database.queue() as connection:
            state, now = await lock_budget(connection, address)
            await update_budget(connection, address, block(state, now + for_s))
