"""The activity log: consumed from all services, each entry once, in a hash chain that no role can change."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import cast
from uuid import UUID

import asyncpg
import pytest

from services.auth.app import build
from services.auth.domain.chain import ChainCheck
from services.auth.operations.activity import log_activity
from services.auth.queries import activity
from services.auth.queries.activity import ActivityFilter
from services.auth.settings import AuthSettings
from shared.chassis.clock import utc_now
from shared.chassis.listing import Slice
from shared.chassis.postgres import Connection, Database
from shared.chassis.service import RunningService
from shared.contracts.activity import ActivityRecorded
from shared.contracts.types import instant_text, new_id
from shared.testing.api_client import PASSWORD, ApiClient, Json, open_client
from stack.migrate import DatabaseAccess
from tests.integration.accounts import eventually
from tests.plans import Recorder, explain

NOW = utc_now()


@pytest.fixture
async def full_auth(settings: AuthSettings) -> AsyncIterator[ApiClient]:
    """Run auth with all its roles."""
    async with RunningService(build, settings) as running, open_client(running.url) as client:
        yield client


def activity_event(user_id: int, number: int = 1, **more: object) -> ActivityRecorded:
    fields: Json = {
        "user_id": user_id,
        "public_id": UUID(int=user_id),
        "aggregate": "activity",
        "aggregate_seq": number,
        "activity_id": new_id(),
        "service": "trading",
        "actor": "USER",
        "activity_type": "CREATE_STRATEGY",
        "object": f"/v1/strategies/{number}",
        "address": "2001:db8::1",
        "user_agent": "cürl",
        "endpoint": "POST /v1/strategies",
        "at": NOW + timedelta(minutes=number),
    }
    return ActivityRecorded.model_validate({**fields, **more})


async def log(database: Database, *events: ActivityRecorded) -> None:
    async with database.tenants({event.user_id for event in events}) as connection:
        await log_activity(connection, events, utc_now())


async def _faults(database: Database, user_id: int) -> list[str]:
    async with database.tenants([user_id]) as connection:
        check = ChainCheck(user_id, (await activity.find_heads(connection, [user_id])).get(user_id))
        found = [fault async for link in activity.read_links(connection, [user_id]) for fault in check.add(link)]
        return [fault.kind for fault in [*found, *check.end()]]


async def test_each_activity_is_logged_once_and_the_chain_is_intact(database: Database) -> None:
    events = [activity_event(1 + number % 3, number) for number in range(1, 31)]
    await log(database, *events[:20], events[3])
    await log(database, *events[10:])
    for user_id in (1, 2, 3):
        assert await _faults(database, user_id) == []
        async with database.tenant(user_id) as connection:
            rows = await connection.fetch("SELECT activity_id FROM user_activity_log ORDER BY seq")
        assert [row["activity_id"] for row in rows] == [e.activity_id for e in events if e.user_id == user_id]


async def test_concurrent_batches_make_one_chain(database: Database) -> None:
    batches = [[activity_event(user_id, number) for user_id in (1, 2)] for number in range(1, 9)]
    await asyncio.gather(*(log(database, *batch) for batch in batches))
    assert [await _faults(database, user_id) for user_id in (1, 2)] == [[], []]


async def test_every_column_of_the_log_is_filled(database: Database) -> None:
    await log(database, event := activity_event(1))
    async with database.tenant(1) as connection:
        row = dict(await connection.fetchrow("SELECT * FROM user_activity_log"))
    assert not [column for column, value in row.items() if value is None]
    assert row["data"] == {"object": event.object}
    assert (str(row["ip_address"]), row["timestamp"]) == (event.address, event.at)


@pytest.mark.parametrize("role", ["app", "worker", "queue"])
@pytest.mark.parametrize(
    "attack",
    [
        "UPDATE user_activity_log SET actor = 'SYSTEM'",
        "DELETE FROM user_activity_log",
        "TRUNCATE user_activity_log",
        "DELETE FROM user_activity_heads",
        "ALTER TABLE user_activity_log DISABLE ROW LEVEL SECURITY",
    ],
)
async def test_no_role_may_change_or_remove_a_row(database: Database, role: str, attack: str) -> None:
    await log(database, activity_event(1))
    transaction = {"app": database.tenant(1), "worker": database.tenants([1]), "queue": database.queue()}[role]
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with transaction as connection:
            await connection.execute(attack)
    assert await _faults(database, 1) == []


async def test_the_role_that_appends_rows_cannot_insert_between_them(database: Database) -> None:
    await log(database, activity_event(1), activity_event(1, 2))
    with pytest.raises(asyncpg.UniqueViolationError):
        async with database.tenants([1]) as connection:
            await connection.execute(
                "INSERT INTO user_activity_log SELECT (l).* FROM (SELECT l FROM user_activity_log l LIMIT 1) AS x"
            )


async def _types(client: ApiClient, token: str, query: str = "") -> list[str]:
    page = (await client.call("GET", f"/v1/me/activity{query}", token=token)).body
    return [str(item["activity_type"]) for item in page["items"]]


async def test_a_user_sees_the_activities_under_their_name(full_auth: ApiClient) -> None:
    token = (await full_auth.register("ann@example.org")).text("access_token")
    await full_auth.log_in("ann@example.org", "wrong horse battery")
    again = await full_auth.log_in("ann@example.org")
    await full_auth.call("PATCH", "/v1/me", {"username": "ann"}, token, User_Agent="my\ttool")
    await full_auth.call("PATCH", "/v1/me", {"timezone": "Mars/Base"}, token)
    await full_auth.call("POST", "/v1/auth/logout", {"refresh_token": again.text("refresh_token")})
    expected = ["LOG_OUT", "CHANGE_ME", "LOG_IN", "LOG_IN_FAILED", "REGISTER"]
    await eventually(lambda: _types(full_auth, token), lambda seen: seen == expected)
    page = (await full_auth.call("GET", "/v1/me/activity?activity_type=CHANGE_ME", token=token)).body
    [item] = page["items"]
    assert (item["actor"], item["service"], item["endpoint"]) == ("USER", "auth", "PATCH /v1/me")
    assert (item["ip_address"], item["user_agent"]) == ("127.0.0.1", "my?tool")
    page = (await full_auth.call("GET", "/v1/me/activity?activity_type=LOG_IN_FAILED", token=token)).body
    assert page["items"][0]["actor"] == "UNKNOWN"


async def test_a_reused_refresh_token_and_a_new_password_are_logged(
    full_auth: ApiClient, database_access: DatabaseAccess
) -> None:
    first = await full_auth.register("ann@example.org")
    second = await full_auth.log_in("ann@example.org")
    token = second.text("access_token")
    used = first.text("refresh_token")
    assert (await full_auth.refresh(used)).status == 200
    owner = await asyncpg.connect(database_access.owner_dsn)
    await owner.execute("UPDATE auth.refresh_tokens SET used_at = used_at - interval '11 seconds'")
    await owner.close()
    assert (await full_auth.refresh(used)).status == 401
    passwords = {"old_password": PASSWORD, "new_password": "new horse battery"}
    assert (await full_auth.call("POST", "/v1/me/password", passwords, token)).status == 204
    expected = ["CHANGE_PASSWORD", "REUSE_REFRESH_TOKEN", "LOG_IN", "REGISTER"]
    await eventually(lambda: _types(full_auth, token), lambda seen: seen == expected)


async def test_the_list_is_paged_sorted_and_filtered(auth: ApiClient, database: Database) -> None:
    token = (await auth.register("ann@example.org")).text("access_token")
    await log(database, *(activity_event(1, n, activity_type="ODD" if n % 2 else "EVEN") for n in range(1, 8)))
    assert await _types(auth, token, "?sort=created_at&limit=3") == ["ODD", "EVEN", "ODD"]
    assert await _types(auth, token, "?activity_type=EVEN") == ["EVEN"] * 3

    def at(number: int) -> str:
        return instant_text(NOW + timedelta(minutes=number))

    assert await _types(auth, token, f"?from={at(2)}&to={at(4)}") == ["ODD", "EVEN"]
    seen, cursor = [], ""
    for _ in range(4):
        page = (await auth.call("GET", f"/v1/me/activity?limit=2{cursor}", token=token)).body
        seen += [item["data"]["object"][-1] for item in page["items"]]
        cursor = f"&cursor={page['next_cursor']}"
    assert (seen, page["next_cursor"]) == ([*"7654321"], None)
    assert (await auth.call("GET", "/v1/me/activity?activity_type=x%20y", token=token)).status == 422


async def test_reading_the_log_uses_an_index(auth: ApiClient, database: Database) -> None:
    await log(database, *(activity_event(1, n, activity_type=f"TYPE_{n % 50}") for n in range(1, 3_000)))
    async with database.tenant(1) as connection:
        recorder = Recorder()
        wanted = Slice(activity.ORDERS["created_at"], 51, descending=True)
        criteria = ActivityFilter("TYPE_7", None, None)
        await activity.list_activity(cast(Connection, recorder), 1, criteria, wanted)
        plan = await explain(connection, recorder)
    assert "user_activity_log_" in plan
    assert "Seq Scan" not in plan
