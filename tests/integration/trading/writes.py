"""Every writing statement on trading's tables, as the database itself sees it."""

from dataclasses import dataclass

import asyncpg

# Written by a worker for its leases, whatever the steps are at; by a market that is told.
APART = {"session_leases", "workers", "candles", "series"}
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


@dataclass(frozen=True)
class Write:
    """`changed` is how many rows an UPDATE touched."""

    table: str
    statement: str
    changed: int | None


async def count_writes(owner: asyncpg.Connection) -> None:
    """From now on."""
    await owner.execute(COUNTER)
    tables = await owner.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'trading'")
    count = "FOR EACH STATEMENT EXECUTE FUNCTION public.count_statement()"
    for name in {row["tablename"] for row in tables} - APART:
        await owner.execute(
            f"""
            CREATE TRIGGER counted_u AFTER UPDATE ON trading.{name} REFERENCING NEW TABLE AS fresh {count};
            CREATE TRIGGER counted_o AFTER INSERT OR DELETE ON trading.{name} {count}
            """
        )


async def writes(owner: asyncpg.Connection) -> list[Write]:
    """Since counting began, or since this was asked."""
    return [Write(*row) for row in await owner.fetch("DELETE FROM public.counted RETURNING what, said, changed")]
