"""Maps consumed events to notices, from which notifications are written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from services.notifications.domain.kinds import Kind, Severity
from services.notifications.domain.wording import Count, Value, Word
from shared.contracts.billing import SubscriptionChanged, UsageThreshold
from shared.contracts.envelope import Event
from shared.contracts.notifications import AlertTriggered
from shared.contracts.trading import (
    ExchangeAccountAlarmed,
    SessionAlarmed,
    SessionStarted,
    SessionStopped,
    TradeClosed,
    TradeOpened,
)
from shared.contracts.types import decimal_text, instant_text, new_id
from shared.strategy.bars import INTERVAL_MS

# Reasons for which a session or trade ends against the user's intent.
INVOLUNTARY = ("kill_switch", "liquidation", "adl")
PLANS = ("FREE", "PREMIUM", "PRO")
EXPIRING = "key_expires_in_"


@dataclass(frozen=True)
class Notice:
    """One event for one user.

    `values` are formatted into the text, `data` is stored with it unformatted, `counted_as` is the key under which
    a digest counts it.
    """

    user_id: int
    event_id: UUID
    published_at: datetime
    kind: Kind
    counted_as: str
    values: Mapping[str, Value]
    data: Mapping[str, object] = field(default_factory=dict)
    severity: Severity = "INFO"
    session_id: UUID | None = None
    trade_id: UUID | None = None


def from_alert_triggered(event: AlertTriggered, received_at: datetime) -> Notice:
    closed_at = event.open_time + timedelta(milliseconds=INTERVAL_MS[event.interval])
    return Notice(
        event.user_id,
        _event_id(event),
        event.published_at or received_at,
        "ALERT_TRIGGERED",
        event.symbol,
        {
            "alert_name": event.alert_name,
            "symbol": event.symbol,
            "price": event.price,
            "time": closed_at,
        },
        {
            "alert_id": str(event.alert_id),
            "alert_name": event.alert_name,
            "alert_type": event.alert_type,
            "symbol": event.symbol,
            "interval": event.interval,
            "open_time": instant_text(event.open_time),
            "price": decimal_text(event.price),
            "value_seen": event.value_seen,
        },
    )


def from_session_started(event: SessionStarted, received_at: datetime) -> Notice:
    return Notice(
        event.user_id,
        _event_id(event),
        event.published_at or received_at,
        "SESSION_STARTED",
        event.symbol,
        {
            "strategy_name": event.strategy_name,
            "symbol": event.symbol,
            "mode": Word(event.mode),
            "time": event.started_at,
        },
        {
            "session_id": str(event.session_id),
            "symbol": event.symbol,
            "interval": event.interval,
            "mode": event.mode,
            "strategy_name": event.strategy_name,
            "initial_balance": decimal_text(event.initial_balance),
            "start_time": instant_text(event.started_at),
        },
        session_id=event.session_id,
    )


def from_session_stopped(event: SessionStopped, received_at: datetime) -> Notice:
    return Notice(
        event.user_id,
        _event_id(event),
        event.published_at or received_at,
        "SESSION_STOPPED",
        event.symbol,
        {
            "symbol": event.symbol,
            "mode": Word(event.mode),
            "reason": Word(event.reason),
            "trades": Count(event.total_trades, "trade"),
            "pnl": event.total_pnl,
            "time": event.stopped_at,
        },
        {
            "session_id": str(event.session_id),
            "symbol": event.symbol,
            "mode": event.mode,
            "reason": event.reason,
            "total_trades": event.total_trades,
            "pnl": decimal_text(event.total_pnl),
            "final_balance": decimal_text(event.final_balance),
            "end_time": instant_text(event.stopped_at),
        },
        "WARNING" if event.reason in INVOLUNTARY else "INFO",
        session_id=event.session_id,
    )


def from_session_alarmed(event: SessionAlarmed, received_at: datetime) -> Notice:
    return Notice(
        event.user_id,
        _event_id(event),
        event.published_at or received_at,
        "SESSION_ALARMED",
        event.symbol,
        {
            "symbol": event.symbol,
            "reason": Word(event.reason),
            "details": _in_brackets(event.details),
            "time": event.since,
        },
        {
            "session_id": str(event.session_id),
            "symbol": event.symbol,
            "reason": event.reason,
            "details": list(event.details),
            "since_time": instant_text(event.since),
        },
        "WARNING",
        session_id=event.session_id,
    )


def from_exchange_account_alarmed(event: ExchangeAccountAlarmed, received_at: datetime) -> Notice:
    """An expiring key can wait; anything else stops entries, or will soon."""
    return Notice(
        event.user_id,
        _event_id(event),
        event.published_at or received_at,
        "EXCHANGE_ACCOUNT_ALARMED",
        event.account_name,
        {
            "account_name": event.account_name,
            "reason": Word(event.reason),
            "details": _in_brackets(event.details),
            "time": event.since,
        },
        {
            "exchange_account_id": str(event.exchange_account_id),
            "account_name": event.account_name,
            "environment": event.environment,
            "reason": event.reason,
            "details": list(event.details),
            "key_expires_at": instant_text(event.expires_at) if event.expires_at else None,
            "since_time": instant_text(event.since),
        },
        "WARNING" if event.reason.startswith(EXPIRING) else "ERROR",
    )


def _in_brackets(details: Sequence[str]) -> str:
    return f" ({', '.join(details)})" if details else ""


def from_trade_opened(event: TradeOpened, received_at: datetime) -> Notice:
    return Notice(
        event.user_id,
        _event_id(event),
        event.published_at or received_at,
        "TRADE_OPENED",
        event.symbol,
        {**_trade_values(event), "price": event.entry_price, "time": event.entry_time},
        {
            **_trade_data(event),
            "entry_time": instant_text(event.entry_time),
            "entry_price": decimal_text(event.entry_price),
        },
        session_id=event.session_id,
        trade_id=event.trade_id,
    )


def from_trade_closed(event: TradeClosed, received_at: datetime) -> Notice:
    return Notice(
        event.user_id,
        _event_id(event),
        event.published_at or received_at,
        "TRADE_CLOSED",
        event.symbol,
        {
            **_trade_values(event),
            "strategy_name": event.strategy_name,
            "reason": Word(event.reason),
            "price": event.exit_price,
            "pnl": event.pnl,
            "time": event.exit_time,
        },
        {
            **_trade_data(event),
            "strategy_name": event.strategy_name,
            "entry_time": instant_text(event.entry_time),
            "entry_price": decimal_text(event.entry_price),
            "exit_time": instant_text(event.exit_time),
            "exit_price": decimal_text(event.exit_price),
            "pnl": decimal_text(event.pnl),
            "pnl_percentage": decimal_text(event.pnl_percentage),
            "fee": decimal_text(event.fee),
            "reason": event.reason,
        },
        "WARNING" if event.reason in INVOLUNTARY else "INFO",
        session_id=event.session_id,
        trade_id=event.trade_id,
    )


def from_subscription_changed(event: SubscriptionChanged, received_at: datetime) -> Notice | None:
    """Return a notice, or None if the plan did not change or is the user's first."""
    if event.previous_plan is None or event.previous_plan == event.plan:
        return None
    return Notice(
        event.user_id,
        _event_id(event),
        event.published_at or received_at,
        "SUBSCRIPTION_CHANGED",
        event.plan,
        {"plan": event.plan, "previous_plan": event.previous_plan},
        {
            "plan": event.plan,
            "previous_plan": event.previous_plan,
            "status": event.status,
            "reason": event.reason,
            "period_ends_at": instant_text(event.period_end) if event.period_end else None,
        },
        "WARNING" if PLANS.index(event.plan) < PLANS.index(event.previous_plan) else "INFO",
    )


def from_usage_threshold(event: UsageThreshold, received_at: datetime) -> Notice:
    return Notice(
        event.user_id,
        _event_id(event),
        event.published_at or received_at,
        "USAGE_THRESHOLD",
        event.meter,
        {"used": event.used, "limit": event.limit, "meter": Word(event.meter), "percent": event.percent},
        {
            "meter": event.meter,
            "used": event.used,
            "limit": event.limit,
            "percentage": event.percent,
            "period_starts_at": instant_text(event.period_start),
            "period_ends_at": instant_text(event.period_end),
        },
        "WARNING",
    )


def _trade_values(event: TradeOpened | TradeClosed) -> dict[str, Value]:
    return {
        "side": Word(event.side),
        "quantity": event.quantity,
        "symbol": event.symbol,
        "mode": Word("PAPER" if event.is_paper_trade else "LIVE"),
    }


def _trade_data(event: TradeOpened | TradeClosed) -> dict[str, object]:
    return {
        "trade_id": str(event.trade_id),
        "session_id": str(event.session_id),
        "symbol": event.symbol,
        "side": event.side,
        "quantity": decimal_text(event.quantity),
        "mode": "PAPER" if event.is_paper_trade else "LIVE",
        "late": event.late,
    }


def _event_id(event: Event) -> UUID:
    """Return the id that the event has on its topic, or a new one if it was not read from a topic."""
    return event.message_id or new_id()
