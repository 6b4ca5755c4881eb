"""The catalogue of all events, the only source of topics, partitions and retention."""

from shared.contracts.activity import ActivityRecorded
from shared.contracts.auth import LoginEnded, UserRegistered, UserUpdated
from shared.contracts.billing import QuotaChanged, SubscriptionChanged, UsageRecorded, UsageThreshold
from shared.contracts.envelope import Event, Message
from shared.contracts.market import CandleClosed, CandleOpened, MarketInterest
from shared.contracts.notifications import AlertTriggered
from shared.contracts.trading import (
    ExchangeAccountAlarmed,
    SessionAlarmed,
    SessionStarted,
    SessionStopped,
    TradeClosed,
    TradeOpened,
)

EVENTS: tuple[type[Message], ...] = (
    UserRegistered,
    UserUpdated,
    LoginEnded,
    ActivityRecorded,
    SubscriptionChanged,
    UsageThreshold,
    QuotaChanged,
    UsageRecorded,
    SessionStarted,
    SessionStopped,
    SessionAlarmed,
    ExchangeAccountAlarmed,
    TradeOpened,
    TradeClosed,
    AlertTriggered,
    MarketInterest,
    CandleOpened,
    CandleClosed,
)

BY_TOPIC: dict[str, type[Message]] = {event.topic: event for event in EVENTS}

# Topics on which an event that cannot be sent or handled blocks its key until an operator acts.
HALTING: frozenset[str] = frozenset(
    event.topic for event in EVENTS if issubclass(event, Event) and event.on_poison == "halt"
)
