"""A user's own profile and logins."""

import asyncio
from datetime import timedelta

import pytest

from services.auth.settings import AuthSettings
from shared.chassis.auth import Authenticator, TokenVerifier
from shared.chassis.clock import utc_now
from shared.chassis.errors import Unauthorized
from shared.chassis.identity import UserDirectory
from shared.chassis.postgres import Database
from shared.testing.api_client import PASSWORD, Answer, ApiClient, Json

NEW = "another battery staple"


async def _outbox(database: Database, topic: str) -> list[bytes]:
    async with database.queue() as connection:
        rows = await connection.fetch("SELECT payload FROM outbox WHERE topic = $1 ORDER BY id", topic)
    return [row["payload"] for row in rows]


async def _items(auth: ApiClient, path: str, token: str) -> list[Json]:
    items: list[Json] = (await auth.call("GET", path, token=token)).body["items"]
    return items


async def _change_password(auth: ApiClient, token: str, old: str = PASSWORD, new: str = NEW) -> Answer:
    return await auth.call("POST", "/v1/me/password", {"old_password": old, "new_password": new}, token)


async def test_changing_a_profile_publishes_an_event(auth: ApiClient, database: Database) -> None:
    token = (await auth.register("ann@example.org", first_name="Ann", username="a")).text("access_token")
    answer = await auth.call("PATCH", "/v1/me", {"timezone": "Europe/Rome", "username": None}, token)
    assert answer.status == 200
    assert (answer.body["timezone"], answer.body["username"], answer.body["first_name"]) == (
        "Europe/Rome",
        None,
        "Ann",
    )
    assert (await auth.call("GET", "/v1/me", token=token)).body == answer.body
    [event] = await _outbox(database, "user.updated")
    assert b'"aggregate_seq":2,' in event
    assert b'"timezone":"Europe/Rome"' in event


async def test_a_change_without_effect_publishes_nothing(auth: ApiClient, database: Database) -> None:
    token = (await auth.register("ann@example.org")).text("access_token")
    before = await auth.call("GET", "/v1/me", token=token)
    for changes in ({}, {"timezone": "UTC"}, {"language": None}):
        assert (await auth.call("PATCH", "/v1/me", changes, token)).body == before.body
    assert await _outbox(database, "user.updated") == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("timezone", "Mars/Base"),
        ("language", "de"),
        ("username", ""),
        ("email", "b@c.de"),
        ("first_name", "a\u0007"),
    ],
)
async def test_an_invalid_field_is_refused_by_name(auth: ApiClient, field: str, value: str) -> None:
    token = (await auth.register("ann@example.org")).text("access_token")
    answer = await auth.call("PATCH", "/v1/me", {field: value}, token)
    assert (answer.status, f"$.{field}" in str(answer.body["errors"])) == (422, True)


async def test_one_of_two_concurrent_edits_wins(auth: ApiClient, settings: AuthSettings) -> None:
    token = (await auth.register("ann@example.org")).text("access_token")
    tag = (await auth.call("GET", "/v1/me", token=token)).headers["ETag"]
    edits = [auth.call("PATCH", "/v1/me", {"username": name}, token, If_Match=tag) for name in "ab"]
    both = await asyncio.gather(*edits)
    assert sorted(answer.status for answer in both) == [200, 412]
    again = await auth.call("GET", "/v1/me", token=token, If_None_Match=tag)
    assert again.status == 200
    assert (await auth.call("GET", "/v1/me", token=token, If_None_Match=again.headers["ETag"])).status == 304


async def test_a_new_password_ends_the_other_logins(auth: ApiClient, database: Database) -> None:
    other = await auth.register("ann@example.org")
    current = await auth.log_in("ann@example.org")
    assert (await _change_password(auth, current.text("access_token"))).status == 204
    assert (await auth.refresh(other.text("refresh_token"))).status == 401
    assert (await auth.call("GET", "/v1/me", token=other.text("access_token"))).status == 401
    assert (await auth.refresh(current.text("refresh_token"))).status == 200
    assert (await auth.log_in("ann@example.org")).status == 401
    assert (await auth.log_in("ann@example.org", NEW)).status == 200
    assert len(await _outbox(database, "activity.recorded")) == 5  # registered, login, changed, failed, login


async def test_a_new_password_needs_the_old_one(auth: ApiClient) -> None:
    token = (await auth.register("ann@example.org")).text("access_token")
    assert (await _change_password(auth, token, old="wrong horse battery")).body[
        "type"
    ] == "/problems/wrong-password"
    assert (await _change_password(auth, token, new="short")).status == 422
    assert (await auth.log_in("ann@example.org")).status == 200


async def test_logins_are_listed_in_pages_and_in_both_orders(auth: ApiClient) -> None:
    first = await auth.register("ann@example.org")
    for _ in range(3):
        await auth.log_in("ann@example.org")
    token = first.text("access_token")
    newest = [item["login_id"] for item in await _items(auth, "/v1/me/sessions", token)]
    oldest = await _items(auth, "/v1/me/sessions?sort=created_at", token)
    assert [item["login_id"] for item in oldest] == newest[::-1]
    assert [item["current"] for item in oldest] == [True, False, False, False]
    assert all(item["ip_address"] == "127.0.0.1" and item["user_agent"] and item["last_used_at"] for item in oldest)
    paged, cursor = [], ""
    for _ in range(2):
        page = (await auth.call("GET", f"/v1/me/sessions?limit=2{cursor}", token=token)).body
        paged += [item["login_id"] for item in page["items"]]
        cursor = f"&cursor={page['next_cursor']}"
    assert (paged, page["next_cursor"]) == (newest, None)
    wrong = await auth.call("GET", f"/v1/me/sessions?sort=created_at{cursor[:9]}WyJhIl0", token=token)
    assert wrong.status == 422


async def test_all_other_logins_are_ended_at_once(auth: ApiClient) -> None:
    first = await auth.register("ann@example.org")
    others = [await auth.log_in("ann@example.org") for _ in range(2)]
    token = first.text("access_token")
    assert (await auth.call("DELETE", "/v1/me/sessions", token=token)).body == {"ended": 2}
    assert [(await auth.refresh(one.text("refresh_token"))).status for one in others] == [401, 401]
    assert (await auth.refresh(first.text("refresh_token"))).status == 200
    assert (await auth.call("DELETE", "/v1/me/sessions", token=token)).body == {"ended": 0}


async def test_a_revoked_login_ends_elsewhere_with_its_access_token(
    auth: ApiClient, database: Database, settings: AuthSettings
) -> None:
    """Auth refuses it immediately.

    A service that only verifies tokens refuses it when the access token expires, even a token it has already
    accepted.
    """
    current, revoked = await auth.register("ann@example.org"), await auth.log_in("ann@example.org")
    now = utc_now()
    verifier = TokenVerifier(
        settings.model_copy(update={"jwks_url": auth.url + "/.well-known/jwks.json"}), clock=lambda: now
    )
    elsewhere = Authenticator(verifier, UserDirectory(database))
    header = f"Bearer {revoked.text('access_token')}"
    assert (await elsewhere.principal(header)).user_id == 1
    assert (await auth.call("DELETE", "/v1/me/sessions", token=current.text("access_token"))).body == {"ended": 1}
    assert (await auth.refresh(revoked.text("refresh_token"))).status == 401
    assert (await auth.call("GET", "/v1/me", token=revoked.text("access_token"))).status == 401
    now += timedelta(seconds=settings.auth_access_token_s - 5)
    assert (await elsewhere.principal(header)).user_id == 1
    now += timedelta(seconds=6)
    with pytest.raises(Unauthorized):
        await elsewhere.principal(header)
    with pytest.raises(Unauthorized):
        await Authenticator(verifier, UserDirectory(database)).principal(header)
