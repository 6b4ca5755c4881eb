"""A service's outbox accepts only the events that the contracts let the service send, as itself, for the current
tenant."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from shared.chassis.events.handlers import groups_of
from shared.contracts.catalog import EVENTS
from shared.contracts.envelope import Event
from shared.contracts.market import MarketInterest
from shared.contracts.types import new_id
from stack.migrate import ROLES, SERVICES, DatabaseAccess, migrate
from stack.topic_clients import dead_letter_senders, senders
from tests.isolation.before import before_migration
from tests.isolation.filled import A, B

OUTBOX_OF_THIS_SERVICE = "0060_outbox_of_this_service.sql"
Row = tuple[int, str, str, dict[str, str]]  # tenant, topic, key, headers


def event_row(service: str, topic: str, **changes: object) -> Row:
    """Return the row as the service itself writes it."""
    user_id, key = (0, f"{service}:BTCUSDT:15") if topic == MarketInterest.topic else (A, str(A))
    row = {"user_id": user_id, "key": key, "source": service, "type": topic, **changes}
    headers = {"ce_source": str(row["source"]), "ce_type": str(row["type"])}
    return int(str(row["user_id"])), topic, str(row["key"]), headers


def dead_letter_row(service: str, topic: str, **headers: str) -> Row:
    return A, f"{topic}.dlq", "as it came", {"ce_source": "x", "dlq_group": service, "dlq_topic": topic, **headers}


def row_for(service: str, topic: str) -> Row:
    """Return the row for this topic that the service would most legitimately write."""
    if topic.endswith(".dlq"):
        return dead_letter_row(service, topic.removesuffix(".dlq"))
    return event_row(service, topic)


def topics_of_outbox(service: str) -> set[str]:
    """Return the topics that the contracts allow."""
    sent = {event.topic for event in EVENTS if issubclass(event, Event) and service in senders(event)}
    return sent | {f"{event.topic}.dlq" for event in EVENTS if service in dead_letter_senders(event)}


@asynccontextmanager
async def as_role(access: DatabaseAccess, service: str, role: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(access.dsn(f"{service}_{role}"))
    try:
        await connection.execute(f"SET app.user_id = '{A}'; SET app.user_ids = '0,{A}'")
        yield connection
    finally:
        await connection.close()


async def accepts(connection: asyncpg.Connection, row: Row, **columns: str) -> bool:
    """Return whether the outbox accepts the row; the insert is rolled back."""
    user_id, topic, key, headers = row
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute(
            "INSERT INTO outbox (user_id, bucket, event_id, topic, key, headers, payload"
            f"{''.join(f', {name}' for name in columns)}) "
            f"VALUES ($1, 0, $2, $3, $4, $5, '{{}}'{''.join(f', {value}' for value in columns.values())})",
            *(user_id, new_id(), topic, key, json.dumps(headers)),
        )
    except asyncpg.CheckViolationError:
        return False
    finally:
        await transaction.rollback()
    return True


async def test_the_outbox_accepts_only_the_topics_of_the_contracts(database_access: DatabaseAccess) -> None:
    """A new topic or sender needs a migration that replaces outbox_may_send: see 0060 of the chassis."""
    everything = sorted(
        {event.topic for event in EVENTS} | {f"{event.topic}.dlq" for event in EVENTS} | {"made.up"}
    )
    for service in SERVICES:
        async with as_role(database_access, service, "queue") as connection:
            accepted = {topic for topic in everything if await accepts(connection, row_for(service, topic))}
        assert accepted == topics_of_outbox(service), service


async def test_no_role_sends_as_another_service_or_for_another_tenant(database_access: DatabaseAccess) -> None:
    for service in SERVICES:
        other = next(name for name in SERVICES if name != service)
        topic = "activity.recorded"
        for role in ROLES:
            async with as_role(database_access, service, role) as connection:
                assert await accepts(connection, event_row(service, topic)), f"{service}_{role}"
                for row in (
                    event_row(service, topic, source=other),
                    event_row(service, topic, source=""),
                    event_row(service, topic, type="user.registered"),
                    event_row(service, topic, key=B),
                    event_row(service, topic, key=f" {A}"),
                    event_row(service, topic, key=f"0{A}"),
                    event_row(service, topic, key=""),
                    (A, topic, str(A), {}),
                ):
                    assert not await accepts(connection, row), f"{service}_{role}: {row}"
                # A row marked as done is picked up by no relay, and no role can mark it for sending again.
                for columns in ({"dead_reason": "'x'"}, {"dropped_at": "now()"}, {"sent_at": "now()"}):
                    assert not await accepts(connection, event_row(service, topic, key=B), **columns), columns


async def test_a_demand_belongs_to_its_service(database_access: DatabaseAccess) -> None:
    demand = MarketInterest.topic
    async with as_role(database_access, "analytics", "queue") as connection:
        assert await accepts(connection, event_row("analytics", demand))
        for changes in ({"key": "trading:BTCUSDT:15"}, {"key": "analyticsx"}, {"key": ""}, {"user_id": A}):
            assert not await accepts(connection, event_row("analytics", demand, **changes)), changes


async def test_only_services_with_demands_have_tables_for_them(database_access: DatabaseAccess) -> None:
    names = ("market_interests", "published_interests")
    connection = await asyncpg.connect(database_access.owner_dsn)
    try:
        rows = await connection.fetch(
            "SELECT schemaname, tablename FROM pg_tables WHERE tablename = ANY ($1::text[])", names
        )
    finally:
        await connection.close()
    assert {tuple(row) for row in rows} == {
        (service, name) for service in senders(MarketInterest) for name in names
    }


async def test_a_dead_letter_names_its_group_and_its_topic(database_access: DatabaseAccess) -> None:
    async with as_role(database_access, "billing", "worker") as connection:
        for group in (*groups_of("billing"), "billing-worker"):
            assert await accepts(connection, dead_letter_row("billing", "trade.closed", dlq_group=group))
        for wrong in (
            {"dlq_group": "trading"},
            {"dlq_group": "billingx"},
            {"dlq_group": ""},
            {"dlq_topic": "user.registered"},
        ):
            assert not await accepts(connection, dead_letter_row("billing", "trade.closed", **wrong)), wrong


async def test_existing_rows_that_another_service_should_send_are_dropped(postgres: str) -> None:
    """The service's own rows stay unchanged, sent and unsent."""
    rows = {"own": event_row("auth", "user.registered"), "forged": event_row("auth", "trade.closed")}
    rows |= {"for another": event_row("auth", "user.updated", key=B)}
    async with before_migration(postgres, OUTBOX_OF_THIS_SERVICE) as (access, superuser):
        for name, (user_id, topic, key, headers) in rows.items():
            for sent_at in ("NULL", "now()"):
                await superuser.execute(
                    "INSERT INTO auth.outbox (user_id, bucket, event_id, topic, key, headers, payload, sent_at) "
                    f"VALUES ($1, 0, $2, $3, $4, $5, $6, {sent_at})",
                    *(user_id, new_id(), topic, key, json.dumps(headers), name.encode()),
                )
        await migrate(access)
        found = await superuser.fetch(
            "SELECT payload, sent_at IS NULL AS unsent, dead_reason IS NOT NULL AS dead, "
            "dropped_at IS NOT NULL AS dropped FROM auth.outbox"
        )
        assert {(row["payload"].decode(), row["dead"], row["dropped"]) for row in found} == {
            ("own", False, False),
            ("forged", True, True),
            ("for another", True, True),
        }
        assert [row["unsent"] for row in found].count(True) == len(rows)
        assert await superuser.fetchval(
            "SELECT convalidated FROM pg_constraint WHERE conname = 'outbox_of_this_service' AND "
            "conrelid = 'auth.outbox'::regclass"
        )
        # A `dlq replay` of the dropped rows would send them.
        async with as_role(access, "auth", "queue") as connection:
            again = "UPDATE outbox SET dead_reason = NULL, dropped_at = NULL WHERE dropped_at IS NOT NULL"
            with pytest.raises(asyncpg.CheckViolationError):
                await connection.execute(again)
