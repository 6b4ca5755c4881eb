"""Two transactions on the same rows, in every order in which their statements can run."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import asyncpg
import pytest

from benchmarks.trades import trades
from services.billing.domain import Change
from services.billing.operations.subscriptions import change_plan, process_deadlines
from services.trading.operations.start_session import StartRequest, start_session
from services.trading.operations.strategies import create_strategy
from services.trading.queries.sessions import SessionRow
from services.trading.settings import TradingSettings
from shared.chassis.auth import Principal
from shared.chassis.errors import PlanLimitReached
from shared.chassis.events.cluster import KnownCluster
from shared.chassis.events.outbox import emit
from shared.chassis.events.producer import Producer
from shared.chassis.events.relay import Relay
from shared.chassis.postgres import Database
from shared.contracts.billing import SubscriptionChanged
from stack.migrate import DatabaseAccess
from tests.as_tenant import as_tenant
from tests.faults.interleaving import every_order, run_in
from tests.faults.scene import UNSENT, Scene
from tests.integration.accounts import billing_settings
from tests.integration.billing.conftest import NOW, begin
from tests.integration.trading.conftest import PAPER, consume, plan_changed
from tests.integration.trading.market import BEFORE
from tests.unit.trading.scenes import CROSS

ServiceEnv = Callable[[str], dict[str, str]]


@pytest.fixture
async def superuser(postgres: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(postgres)
    yield connection
    await connection.close()


async def publish_next(database: Database, user_id: int, aggregate: str) -> None:
    """Publish as every operation does: update the aggregate's row first, then emit the event with its next
    number."""
    async with database.tenant(user_id) as connection:
        seq = await connection.fetchval(
            "UPDATE counters SET seq = seq + 1 WHERE user_id = $1 AND aggregate = $2 RETURNING seq",
            user_id,
            aggregate,
        )
        event = trades(user_id, user_id)[-1]
        await emit(connection, event.model_copy(update={"aggregate": aggregate, "aggregate_seq": seq}))


@pytest.mark.parametrize("aggregates", [("one", "one"), ("one", "another")], ids=["one aggregate", "two"])
async def test_events_of_interleaved_transactions_are_sent_in_order(
    scene: Scene, superuser: asyncpg.Connection, aggregates: tuple[str, str]
) -> None:
    """A relay runs after every single step: no event is overtaken and lost."""
    database = await Database.connect(scene.settings)
    producer = Producer(scene.bootstrap, scene.prefix)
    relay = Relay(database, producer, KnownCluster(database))
    orders = 0
    for order in every_order():
        orders += 1
        await scene.sql("INSERT INTO counters SELECT $1, unnest($2::text[])", orders, sorted(set(aggregates)))
        user_id = orders

        async def first(stepped: Database, user_id: int = user_id) -> None:
            await publish_next(stepped, user_id, aggregates[0])

        async def second(stepped: Database, user_id: int = user_id) -> None:
            await publish_next(stepped, user_id, aggregates[1])

        done = await run_in(order, superuser, database, [first, second], relay.send_waiting)
        assert done == [None, None], order.text
    assert await scene.number(UNSENT) == 0
    await producer.stop()
    await database.close()
    seqs: dict[tuple[int, str], list[int]] = {}
    for record in await scene.read_topic():
        event = trades(1, 1)[0].model_validate_json(record.value)
        seqs.setdefault((event.user_id, event.aggregate), []).append(event.aggregate_seq)
    expected = [1, 2] if len(set(aggregates)) == 1 else [1]
    assert len(seqs) == orders * len(set(aggregates))
    assert all(each == expected for each in seqs.values())


@dataclass
class SubscribedTenant:
    """A tenant of trading with their plan and two strategies."""

    database: Database
    caller: Principal
    strategies: tuple[UUID, UUID]

    async def start(self, database: Database, number: int) -> SessionRow:
        request = StartRequest(self.strategies[number], None, None, "BTCUSDT", "PAPER", Decimal(10_000))
        return await as_tenant(database, start_session, self.caller, request, PAPER, BEFORE)


async def subscribe(database: Database, user_id: int, strategies: int) -> SubscribedTenant:
    await consume(database, plan_changed(user_id, 1, "FREE", strategies))
    made = [
        await as_tenant(database, create_strategy, user_id, {**CROSS, "strategy_name": name}) for name in ("a", "b")
    ]
    principal = Principal(user_id, UUID(int=user_id), frozenset(), None)
    return SubscribedTenant(database, principal, (made[0].strategy_id, made[1].strategy_id))


@pytest.fixture
async def trading(service_env: ServiceEnv) -> AsyncIterator[Database]:
    values = {name.lower(): value for name, value in service_env("trading").items()}
    database = await Database.connect(TradingSettings.model_validate(values))
    yield database
    await database.close()


async def test_one_of_two_interleaved_starts_gets_the_last_free_place(
    trading: Database, superuser: asyncpg.Connection
) -> None:
    orders = set()
    for user_id, order in enumerate(every_order(), 1):
        tenant = await subscribe(trading, user_id, strategies=1)
        done = await run_in(
            order,
            superuser,
            trading,
            [lambda stepped: tenant.start(stepped, 0), lambda stepped: tenant.start(stepped, 1)],  # noqa: B023
        )
        assert sorted(type(each).__name__ for each in done) == ["PlanLimitReached", "SessionRow"], order.text
        assert any(isinstance(each, PlanLimitReached) for each in done)
        orders.add(order.text)
    assert len(orders) > 10


async def test_a_start_while_the_plan_shrinks_never_exceeds_the_plan(
    trading: Database, superuser: asyncpg.Connection, database_access: DatabaseAccess
) -> None:
    owner = await asyncpg.connect(database_access.owner_dsn)
    for user_id, order in enumerate(every_order(), 1):
        tenant = await subscribe(trading, user_id, strategies=2)
        await tenant.start(trading, 0)
        smaller = plan_changed(user_id, 2, "FREE", 1)
        await run_in(
            order,
            superuser,
            trading,
            [lambda stepped: tenant.start(stepped, 1), lambda stepped: consume(stepped, smaller)],  # noqa: B023
        )
        entering = await owner.fetchval(
            """
            SELECT count(*) FROM trading.session_leases WHERE user_id = $1 AND entries = 'ALLOWED'
            """,
            user_id,
        )
        assert entering == 1, order.text
    await owner.close()


async def test_a_grant_while_the_trial_ends_leaves_one_plan_and_rising_versions(
    service_env: ServiceEnv, superuser: asyncpg.Connection, database_access: DatabaseAccess
) -> None:
    database = await Database.connect(billing_settings(service_env("billing")))
    owner = await asyncpg.connect(database_access.owner_dsn, server_settings={"search_path": "billing"})
    over = NOW + timedelta(days=60)
    for user_id, order in enumerate(every_order(), 1):
        await begin(database, user_id)

        async def grant(stepped: Database, user_id: int = user_id) -> None:
            async with stepped.tenant(user_id) as connection:
                await change_plan(connection, user_id, Change("PRO", "ACTIVE", "granted"), over)

        done = await run_in(order, superuser, database, [grant, lambda stepped: process_deadlines(stepped, over)])
        assert not [each for each in done if isinstance(each, BaseException)], order.text
        live = await owner.fetch(
            """
            SELECT name FROM user_subscriptions JOIN subscription_plans USING (plan_id)
            WHERE user_id = $1 AND status IN ('TRIAL', 'ACTIVE')
            """,
            user_id,
        )
        assert [row["name"] for row in live] == ["PRO"], order.text
        rows = await owner.fetch("SELECT payload FROM outbox WHERE user_id = $1 ORDER BY id", user_id)
        versions = [SubscriptionChanged.model_validate_json(row["payload"]).aggregate_seq for row in rows]
        assert versions == list(range(1, len(versions) + 1)), order.text
        assert len(versions) >= 2, order.text
    await owner.close()
    await database.close()
