"""Strategies and their immutable versions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from typing import Literal, NamedTuple
from uuid import UUID

from shared.chassis.errors import require_found
from shared.chassis.listing import Order, Slice
from shared.chassis.postgres import Connection
from shared.chassis.row_arrays import arrays_of, unnest

Document = Mapping[str, object]


@dataclass(frozen=True)
class StrategyRow:
    strategy_id: UUID
    strategy_name: str
    strategy_description: str | None
    strategy_config: Document
    entry_conditions: Document
    exit_conditions: Document | None
    risk_management: Document
    content_hash: str
    version: int
    total_uses: int
    win_rate: Decimal | None
    avg_pnl: Decimal | None
    is_public: bool
    is_active: bool
    published_strategy_id: UUID | None
    published_version: int | None
    revision: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class VersionRow:
    strategy_id: UUID
    version: int
    content_hash: str
    document: Document
    created_at: datetime


class ClosedTrades(NamedTuple):
    """The part of a strategy's statistics that a set of closed trades adds."""

    user_id: int
    strategy_id: UUID
    trades: int
    won: int
    pnl: Decimal


ORDERS = {"created_at": Order(created_at=datetime, strategy_id=UUID)}
ADD_TO_STATISTICS = f"""
    WITH closed AS (
        SELECT new.* FROM {unnest(ClosedTrades)} JOIN user_strategies AS s USING (user_id, strategy_id)
        ORDER BY s.user_id, s.strategy_id FOR NO KEY UPDATE OF s
    )
    UPDATE user_strategies AS s SET
        total_uses = s.total_uses + closed.trades, winning_trades = s.winning_trades + closed.won,
        total_pnl = s.total_pnl + closed.pnl,
        win_rate = round(100.0 * (s.winning_trades + closed.won) / (s.total_uses + closed.trades), 6),
        avg_pnl = round((s.total_pnl + closed.pnl) / (s.total_uses + closed.trades), 8)
    FROM closed WHERE s.user_id = closed.user_id AND s.strategy_id = closed.strategy_id
"""
VERSION_ORDERS = {"version": Order(version=int)}
COLUMNS = ", ".join(field.name for field in fields(StrategyRow))


async def insert_strategy(
    connection: Connection, user_id: int, strategy_id: UUID, document: Document, content_hash: str
) -> StrategyRow:
    row = await connection.fetchrow(
        f"""
        INSERT INTO user_strategies (user_id, strategy_id, strategy_name, strategy_description, strategy_config,
                                     entry_conditions, exit_conditions, risk_management, content_hash)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING {COLUMNS}
        """,
        user_id,
        strategy_id,
        *_parts(document),
        content_hash,
    )
    return StrategyRow(**row)


def _parts(document: Document) -> list[object]:
    names = (
        "strategy_name",
        "strategy_description",
        "strategy_config",
        "entry_conditions",
        "exit_conditions",
        "risk_management",
    )
    return [document.get(name) for name in names]


async def update_strategy(
    connection: Connection, user_id: int, strategy_id: UUID, document: Document, content_hash: str
) -> StrategyRow:
    """Update the strategy to a new version. The caller has locked the row."""
    row = await connection.fetchrow(
        f"""
        UPDATE user_strategies SET strategy_name = $3, strategy_description = $4, strategy_config = $5,
               entry_conditions = $6, exit_conditions = $7, risk_management = $8, content_hash = $9,
               version = version + 1, revision = revision + 1
        WHERE user_id = $1 AND strategy_id = $2 RETURNING {COLUMNS}
        """,
        user_id,
        strategy_id,
        *_parts(document),
        content_hash,
    )
    return StrategyRow(**row)


async def insert_version(
    connection: Connection,
    user_id: int,
    strategy_id: UUID,
    version: int,
    document: Document,
    content_hash: str,
) -> None:
    await connection.execute(
        """
        INSERT INTO strategy_versions (user_id, strategy_id, version, content_hash, document)
        VALUES ($1, $2, $3, $4, $5)
        """,
        user_id,
        strategy_id,
        version,
        content_hash,
        document,
    )


async def find_strategy(
    connection: Connection, user_id: int, strategy_id: UUID, *, lock: Literal["", "SHARE", "UPDATE"] = ""
) -> StrategyRow | None:
    """Return the strategy; None also if it was deleted. Changes lock it FOR UPDATE, session starts FOR SHARE."""
    row = await connection.fetchrow(
        f"""
        SELECT {COLUMNS} FROM user_strategies WHERE user_id = $1 AND strategy_id = $2 AND deleted_at IS NULL
        {f"FOR {lock}" if lock else ""}
        """,
        user_id,
        strategy_id,
    )
    return StrategyRow(**row) if row else None


async def get_strategy(
    connection: Connection, user_id: int, strategy_id: UUID, *, lock: Literal["", "SHARE", "UPDATE"] = ""
) -> StrategyRow:
    """Raises NotFound."""
    return require_found(await find_strategy(connection, user_id, strategy_id, lock=lock))


async def list_strategies(
    connection: Connection,
    user_id: int,
    *,
    is_active: bool | None,
    is_public: bool | None,
    wanted: Slice,
) -> list[StrategyRow]:
    rows = await connection.fetch(
        f"""
        SELECT {COLUMNS} FROM user_strategies
        WHERE user_id = $1 AND deleted_at IS NULL AND ($2::boolean IS NULL OR is_active = $2)
              AND ($3::boolean IS NULL OR is_public = $3) {wanted.sql(4)}
        """,
        user_id,
        is_active,
        is_public,
        *wanted.arguments,
    )
    return [StrategyRow(**row) for row in rows]


@dataclass(frozen=True)
class StoredCounts:
    """`kept` counts the strategies, `ever` also the deleted ones, which stay because trades refer to them."""

    kept: int
    ever: int


async def count_stored(connection: Connection, user_id: int, *, lock: bool = False) -> StoredCounts:
    """Count the strategies. With `lock`, no other transaction stores or publishes one until this one ends."""
    if lock:
        await _lock_stored(connection)
    row = await connection.fetchrow(
        """
        SELECT count(*) FILTER (WHERE deleted_at IS NULL) AS kept, count(*) AS ever
        FROM user_strategies WHERE user_id = $1
        """,
        user_id,
    )
    return StoredCounts(**row)


async def count_published(connection: Connection, user_id: int, excluding: UUID) -> int:
    """Count the other published strategies. Takes the lock of `count_stored`."""
    await _lock_stored(connection)
    count: int = await connection.fetchval(
        """
        SELECT count(*) FROM user_strategies
        WHERE user_id = $1 AND published_strategy_id IS NOT NULL AND strategy_id <> $2
        """,
        user_id,
        excluding,
    )
    return count


async def _lock_stored(connection: Connection) -> None:
    await connection.execute("SELECT lock_for_tenant('strategies')")


async def list_versions(connection: Connection, user_id: int, strategy_id: UUID, wanted: Slice) -> list[VersionRow]:
    rows = await connection.fetch(
        f"""
        SELECT strategy_id, version, content_hash, document, created_at FROM strategy_versions
        WHERE user_id = $1 AND strategy_id = $2 {wanted.sql(3)}
        """,
        user_id,
        strategy_id,
        *wanted.arguments,
    )
    return [VersionRow(**row) for row in rows]


async def find_version(connection: Connection, user_id: int, strategy_id: UUID, version: int) -> VersionRow | None:
    row = await connection.fetchrow(
        """
        SELECT strategy_id, version, content_hash, document, created_at FROM strategy_versions
        WHERE user_id = $1 AND strategy_id = $2 AND version = $3
        """,
        user_id,
        strategy_id,
        version,
    )
    return VersionRow(**row) if row else None


async def get_version(connection: Connection, user_id: int, strategy_id: UUID, version: int) -> VersionRow:
    """Raises NotFound."""
    return require_found(await find_version(connection, user_id, strategy_id, version))


async def set_active(connection: Connection, user_id: int, strategy_id: UUID, is_active: bool) -> StrategyRow:
    row = await connection.fetchrow(
        f"""
        UPDATE user_strategies SET is_active = $3, revision = revision + 1 WHERE user_id = $1 AND strategy_id = $2
        RETURNING {COLUMNS}
        """,
        user_id,
        strategy_id,
        is_active,
    )
    return StrategyRow(**row)


async def set_publication(
    connection: Connection, user_id: int, strategy_id: UUID, published_id: UUID | None, version: int | None
) -> StrategyRow:
    """Set which publication is the strategy's; None: it is not public."""
    row = await connection.fetchrow(
        f"""
        UPDATE user_strategies SET is_public = $3::uuid IS NOT NULL, published_strategy_id = $3,
               published_version = $4, revision = revision + 1
        WHERE user_id = $1 AND strategy_id = $2 RETURNING {COLUMNS}
        """,
        user_id,
        strategy_id,
        published_id,
        version,
    )
    return StrategyRow(**row)


async def delete_strategy(connection: Connection, user_id: int, strategy_id: UUID) -> None:
    """Mark the strategy as deleted and free its name. Its versions stay, because trades refer to them."""
    await connection.execute(
        """
        UPDATE user_strategies SET is_active = false, deleted_at = now(), revision = revision + 1,
               strategy_name = strategy_name || ' (deleted ' || $2 || ')'
        WHERE user_id = $1 AND strategy_id = $2
        """,
        user_id,
        strategy_id,
    )


async def add_to_statistics(connection: Connection, closed: Sequence[ClosedTrades]) -> None:
    """Add closed trades to uses, win rate (percent) and mean PnL, in the transaction that closes them.

    The rates are computed from sums, so that rounding does not accumulate. The rows are locked in one order:
    concurrent batches may share strategies.
    """
    await connection.execute(ADD_TO_STATISTICS, *arrays_of(closed))
