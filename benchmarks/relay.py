"""The outbox sent by the relay, against an idempotent producer that is handed the same messages."""

from benchmarks.measuring import Figure, rate_async
from benchmarks.servers import Place
from benchmarks.trades import messages, trades
from shared.chassis.events.cluster import KnownCluster
from shared.chassis.events.outbox import emit
from shared.chassis.events.producer import Producer
from shared.chassis.events.relay import Relay
from shared.chassis.postgres import Database

ROWS = 10_000
USERS = 500
AT_ONCE = 500  # messages that the bare producer is handed before it waits, as many as the relay


async def measure(place: Place) -> list[Figure]:
    settings = place.settings("trading")
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
        for begin in range(0, ROWS, AT_ONCE):
            await producer.send(ready[begin : begin + AT_ONCE])

    ours = await rate_async(ROWS, drain, before=fill)
    theirs = await rate_async(ROWS, produce)
    await producer.stop()
    await database.close()
    return [Figure("outbox, drained by the relay", "events/s", ours, "a bare idempotent producer", theirs, aim=0.6)]
