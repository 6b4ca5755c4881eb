"""A server that accepts every byte and never answers: waiting for it is bounded."""

import random
import time
from urllib.parse import urlsplit

import pytest
from aiokafka.errors import KafkaError
from pydantic import SecretStr

from faults.proxy import Proxy, Weather
from shared.chassis.events.producer import START_TIMEOUT_S, Outgoing, Producer
from shared.chassis.postgres import ACQUIRE_TIMEOUT_S, INFRASTRUCTURE_FAULTS, Database
from stack.kafka import ProxyRoute
from stack.ports import Ports
from tests.faults.scene import Scene

LEEWAY_S = 3


def route_to(server: str, port: int) -> ProxyRoute:
    ports = Ports()
    free_port = ports.take()
    ports.release(free_port)
    return ProxyRoute(server, free_port, port)


async def test_waiting_for_a_silent_database_is_bounded_and_it_is_used_again(scene: Scene) -> None:
    dsn = scene.settings.postgres_app_dsn.get_secret_value()
    port = urlsplit(dsn).port
    assert port is not None
    async with Proxy(route_to("postgres", port), random.Random(1)) as proxy:
        through = dsn.replace(f":{port}/", f":{proxy.port}/")
        settings = scene.settings.model_copy(update={"postgres_app_dsn": SecretStr(through)})
        database = await Database.connect(settings)
        proxy.change(Weather("half_open"))
        began = time.monotonic()
        with pytest.raises(INFRASTRUCTURE_FAULTS):
            async with database.tenant(1) as connection:
                await connection.fetchval("SELECT 1")
        assert time.monotonic() - began < ACQUIRE_TIMEOUT_S + LEEWAY_S
        proxy.change(Weather("calm"))
        async with database.tenant(1) as connection:
            assert await connection.fetchval("SELECT 1") == 1
        await database.close()


async def test_waiting_for_a_silent_broker_is_bounded(scene: Scene) -> None:
    port = int(scene.bootstrap.rpartition(":")[2])
    async with Proxy(route_to("kafka", port), random.Random(1)) as proxy:
        proxy.change(Weather("half_open"))
        producer = Producer(f"127.0.0.1:{proxy.port}", scene.prefix)
        began = time.monotonic()
        with pytest.raises((KafkaError, TimeoutError)):
            await producer.send([Outgoing("trade.closed", "1", {}, b"{}")])
        assert time.monotonic() - began < START_TIMEOUT_S + LEEWAY_S
        await producer.stop()
