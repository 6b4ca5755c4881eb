"""The platform that a command works on: a stack's home, or what the environment names."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import click

from shared.chassis.events.broker_access import KafkaAccess
from stack.external_kafka import kafka_from_environment
from stack.failure import BadInput
from stack.home import DEFAULT_HOME, State, read_state
from stack.migrate import SERVICES

home_option = click.option(
    "--home",
    type=click.Path(path_type=Path),
    default=None,
    help=f"The stack's folder; default: from the environment, else {DEFAULT_HOME}.",
)
service_option = click.option(
    "--service", "services", multiple=True, type=click.Choice(SERVICES), help="Only this service; repeatable."
)


@dataclass(frozen=True)
class Target:
    """Kafka, the topic prefix, and the DSN of the queue role by service."""

    kafka: KafkaAccess
    prefix: str
    queues: Mapping[str, str]

    @property
    def broker(self) -> KafkaAccess:
        """Kafka, as its operator. Raises BadInput if its address is not set."""
        if not self.kafka.bootstrap:
            raise BadInput("KAFKA_BOOTSTRAP is not set")
        return self.kafka

    def of(self, services: tuple[str, ...]) -> Mapping[str, str]:
        """Return the queue DSNs of these services, or of all if empty. Raises BadInput."""
        wanted = services or SERVICES
        for service in wanted:
            if service not in self.queues:
                raise BadInput(f"POSTGRES_{service.upper()}_QUEUE_DSN is not set (or select others with --service)")
        return {service: self.queues[service] for service in SERVICES if service in wanted}


def find_target(home: Path | None, bootstrap: str = "", prefix: str | None = None) -> Target:
    """Find the target: from `home` if given, else from the environment, else from the home of `up`.

    Raises BadInput.
    """
    found = _environment(bootstrap) if home is None else None
    found = found or _stack(home or DEFAULT_HOME)
    kafka = replace(found.kafka, bootstrap=bootstrap) if bootstrap else found.kafka
    return replace(found, kafka=kafka, prefix=found.prefix if prefix is None else prefix)


def find_dsn(home: Path | None, variable: str, select: Callable[[State], str | None]) -> str:
    """Return a DSN: from `home` if given, else from the environment variable, else from the home of `up`.

    Raises BadInput.
    """
    if home is None and (dsn := os.environ.get(variable)):
        return dsn
    home = home or DEFAULT_HOME
    state = read_state(home)
    dsn = None if state is None else select(state)
    if not dsn:
        raise BadInput(f"no stack runs in {home}; start one with `tradefleet up`, or set {variable}")
    return dsn


def _environment(bootstrap: str) -> Target | None:
    queues = {service: os.environ.get(f"POSTGRES_{service.upper()}_QUEUE_DSN", "") for service in SERVICES}
    queues = {service: dsn for service, dsn in queues.items() if dsn}
    kafka = kafka_from_environment(bootstrap)
    if kafka is None and not queues:
        return None
    return Target(kafka or KafkaAccess(""), os.environ.get("KAFKA_TOPIC_PREFIX", ""), queues)


def _stack(home: Path) -> Target:
    state = read_state(home)
    if state is None or not state.kafka:
        raise BadInput(
            f"no stack runs in {home}; start one with `tradefleet up`, or set KAFKA_BOOTSTRAP and "
            "POSTGRES_<SERVICE>_QUEUE_DSN"
        )
    return Target(state.kafka_access, state.topic_prefix, state.queues)
