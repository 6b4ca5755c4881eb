"""Every event there is: topics, partitions and retention are derived from here and from nowhere else."""

from shared.contracts.activity import ActivityRecorded
from shared.contracts.auth import LoginEnded, UserRegistered, UserUpdated
from shared.contracts.billing import SubscriptionChanged, UsageRecorded, UsageThreshold
from shared.contracts.envelope import Event, Message
from shared.contracts.market import CandleClosed, CandleOpened, MarketInterest
from shared.contracts.notifications import AlertTriggered
from shared.contracts.trading import SessionAlarmed, SessionStarted, SessionStopped, TradeClosed, TradeOpened

EVENTS: tuple[type[Message], ...] = (
    UserRegistered,
    UserUpdated,
    LoginEnded,
    ActivityRecorded,
    SubscriptionChanged,
    UsageThreshold,
    UsageRecorded,
    SessionStarted,
    SessionStopped,
    SessionAlarmed,
    TradeOpened,
    TradeClosed,
    AlertTriggered,
    MarketInterest,
    CandleOpened,
    CandleClosed,
)

BY_TOPIC: dict[str, type[Message]] = {event.topic: event for event in EVENTS}

# Where an event that cannot be sent or worked makes its key wait for a person, rather than go on without it.
HALTING: frozenset[str] = frozenset(
    event.topic for event in EVENTS if issubclass(event, Event) and event.on_poison == "halt"
)
