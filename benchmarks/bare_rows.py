"""The rows that a close has written, inserted again into bare tables: the bound of writing them."""

import time
from collections.abc import Mapping, Sequence

import asyncpg

from benchmarks.measuring import RUNS, Rate, summarise

BATCH = 500  # rows of a statement; each batch of every table is one transaction
COLUMNS = """
    SELECT attname, format_type(atttypid, atttypmod) AS kind FROM pg_attribute
    WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""


async def measure_bare(superuser: asyncpg.Connection, conditions: Mapping[str, str]) -> Rate:
    """Return how many times a second trading's rows under these conditions, by table, can be inserted.

    Into copies of the tables with the same indexes, and nothing else: no checks, references, tenants or triggers.
    """
    await superuser.execute("CREATE SCHEMA bare")
    tables = [await _Bare.copy(superuser, name, condition) for name, condition in conditions.items()]
    rates = []
    for _ in range(RUNS):
        for table in tables:
            await superuser.execute(f"TRUNCATE {table.name}")
        began = time.perf_counter()
        for number in range(max(len(table.batches) for table in tables)):
            async with superuser.transaction():
                for table in tables:
                    if number < len(table.batches):
                        await superuser.execute(table.insert, *table.batches[number])
        rates.append(1 / (time.perf_counter() - began))
    await superuser.execute("DROP SCHEMA bare CASCADE")
    return summarise(rates)


class _Bare:
    """A bare copy of a table, and the rows to insert: per batch, an array per column."""

    def __init__(self, name: str, insert: str, rows: Sequence[asyncpg.Record]) -> None:
        self.name = name
        self.insert = insert
        starts = range(0, len(rows), BATCH)
        self.batches = [list(zip(*rows[start : start + BATCH], strict=True)) for start in starts]

    @classmethod
    async def copy(cls, superuser: asyncpg.Connection, name: str, condition: str) -> "_Bare":
        await superuser.execute(f"CREATE TABLE bare.{name} (LIKE trading.{name} INCLUDING INDEXES)")
        columns = await superuser.fetch(COLUMNS, f"bare.{name}")
        arrays = ", ".join(f"${number}::{column['kind']}[]" for number, column in enumerate(columns, 1))
        rows = await superuser.fetch(f"SELECT * FROM trading.{name} WHERE {condition}")
        return cls(f"bare.{name}", f"INSERT INTO bare.{name} SELECT * FROM unnest({arrays})", rows)
