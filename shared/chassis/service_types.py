"""The parts of a service, and what the chassis provides to build them."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.chassis.auth import Authenticator
from shared.chassis.ended_logins import EndedLogins
from shared.chassis.events.handlers import EventHandler, MarketEventHandler
from shared.chassis.events.producer import Producer
from shared.chassis.http.app import Endpoint
from shared.chassis.jobs import Job
from shared.chassis.postgres import Database
from shared.chassis.settings import ServiceSettings


@dataclass(frozen=True)
class Context:
    """The parts that the chassis passes to a service when it is built."""

    database: Database
    producer: Producer
    settings: ServiceSettings
    ended_logins: EndedLogins = field(default_factory=EndedLogins)


@dataclass(frozen=True)
class Service:
    """The parts of a service, for the chassis to run."""

    name: str
    endpoints: Sequence[Endpoint] = ()
    handlers: Sequence[EventHandler[Any]] = ()  # Any: each has its own event type
    market_handlers: Sequence[MarketEventHandler[Any]] = ()  # Any: each has its own event type
    jobs: Sequence[Job] = ()
    relay: bool = True
    authenticator: Authenticator | None = None  # auth brings its own; the others use the default
    on_close: Sequence[Callable[[], Awaitable[None]]] = field(default_factory=tuple)
