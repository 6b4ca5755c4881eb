"""Billing's database, and its operations with an explicit clock."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from uuid import UUID

import asyncpg
import pytest

from services.billing.operations.subscriptions import begin_subscription
from shared.chassis.postgres import Database
from shared.contracts.auth import UserRegistered
from shared.contracts.billing import SubscriptionChanged
from shared.contracts.trading import TradeClosed
from shared.contracts.types import new_id
from tests.integration.accounts import billing_settings

NOW = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)


@pytest.fixture
async def database(service_env: Callable[[str], dict[str, str]]) -> AsyncIterator[Database]:
    opened = await Database.connect(billing_settings(service_env("billing")))
    yield opened
    await opened.close()


async def set_daily_limit(owner_dsn: str, plan: str, requests: int | None) -> None:
    """Set it on the active version in place; only tests do this."""
    owner = await asyncpg.connect(owner_dsn)
    try:
        await owner.execute(
            "UPDATE billing.subscription_plans SET daily_api_requests = $2 WHERE name = $1 AND is_active",
            plan,
            requests,
        )
    finally:
        await owner.close()


def registered_event(user_id: int, email: str) -> UserRegistered:
    return UserRegistered(
        user_id=user_id,
        public_id=new_id(),
        aggregate="user",
        aggregate_seq=1,
        email=email,
        timezone="UTC",
        language="en",
        is_active=True,
    )


async def begin(database: Database, user_id: int, email: str = "", now: datetime = NOW) -> UUID:
    """Create a subscriber on trial and return their public id."""
    event = registered_event(user_id, email or f"user{user_id}@example.org")
    async with database.tenants([user_id]) as connection:
        await begin_subscription(connection, event, now)
    return event.public_id


def closed_event(
    user_id: int,
    published_at: datetime,
    trade_id: UUID | None = None,
    *,
    paper: bool = True,
    public_id: UUID | None = None,
) -> TradeClosed:
    event = TradeClosed.model_validate(
        {"user_id": user_id, "public_id": public_id or new_id(), "aggregate": "session", "aggregate_seq": 1}
        | {"trade_id": trade_id or new_id(), "session_id": new_id(), "symbol": "BTCUSDT", "side": "LONG"}
        | {"entry_time": NOW, "exit_time": NOW, "entry_price": "1", "exit_price": "2", "quantity": "1"}
        | {"pnl": "1", "pnl_percentage": "100", "fee": "0", "reason": "signal", "strategy_id": new_id()}
        | {"strategy_name": "x", "strategy_hash": "x", "is_paper_trade": paper}
    )
    return event.received(published_at)


async def list_published(database: Database) -> list[SubscriptionChanged]:
    """Return the subscription events in the outbox, in order."""
    async with database.queue() as connection:
        rows = await connection.fetch("SELECT payload FROM outbox WHERE topic = 'subscription.changed' ORDER BY id")
    return [SubscriptionChanged.model_validate_json(row["payload"]) for row in rows]
