"""Notifications on the real database and broker; the test plays auth, billing and trading."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from services.notifications.alert_evaluator import Evaluator
from services.notifications.app import build
from services.notifications.consumers import on_subscription_changed
from services.notifications.operations.alerts import create_alert
from services.notifications.queries.alerts import AlertRow, AlertValues
from services.notifications.routes.alerts import AlertBody
from services.notifications.settings import NotificationsSettings
from shared.chassis.auth import Principal
from shared.chassis.events.outbox import emit
from shared.chassis.events.producer import Producer
from shared.chassis.postgres import Database
from shared.chassis.service import RunningService
from shared.chassis.service_tokens import ServiceCallers
from shared.contracts.billing import Features, Limits, PlanName, SubscriptionChanged
from shared.contracts.envelope import Event
from shared.contracts.types import from_ms
from shared.market.history_client import CandleHistory
from shared.strategy.bars import Bar
from shared.testing.api_client import Answer, ApiClient, Json, open_client
from shared.testing.tokens import TokenIssuer, serve_tokens
from stack.service_keys import list_file_of
from tests.as_tenant import as_tenant
from tests.integration.analytics.conftest import History, candles, market_of
from tests.unit.analytics.facts import INTERVAL
from tests.unit.notifications.plain import series_of

__all__ = ["History"]

ServiceEnv = Callable[[str], dict[str, str]]
ABOVE_TEN: Json = {
    "alert_name": "ten",
    "symbol": "BTCUSDT",
    "interval": INTERVAL,
    "alert_type": "PRICE",
    "condition_data": {"op": "above", "value": "10"},
}


def subscription(user_id: int, public_id: UUID, plan: PlanName, version: int = 1) -> SubscriptionChanged:
    paid = plan != "FREE"
    features = ("advanced_ai", "api_access", "backtesting", "telegram_alerts", "priority_support")
    unlimited = Limits.model_validate(dict.fromkeys(Limits.model_fields))
    return SubscriptionChanged(
        user_id=user_id,
        public_id=public_id,
        aggregate=f"subscription:{user_id}",
        aggregate_seq=version,
        subscription_version=version,
        plan=plan,
        status="ACTIVE",
        limits=unlimited,
        features=Features.model_validate(dict.fromkeys(features, paid)),
        period_start=from_ms(0),
        period_end=None,
        previous_plan=None,
        reason="test",
    )


def bars_at(*closes: str) -> list[Bar]:
    """Return bars of one price each, a quarter of an hour apart."""
    return [bar._replace(open_time_ms=bar.open_time_ms * 15) for bar in series_of(*closes).bars]


def settings_of(
    env: Mapping[str, str], history: History | None = None, jwks_url: str = ""
) -> NotificationsSettings:
    values: dict[str, object] = {name.lower(): value for name, value in env.items()}
    where = history.url if history else ""
    return NotificationsSettings.model_validate({**values, "jwks_url": jwks_url, "trading_internal_url": where})


@pytest.fixture
async def history(service_keys: Path) -> AsyncIterator[History]:
    history = History(ServiceCallers("trading", list_file_of(service_keys)))
    async with TestServer(history.app()) as server:
        history.url = str(server.make_url("")).rstrip("/")
        yield history


@pytest.fixture
async def database(service_env: ServiceEnv) -> AsyncIterator[Database]:
    """The service's database, without a process."""
    opened = await Database.connect(settings_of(service_env("notifications")))
    yield opened
    await opened.close()


@pytest.fixture
def evaluator(database: Database, service_env: ServiceEnv, history: History) -> Evaluator:
    return new_evaluator(database, service_env, history)


def new_evaluator(database: Database, service_env: ServiceEnv, history: History) -> Evaluator:
    return Evaluator(database, CandleHistory(settings_of(service_env("notifications"), history)))


NOT_YET = ("notify_telegram", "notify_email", "notify_webhook")


async def make_alert(database: Database, user_id: int, **changes: object) -> AlertRow:
    """Create an alert as the route does, for a tenant on PREMIUM."""
    caller = Principal(user_id, UUID(int=user_id), frozenset(), None)
    async with database.tenants([user_id]) as connection:
        await on_subscription_changed(connection, [subscription(user_id, caller.public_id, "PREMIUM")])
    internal = {name: changes.pop(name) for name in NOT_YET if name in changes}  # the route refuses these fields
    body = AlertBody.model_validate({**ABOVE_TEN, **changes})
    return await as_tenant(database, create_alert, caller, AlertValues(**{**body.model_dump(), **internal}))


async def list_fired_bars(database: Database, alert: AlertRow) -> list[datetime]:
    """Return the open times of the bars at which the alert fired."""
    async with database.tenant(alert.user_id) as connection:
        rows = await connection.fetch(
            "SELECT open_time FROM alert_firings WHERE alert_id = $1 ORDER BY open_time", alert.alert_id
        )
    return [row["open_time"] for row in rows]


@dataclass(frozen=True)
class StreamEvent:
    """One server-sent event."""

    id: str
    event: str
    data: Json


async def read_events(answer: aiohttp.ClientResponse, count: int, within_s: float = 30) -> list[StreamEvent]:
    """Read the next `count` events of a stream."""
    found: list[StreamEvent] = []
    fields: dict[str, str] = {}
    async with asyncio.timeout(within_s):
        while len(found) < count and (line := (await answer.content.readline()).decode()):
            name, _, value = line.rstrip("\n").partition(": ")
            if name:
                fields[name] = value
            elif "data" in fields:
                found.append(StreamEvent(fields["id"], fields["event"], json.loads(fields["data"])))
                fields = {}
    return found


@dataclass(frozen=True)
class Platform:
    running: RunningService
    issuer: TokenIssuer
    client: ApiClient
    market: Producer

    @property
    def database(self) -> Database:
        return self.running.database

    async def publish(self, *events: Event) -> None:
        """Publish through an outbox and Kafka, as the other services do."""
        for event in events:
            async with self.database.tenant(event.user_id) as connection:
                await emit(connection, event)

    async def user(self, user_id: int, plan: PlanName = "PREMIUM") -> str:
        """Create a tenant with a plan and return their token."""
        public_id = UUID(int=user_id)  # the same one that analytics' test events use
        await self.publish(subscription(user_id, public_id, plan))
        return self.issuer.make_token(public_id)

    async def call(self, method: str, path: str, token: str, body: Json | None = None, **headers: str) -> Answer:
        return await self.client.call(method, path, body, token, **headers)

    @asynccontextmanager
    async def stream(
        self, token: str, last: str | None = None, query: str = ""
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = {"Authorization": f"Bearer {token}", **({"Last-Event-ID": last} if last else {})}
        async with self.client.http.get(f"{self.client.url}/v1/inbox/stream{query}", headers=headers) as answer:
            assert answer.status == 200
            yield answer

    async def publish_bars(self, bars: Sequence[Bar]) -> None:
        await self.market.publish(candles(bars))

    async def inbox(self, token: str, query: str = "") -> list[Json]:
        return await self.list_all(f"/v1/inbox?{query}", token)

    async def list_all(self, path: str, token: str, limit: int = 100) -> list[Json]:
        return await self.client.list_all(path, token, limit)


@asynccontextmanager
async def start_platform(env: Mapping[str, str], issuer: TokenIssuer, history: History) -> AsyncIterator[Platform]:
    settings = settings_of(env, history, issuer.jwks_url)
    async with (
        RunningService(build, settings) as running,
        open_client(running.url, connections=0) as client,
        market_of(settings) as market,
    ):
        yield Platform(running, issuer, client, market)


@pytest.fixture
async def platform(service_env: ServiceEnv, any_source: None, history: History) -> AsyncIterator[Platform]:
    async with serve_tokens() as issuer, start_platform(service_env("notifications"), issuer, history) as running:
        yield running
