"""The risk limits of exchange accounts, their breaches, and the facts that they are compared with."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from services.trading.risk import Breach, RiskFacts, RiskLimit, RiskSettings
from shared.chassis.postgres import Connection
from shared.chassis.row_arrays import arrays_of


@dataclass(frozen=True)
class RiskRow(RiskSettings):
    """`equity` is the wallet's as last read; `breached_*` describe the breach that stops entries."""

    equity: Decimal | None = None
    highest_equity: Decimal | None = None
    breached_limit: RiskLimit | None = None
    breached_at: datetime | None = None
    breached_allowed: Decimal | None = None
    breached_value: Decimal | None = None
    resumed_at: datetime | None = None
    revision: int = 0
    updated_at: datetime | None = None

    @property
    def settings(self) -> RiskSettings:
        return RiskSettings(*(getattr(self, field.name) for field in fields(RiskSettings)))


COLUMNS = ", ".join(field.name for field in fields(RiskRow))
SETTINGS = tuple(field.name for field in fields(RiskSettings))


async def find_risk(
    connection: Connection, user_id: int, account_id: UUID, *, lock: bool = False
) -> RiskRow | None:
    row = await connection.fetchrow(
        f"""
        SELECT {COLUMNS} FROM account_risk WHERE user_id = $1 AND exchange_account_id = $2
        {"FOR UPDATE" if lock else ""}
        """,
        user_id,
        account_id,
    )
    return RiskRow(**row) if row else None


async def upsert_settings(
    connection: Connection, user_id: int, account_id: UUID, settings: RiskSettings
) -> RiskRow:
    row = await connection.fetchrow(
        f"""
        INSERT INTO account_risk AS r (user_id, exchange_account_id, {", ".join(SETTINGS)})
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (user_id, exchange_account_id) DO UPDATE SET
            {", ".join(f"{name} = excluded.{name}" for name in SETTINGS)}, revision = r.revision + 1
        RETURNING {COLUMNS}
        """,
        user_id,
        account_id,
        *(getattr(settings, name) for name in SETTINGS),
    )
    return RiskRow(**row)


async def lock_risks(
    connection: Connection, accounts: Sequence[tuple[int, UUID]]
) -> dict[tuple[int, UUID], RiskRow]:
    """Lock the limits of these accounts, in the order of their keys; those without limits have no row."""
    rows = await connection.fetch(
        f"""
        SELECT r.user_id, r.exchange_account_id, {", ".join(f"r.{name}" for name in COLUMNS.split(", "))}
        FROM account_risk AS r JOIN unnest($1::bigint[], $2::uuid[]) AS wanted (user_id, exchange_account_id)
             USING (user_id, exchange_account_id)
        ORDER BY r.user_id, r.exchange_account_id FOR UPDATE OF r
        """,
        *arrays_of(sorted(set(accounts))),
    )
    return {(row[0], row[1]): RiskRow(*tuple(row)[2:]) for row in rows}


async def read_facts(
    connection: Connection,
    user_id: int,
    account_id: UUID,
    row: RiskRow,
    now: datetime,
    entering: Sequence[UUID] = (),
) -> RiskFacts:
    """Read the account's facts. `now`, by the exchange's clock, determines the day.

    A session has one position: one that reverses counts with the larger of both sides, and those that are
    `entering` not at all, as what they leave is replaced.
    """
    facts = await connection.fetchrow(
        """
        SELECT (SELECT coalesce(sum(t.pnl), 0) FROM user_trades AS t
                JOIN user_trading_sessions AS s USING (user_id, session_id)
                WHERE t.user_id = $1 AND s.exchange_account_id = $2 AND t.status = 'CLOSED'
                      AND t.exit_time >= date_trunc('day', $3::timestamptz, 'UTC'))
               - (SELECT coalesce(sum(amount), 0) FROM funding_payments
                  WHERE user_id = $1 AND exchange_account_id = $2
                        AND time >= date_trunc('day', $3::timestamptz, 'UTC')) AS daily_pnl,
               coalesce(sum(largest), 0) AS open_notional, count(*) AS positions,
               (SELECT count(*) FROM order_intents
                WHERE user_id = $1 AND exchange_account_id = $2 AND recorded_at > now() - interval '1 minute')
                   AS orders
        FROM (
            SELECT session_id, max(notional) AS largest FROM (
                SELECT t.session_id, (t.quantity - t.closed_quantity) * t.entry_price AS notional
                FROM user_trades AS t JOIN user_trading_sessions AS s USING (user_id, session_id)
                WHERE t.user_id = $1 AND s.exchange_account_id = $2 AND t.status = 'OPEN'
                UNION ALL
                SELECT i.session_id, i.quantity * coalesce(i.expected_price, 0) FROM order_intents AS i
                WHERE i.user_id = $1 AND i.exchange_account_id = $2 AND i.leg = 'entry'
                      AND i.state IN ('INTENT', 'SENDING', 'UNKNOWN', 'ACKED', 'PARTIALLY_FILLED')
            ) AS side
            WHERE session_id <> ALL ($4::uuid[]) GROUP BY session_id
        ) AS open
        """,
        user_id,
        account_id,
        now,
        entering,
    )
    return RiskFacts(**facts, equity=row.equity, highest_equity=row.highest_equity)


async def set_breach(connection: Connection, user_id: int, account_id: UUID, breach: Breach, now: datetime) -> None:
    """Record a breach; the first one stays until a person resumes."""
    await connection.execute(
        """
        UPDATE account_risk SET breached_limit = $3, breached_allowed = $4, breached_value = $5, breached_at = $6
        WHERE user_id = $1 AND exchange_account_id = $2 AND breached_at IS NULL
        """,
        user_id,
        account_id,
        breach.limit,
        breach.allowed,
        breach.value,
        now,
    )


async def clear_breach(connection: Connection, user_id: int, account_id: UUID, now: datetime) -> RiskRow:
    """Clear the breach: the drawdown counts from the equity as it is now."""
    row = await connection.fetchrow(
        f"""
        UPDATE account_risk SET breached_limit = NULL, breached_allowed = NULL, breached_value = NULL,
               breached_at = NULL, highest_equity = equity, resumed_at = $3, revision = revision + 1
        WHERE user_id = $1 AND exchange_account_id = $2 RETURNING {COLUMNS}
        """,
        user_id,
        account_id,
        now,
    )
    return RiskRow(**row)


async def set_equity(connection: Connection, user_id: int, account_id: UUID, equity: Decimal) -> RiskRow | None:
    """Set the wallet's equity; None if the account has no limits."""
    row = await connection.fetchrow(
        f"""
        UPDATE account_risk SET equity = $3, highest_equity = greatest(highest_equity, $3)
        WHERE user_id = $1 AND exchange_account_id = $2 RETURNING {COLUMNS}
        """,
        user_id,
        account_id,
        equity,
    )
    return RiskRow(**row) if row else None


async def list_sessions_of_account(connection: Connection, user_id: int, account_id: UUID) -> list[UUID]:
    """List the account's sessions that are not stopped."""
    rows = await connection.fetch(
        """
        SELECT session_id FROM user_trading_sessions
        WHERE user_id = $1 AND exchange_account_id = $2 AND status <> 'STOPPED' ORDER BY session_id
        """,
        user_id,
        account_id,
    )
    return [row["session_id"] for row in rows]
