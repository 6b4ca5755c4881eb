"""The budgets of addresses, across tenants: as trading_queue, on egress_budgets only."""

from services.trading.exchange.address_budget import AddressState
from shared.chassis.postgres import Connection

_SELECT = """
    SELECT granted, newest_slot, coalesce(extract(epoch FROM blocked_until), 0)::float8 AS blocked_until,
           extract(epoch FROM clock_timestamp())::float8 AS now
    FROM egress_budgets WHERE address = $1 FOR UPDATE
"""


async def lock_budget(connection: Connection, address: str) -> tuple[AddressState, float]:
    """Return what is stored of an address, locked, and the database's time in seconds since 1970."""
    row = await connection.fetchrow(_SELECT, address)
    if row is None:
        await connection.execute(
            """
            INSERT INTO egress_budgets (address, granted, newest_slot) VALUES ($1, '{}', 0) ON CONFLICT DO NOTHING
            """,
            address,
        )
        row = await connection.fetchrow(_SELECT, address)
    return AddressState(tuple(row["granted"]), row["newest_slot"], row["blocked_until"]), row["now"]


async def update_budget(connection: Connection, address: str, state: AddressState) -> None:
    await connection.execute(
        """
        UPDATE egress_budgets SET granted = $2, newest_slot = $3, blocked_until = to_timestamp($4)
        WHERE address = $1
        """,
        address,
        state.granted,
        state.newest,
        state.blocked_until,
    )
