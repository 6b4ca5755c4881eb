"""Hot queries find their rows by an index."""

from collections.abc import Awaitable, Callable
from typing import cast
from uuid import UUID

import asyncpg
import pytest

from services.trading.queries import candles, decisions, fills, leases, restrictions, sessions, trades
from services.trading.queries.decisions import DecisionFilter
from services.trading.queries.fills import FillFilter
from services.trading.queries.ordering import Order
from services.trading.queries.sessions import SessionFilter
from services.trading.queries.trades import TradeFilter
from shared.chassis.postgres import Connection
from stack.migrate import DatabaseAccess
from tests.integration.trading.conftest import Trading
from tests.integration.trading.market import BEFORE

ID = UUID(int=1)


class Recorder:
    """Stand-in for a connection that records the last statement and its arguments."""

    def __init__(self) -> None:
        self.statement = ""
        self.arguments: tuple[object, ...] = ()

    async def fetch(self, statement: str, *arguments: object) -> list[object]:
        self.statement, self.arguments = statement, arguments
        return []

    async def fetchrow(self, statement: str, *arguments: object) -> None:
        self.statement, self.arguments = statement, arguments

    fetchval = fetchrow


def _trades(connection: Connection) -> Awaitable[object]:
    return trades.list_trades(connection, 1, TradeFilter(), Order("entry_time"), None, 50)


def _sessions(connection: Connection) -> Awaitable[object]:
    return sessions.list_sessions(connection, 1, SessionFilter(), Order("created_at", descending=True), None, 50)


def _decisions(connection: Connection) -> Awaitable[object]:
    return decisions.list_decisions(connection, 1, DecisionFilter(ID), Order("time"), (BEFORE, ID), 50)


def _fills(connection: Connection) -> Awaitable[object]:
    return fills.list_all_fills(connection, 1, FillFilter(), Order("time"), (BEFORE, ID), 50)


@pytest.mark.parametrize(
    "query",
    [
        _trades,
        _sessions,
        _decisions,
        _fills,
        lambda connection: fills.list_fills(connection, 1, ID, 0, 50),
        lambda connection: fills.list_fills_of_decision(connection, 1, ID),
        lambda connection: trades.get_open_trade(connection, 1, ID),
        lambda connection: trades.sum_fills(connection, 1, ID),
        lambda connection: restrictions.list_restrictions(connection, 1, ID, 0, 50),
        lambda connection: trades.list_fills_of(connection, 1, [ID]),
        lambda connection: decisions.get_decision(connection, 1, ID),
        lambda connection: sessions.get_session(connection, 1, ID),
        lambda connection: sessions.list_running(connection, 1),
        lambda connection: candles.list_bars(connection, 1, None),
    ],
)
async def test_a_hot_query_uses_an_index(
    trading: Trading, query: Callable[[Connection], Awaitable[object]]
) -> None:
    recorder = Recorder()
    await query(cast(Connection, recorder))
    async with trading.database.tenant(1) as connection:
        plan = await explain(connection, recorder)
    assert "Index Cond" in plan
    assert "Seq Scan" not in plan


# A hundred sessions of a tenant with fifty trades each, without the sessions themselves.
MANY_TRADES = """
    SET session_replication_role = replica;
    INSERT INTO trading.user_trades (user_id, trade_id, session_id, strategy_id, strategy_hash, symbol, side,
                                     status, entry_time, entry_price, quantity, pnl, is_paper_trade)
    SELECT 1, gen_random_uuid(), lpad((n % 100)::text, 32, '0')::uuid, lpad('1', 32, '0')::uuid, 'h', 'A', 'LONG',
           'CLOSED', '2026-01-01T00:00:00Z'::timestamptz + n * interval '1 minute', 1, 1, 0, true
    FROM generate_series(1, 5000) AS n;
    ANALYZE trading.user_trades;
"""


async def test_trades_of_a_session_are_found_by_the_index_on_the_session(
    trading: Trading, postgres: str, database_access: DatabaseAccess
) -> None:
    superuser = await asyncpg.connect(postgres, database=database_access.name)
    await superuser.execute(MANY_TRADES)
    await superuser.close()
    recorder = Recorder()
    filter_ = TradeFilter(session_id=ID)
    await trades.list_trades(cast(Connection, recorder), 1, filter_, Order("entry_time"), (BEFORE, ID), 50)
    async with trading.database.tenant(1) as connection:
        plan = await explain(connection, recorder)
    assert "session_id" in plan.partition("Index Cond")[2].partition("\n")[0], plan


async def test_leases_are_renewed_by_an_index(trading: Trading) -> None:
    recorder = Recorder()
    await leases.renew(cast(Connection, recorder), "me")
    async with trading.database.queue() as connection:
        assert "leases_by_worker" in await explain(connection, recorder)


async def explain(connection: Connection, recorder: Recorder) -> str:
    """Return the plan of the recorded statement. Scans are disabled: on empty tables they would always be cheapest,
    and so they appear only where no index fits."""
    await connection.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
    rows = await connection.fetch("EXPLAIN " + recorder.statement, *recorder.arguments)
    return "\n".join(row[0] for row in rows)
