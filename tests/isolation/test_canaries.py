"""Strings known to one tenant only: written to every field they may write, searched for in everything that others
can read."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiokafka import ConsumerRecord

from shared.chassis.events.producer import Outgoing
from shared.contracts.types import new_id
from shared.testing.api_client import Json
from shared.testing.isolation_probe import Probe
from stack.migrate import SERVICES, DatabaseAccess
from stack.topic_messages import read_messages
from stack.topics import topics_of
from tests.hostile.operations import operations
from tests.integration.accounts import eventually
from tests.isolation.filled import TABLES
from tests.isolation.world import Person, World, bodies, running_world
from tests.pace import patient

ServiceEnv = Callable[[str], dict[str, str]]
# Tables that must contain the canaries: otherwise the search below would prove nothing.
STORED_IN = {
    *("auth.users", "auth.user_sessions", "trading.user_strategies", "trading.strategy_versions"),
    *("trading.user_bot_configurations", "trading.user_trading_sessions", "notifications.user_alerts"),
    *("notifications.user_system_events", "analytics.trade_facts"),
}
OTHER_IDS = 3  # to each operation: tests/isolation/test_routes.py tries all
PUBLISHED_ON = {"user.registered", "session.started", "trade.closed", "alert.triggered"}


@pytest.fixture
async def settled(
    service_env: ServiceEnv, database_access: DatabaseAccess, postgres: str, tmp_path: Path
) -> AsyncIterator[tuple[World, Person, Person]]:
    async with running_world(service_env, database_access, postgres, tmp_path) as world:
        yield world


async def test_no_tenant_reads_the_strings_of_another(
    settled: tuple[World, Person, Person], kafka_bootstrap: str, topic_prefix: str, service_env: ServiceEnv
) -> None:
    world, *people = settled
    assert await _tables_with(world, people[0]) >= STORED_IN
    await _ask_everything(*people)
    await _provoke_errors(*people)
    await _publish_poison(world, *people)
    topics = [topic.name for topic in topics_of(prefix=topic_prefix)]
    async with asyncio.timeout(patient(60)):
        records = [record async for record in read_messages(kafka_bootstrap, topics)]
    faults = [*_in_answers(world.answers, people), *_in_events(records, people), *await _in_metrics(world, people)]
    lines = world.log.getvalue().splitlines()
    assert sum('"request"' in line for line in lines) > 500, "the services' log was not seen"
    assert any("event_poisoned" in line for line in lines)
    faults += _in_log(lines, people, [*_secrets_of(service_env)])
    assert not faults, "\n".join(faults)
    statuses = Counter(text.partition(" ")[0] for _, text, _ in world.answers)
    assert len(world.answers) > 500, statuses
    assert {record.topic.removeprefix(topic_prefix) for record in records} >= PUBLISHED_ON


async def _tables_with(world: World, person: Person) -> set[str]:
    found = set()
    for row in await world.database.fetch(TABLES, SERVICES):
        name = f"{row['service']}.{row['name']}"
        if row["of_tenant"] and await world.database.fetchval(
            f"SELECT EXISTS (SELECT FROM {name} AS t WHERE t::text LIKE '%' || $1 || '%')", person.canary
        ):
            found.add(name)
            foreign = await world.database.fetch(
                f"SELECT user_id FROM {name} AS t WHERE t::text LIKE '%' || $1 || '%' AND user_id <> $2",
                person.canary,
                person.user_id,
            )
            assert not foreign, f"{name}: a row of {foreign} has another's canary"
    return found


async def _ask_everything(first: Person, second: Person) -> None:
    for owner, intruder in ((first, second), (second, first)):
        probe = Probe(owner, intruder, bodies(intruder), bodies(owner), max_ids=OTHER_IDS)
        assert await probe.faults(operations()) == []


async def _provoke_errors(first: Person, second: Person) -> None:
    """Let each tenant run into the other's data: the same e-mail, the same names, the same ids."""
    for one, other in ((first, second), (second, first)):
        entries: tuple[Json, ...] = (
            {"email": other.email, "password": "a long enough one"},
            {"email": other.email.upper(), "password": "a long enough one"},
            {"email": other.email, "password": "short"},
        )
        for entry in entries:
            await one.call("POST", "/v1/auth/register", entry)
            await one.call("POST", "/v1/auth/login", entry)
        await one.refresh(one.secrets[0])
        for label, body in bodies(one).items():
            method, _, path = label.partition(" ")
            for wrong in ({**body, "symbol": other.canary}, {**body, "unknown": other.canary}, {**body}):
                if "{" not in path:
                    await one.call(method, path, wrong)


async def _publish_poison(world: World, *people: Person) -> None:
    """Publish events that no service can handle, so that they are parked and logged with their fault."""
    producer = world.running["auth"].producer
    published = 0
    for person in people:
        valid = {"user_id": person.user_id, "public_id": str(new_id()), "email": person.email}
        for body in (
            json.dumps(valid),
            json.dumps({**valid, person.canary: person.canary}),
            f'{{"user_id": "{person.canary}"',
            person.canary,
        ):
            headers = {"ce_id": str(new_id()), "ce_time": "2026-01-31T09:30:00Z", "ce_dataschema": person.canary}
            await producer.send([Outgoing("user.registered", str(person.user_id), headers, body.encode())])
            published += 1
    dead = "SELECT count(*) FROM analytics.parked WHERE topic = 'user.registered'"
    await eventually(lambda: world.database.fetchval(dead), lambda count: count >= published, 30)


def _in_answers(answers: Sequence[tuple[str, str, str]], people: list[Person]) -> Iterator[str]:
    """Yield canaries in answers to the other tenant, or to a caller without a token."""
    for caller, operation, text in answers:
        for person in people:
            if caller != person.canary and person.canary in text:
                yield f"{operation}: {caller or 'nobody'} is shown {person.canary}"


def _in_events(records: list[ConsumerRecord], people: list[Person]) -> Iterator[str]:
    for record in records:
        content = b"|".join([record.value or b"", *(value for _, value in record.headers)])
        for person in people:
            if person.canary.encode() in content and record.key != str(person.user_id).encode():
                yield f"{record.topic}: a message keyed {record.key!r} has {person.canary}"
            for secret in person.secrets:
                if secret.encode() in content:
                    yield f"{record.topic}: a message has a secret of {person.canary}"


async def _in_metrics(world: World, people: list[Person]) -> list[str]:
    faults = []
    for name, running in world.running.items():
        for path in ("/metrics", "/readyz", "/healthz", "/openapi.json"):
            async with world.session.get(running.url + path) as answer:
                text = await answer.text()
            assert answer.status == 200, f"{name}{path}: {text}"
            for person in people:
                if any(word in text for word in (person.canary, *person.all_ids, *person.secrets)):
                    faults.append(f"{name}{path} shows something of {person.canary}")
    return faults


def _secrets_of(env: ServiceEnv) -> Iterator[str]:
    """Return the services' secrets: DSNs, database passwords and tokens."""
    for service in SERVICES:
        for name, value in env(service).items():
            if name.endswith("_DSN"):
                yield value
                yield str(urlsplit(value).password)
            elif name.endswith("TOKEN"):
                yield value


def _in_log(lines: Sequence[str], people: list[Person], secrets: list[str]) -> Iterator[str]:
    """Yield log lines with a tenant's texts, a token, a password or a DSN."""
    for line in lines:
        for word in (*secrets, *(word for person in people for word in (person.canary, *person.secrets))):
            if word in line:
                yield f"a line of the log has {word!r}: {line[:400]}"


def test_the_search_finds_leaks() -> None:
    """In an answer to another tenant and to an anonymous caller, in a message with another's key, in its headers,
    in the log."""
    nothing: Any = None  # Any: neither the session nor the world is used
    people = [
        Person("", nothing, world=nothing, canary=f"canary{n}", secrets=[f"secret{n}"], user_id=n) for n in (1, 2)
    ]
    answers = [("canary1", "GET /a", "canary1"), ("canary1", "GET /b", "canary2"), ("", "GET /c", "canary1")]
    assert [*_in_answers(answers, people)] == [
        "GET /b: canary1 is shown canary2",
        "GET /c: nobody is shown canary1",
    ]
    assert [*_in_log(["fine", "has canary1", "has secret2", "has dsn"], people, ["dsn"])] == [
        "a line of the log has 'canary1': has canary1",
        "a line of the log has 'secret2': has secret2",
        "a line of the log has 'dsn': has dsn",
    ]
    messages = [_message(b"1", b"canary1"), _message(b"2", b"canary1"), _message(b"1", b"", b"canary2")]
    assert len([*_in_events(messages, people)]) == 2
    assert len([*_in_events([_message(b"1", b"secret1")], people)]) == 1


def _message(key: bytes, value: bytes, header: bytes = b"") -> ConsumerRecord:
    return ConsumerRecord("t", 0, 0, 0, 0, key, value, None, 0, 0, [("x", header)])
