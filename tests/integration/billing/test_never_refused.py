"""A tenant with an expired plan and no quota left, at every operation."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from services.billing.operations.quotas import refresh_quota
from services.trading.operations.start_session import PaperTerms, StartRequest, start_session
from services.trading.operations.strategies import create_strategy
from shared.chassis.auth import Principal
from shared.chassis.clock import utc_now
from shared.chassis.events.outbox import emit
from shared.chassis.quota.metered_paths import kind_of
from shared.contracts.billing import Features, Limits, SubscriptionChanged, SubscriptionStatus
from shared.testing.api_client import public_id_of
from shared.testing.operations import UNKNOWN_ID, Operation
from shared.testing.tenant import with_id
from stack.migrate import DatabaseAccess
from tests.as_tenant import as_tenant
from tests.hostile.operations import operations, sample_of
from tests.integration.accounts import eventually
from tests.integration.trading.market import BEFORE
from tests.isolation.world import Person, World, running_services
from tests.unit.trading.scenes import CROSS

ServiceEnv = Callable[[str], dict[str, str]]
ROLES = {"http", "consumers", "relay"}
NOBODY = UUID(int=0)
STATUSES: tuple[SubscriptionStatus, ...] = ("PAST_DUE", "CANCELLED", "EXPIRED")
STOPS = ("POST /v1/sessions/{id}/pause", "POST /v1/sessions/{id}/stop", "GET /v1/sessions/{id}")


@dataclass
class Scene:
    """The five services, metered, and one tenant with a session for each subscription status in the test."""

    world: World
    ann: Person
    access: DatabaseAccess
    public_id: UUID = NOBODY
    strategy_id: str = ""
    sessions: dict[SubscriptionStatus, str] = field(default_factory=dict)

    async def call(self, operation: Operation, session_id: str) -> tuple[int, str]:
        path = with_id(operation.path, session_id if operation.path.startswith("/v1/sessions/") else UNKNOWN_ID)
        body = None if operation.body is None else sample_of(operation, self.strategy_id)
        answer = await self.ann.call(operation.method, path, body)
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
            user_id=self.ann.user_id,
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
        async with self.world.running["billing"].database.tenant(self.ann.user_id) as connection:
            await emit(connection, event)
        await eventually(
            lambda: self.owner("SELECT max(subscription_version) FROM trading.entitlements"),
            lambda seen: seen == version,
        )


@pytest.fixture
async def scene(
    service_env: ServiceEnv, database_access: DatabaseAccess, postgres: str, tmp_path: Path
) -> AsyncIterator[Scene]:
    async with running_services(service_env, database_access, postgres, tmp_path, ROLES) as (world, _):
        scene = Scene(world, world.person("ann", email="ann@example.org"), database_access)
        await _settle(scene)
        yield scene


async def _settle(scene: Scene) -> None:
    """Register the tenant, wait until every service knows them, start the sessions, then set every plan's quota to
    zero, and wait until every service knows."""
    ann, running = scene.ann, scene.world.running
    ann.keep(await ann.register(ann.email))
    for table in ("notifications.user_locator", "trading.entitlements", "analytics.user_locator"):
        await eventually(
            lambda table=table: scene.owner(f"SELECT user_id FROM {table}"),  # type: ignore[misc]
            lambda found: found is not None,
        )
    ann.user_id = int(str(await scene.owner("SELECT user_id FROM trading.entitlements")))
    scene.public_id = public_id_of(ann.token)
    caller = Principal(ann.user_id, scene.public_id, frozenset(), None)
    database = running["trading"].database
    strategy = await as_tenant(database, create_strategy, ann.user_id, CROSS)
    scene.strategy_id = str(strategy.strategy_id)
    for status, symbol in zip(STATUSES, ("BTCUSDT", "ETHUSDT", "XRPUSDT"), strict=True):
        request = StartRequest(strategy.strategy_id, None, None, symbol, "PAPER", Decimal(10_000))
        terms = PaperTerms(Decimal(0), Decimal(0))
        row = await as_tenant(database, start_session, caller, request, terms, BEFORE)
        scene.sessions[status] = str(row.session_id)
    await scene.owner("UPDATE billing.subscription_plans SET daily_api_requests = 0")
    async with running["billing"].database.tenant(ann.user_id) as connection:
        await refresh_quota(connection, ann.user_id, scene.public_id, utc_now())

    async def know() -> bool:
        return all(each.quotas.find_exhausted(ann.user_id, utc_now()) for each in running.values())

    await eventually(know, bool)


async def test_only_the_operations_that_may_never_be_refused_still_work(scene: Scene) -> None:
    every = [operation for operation in operations() if not operation.public]
    faults = []
    for version, status in enumerate(STATUSES, 10):
        await scene.set_status(status, version)
        for label in STOPS:
            operation = next(each for each in every if each.label == label)
            answered, _ = await scene.call(operation, scene.sessions[status])
            if answered != 200:
                faults.append(f"{status}: {label} answers {answered}")
        for operation in every:
            answered, problem = await scene.call(operation, scene.sessions[status])
            if kind_of(operation.method, operation.path) is not None:
                if (answered, problem) != (429, "/problems/quota-exceeded"):
                    faults.append(f"{status}: {operation.label} is metered and answers {answered} {problem}")
            elif answered in (401, 402, 403, 429) or answered >= 500:
                faults.append(f"{status}: {operation.label} may never be refused and answers {answered} {problem}")
    assert not faults, "\n".join(faults)
    used = await scene.owner("SELECT coalesce(sum(total_requests), 0)::int FROM billing.user_api_usage")
    assert used == 0
