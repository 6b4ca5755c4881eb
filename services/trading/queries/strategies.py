"""Strategies and their immutable versions."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from shared.chassis.postgres import Connection

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
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class VersionRow:
    strategy_id: UUID
    version: int
    content_hash: str
    document: Document
    created_at: datetime


COLUMNS = """
    strategy_id, strategy_name, strategy_description, strategy_config, entry_conditions, exit_conditions,
    risk_management, content_hash, version, total_uses, win_rate, avg_pnl, is_public, is_active, created_at,
    updated_at
"""


async def insert_strategy(
    connection: Connection, user_id: int, strategy_id: UUID, document: Document, content_hash: str
) -> None:
    await connection.execute(
        """
        INSERT INTO user_strategies (user_id, strategy_id, strategy_name, strategy_description, strategy_config,
                                     entry_conditions, exit_conditions, risk_management, content_hash)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        """,
        user_id,
        strategy_id,
        *_parts(document),
        content_hash,
    )


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
) -> int | None:
    """The new version's number; None if there is no such strategy."""
    version: int | None = await connection.fetchval(
        """
        UPDATE user_strategies SET strategy_name = $3, strategy_description = $4, strategy_config = $5,
               entry_conditions = $6, exit_conditions = $7, risk_management = $8, content_hash = $9,
               version = version + 1
        WHERE user_id = $1 AND strategy_id = $2 AND is_active RETURNING version
        """,
        user_id,
        strategy_id,
        *_parts(document),
        content_hash,
    )
    return version


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


async def get_strategy(connection: Connection, user_id: int, strategy_id: UUID) -> StrategyRow | None:
    row = await connection.fetchrow(
        f"SELECT {COLUMNS} FROM user_strategies WHERE user_id = $1 AND strategy_id = $2", user_id, strategy_id
    )
    return StrategyRow(**row) if row else None


async def list_strategies(
    connection: Connection, user_id: int, after: UUID | None, limit: int
) -> list[StrategyRow]:
    """Active ones, in the order they were made (ids rise with time)."""
    rows = await connection.fetch(
        f"""
        SELECT {COLUMNS} FROM user_strategies
        WHERE user_id = $1 AND is_active AND ($2::uuid IS NULL OR strategy_id > $2)
        ORDER BY strategy_id LIMIT $3
        """,
        user_id,
        after,
        limit,
    )
    return [StrategyRow(**row) for row in rows]


async def list_versions(
    connection: Connection, user_id: int, strategy_id: UUID, after: int, limit: int
) -> list[VersionRow]:
    rows = await connection.fetch(
        """
        SELECT strategy_id, version, content_hash, document, created_at FROM strategy_versions
        WHERE user_id = $1 AND strategy_id = $2 AND version > $3::bigint ORDER BY version LIMIT $4
        """,
        user_id,
        strategy_id,
        after,
        limit,
    )
    return [VersionRow(**row) for row in rows]


async def get_version(connection: Connection, user_id: int, strategy_id: UUID, version: int) -> VersionRow | None:
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


async def deactivate_strategy(connection: Connection, user_id: int, strategy_id: UUID) -> bool:
    """Its versions stay: trades refer to them. Its name becomes free."""
    done = await connection.fetchval(
        """
        UPDATE user_strategies SET is_active = false, strategy_name = strategy_name || ' (deleted ' || $2 || ')'
        WHERE user_id = $1 AND strategy_id = $2 AND is_active RETURNING true
        """,
        user_id,
        strategy_id,
    )
    return bool(done)


async def update_statistics(connection: Connection, user_id: int, strategy_id: UUID) -> None:
    """Uses, win rate (percent) and mean pnl follow from the closed trades. The row is locked before they are
    counted: of two trades closed at once, the later one counts both."""
    await connection.execute(
        "SELECT FROM user_strategies WHERE user_id = $1 AND strategy_id = $2 FOR NO KEY UPDATE",
        user_id,
        strategy_id,
    )
    await connection.execute(
        """
        UPDATE user_strategies SET (total_uses, win_rate, avg_pnl) = (
            SELECT count(*), round(100.0 * count(*) FILTER (WHERE pnl > 0) / nullif(count(*), 0), 6),
                   round(avg(pnl), 8)
            FROM user_trades WHERE user_id = $1 AND strategy_id = $2 AND status = 'CLOSED')
        WHERE user_id = $1 AND strategy_id = $2
        """,
        user_id,
        strategy_id,
    )
