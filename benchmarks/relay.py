"""The outbox sent by the relay, against an idempotent producer that is given the same messages."""

from benchmarks.measuring import Figure, measure_rate_async
from benchmarks.servers import BenchmarkServers
from benchmarks.trades import messages, trades
from shared.chassis.events.cluster import KnownCluster
from shared.chassis.events.outbox import emit
from shared.chassis.events.producer import Producer
from shared.chassis.events.relay import Relay
from shared.chassis.postgres import Database

ROWS = 10_000
USERS = 500
BATCH = 500  # messages per send of the bare producer, as many as the relay's


async def measure(servers: BenchmarkServers) -> list[Figure]:
    settings = servers.settings("trading")
    database = await Database.connect(settings)
    producer = Producer(settings.kafka_bootstrap, settings.kafka_topic_prefix)
    events = trades(ROWS, USERS)
    ready = messages(events)
    relay = Relay(database, producer, KnownCluster(database))

    async def fill() -> None:
        async with database.tenants({event.user_id for event in events}) as connection:
            await emit(connection, *events)

    async def drain() -> None:
        while await relay.send_waiting():
            pass

    async def produce() -> None:
        for begin in range(0, ROWS, BATCH):
            await producer.send(ready[begin : begin + BATCH])

    ours = await measure_rate_async(ROWS, drain, before=fill)
    theirs = await measure_rate_async(ROWS, produce)
    await producer.stop()
    await database.close()
    return [Figure("outbox, drained by the relay", "events/s", ours, "a bare idempotent producer", theirs, aim=0.6)]
