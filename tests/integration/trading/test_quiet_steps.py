"""What decides nothing writes nothing but the cursor, all sessions of a series in one statement."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from tests.integration.trading.conftest import Trading
from tests.unit.strategy.scenes import NEVER
from tests.unit.trading.scenes import wavy_bars

SESSIONS = 12
# Written by a worker for its leases, whatever the steps are at.
OF_LEASES = {"session_leases", "workers"}
COUNTER = """
    CREATE TABLE public.counted (what text, said text, changed bigint);
    CREATE FUNCTION public.count_statement() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
        IF TG_OP = 'UPDATE' THEN
            INSERT INTO public.counted SELECT TG_TABLE_NAME, TG_OP, count(*) FROM fresh;
        ELSE
            INSERT INTO public.counted VALUES (TG_TABLE_NAME, TG_OP, NULL);
        END IF;
        RETURN NULL;
    END $$;
"""


@asynccontextmanager
async def counting(trading: Trading) -> AsyncIterator[asyncpg.Connection]:
    """Every writing statement on trading's tables, seen by the database itself."""
    owner = await asyncpg.connect(trading.owner_dsn, server_settings={"search_path": "trading"})
    try:
        await owner.execute(COUNTER)
        tables = await owner.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'trading'")
        for name in {row["tablename"] for row in tables} - OF_LEASES:
            count = "FOR EACH STATEMENT EXECUTE FUNCTION public.count_statement()"
            await owner.execute(
                f"CREATE TRIGGER counted_u AFTER UPDATE ON {name} REFERENCING NEW TABLE AS fresh {count}"
            )
            await owner.execute(f"CREATE TRIGGER counted_o AFTER INSERT OR DELETE ON {name} {count}")
        yield owner
    finally:
        await owner.close()


async def test_a_step_that_decides_nothing_is_one_statement_for_all_sessions(trading: Trading) -> None:
    for user_id in range(1, SESSIONS + 1):
        caller = await trading.subscribe(user_id)
        await trading.start(caller, await trading.strategy(user_id, entry_conditions={"long": NEVER}))
    async with trading.worker():
        market = await trading.market(wavy_bars(40))
        await trading.until_at(await market.tell(5))  # all have joined
        async with counting(trading) as owner:
            for _ in range(10):
                await trading.until_at(await market.tell())
            counted = await owner.fetch(
                "SELECT what, said, changed FROM public.counted WHERE what NOT IN ('candles', 'series')"
            )
    moved = [tuple(row) for row in counted if row["changed"] != 0]
    assert moved == [("user_trading_sessions", "UPDATE", SESSIONS)] * 10
    assert len(counted) == 10, "nothing else was written, and no statement moved nobody"
