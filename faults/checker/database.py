"""The database as a superuser sees it, with the messages of the topics loaded beside it."""

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg

from faults.checker.evidence import NUL, REPLACED, Evidence

Connection: TypeAlias = asyncpg.Connection

# The services that consume each topic.
CONSUMERS: Mapping[str, tuple[str, ...]] = {
    "user.registered": ("billing", "analytics", "notifications"),
    "user.updated": ("analytics", "notifications"),
    "activity.recorded": ("auth",),
    "subscription.changed": ("auth", "trading", "analytics", "notifications"),
    "usage.recorded": ("billing",),
    "usage.threshold": ("notifications",),
    "session.started": ("analytics", "notifications"),
    "session.stopped": ("analytics", "notifications"),
    "session.alarmed": ("notifications",),
    "exchange_account.alarmed": ("notifications",),
    "trade.opened": ("notifications",),
    "trade.closed": ("analytics", "billing", "notifications"),
    "alert.triggered": ("notifications",),
}
EVIDENCE_TABLES = """
    CREATE TEMP TABLE messages (topic text, kafka_partition integer, kafka_offset bigint, key text, headers text,
                                value text);
    CREATE TEMP TABLE hears (topic text, service text);
    CREATE TEMP TABLE explained (event_id text, why text);
    CREATE TEMP TABLE exchange (kind text, uid text, entry text);
"""


@asynccontextmanager
async def open_database(dsn: str, evidence: Evidence) -> AsyncIterator[Connection]:
    """Open one repeatable-read snapshot with the evidence loaded; it is rolled back at the end."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=_exact_json)
        snapshot = connection.transaction(isolation="repeatable_read")
        await snapshot.start()
        await connection.execute("SET LOCAL TimeZone = 'UTC'")
        await _load_evidence(connection, evidence)
        yield connection
        await snapshot.rollback()
    finally:
        await connection.close()


async def run_statements(connection: Connection, invariant: str) -> AsyncIterator[list[str]]:
    """Run each statement of an invariant's file and yield the texts of its violations."""
    for statement in statements_of(invariant):
        yield [row[0] for row in await connection.fetch(statement)]


def statements_of(invariant: str) -> Iterator[str]:
    (file,) = Path(__file__).parent.glob(f"{invariant.lower()}_*.sql")
    yield from (statement for statement in file.read_text().split(";\n") if statement.strip())


async def _load_evidence(connection: Connection, evidence: Evidence) -> None:
    await connection.execute(EVIDENCE_TABLES)
    await connection.copy_records_to_table(
        "messages",
        records=[
            (
                message.topic,
                message.partition,
                message.offset,
                _storable(message.key),
                json.dumps({name: _storable(value) for name, value in message.headers.items()}),
                _storable(message.value),
            )
            for message in evidence.messages
        ],
    )
    consumers = [(topic, service) for topic, services in CONSUMERS.items() for service in services]
    await connection.copy_records_to_table("hears", records=consumers)
    await connection.copy_records_to_table("explained", records=list(evidence.explained.items()))
    entries = [(entry["kind"], entry["uid"], json.dumps(entry)) for entry in evidence.exchange]
    await connection.copy_records_to_table("exchange", records=entries)
    await connection.execute((Path(__file__).parent / "tables.sql").read_text())


def _storable(text: str) -> str:
    return text.replace(NUL, REPLACED)


def _exact_json(text: str) -> Any:  # Any: JSON of a row
    return json.loads(text, parse_float=Decimal)
