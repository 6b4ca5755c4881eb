"""Outbox and inbox against doing it the plain way, on servers started for the run."""

from collections.abc import Sequence
from uuid import UUID, uuid4

from pydantic import SecretStr

from benchmarks.measuring import Figure, rate_async
from cli.stack.migrate import DatabaseAccess, create_database, migrate, new_passwords
from cli.stack.topics import create_topics, topics_of
from services.analytics.consumers import on_trade_closed
from shared.chassis.clock import utc_now
from shared.chassis.cluster import KnownCluster
from shared.chassis.decoding import Received
from shared.chassis.inbox import Inbox
from shared.chassis.kafka_headers import headers_of
from shared.chassis.outbox import emit
from shared.chassis.postgres import Database
from shared.chassis.producer import Outgoing, Producer
from shared.chassis.relay import Relay
from shared.chassis.settings import ServiceSettings
from shared.contracts.trading import TradeClosed
from shared.contracts.types import new_id
from tests.backend import begin_run, end_run, servers_of_run

ROWS = 5_000
ONE_BY_ONE = 500
USERS = 50


def trades(count: int) -> list[TradeClosed]:
    now = utc_now()
    return [
        TradeClosed.model_validate(
            {
                "user_id": number % USERS + 1,
                "public_id": UUID(int=number % USERS + 1),
                "aggregate": "session",
                "aggregate_seq": 1,
                "trade_id": uuid4(),
                "session_id": UUID(int=7),
                "symbol": "BTCUSDT",
                "side": "LONG",
                "entry_time": now,
                "exit_time": now,
                "entry_price": "50000",
                "exit_price": "50010",
                "quantity": "0.1",
                "pnl": "1",
                "pnl_percentage": "0.02",
                "fee": "0.1",
                "reason": "signal",
                "strategy_id": UUID(int=8),
                "strategy_name": "cross",
                "strategy_hash": "x",
                "is_paper_trade": True,
            }
        )
        for number in range(count)
    ]


async def measure() -> list[Figure]:
    folder = begin_run()
    try:
        servers = servers_of_run()
        host = servers.postgres_dsn.rpartition("@")[2].partition("/")[0]
        access = DatabaseAccess(
            host.partition(":")[0], int(host.partition(":")[2]), f"bench_{uuid4().hex[:8]}", new_passwords()
        )
        await create_database(servers.postgres_dsn, access)
        await migrate(access)
        prefix = f"bench{uuid4().hex[:8]}."
        await create_topics(servers.kafka_bootstrap, topics_of(prefix=prefix))
        return [
            await _outbox(_settings(access, "trading", servers.kafka_bootstrap, prefix)),
            await _inbox(_settings(access, "analytics", servers.kafka_bootstrap, prefix)),
        ]
    finally:
        end_run(folder)


def _settings(access: DatabaseAccess, service: str, bootstrap: str, prefix: str) -> ServiceSettings:
    return ServiceSettings(
        service=service,
        postgres_app_dsn=SecretStr(access.dsn(f"{service}_app")),
        postgres_worker_dsn=SecretStr(access.dsn(f"{service}_worker")),
        postgres_queue_dsn=SecretStr(access.dsn(f"{service}_queue")),
        kafka_bootstrap=bootstrap,
        kafka_topic_prefix=prefix,
    )


async def _outbox(settings: ServiceSettings) -> Figure:
    database = await Database.connect(settings)
    producer = Producer(settings.kafka_bootstrap, settings.kafka_topic_prefix)
    events = trades(ROWS)

    async def fill() -> None:
        async with database.tenants({event.user_id for event in events}) as connection:
            await emit(connection, *events)

    async def ours() -> None:
        while await Relay(database, producer, KnownCluster(database)).send_waiting():
            pass

    async def fill_and_drain() -> None:
        await fill()
        await ours()

    now = utc_now()
    messages = [
        Outgoing(
            event.topic,
            event.key(),
            headers_of(event, str(new_id()), "bench", now),
            event.model_dump_json().encode(),
        )
        for event in events
    ]
    rate_ours, spread = await rate_async(ROWS, fill_and_drain)
    rate_theirs, _ = await rate_async(ROWS, lambda: producer.send(messages))
    await producer.stop()
    await database.close()
    return Figure(
        "outbox, written and drained", "events/s", rate_ours, spread, "a bare idempotent producer", rate_theirs
    )


async def _inbox(settings: ServiceSettings) -> Figure:
    database = await Database.connect(settings)

    async def ours() -> None:
        inbox = Inbox(database, "bench", TradeClosed, on_trade_closed)
        received = _received(trades(ROWS))
        for begin in range(0, ROWS, 1_000):
            await inbox.work(received[begin : begin + 1_000])

    async def theirs() -> None:
        for event in trades(ONE_BY_ONE):
            await _one_by_one(database, event)

    rate_ours, spread = await rate_async(ROWS, ours)
    rate_theirs, _ = await rate_async(ONE_BY_ONE, theirs)
    await database.close()
    return Figure("inbox", "events/s", rate_ours, spread, "a transaction per event", rate_theirs)


async def _one_by_one(database: Database, event: TradeClosed) -> None:
    async with database.tenants([event.user_id]) as connection:
        await connection.execute(
            "INSERT INTO inbox (user_id, consumer, event_id, body_sha256) VALUES ($1, 'plain', $2, 'x')",
            event.user_id,
            new_id(),
        )
        await on_trade_closed(connection, [event])


def _received(events: Sequence[TradeClosed]) -> list[Received]:
    return [
        Received(event.topic, 0, 0, event.key(), new_id(), {}, event.model_dump_json().encode(), event, "")
        for event in events
    ]
