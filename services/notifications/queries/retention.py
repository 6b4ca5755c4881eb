"""Deletion of rows whose retention is over. The periods are in the SQL functions."""

from shared.chassis.postgres import Connection


async def drop_inbox_months(connection: Connection) -> list[str]:
    """Drop the inbox's partitions that ended a year ago; needs the queue role."""
    return [row["done"] for row in await connection.fetch("SELECT drop_inbox_months() AS done")]


async def delete_expired_rows(connection: Connection, limit: int) -> int:
    """Delete old rows of `deliveries`, `alert_firings` and `inbox_minutes`, up to `limit` of each.

    Returns the largest number deleted from one table. Needs the queue role.
    """
    deleted: int = await connection.fetchval("SELECT forget_notifications($1)", limit)
    return deleted
