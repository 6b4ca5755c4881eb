"""Synthetic trades as `trade.closed` events."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from shared.chassis.events.headers import headers_of
from shared.chassis.events.producer import Outgoing
from shared.contracts.trading import TradeClosed
from shared.contracts.types import new_id

BEGIN = datetime(2026, 1, 5, tzinfo=UTC)


def trades(count: int, users: int) -> list[TradeClosed]:
    """Return trades of `users` users in turn, a minute apart."""
    return [_trade(number, number % users + 1) for number in range(count)]


def _trade(number: int, user_id: int) -> TradeClosed:
    exit_time = BEGIN + timedelta(minutes=number)
    return TradeClosed.model_validate(
        {
            "user_id": user_id,
            "public_id": UUID(int=user_id),
            "aggregate": f"session:{user_id}",
            "aggregate_seq": number + 1,
            "trade_id": new_id(),
            "session_id": UUID(int=user_id),
            "symbol": "BTCUSDT",
            "side": "LONG",
            "entry_time": exit_time - timedelta(minutes=15),
            "exit_time": exit_time,
            "entry_price": "50000",
            "exit_price": "50010",
            "quantity": "0.1",
            "pnl": "1",
            "pnl_percentage": "0.02",
            "fee": "0.1",
            "reason": "signal",
            "strategy_id": UUID(int=8),
            "strategy_name": "cross",
            "strategy_hash": "x",
            "is_paper_trade": True,
        }
    )


def messages(events: list[TradeClosed]) -> list[Outgoing]:
    """Return the messages that the relay would send for the events."""
    return [
        Outgoing(
            event.topic,
            event.key(),
            headers_of(event, str(new_id()), event.source, event.exit_time),
            event.model_dump_json().encode(),
        )
        for event in events
    ]
