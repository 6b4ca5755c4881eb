"""Stores facts, and marks the days that depend on them in the same transaction."""

from collections.abc import Sequence

from services.analytics.queries import facts, stale_days
from shared.chassis.postgres import Connection
from shared.contracts.auth import UserRegistered, UserUpdated
from shared.contracts.trading import SessionStarted, SessionStopped, TradeClosed


async def record_zones(connection: Connection, events: Sequence[UserRegistered] | Sequence[UserUpdated]) -> None:
    """Store time zones. A zone may arrive after the first trades, or change: that changes all days."""
    in_order: list[UserRegistered | UserUpdated] = sorted(events, key=lambda event: event.aggregate_seq)
    zones = {event.user_id: (event.timezone, event.aggregate_seq) for event in in_order}
    if changed := await facts.upsert_zones(connection, zones):
        await stale_days.mark_all(connection, changed)


async def record_sessions_started(connection: Connection, events: Sequence[SessionStarted]) -> None:
    """Store started sessions. Their capital counts from their first day on."""
    await facts.upsert_started(connection, events)


async def record_sessions_stopped(connection: Connection, events: Sequence[SessionStopped]) -> None:
    """Store stopped sessions. Their final balance leaves the capital at work."""
    await facts.upsert_stopped(connection, events)


async def record_trades(connection: Connection, events: Sequence[TradeClosed]) -> None:
    """Store each trade once. A late trade changes its day and all later ones."""
    await facts.insert_trades(connection, events)
