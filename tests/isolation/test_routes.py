"""Every operation, tried with another tenant's ids."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from shared.testing.isolation_probe import Probe
from shared.testing.operations import Operation
from shared.testing.tenant import kind_of, with_id
from stack.migrate import DatabaseAccess
from tests.hostile.operations import operations
from tests.isolation.world import Person, World, bodies, running_world, settle

ServiceEnv = Callable[[str], dict[str, str]]


@pytest.fixture
async def settled(
    service_env: ServiceEnv, database_access: DatabaseAccess, postgres: str, tmp_path: Path
) -> AsyncIterator[tuple[World, Person, Person]]:
    async with running_world(service_env, database_access, postgres, tmp_path) as world:
        yield world


async def test_no_operation_shows_or_changes_data_of_another_tenant(settled: tuple[World, Person, Person]) -> None:
    """Each operation is then repeated as the owner, who must get what the intruder did not. At the end, billing has
    booked for each tenant exactly the requests that they sent."""
    world, owner, intruder = settled
    every = operations()
    before = await world.digest(owner)
    probe = Probe(owner, intruder, bodies(intruder), bodies(owner))
    faults = await probe.faults(operation for operation in every if not creates(operation))
    for operation in every:
        if creates(operation) and not operation.public:
            await intruder.call("POST", operation.path, bodies(intruder).get(operation.label))
    after = await world.digest(owner)
    faults += [f"{table}: another's rows were changed" for table, was in before.items() if after[table] != was]
    faults += await probe.faults(operation for operation in every if creates(operation))
    faults += [fault async for fault in _open_inside(world, intruder)]
    assert not faults, "\n".join(faults)
    refused = [fault async for fault in _refused_to_owner(owner, every)]
    assert not refused, "\n".join(refused)
    await settle(world)
    for person in (owner, intruder):
        sent = world.requests[person.canary]
        assert await world.booked_requests(person) == {**sent, "total": sent.total()}


def creates(operation: Operation) -> bool:
    """Tried last, because the owner sends it as well, with a key."""
    return operation.method == "POST" and "{" not in operation.path


async def _refused_to_owner(owner: Person, every: list[Operation]) -> AsyncIterator[str]:
    """Run reads first, then changes, then deletions; stop the sessions that the probe itself started first."""
    own = bodies(owner)
    for session in await owner.list_all("/v1/sessions"):
        if session["session_id"] not in owner.ids["session_id"]:
            await owner.must("POST", f"/v1/sessions/{session['session_id']}/stop")
    for operation in sorted(every, key=lambda each: ("GET", "PUT", "PATCH", "POST", "DELETE").index(each.method)):
        kind = kind_of(operation.path)
        if operation.public or "{" not in operation.path or kind is None:
            continue
        body = None if operation.body is None else own.get(operation.label, {})
        answer = await owner.call(operation.method, with_id(operation.path, owner.ids[kind][0]), body)
        if answer.status >= 300:
            yield f"{operation.label}: its owner gets {answer.status} {answer.raw}"


async def _open_inside(world: World, intruder: Person) -> AsyncIterator[str]:
    """Return the internal operations that answer a tenant at the public address."""
    inside = [
        (running, endpoint)
        for running in world.running.values()
        for endpoint in running.service.endpoints
        if endpoint.internal
    ]
    assert inside
    for running, endpoint in inside:
        for url, wanted in ((running.internal_url, 401), (running.url, 404)):
            for token in ("", intruder.token, "a-token-between-services"):
                headers = {"Authorization": f"Bearer {token}"}
                async with world.session.request(endpoint.method, url + endpoint.path, headers=headers) as answer:
                    if answer.status != wanted:
                        yield f"{endpoint.method} {endpoint.path}: {answer.status} with {token!r}"
