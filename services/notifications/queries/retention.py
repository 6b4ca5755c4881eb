"""How long what is kept is kept; the functions say so."""

from shared.chassis.postgres import Connection


async def drop_inbox_months(connection: Connection) -> list[str]:
    """As the queue role: the months that ended a year ago."""
    return [row["done"] for row in await connection.fetch("SELECT drop_inbox_months() AS done")]


async def forget_notifications(connection: Connection, most: int) -> int:
    """As the queue role: old rows of the ledger, of firings and of minutes, so many of each at once."""
    gone: int = await connection.fetchval("SELECT forget_notifications($1)", most)
    return gone
