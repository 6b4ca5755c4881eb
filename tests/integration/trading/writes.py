"""Count every writing statement on trading's tables, by triggers in the database."""

from dataclasses import dataclass

import asyncpg

# Written independently of session steps: leases by the worker, candles by the market.
EXCLUDED = {"session_leases", "workers", "candles", "series"}
COUNTER = """
    CREATE TABLE public.counted (table_name text, operation text, changed bigint);
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


@dataclass(frozen=True)
class Write:
    """One statement; `changed` is the number of rows that an UPDATE touched."""

    table: str
    statement: str
    changed: int | None


async def count_writes(owner: asyncpg.Connection) -> None:
    """Start counting."""
    await owner.execute(COUNTER)
    tables = await owner.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'trading'")
    count = "FOR EACH STATEMENT EXECUTE FUNCTION public.count_statement()"
    for name in {row["tablename"] for row in tables} - EXCLUDED:
        await owner.execute(
            f"""
            CREATE TRIGGER counted_u AFTER UPDATE ON trading.{name} REFERENCING NEW TABLE AS fresh {count};
            CREATE TRIGGER counted_o AFTER INSERT OR DELETE ON trading.{name} {count}
            """
        )


async def writes(owner: asyncpg.Connection) -> list[Write]:
    """Return the statements since counting began, or since the last call."""
    return [
        Write(*row)
        for row in await owner.fetch("DELETE FROM public.counted RETURNING table_name, operation, changed")
    ]


async def stop_counting(owner: asyncpg.Connection) -> None:
    await owner.execute("DROP FUNCTION public.count_statement CASCADE; DROP TABLE public.counted")
