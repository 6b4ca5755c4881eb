"""A tenant with an expired plan and no quota left, at every operation."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import aiohttp
import asyncpg
import pytest

from services.analytics.app import build as build_analytics
from services.analytics.settings import AnalyticsSettings
from services.auth.app import build as build_auth
from services.billing.app import build as build_billing
from services.billing.operations.quotas import refresh_quota
from services.notifications.app import build as build_notifications
from services.notifications.settings import NotificationsSettings
from services.trading.app import build as build_trading
from services.trading.operations.start_session import PaperTerms, StartRequest, start_session
from services.trading.operations.strategies import create_strategy
from services.trading.settings import TradingSettings
from shared.chassis.auth import Principal
from shared.chassis.clock import utc_now
from shared.chassis.events.outbox import emit
from shared.chassis.quota.metered_paths import kind_of
from shared.chassis.service import RunningService
from shared.contracts.billing import Features, Limits, SubscriptionChanged, SubscriptionStatus
from stack.migrate import DatabaseAccess
from tests.as_tenant import as_tenant
from tests.hostile.operations import UNKNOWN_ID, Operation, operations
from tests.integration.accounts import Client, auth_settings, billing_settings, eventually
from tests.integration.trading.market import BEFORE
from tests.unit.trading.scenes import CROSS

ServiceEnv = Callable[[str], dict[str, str]]
ROLES = {"http", "consumers", "relay"}
NOBODY = UUID(int=0)
STATUSES: tuple[SubscriptionStatus, ...] = ("PAST_DUE", "CANCELLED", "EXPIRED")
STOPS = ("POST /v1/sessions/{id}/pause", "POST /v1/sessions/{id}/stop", "GET /v1/sessions/{id}")


@dataclass
class World:
    """The five services, metered, and one tenant with a session for each subscription status in the test."""

    running: dict[str, RunningService]
    session: aiohttp.ClientSession
    access: DatabaseAccess
    routes: dict[str, Client] = field(default_factory=dict)
    token: str = ""
    user_id: int = 0
    public_id: UUID = NOBODY
    strategy_id: str = ""
    sessions: dict[SubscriptionStatus, str] = field(default_factory=dict)

    async def call(self, operation: Operation, session_id: str) -> tuple[int, str]:
        is_session = operation.path.startswith("/v1/sessions/")
        path = operation.path.replace("{id}", session_id if is_session else UNKNOWN_ID)
        path = path.replace("{version}", "1")
        path += "?seconds=0" if path.endswith("/stream") else ""
        body = None if operation.body is None else operation.sample(self.strategy_id)
        answer = await self.routes[operation.label].call(operation.method, path, body, self.token)
        return answer.status, str(answer.body.get("type", ""))

    async def owner(self, statement: str, *arguments: object) -> object:
        connection = await asyncpg.connect(self.access.owner_dsn)
        try:
            return await connection.fetchval(statement, *arguments)
        finally:
            await connection.close()

    async def set_status(self, status: SubscriptionStatus, version: int) -> None:
        """Set the status in billing's rows, and publish the event to the other services with every limit at
        zero."""
        await self.owner(
            "UPDATE billing.user_subscriptions SET status = $1, "
            "end_date = CASE $1 WHEN 'PAST_DUE' THEN NULL ELSE now() END",
            status,
        )
        event = SubscriptionChanged(
            user_id=self.user_id,
            public_id=self.public_id,
            aggregate=f"subscription:{self.public_id}",
            aggregate_seq=version,
            subscription_version=version,
            plan="FREE",
            status=status,
            limits=Limits.model_validate(dict.fromkeys(Limits.model_fields, 0)),
            features=Features.model_validate(dict.fromkeys(Features.model_fields, False)),
            period_start=BEFORE,
            period_end=None,
            previous_plan="PREMIUM",
            reason="test",
        )
        async with self.running["billing"].database.tenant(self.user_id) as connection:
            await emit(connection, event)
        await eventually(
            lambda: self.owner("SELECT max(subscription_version) FROM trading.entitlements"),
            lambda seen: seen == version,
        )


@pytest.fixture
async def world(service_env: ServiceEnv, database_access: DatabaseAccess, tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        running = await _start(stack, service_env, tmp_path)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        world = World(running, session, database_access)
        for service in running.values():
            client = Client(service.url, session)
            for endpoint in service.service.endpoints:
                world.routes[f"{endpoint.method} {endpoint.path}"] = client
        await _settle(world)
        yield world


async def _start(stack: AsyncExitStack, service_env: ServiceEnv, folder: Path) -> dict[str, RunningService]:
    auth = RunningService(build_auth, auth_settings(service_env("auth"), folder), ROLES)
    running = {"auth": await stack.enter_async_context(auth)}
    jwks_url = f"{running['auth'].url}/.well-known/jwks.json"
    settings = billing_settings(service_env("billing"), jwks_url)
    running["billing"] = await stack.enter_async_context(RunningService(build_billing, settings, ROLES))
    for name, build, kind in (
        ("trading", build_trading, TradingSettings),
        ("analytics", build_analytics, AnalyticsSettings),
        ("notifications", build_notifications, NotificationsSettings),
    ):
        values = {key.lower(): value for key, value in service_env(name).items()}
        service_settings = kind.model_validate({**values, "jwks_url": jwks_url})
        running[name] = await stack.enter_async_context(RunningService(build, service_settings, ROLES))
    return running


async def _settle(world: World) -> None:
    """Register the tenant, wait until every service knows them, start the sessions, then set every plan's quota to
    zero, and wait until every service knows."""
    registered = await Client(world.running["auth"].url, world.session).register("ann@example.org")
    world.token = registered.text("access_token")
    await eventually(
        lambda: world.owner("SELECT user_id FROM notifications.user_locator"), lambda found: found is not None
    )
    await eventually(
        lambda: world.owner("SELECT user_id FROM trading.entitlements"), lambda found: found is not None
    )
    await eventually(
        lambda: world.owner("SELECT user_id FROM analytics.user_locator"), lambda found: found is not None
    )
    world.user_id = int(str(await world.owner("SELECT user_id FROM trading.entitlements")))
    world.public_id = UUID(str(await world.owner("SELECT public_id FROM billing.subscribers")))
    caller = Principal(world.user_id, world.public_id, frozenset(), None)
    database = world.running["trading"].database
    strategy = await as_tenant(database, create_strategy, world.user_id, CROSS)
    world.strategy_id = str(strategy.strategy_id)
    for status, symbol in zip(STATUSES, ("BTCUSDT", "ETHUSDT", "XRPUSDT"), strict=True):
        request = StartRequest(strategy.strategy_id, None, None, symbol, "PAPER", Decimal(10_000))
        terms = PaperTerms(Decimal(0), Decimal(0))
        row = await as_tenant(database, start_session, caller, request, terms, BEFORE)
        world.sessions[status] = str(row.session_id)
    await world.owner("UPDATE billing.subscription_plans SET daily_api_requests = 0")
    async with world.running["billing"].database.tenant(world.user_id) as connection:
        await refresh_quota(connection, world.user_id, world.public_id, utc_now())

    async def know() -> bool:
        return all(each.quotas.find_exhausted(world.user_id, utc_now()) for each in world.running.values())

    await eventually(know, bool)


async def test_only_the_operations_that_may_never_be_refused_still_work(world: World) -> None:
    every = [operation for operation in operations() if not operation.public]
    faults = []
    for version, status in enumerate(STATUSES, 10):
        await world.set_status(status, version)
        for label in STOPS:
            operation = next(each for each in every if each.label == label)
            answered, _ = await world.call(operation, world.sessions[status])
            if answered != 200:
                faults.append(f"{status}: {label} answers {answered}")
        for operation in every:
            answered, problem = await world.call(operation, world.sessions[status])
            if kind_of(operation.method, operation.path) is not None:
                if (answered, problem) != (429, "/problems/quota-exceeded"):
                    faults.append(f"{status}: {operation.label} is metered and answers {answered} {problem}")
            elif answered in (401, 402, 403, 429) or answered >= 500:
                faults.append(f"{status}: {operation.label} may never be refused and answers {answered} {problem}")
    assert not faults, "\n".join(faults)
    used = await world.owner("SELECT coalesce(sum(total_requests), 0)::int FROM billing.user_api_usage")
    assert used == 0
