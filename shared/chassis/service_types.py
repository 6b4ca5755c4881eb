"""What a service is made of."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.chassis.auth import Authenticator
from shared.chassis.ended_logins import EndedLogins
from shared.chassis.events.handlers import EventHandler, MarketEventHandler
from shared.chassis.events.producer import Producer
from shared.chassis.http.app import Endpoint
from shared.chassis.postgres import Database
from shared.chassis.settings import ServiceSettings


@dataclass(frozen=True)
class Job:
    """Something that runs beside the requests until told to stop. `role` is what `--only` calls it."""

    name: str
    run: Callable[[asyncio.Event], Awaitable[None]]
    role: str = "jobs"


@dataclass(frozen=True)
class Context:
    """What the chassis hands to a service when it is put together."""

    database: Database
    producer: Producer
    settings: ServiceSettings
    ended_logins: EndedLogins = field(default_factory=EndedLogins)


@dataclass(frozen=True)
class Service:
    """What the service hands back."""

    name: str
    endpoints: Sequence[Endpoint] = ()
    subscriptions: Sequence[EventHandler[Any]] = ()  # Any: each of its own event type
    market_subscriptions: Sequence[MarketEventHandler[Any]] = ()  # Any: each of its own event type
    jobs: Sequence[Job] = ()
    relay: bool = True
    authenticator: Authenticator | None = None  # auth checks tokens by its own means
    on_close: Sequence[Callable[[], Awaitable[None]]] = field(default_factory=tuple)
