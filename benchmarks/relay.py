"""The outbox sent by the relay, against an idempotent producer that is given the same messages."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from aiokafka import AIOKafkaProducer

from benchmarks.measuring import RUNS, Figure, summarise
from benchmarks.servers import BenchmarkServers
from benchmarks.trades import messages, trades
from shared.chassis.events.cluster import KnownCluster
from shared.chassis.events.headers import to_wire
from shared.chassis.events.outbox import emit
from shared.chassis.events.producer import Producer
from shared.chassis.events.relay import Relay
from shared.chassis.postgres import Database

ROWS = 10_000
USERS = 500
BATCH = 500  # messages per send of the producers, as many as the relay's


async def measure(servers: BenchmarkServers) -> list[Figure]:
    settings = servers.settings("trading")
    database = await Database.connect(settings)
    producer = Producer(settings.kafka_bootstrap, settings.kafka_topic_prefix)
    bare = AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap, enable_idempotence=True)
    await bare.start()
    events = trades(ROWS, USERS)
    ready = messages(events)
    prefix = settings.kafka_topic_prefix
    wire = [(prefix + each.topic, each.payload, each.key.encode(), to_wire(each.headers)) for each in ready]
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

    async def produce_bare() -> None:
        for begin in range(0, ROWS, BATCH):
            sent = [
                await bare.send(topic, value, key, headers=headers)
                for topic, value, key, headers in wire[begin : begin + BATCH]
            ]
            await asyncio.gather(*sent)

    rates: dict[str, list[float]] = {"relay": [], "producer": [], "bare": []}
    for _ in range(RUNS):  # alternating, so that changes of the machine's speed affect all alike
        await fill()
        rates["relay"].append(await _rate(drain))
        rates["producer"].append(await _rate(produce))
        rates["bare"].append(await _rate(produce_bare))
    await bare.stop()
    await producer.stop()
    await database.close()
    measured = {name: summarise(each) for name, each in rates.items()}
    name, peer = "outbox, drained by the relay", "a bare idempotent producer"
    return [
        Figure(name, "events/s", measured["relay"], peer, measured["bare"], aim=0.6),
        Figure(name, "events/s", measured["relay"], "the relay's producer alone", measured["producer"]),
    ]


async def _rate(run: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await run()
    return ROWS / (time.perf_counter() - began)
