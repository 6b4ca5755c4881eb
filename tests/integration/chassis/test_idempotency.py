"""A creating request with an idempotency key creates once, however often and however broken it is sent."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import aiohttp
import asyncpg
import pytest

from services.auth.app import build as build_auth
from services.auth.domain.accounts import MAX_LOGINS
from services.notifications.app import build as build_notifications
from services.notifications.settings import NotificationsSettings
from shared.chassis.service import RunningService
from shared.testing.api_client import PASSWORD, ApiClient, Json, open_client
from stack.migrate import DatabaseAccess
from stack.ports import Ports
from tests.integration.accounts import auth_settings, eventually
from tests.processes import ServiceProcess

ServiceEnv = Callable[[str], dict[str, str]]
ALERT: Json = {
    "alert_name": "high",
    "symbol": "BTCUSDT",
    "interval": "15",
    "alert_type": "PRICE",
    "condition_data": {"op": "above", "value": "70000"},
}


@dataclass
class Caller:
    """A tenant's client of auth and notifications."""

    auth: ApiClient
    alerts: ApiClient
    token: str = ""
    owner_dsn: str = ""

    async def register(self, email: str, key: str, password: str = PASSWORD, **more: str) -> tuple[int, Json, str]:
        body = {"email": email, "password": password, **more}
        return await self._post(self.auth, "/v1/auth/register", body, key)

    async def create_alert(self, key: str | None, **changed: object) -> tuple[int, Json, str]:
        return await self._post(self.alerts, "/v1/alerts", {**ALERT, **changed}, key)

    async def _post(self, client: ApiClient, path: str, body: Json, key: str | None) -> tuple[int, Json, str]:
        headers = {} if key is None else {"Idempotency_Key": key}
        answer = await client.call("POST", path, body, self.token, **headers)
        return answer.status, answer.body, answer.headers.get("Idempotent-Replayed", "")

    async def rows(self, table: str) -> int:
        connection = await asyncpg.connect(self.owner_dsn)
        try:
            return int(await connection.fetchval(f"SELECT count(*) FROM {table}"))
        finally:
            await connection.close()


def notifications_settings(service_env: ServiceEnv, auth_url: str) -> NotificationsSettings:
    values = {name.lower(): value for name, value in service_env("notifications").items()}
    return NotificationsSettings.model_validate({**values, "jwks_url": f"{auth_url}/.well-known/jwks.json"})


@pytest.fixture
async def caller(service_env: ServiceEnv, tmp_path: Path, database_access: DatabaseAccess) -> AsyncIterator[Caller]:
    async with RunningService(build_auth, auth_settings(service_env("auth"), tmp_path)) as auth:
        settings = notifications_settings(service_env, auth.url)
        async with (
            RunningService(build_notifications, settings) as alerts,
            open_client(auth.url) as at_auth,
            open_client(alerts.url) as at_alerts,
        ):
            caller = Caller(at_auth, at_alerts, owner_dsn=database_access.owner_dsn)
            status, body, _ = await caller.register("a@example.org", "first")
            assert status == 201, body
            caller.token = str(body["access_token"])
            await _entitle(database_access, body)
            yield caller


async def _entitle(access: DatabaseAccess, registered: Json) -> None:
    """Store the entitlements and the locator that events would have stored."""
    connection = await asyncpg.connect(access.owner_dsn)
    user_id = await connection.fetchval("SELECT user_id FROM auth.users")
    await connection.execute(
        """
        INSERT INTO notifications.entitlements (user_id, subscription_version, plan, telegram_alerts)
        VALUES ($1, 1, 'PRO', true)
        """,
        user_id,
    )
    await connection.execute(
        "INSERT INTO notifications.user_locator VALUES (sha256(uuid_send($1::uuid)), $2)",
        registered["user"]["user_id"],
        user_id,
    )
    await connection.close()


async def test_a_repeated_request_gets_the_first_answer_and_creates_nothing(caller: Caller) -> None:
    first = await caller.create_alert("k1")
    again = await caller.create_alert("k1")
    assert first[0] == again[0] == 201
    assert first[1] == again[1]
    assert (first[2], again[2]) == ("", "true")
    assert await caller.rows("notifications.user_alerts") == 1


async def test_without_a_key_nothing_is_stored(caller: Caller) -> None:
    assert (await caller.create_alert(None))[0] == 201
    assert await caller.rows("notifications.idempotency_keys") == 0


async def test_a_key_is_refused_for_another_request(caller: Caller) -> None:
    await caller.create_alert("k1")
    status, body, _ = await caller.create_alert("k1", alert_name="low")
    assert (status, body["type"]) == (422, "/problems/idempotency-mismatch")
    assert await caller.rows("notifications.user_alerts") == 1


async def test_a_refusal_is_not_stored(caller: Caller) -> None:
    assert (await caller.create_alert("k1", symbol=""))[0] == 422
    assert (await caller.create_alert("k1"))[0] == 201


async def test_fifty_concurrent_requests_create_one_alert(caller: Caller) -> None:
    answers = await asyncio.gather(*(caller.create_alert("k1") for _ in range(50)))
    assert {status for status, _, _ in answers} <= {201, 409}
    refused = [body for status, body, _ in answers if status == 409]
    assert all(body["type"] == "/problems/idempotency-in-flight" for body in refused)
    assert await caller.rows("notifications.user_alerts") == 1
    made = {str(body["alert_id"]) for status, body, _ in answers if status == 201}
    assert len(made) == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "k\u00e4se"])
async def test_an_invalid_key_is_refused_by_name(caller: Caller, key: str) -> None:
    status, body, _ = await caller.create_alert(key)
    assert status == 422
    assert body["errors"] == [
        {"path": "Idempotency-Key", "reason": "must be given once, with 1 to 255 printable ASCII characters"}
    ]


async def test_registering_again_with_the_password_returns_the_same_account(caller: Caller) -> None:
    caller.token = ""
    status, first, _ = await caller.register("b@example.org", "k1")
    again_status, again, replayed = await caller.register("b@example.org", "k1")
    assert (status, again_status, replayed) == (201, 201, "true")
    assert again["user"]["user_id"] == first["user"]["user_id"]
    assert again["access_token"] != first["access_token"]


async def test_registering_concurrently_creates_one_account(caller: Caller) -> None:
    caller.token = ""
    answers = await asyncio.gather(*(caller.register("b@example.org", "k1") for _ in range(8)))
    assert [status for status, _, _ in answers] == [201] * 8
    assert [replayed for _, _, replayed in answers].count("true") == 7
    assert len({str(body["user"]["user_id"]) for _, body, _ in answers}) == 1
    assert await caller.rows("auth.users") == 2


async def test_logins_by_registering_again_are_limited_like_others(caller: Caller) -> None:
    connection = await asyncpg.connect(caller.owner_dsn)
    await connection.execute(
        """
        INSERT INTO auth.user_sessions (user_id, session_id, session_token, refresh_token, created_at, expires_at)
        SELECT user_id, uuidv7(), sha256(n::text::bytea), sha256(('r' || n)::bytea), created_at, expires_at
        FROM auth.user_sessions, generate_series(1, $1) AS n
        """,
        MAX_LOGINS,
    )
    await connection.close()
    caller.token = ""
    assert (await caller.register("a@example.org", "first"))[0] == 201
    assert await caller.rows("auth.user_sessions WHERE is_active") == MAX_LOGINS


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"key": "k2"}, "/problems/email-taken"),
        ({"password": "another password"}, "/problems/bad-credentials"),
        ({"timezone": "Europe/Rome"}, "/problems/idempotency-mismatch"),
    ],
    ids=["another key", "another password", "another body"],
)
async def test_a_key_does_not_give_access_to_another_account(
    caller: Caller, changed: dict[str, str], expected: str
) -> None:
    caller.token = ""
    await caller.register("b@example.org", "k1")
    status, body, _ = await caller.register("b@example.org", **{"key": "k1", **changed})
    assert status >= 400
    assert body["type"] == expected
    assert "access_token" not in body


async def test_no_token_and_no_password_is_stored(caller: Caller) -> None:
    connection = await asyncpg.connect(caller.owner_dsn)
    rows = await connection.fetch("SELECT * FROM auth.idempotency_keys")
    await connection.close()
    assert [(row["key"], row["body"]) for row in rows] == [("first", "")]


async def test_a_key_is_deleted_after_a_day(caller: Caller) -> None:
    await caller.create_alert("old")
    connection = await asyncpg.connect(caller.owner_dsn, server_settings={"search_path": "notifications"})
    await connection.execute("UPDATE idempotency_keys SET created_at = now() - interval '23 hours'")
    assert await connection.fetchval("SELECT forget_idempotency_keys(100)") == 0
    await connection.execute("UPDATE idempotency_keys SET created_at = now() - interval '25 hours'")
    assert await connection.fetchval("SELECT forget_idempotency_keys(100)") == 1
    await connection.close()


# The first transaction looks up the caller, the second the key, the third creates the alert.
@pytest.mark.parametrize(
    ("where", "made"),
    [
        ("transaction.before_commit KILL 3", 0),
        ("transaction.after_commit KILL 3", 1),
        ("http.before_answer KILL 1", 1),
    ],
)
async def test_a_retry_after_a_kill_creates_one_alert(
    caller: Caller, service_env: ServiceEnv, tmp_path: Path, where: str, made: int
) -> None:
    faults = tmp_path / "faults"
    key = str(uuid4())
    async with _notifications(service_env, caller, faults) as (url, process):
        (faults / "arm" / "notifications").write_text(where)
        caller.alerts.url = url
        with pytest.raises(aiohttp.ClientError):
            await caller.create_alert(key)
    assert process.wait(5) == -signal.SIGKILL
    assert await caller.rows("notifications.user_alerts") == made
    async with _notifications(service_env, caller, tmp_path / "again") as (url, process):
        caller.alerts.url = url
        status, _, replayed = await caller.create_alert(key)
        assert (status, replayed) == (201, "true" if made else "")
        process.terminate()
    assert await caller.rows("notifications.user_alerts") == 1


class _notifications:  # noqa: N801 - reads as a function
    """Notifications in a process of its own, with fault points that can be armed."""

    def __init__(self, service_env: ServiceEnv, caller: Caller, faults: Path) -> None:
        port = _free_port()
        self._url = f"http://127.0.0.1:{port}"
        self._environment = {
            **os.environ,
            **service_env("notifications"),
            "HTTP_PORT": str(port),
            "JWKS_URL": f"{caller.auth.url}/.well-known/jwks.json",
            "FAULT_POINTS": str(faults),
        }

    async def __aenter__(self) -> tuple[str, ServiceProcess]:
        self._process = ServiceProcess(["services.notifications", "--only", "http"], self._environment)
        await eventually(self._ready, bool)
        return self._url, self._process

    async def __aexit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.terminate()
        await asyncio.to_thread(self._process.wait, 15)

    async def _ready(self) -> bool:
        try:
            async with aiohttp.ClientSession() as session, session.get(f"{self._url}/readyz") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False


def _free_port() -> int:
    ports = Ports()
    port = ports.take()
    ports.release(port)
    return port
