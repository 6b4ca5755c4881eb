"""Query plans of statements, as the queries send them."""

from shared.chassis.postgres import Connection


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

    fetchval = execute = fetchrow


async def explain(connection: Connection, recorder: Recorder) -> str:
    """Return the plan of the recorded statement."""
    rows = await connection.fetch("EXPLAIN " + recorder.statement, *recorder.arguments)
    return "\n".join(row[0] for row in rows)


async def explain_without_scans(connection: Connection, recorder: Recorder) -> str:
    """Return the plan of the recorded statement. Scans are disabled: on empty tables they would always be cheapest,
    and so they appear only where no index fits."""
    await connection.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
    return await explain(connection, recorder)
