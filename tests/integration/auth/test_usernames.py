"""A username belongs to one user, regardless of case, until it is changed."""

import asyncio

import asyncpg
import pytest

from shared.testing.api_client import PASSWORD, ApiClient
from stack.migrate import DatabaseAccess


@pytest.mark.parametrize("other", ["ada", "ADA", "Ａｄａ", "aDa"])
async def test_a_taken_username_is_refused(auth: ApiClient, other: str) -> None:
    await auth.register("ann@example.org", username="Ada")
    refused = await auth.register("bob@example.org", username=other)
    assert (refused.status, refused.body["type"]) == (409, "/problems/username-taken")
    assert refused.body["errors"] == [{"path": "$.username", "reason": "is taken; choose another"}]
    assert (await auth.register("bob@example.org", username="Adam")).status == 201


async def test_a_profile_can_take_a_free_username_and_keep_its_own(auth: ApiClient) -> None:
    ann = (await auth.register("ann@example.org", username="ada")).text("access_token")
    bob = (await auth.register("bob@example.org", username="bob")).text("access_token")
    refused = await auth.call("PATCH", "/v1/me", {"username": "ADA", "last_name": "King"}, token=bob)
    assert (refused.status, refused.body["type"]) == (409, "/problems/username-taken")
    me = await auth.call("GET", "/v1/me", token=bob)
    assert (me.body["username"], me.body["last_name"]) == ("bob", None)
    assert (await auth.call("PATCH", "/v1/me", {"username": "ADA"}, token=ann)).body["username"] == "ADA"
    assert (await auth.call("PATCH", "/v1/me", {"username": None}, token=ann)).status == 200
    assert (await auth.call("PATCH", "/v1/me", {"username": "ada"}, token=bob)).status == 200
    assert (await auth.call("PATCH", "/v1/me", {"username": "bob"}, token=ann)).status == 200


async def test_one_of_many_concurrent_registrations_gets_the_username(auth: ApiClient) -> None:
    made = await asyncio.gather(*(auth.register(f"p{n}@example.org", username="ada") for n in range(6)))
    assert sorted(answer.status for answer in made) == [201] + [409] * 5


async def test_a_taken_username_does_not_reveal_whether_an_email_exists(auth: ApiClient) -> None:
    await auth.register("ann@example.org", username="ada")
    known = await auth.call(
        "POST", "/v1/auth/register", {"email": "ann@example.org", "password": "not her password", "username": "ada"}
    )
    unknown = await auth.register("bob@example.org", username="ada")
    hidden = {"request_id": ""}
    assert {**known.body, **hidden} == {**unknown.body, **hidden}


async def test_repeating_a_registration_with_its_idempotency_key_returns_the_same_account(auth: ApiClient) -> None:
    body: dict[str, object] = {"email": "ann@example.org", "password": PASSWORD, "username": "ada"}
    for status in (201, 201):
        made = await auth.call("POST", "/v1/auth/register", body, idempotency_key="k")
        assert made.status == status
    assert made.body["trial"] is None


async def test_the_username_is_released_with_its_user_and_no_statement_bypasses_it(
    auth: ApiClient, database_access: DatabaseAccess
) -> None:
    await auth.register("ann@example.org", username="ada")
    await auth.register("bob@example.org")
    owner = await asyncpg.connect(database_access.owner_dsn, server_settings={"search_path": "auth"})
    try:
        with pytest.raises(asyncpg.UniqueViolationError, match="username_taken"):
            await owner.execute("UPDATE users SET username = 'Ada' WHERE user_id = 2")
        await owner.execute(
            """
            DELETE FROM user_sessions WHERE user_id = 1; DELETE FROM known_networks WHERE user_id = 1;
            DELETE FROM users WHERE user_id = 1
            """
        )
        await owner.execute("UPDATE users SET username = 'Ada' WHERE user_id = 2")
        assert await owner.fetchval("SELECT locate_username('ADA')") == 2
        assert await owner.fetchval("SELECT count(*) FROM username_locator") == 1
    finally:
        await owner.close()
