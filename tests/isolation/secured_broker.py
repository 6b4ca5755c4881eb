"""A broker that authenticates its clients, as the stack runs it."""

import asyncio
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from aiokafka.errors import KafkaError

from shared.chassis.events.broker_access import KafkaAccess
from stack.acls import principal
from stack.grants import apply_grants
from stack.kafka import KafkaServer
from stack.migrate import SERVICES
from stack.topics import create_topics, topics_of
from tests.backend import PASSWORD, _end, _free_port
from tests.pace import patient

PREFIX = "secured."
PASSWORDS: Mapping[str, str] = {service: f"{service}-{PASSWORD}" for service in SERVICES}


@dataclass(frozen=True)
class SecuredBroker:
    """The operator's access, and each service's."""

    admin: KafkaAccess
    controller_port: int
    prefix: str = PREFIX

    def login(self, user: str, password: str) -> KafkaAccess:
        return replace(
            self.admin, mechanism="SCRAM-SHA-512", username=principal(user, self.prefix), password=password
        )

    def service(self, service: str) -> KafkaAccess:
        return self.login(service, PASSWORDS[service])

    @property
    def anonymous(self) -> KafkaAccess:
        return KafkaAccess(self.admin.bootstrap)


@contextmanager
def secured_broker(folder: Path) -> Iterator[SecuredBroker]:
    """Start a broker with the topics, the services' users and their ACLs."""
    server = KafkaServer(folder / "kafka", _free_port(), _free_port(), admin_password=PASSWORD)
    server.prepare()
    with (folder / "kafka.log").open("w") as log:
        process = subprocess.Popen(server.command(), stdout=log, stderr=log, start_new_session=True)
    try:
        asyncio.run(_set_up(server.admin))
        yield SecuredBroker(server.admin, server.controller_port)
    finally:
        _end(process.pid)
        process.wait()


async def _set_up(admin: KafkaAccess) -> None:
    async with asyncio.timeout(patient(60)):
        while True:
            try:
                await create_topics(admin, topics_of(prefix=PREFIX, max_partitions=1))
                break
            except KafkaError:
                await asyncio.sleep(0.1)
        await apply_grants(admin, PREFIX, PASSWORDS)
