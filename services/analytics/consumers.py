"""What analytics hears: batches, written as batches."""

from collections.abc import Sequence

from services.analytics import queries
from shared.chassis.identity import claim_users
from shared.chassis.kafka import Subscription
from shared.chassis.postgres import Connection
from shared.contracts.auth import UserRegistered
from shared.contracts.trading import SessionStarted, SessionStopped, TradeClosed

MODES = ("PAPER", "LIVE")


async def on_user_registered(connection: Connection, events: Sequence[UserRegistered]) -> None:
    """The zone may come after the first trades: their days are cut again."""
    await queries.upsert_zones(connection, events)
    await queries.mark_stale(connection, {(event.user_id, mode) for event in events for mode in MODES})
    await claim_users(connection, events)


async def on_session_started(connection: Connection, events: Sequence[SessionStarted]) -> None:
    await queries.mark_stale(connection, await queries.upsert_started(connection, events))


async def on_session_stopped(connection: Connection, events: Sequence[SessionStopped]) -> None:
    await queries.upsert_stopped(connection, events)


async def on_trade_closed(connection: Connection, events: Sequence[TradeClosed]) -> None:
    await queries.mark_stale(connection, await queries.insert_trades(connection, events))


SUBSCRIPTIONS = (
    Subscription(UserRegistered, on_user_registered),
    Subscription(SessionStarted, on_session_started),
    Subscription(SessionStopped, on_session_stopped),
    Subscription(TradeClosed, on_trade_closed),
)
