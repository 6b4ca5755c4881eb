"""Registration, login, logout and `GET /v1/me`."""

import asyncio
from typing import cast
from uuid import UUID

import asyncpg
import jwt
import pytest

from services.auth.operations.entitlements import project_subscriptions
from services.auth.queries import logins as queries
from shared.chassis.listing import Slice
from shared.chassis.postgres import Connection, Database
from shared.contracts.billing import Features, Limits, SubscriptionChanged
from shared.contracts.types import from_ms, new_id
from shared.testing.api_client import PASSWORD, ApiClient
from tests.plans import Recorder, explain


async def test_registration_returns_the_user_and_tokens(auth: ApiClient) -> None:
    answer = await auth.register("ann@example.org", timezone="Europe/Rome", language="it", first_name="Ann")
    assert (answer.status, answer.headers["Location"]) == (201, "/v1/me")
    assert {"access_token", "refresh_token", "token_type", "expires_in"} < set(answer.body)
    me = await auth.call("GET", "/v1/me", token=answer.text("access_token"))
    assert me.body == answer.body["user"]
    assert (me.body["email"], me.body["timezone"], me.body["language"]) == (
        "ann@example.org",
        "Europe/Rome",
        "it",
    )


async def test_the_token_carries_the_public_id_and_not_the_user_id(auth: ApiClient) -> None:
    answer = await auth.register("ann@example.org")
    claims = jwt.decode(answer.text("access_token"), options={"verify_signature": False})
    assert UUID(claims["sub"]).version == 7
    assert not any(isinstance(value, int) for name, value in claims.items() if name not in ("iat", "exp"))


async def test_an_email_has_one_account_regardless_of_case(auth: ApiClient) -> None:
    both = await asyncio.gather(auth.register("Ann@Example.org"), auth.register("ann@example.ORG"))
    assert sorted(answer.status for answer in both) == [201, 409]
    assert (await auth.log_in("ANN@EXAMPLE.ORG")).status == 200


async def test_a_registration_publishes_one_event_and_a_refused_one_none(
    auth: ApiClient, database: Database
) -> None:
    await auth.register("ann@example.org")
    await auth.register("ann@example.org")
    async with database.queue() as connection:
        rows = await connection.fetch("SELECT topic, key, payload FROM outbox WHERE topic LIKE 'user.%'")
    assert [row["topic"] for row in rows] == ["user.registered"]
    assert b'"email":"ann@example.org"' in rows[0]["payload"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("email", "nobody"),
        ("password", "short"),
        ("timezone", "Mars/Base"),
        ("language", "de"),
        ("first_name", "a\u0007b"),
        ("role", "admin"),
    ],
)
async def test_an_invalid_field_is_refused_by_name(auth: ApiClient, field: str, value: str) -> None:
    body: dict[str, object] = {"email": "ann@example.org", "password": PASSWORD, field: value}
    answer = await auth.call("POST", "/v1/auth/register", body)
    assert answer.status == 422
    assert f"$.{field}" in str(answer.body["errors"])
    assert PASSWORD not in str(answer.body)


async def test_a_wrong_password_and_an_unknown_email_get_the_same_answer(auth: ApiClient) -> None:
    await auth.register("ann@example.org")
    wrong = await auth.log_in("ann@example.org", "wrong horse")
    unknown = await auth.log_in("nobody@example.org", "wrong horse")
    assert wrong.status == unknown.status == 401
    assert {**wrong.body, "request_id": ""} == {**unknown.body, "request_id": ""}


async def test_a_login_is_counted(auth: ApiClient) -> None:
    await auth.register("ann@example.org")
    token = (await auth.log_in("ann@example.org")).text("access_token")
    assert (await auth.call("GET", "/v1/me", token=token)).body["login_count"] == 2


async def test_a_disabled_account_cannot_log_in(auth: ApiClient, database: Database) -> None:
    token = (await auth.register("ann@example.org")).text("access_token")
    async with database.tenant(1) as connection:
        await connection.execute("UPDATE users SET is_active = false")
    assert (await auth.log_in("ann@example.org")).status == 403
    assert (await auth.call("GET", "/v1/me", token=token)).status == 401


@pytest.mark.parametrize("by", ["refresh token", "access token"])
async def test_logging_out_ends_the_login(auth: ApiClient, by: str) -> None:
    tokens = await auth.register("ann@example.org")
    access, again = tokens.text("access_token"), tokens.text("refresh_token")
    if by == "refresh token":
        out = await auth.call("POST", "/v1/auth/logout", {"refresh_token": again})
    else:
        out = await auth.call("POST", "/v1/auth/logout", token=access)
    assert out.status == 204
    assert (await auth.refresh(again)).status == 401
    assert (await auth.call("GET", "/v1/me", token=access)).status == 401


async def test_a_user_lists_their_logins_and_ends_one(auth: ApiClient) -> None:
    first = await auth.register("ann@example.org")
    second = (await auth.log_in("ann@example.org")).text("access_token")
    listed = (await auth.call("GET", "/v1/me/sessions", token=second)).body["items"]
    assert [session["current"] for session in listed] == [True, False]
    path = f"/v1/me/sessions/{listed[1]['login_id']}"
    assert (await auth.call("DELETE", path, token=second)).status == 204
    assert (await auth.call("DELETE", path, token=second)).status == 404
    assert (await auth.refresh(first.text("refresh_token"))).status == 401


async def test_the_login_of_another_user_cannot_be_ended(auth: ApiClient) -> None:
    ann, bob = await auth.register("ann@example.org"), await auth.register("bob@example.org")
    listed = (await auth.call("GET", "/v1/me/sessions", token=bob.text("access_token"))).body["items"]
    path = f"/v1/me/sessions/{listed[0]['login_id']}"
    assert (await auth.call("DELETE", path, token=ann.text("access_token"))).status == 404
    assert (await auth.refresh(bob.text("refresh_token"))).status == 200


async def test_the_published_keys_verify_a_token(auth: ApiClient) -> None:
    token = (await auth.register("ann@example.org")).text("access_token")
    keys = (await auth.call("GET", "/.well-known/jwks.json")).body["keys"]
    key = jwt.PyJWK(keys[0])
    assert jwt.decode(token, key, algorithms=["EdDSA"], audience="tradefleet-api", issuer="tradefleet")


@pytest.mark.parametrize("forged", ["", "x.y.z", "eyJhbGciOiJub25lIn0.e30."])
async def test_a_forged_token_is_refused(auth: ApiClient, forged: str) -> None:
    assert (await auth.call("GET", "/v1/me", token=forged)).status == 401


def _changed(public_id: UUID, version: int, plan: str) -> SubscriptionChanged:
    limits = dict.fromkeys(Limits.model_fields)
    features = dict.fromkeys(Features.model_fields, False)
    return SubscriptionChanged.model_validate(
        {"user_id": 1, "public_id": public_id, "aggregate": "s", "aggregate_seq": version}
        | {"subscription_version": version, "plan": plan, "status": "TRIAL", "limits": limits}
        | {"features": features, "period_start": from_ms(0), "period_end": from_ms(1000)}
        | {"previous_plan": None, "reason": "test"}
    )


async def test_an_older_subscription_never_replaces_a_newer_one(auth: ApiClient, database: Database) -> None:
    token = (await auth.register("ann@example.org")).text("access_token")
    for version, plan in ((2, "PRO"), (1, "PREMIUM")):
        async with database.tenants([1]) as connection:
            await project_subscriptions(connection, [_changed(new_id(), version, plan)])
    me = (await auth.call("GET", "/v1/me", token=token)).body
    assert (me["plan"], me["trial_ends_at"]) == ("PRO", "1970-01-01T00:00:01.000Z")


async def test_the_app_role_sees_no_other_tenant(auth: ApiClient, database: Database) -> None:
    await auth.register("ann@example.org")
    await auth.register("bob@example.org")
    async with database.tenant(2) as connection:
        for table in ("users", "user_sessions", "refresh_tokens"):
            assert await connection.fetchval(f"SELECT count(*) FROM {table} WHERE user_id = 1") == 0
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 1
        assert await connection.execute("UPDATE users SET email = 'x@y.z' WHERE user_id = 1") == "UPDATE 0"
    async with database.untenanted() as connection:
        assert await connection.fetchval("SELECT count(*) FROM users") == 0


@pytest.mark.parametrize(
    "attempt",
    [
        "SELECT * FROM email_locator",
        "SELECT * FROM refresh_token_locator",
        "TRUNCATE users",
        "DELETE FROM users",
        "SET ROLE auth_worker",
        "SELECT locate_email('\\x00', 1)",
        "SELECT locate_refresh_token('\\x00', 1)",
        "INSERT INTO refresh_tokens SELECT 1, '\\x00', gen_random_uuid(), 0, now()",
    ],
)
async def test_the_app_role_lacks_the_privilege(auth: ApiClient, database: Database, attempt: str) -> None:
    await auth.register("ann@example.org")
    await auth.register("bob@example.org")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with database.tenant(2) as connection:
            await connection.execute(attempt)


async def test_a_refresh_token_cannot_reference_the_login_of_another_user(
    auth: ApiClient, database: Database
) -> None:
    await auth.register("ann@example.org")
    await auth.register("bob@example.org")
    async with database.tenant(1) as connection:
        anns: UUID = await connection.fetchval("SELECT session_id FROM user_sessions")
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        async with database.tenant(2) as connection:
            await queries.insert_refresh_token(connection, 2, b"x" * 32, anns, 0, from_ms(0))


async def test_listing_logins_uses_the_index_on_the_user(auth: ApiClient, database: Database) -> None:
    await auth.register("ann@example.org")
    async with database.tenant(1) as connection:
        await connection.execute(
            """
            INSERT INTO user_sessions (user_id, session_id, session_token, refresh_token, expires_at)
            SELECT 1, gen_random_uuid(), sha256(n::text::bytea), sha256(n::text::bytea), now()
            FROM generate_series(1, 5000) n
            """
        )
        recorder = Recorder()
        wanted = Slice(queries.ORDERS["created_at"], 100, descending=True)
        await queries.list_logins(cast(Connection, recorder), 1, from_ms(0), wanted)
        plan = await explain(connection, recorder)
    assert "user_sessions_of_user" in plan
