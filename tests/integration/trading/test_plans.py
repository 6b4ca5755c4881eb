"""Hot queries find their rows by an index."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from decimal import Decimal
from typing import cast
from uuid import UUID

import asyncpg
import pytest

from services.trading.queries import (
    alarms,
    candles,
    controls,
    decisions,
    executions,
    fills,
    intents,
    kill_switches,
    leases,
    restrictions,
    sessions,
    steps,
    trades,
)
from services.trading.queries.decisions import DecisionFilter
from services.trading.queries.fills import FillFilter
from services.trading.queries.intents import Gate
from services.trading.queries.sessions import SessionFilter, SessionLease
from services.trading.queries.steps import Move, NewFill, QuietMove, TradeChange
from services.trading.queries.trades import TradeFilter
from shared.chassis.errors import NotFound
from shared.chassis.listing import Slice
from shared.chassis.postgres import Connection
from stack.migrate import DatabaseAccess
from tests.integration.trading.conftest import Trading
from tests.integration.trading.market import BEFORE
from tests.plans import Recorder, explain_without_scans

ID, ZERO = UUID(int=1), Decimal(0)
LEASE = SessionLease(1, ID, 1, "ALLOWED")
MOVE = Move(1, ID, 1, "ALLOWED", None, BEFORE, {}, 0, 0, 0, ZERO, ZERO, ZERO, 0, 0, None)
CHANGE = TradeChange(1, ID, "OPEN", ZERO, ZERO, False, None, None, None, None, None, None)
FILL = NewFill(1, ID, 1, ID, BEFORE, "open", "LONG", ZERO, ZERO, ZERO, "entry", late=False, equity=None)


def _trades(connection: Connection) -> Awaitable[object]:
    return trades.list_trades(connection, 1, TradeFilter(), Slice(trades.ORDERS["entry_time"], 50))


def _sessions(connection: Connection) -> Awaitable[object]:
    return sessions.list_sessions(
        connection, 1, SessionFilter(), Slice(sessions.ORDERS["created_at"], 50, descending=True)
    )


def _decisions(connection: Connection) -> Awaitable[object]:
    return decisions.list_decisions(
        connection, 1, DecisionFilter(ID), Slice(decisions.ORDERS["bar_time"], 50, (BEFORE, ID))
    )


def _fills(connection: Connection) -> Awaitable[object]:
    return fills.list_all_fills(
        connection, 1, FillFilter(), Slice(fills.ALL_ORDERS["fill_time"], 50, (BEFORE, ID), descending=True)
    )


@pytest.mark.parametrize(
    "query",
    [
        _trades,
        _sessions,
        _decisions,
        _fills,
        lambda connection: fills.list_fills(connection, 1, ID, Slice(fills.BY_NUMBER, 50, (0,))),
        lambda connection: fills.list_fills_of_decision(connection, 1, ID),
        lambda connection: trades.find_open_trade(connection, 1, ID),
        lambda connection: steps.move_sessions(connection, [MOVE]),
        lambda connection: steps.move_cursors(connection, [QuietMove(1, ID, 1, None, BEFORE)]),
        lambda connection: steps.change_trades(connection, [CHANGE]),
        lambda connection: steps.insert_fills(connection, [FILL]),
        lambda connection: steps.list_fills_of(connection, [LEASE]),
        lambda connection: restrictions.list_restrictions(connection, 1, ID, Slice(restrictions.BY_NUMBER, 50)),
        lambda connection: trades.list_session_fills(connection, 1, ID),
        lambda connection: decisions.get_decision(connection, 1, ID),
        lambda connection: sessions.get_session(connection, 1, ID),
        lambda connection: sessions.list_running(connection, 1),
        lambda connection: candles.list_bars(connection, 1, None),
        lambda connection: controls.read_controls(connection, [LEASE]),
        lambda connection: leases.lock_allowed(connection, [LEASE]),
        lambda connection: intents.pass_gate(connection, [Gate(1, ID, 1, ["link"], BEFORE)]),
        lambda connection: intents.list_relevant(connection, 1, ID),
        lambda connection: intents.list_orders(connection, 1, ID, None, Slice(intents.ORDERS["created_at"], 50)),
        lambda connection: executions.find_recorded(connection, [(1, "execution")]),
        lambda connection: executions.list_recorded(connection, 1, ID, BEFORE),
        lambda connection: executions.list_foreign(connection, 1, ID),
    ],
)
async def test_a_hot_query_uses_an_index(
    trading: Trading, query: Callable[[Connection], Awaitable[object]]
) -> None:
    recorder = Recorder()
    with suppress(NotFound):  # the recorder finds nothing
        await query(cast(Connection, recorder))
    async with trading.database.tenant(1) as connection:
        plan = await explain_without_scans(connection, recorder)
    assert "Index Cond" in plan
    assert "Seq Scan" not in plan


async def test_a_batch_finds_each_row_by_its_tenant(trading: Trading) -> None:
    """Not by all tenants of the batch, which Postgres would sort again for each row that a join looks up."""
    recorder, of_one = Recorder(), ([1], [ID])
    connection = cast(Connection, recorder)
    for query in (
        steps.move_sessions(connection, [MOVE]),
        steps.move_cursors(connection, [QuietMove(1, ID, 1, None, BEFORE)]),
        steps.change_trades(connection, [CHANGE]),
        steps.insert_fills(connection, [FILL]),
        decisions.end_orders(connection, *of_one, [BEFORE]),
        kill_switches.measure_switches(connection, *of_one),
        alarms.set_silent(connection, *of_one, BEFORE),
        alarms.list_awaiting(connection, *of_one),
        alarms.insert_restrictions(connection, *of_one, "FEED_SILENT"),
        alarms.increment_event_seq(connection, *of_one),
        sessions.touch_sessions(connection, *of_one),
    ):
        await query
        async with trading.database.tenants([1, 2]) as connection:
            plan = await explain_without_scans(connection, recorder)
        found = [line for line in plan.splitlines() if "Index Cond" in line]
        assert "Seq Scan" not in plan
        assert not [line for line in found if "user_id" not in line or "InitPlan" in line], plan


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
    wanted = Slice(trades.ORDERS["entry_time"], 50, (BEFORE, ID))
    await trades.list_trades(cast(Connection, recorder), 1, filter_, wanted)
    async with trading.database.tenant(1) as connection:
        plan = await explain_without_scans(connection, recorder)
    assert "session_id" in plan.partition("Index Cond")[2].partition("\n")[0], plan


async def test_leases_are_renewed_by_an_index(trading: Trading) -> None:
    recorder = Recorder()
    await leases.renew(cast(Connection, recorder), "me")
    async with trading.database.queue() as connection:
        assert "leases_by_worker" in await explain_without_scans(connection, recorder)
