"""`trade.closed` from its topic into facts and from there into days, against the same without our guarantees."""

import asyncio
import time
from collections.abc import Awaitable, Sequence
from functools import partial

import asyncpg

from benchmarks.measuring import RUNS, Figure, measure_rate_async, summarise
from benchmarks.servers import BenchmarkServers
from benchmarks.trades import messages, trades
from services.analytics.app import build
from services.analytics.jobs import USERS_AT_ONCE
from services.analytics.operations.days import compute_days_of_users, list_stale_users
from services.analytics.settings import AnalyticsSettings
from shared.chassis.events.producer import Outgoing, Producer
from shared.chassis.postgres import Database
from shared.chassis.service import RunningService
from shared.contracts.envelope import NOBODY
from shared.contracts.trading import TradeClosed

EVENTS = 20_000
USERS = 2_000
ONE_BY_ONE = 1_000
BATCH = 1_000
POLL_INTERVAL_S = 0.05  # counting rows costs a few milliseconds

PLAIN_TABLES = """
    CREATE SCHEMA IF NOT EXISTS plain;
    SET search_path = plain;
    CREATE TABLE IF NOT EXISTS inbox (event_id uuid PRIMARY KEY);
    CREATE TABLE IF NOT EXISTS facts (
        trade_id uuid PRIMARY KEY, user_id bigint, session_id uuid, mode text, symbol text, side text,
        strategy_id uuid, strategy_name text, entry_time timestamptz, exit_time timestamptz,
        pnl numeric, fee numeric, reason text
    );
    CREATE TABLE IF NOT EXISTS days (
        user_id bigint, date date, trades bigint, pnl numeric, PRIMARY KEY (user_id, date)
    );
"""
# As in operation: an event of a user whose registration is known is checked once, then from memory.
REGISTER_USERS = """
    INSERT INTO analytics.user_locator (public_id_sha256, user_id)
    SELECT sha256(uuid_send(lpad(to_hex(u), 32, '0')::uuid)), u FROM generate_series(1, $1::bigint) u
"""
SUM_DAYS = """
    INSERT INTO plain.days
    SELECT user_id, exit_time::date, count(*), sum(pnl) FROM analytics.trade_facts GROUP BY 1, 2
"""
INSERT_FACT = "INSERT INTO facts VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"
INSERT_FACTS = """
    INSERT INTO facts SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::text[], $5::text[], $6::text[],
        $7::uuid[], $8::text[], $9::timestamptz[], $10::timestamptz[], $11::numeric[], $12::numeric[], $13::text[])
"""


async def measure(servers: BenchmarkServers) -> list[Figure]:
    settings = AnalyticsSettings.model_validate(servers.environment("analytics"))
    events = trades(EVENTS, USERS)
    ready = messages(events)
    producer = Producer(servers.bootstrap, servers.prefix)
    connection = await asyncpg.connect(servers.superuser_dsn)
    await connection.execute(PLAIN_TABLES)
    await connection.execute(REGISTER_USERS, USERS)
    database = await Database.connect(settings)
    facts, days, summed = [], [], []
    for _ in range(RUNS):
        await _fill(connection, producer, ready)
        facts.append(await _consume(connection, settings))
        days.append(await _users_per_s(_compute_days(database)))
        await _empty(connection)
        summed.append(await _users_per_s(connection.execute(SUM_DAYS)))
    await database.close()
    singly = await measure_rate_async(
        ONE_BY_ONE, partial(_one_by_one, connection, events[:ONE_BY_ONE]), before=partial(_empty, connection)
    )
    batched = await measure_rate_async(
        EVENTS, partial(_batched, connection, events), before=partial(_empty, connection)
    )
    await connection.close()
    await producer.stop()
    name = "trade.closed, from the topic into facts"
    ours = summarise(facts)
    return [
        Figure(name, "events/s", ours, "a transaction of five statements per event", singly),
        Figure(name, "events/s", ours, "bare inserts of a thousand rows", batched, aim=0.25),
        Figure(
            f"days of {USERS:,} users with {EVENTS // USERS} trades each",
            "users/s",
            summarise(days),
            "one INSERT … GROUP BY of their sums",
            summarise(summed),
        ),
    ]


async def _fill(connection: asyncpg.Connection, producer: Producer, ready: Sequence[Outgoing]) -> None:
    """Publish the same trades again after emptying the tables. Committed offsets skip earlier messages."""
    tables = ("trade_facts", "inbox", "user_daily_performance", "stale_days")
    await connection.execute(f"TRUNCATE {', '.join(f'analytics.{table}' for table in tables)}")
    for begin in range(0, len(ready), BATCH):
        await producer.send(ready[begin : begin + BATCH])


async def _consume(connection: asyncpg.Connection, settings: AnalyticsSettings) -> float:
    """Return events per second from the first row to the last, without the time to join the group."""
    async with RunningService(build, settings, {"consumers"}):
        first = await _wait_for_rows(connection, 1)
        began = time.perf_counter()
        last = await _wait_for_rows(connection, EVENTS)
        return (last - first) / (time.perf_counter() - began)


async def _compute_days(database: Database) -> None:
    """Run one round of the job."""
    users = await list_stale_users(database, NOBODY, USERS_AT_ONCE)
    while users:
        await compute_days_of_users(database, users)
        users = await list_stale_users(database, users[-1], USERS_AT_ONCE)


async def _users_per_s(work: Awaitable[object]) -> float:
    began = time.perf_counter()
    await work
    return USERS / (time.perf_counter() - began)


async def _wait_for_rows(connection: asyncpg.Connection, wanted: int) -> int:
    async with asyncio.timeout(120):
        while (rows := await connection.fetchval("SELECT count(*) FROM analytics.trade_facts")) < wanted:
            await asyncio.sleep(POLL_INTERVAL_S)
    return int(rows)


async def _empty(connection: asyncpg.Connection) -> None:
    await connection.execute("TRUNCATE plain.inbox, plain.facts, plain.days")


async def _one_by_one(connection: asyncpg.Connection, events: Sequence[TradeClosed]) -> None:
    await connection.execute("SET search_path = plain")
    for event in events:
        await connection.execute("BEGIN")
        await connection.execute("INSERT INTO inbox VALUES ($1) ON CONFLICT DO NOTHING", event.trade_id)
        await connection.execute(INSERT_FACT, *_columns(event))
        await connection.execute(
            """
            INSERT INTO days VALUES ($1, $2, 1, $3)
            ON CONFLICT (user_id, date) DO UPDATE SET trades = days.trades + 1, pnl = days.pnl + excluded.pnl
            """,
            event.user_id,
            event.exit_time.date(),
            event.pnl,
        )
        await connection.execute("COMMIT")


async def _batched(connection: asyncpg.Connection, events: Sequence[TradeClosed]) -> None:
    await connection.execute("SET search_path = plain")
    for begin in range(0, len(events), BATCH):
        rows = [_columns(event) for event in events[begin : begin + BATCH]]
        await connection.execute(INSERT_FACTS, *map(list, zip(*rows, strict=True)))


def _columns(event: TradeClosed) -> tuple[object, ...]:
    return (
        event.trade_id,
        event.user_id,
        event.session_id,
        "PAPER",
        event.symbol,
        event.side,
        event.strategy_id,
        event.strategy_name,
        event.entry_time,
        event.exit_time,
        event.pnl,
        event.fee,
        event.reason,
    )
