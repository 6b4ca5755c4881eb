"""Which services publish and consume each event."""

from collections.abc import Mapping, Sequence
from typing import Any

import services.analytics.consumers
import services.auth.consumers
import services.billing.consumers
import services.notifications.consumers
import services.trading.consumers
from shared.chassis.events.handlers import EventHandler
from shared.contracts.auth import LoginEnded
from shared.contracts.billing import QuotaChanged
from shared.contracts.envelope import Message
from shared.contracts.market import CandleClosed, CandleOpened, MarketInterest

EVENT_HANDLERS: Mapping[str, Sequence[EventHandler[Any]]] = {  # Any: each of its own event type
    "auth": services.auth.consumers.EVENT_HANDLERS,
    "billing": services.billing.consumers.EVENT_HANDLERS,
    "trading": services.trading.consumers.EVENT_HANDLERS,
    "analytics": services.analytics.consumers.EVENT_HANDLERS,
    "notifications": services.notifications.consumers.EVENT_HANDLERS,
}

# Events that are consumed without an inbox; tests/contracts/test_asyncapi.py finds each place that does.
READS: Mapping[str, Sequence[type[Message]]] = {
    "trading": (MarketInterest, CandleOpened, CandleClosed),
    "analytics": (CandleClosed,),
    "notifications": (CandleClosed,),
}

# Events that the HTTP layer of every service consumes, in each of its processes.
READ_BY_ALL: Sequence[type[Message]] = (LoginEnded, QuotaChanged)


def senders(event: type[Message]) -> Sequence[str]:
    """Return the services that publish this event."""
    return event.sources()


def receivers(event: type[Message]) -> list[str]:
    """Return the services that consume this event, each in consumer groups of its own."""
    return [
        service
        for service, handlers in EVENT_HANDLERS.items()
        if event in (*READ_BY_ALL, *READS.get(service, ())) or any(each.event is event for each in handlers)
    ]


def dead_letter_senders(event: type[Message]) -> list[str]:
    """Return the services that may publish dead letters of this event: those that park failed events."""
    return [] if event in READ_BY_ALL else receivers(event)
