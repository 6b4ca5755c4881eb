"""Published strategies, which belong to no tenant. Each is a copy that never changes."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from uuid import UUID

from shared.chassis.errors import require_found
from shared.chassis.listing import Order, Slice
from shared.chassis.postgres import Connection


@dataclass(frozen=True)
class PublishedRow:
    published_strategy_id: UUID
    display_name: str
    strategy_name: str
    document: Mapping[str, object]
    content_hash: str
    created_at: datetime


@dataclass(frozen=True)
class SummaryRow:
    """A published strategy without its document; texts stored before there were length limits are cut to them."""

    published_strategy_id: UUID
    display_name: str
    strategy_name: str
    strategy_description: str | None
    interval: str
    side: str
    content_hash: str
    created_at: datetime


ORDERS = {"created_at": Order(created_at=datetime, published_strategy_id=UUID)}
COLUMNS = ", ".join(field.name for field in fields(PublishedRow))


async def insert_published(
    connection: Connection,
    published_id: UUID,
    display_name: str,
    document: Mapping[str, object],
    content_hash: str,
) -> None:
    await connection.execute(
        """
        INSERT INTO published_strategies (published_strategy_id, display_name, strategy_name, document,
                                          content_hash)
        VALUES ($1, $2, $3, $4, $5)
        """,
        published_id,
        display_name,
        document["strategy_name"],
        document,
        content_hash,
    )


async def find_published(connection: Connection, published_id: UUID) -> PublishedRow | None:
    row = await connection.fetchrow(
        f"SELECT {COLUMNS} FROM published_strategies WHERE published_strategy_id = $1", published_id
    )
    return PublishedRow(**row) if row else None


async def get_published(connection: Connection, published_id: UUID) -> PublishedRow:
    """Raises NotFound."""
    return require_found(await find_published(connection, published_id))


async def list_published(connection: Connection, *, content_hash: str | None, wanted: Slice) -> list[SummaryRow]:
    rows = await connection.fetch(
        f"""
        SELECT published_strategy_id, left(display_name, 100) AS display_name,
               left(strategy_name, 100) AS strategy_name,
               left(document ->> 'strategy_description', 2000) AS strategy_description,
               document -> 'strategy_config' ->> 'interval' AS interval,
               document -> 'strategy_config' ->> 'side' AS side, content_hash, created_at
        FROM published_strategies
        WHERE ($1::text IS NULL OR content_hash = $1) {wanted.sql(2)}
        """,
        content_hash,
        *wanted.arguments,
    )
    return [SummaryRow(**row) for row in rows]


async def withdraw_published(connection: Connection, published_id: UUID) -> None:
    """Withdraw a publication. The database function allows it only for the current tenant's own."""
    await connection.execute("SELECT withdraw_publication($1)", published_id)
