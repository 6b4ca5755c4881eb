"""Every service refuses an ended login within two seconds, however it ended."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from services.auth.app import build as build_auth
from services.auth.operations.deactivation import set_account_active
from services.auth.settings import AuthSettings
from services.notifications.app import build as build_notifications
from services.notifications.settings import NotificationsSettings
from shared.chassis.access_reader import AccessReader
from shared.chassis.clock import utc_now
from shared.chassis.ended_logins import EndedLogins
from shared.chassis.events.producer import Outgoing
from shared.chassis.quota.quotas import Quotas
from shared.chassis.service import RunningService
from shared.testing.api_client import PASSWORD, Answer, ApiClient, open_client
from stack.migrate import DatabaseAccess
from tests.conftest import ServiceEnv
from tests.integration.accounts import auth_settings, eventually

WITHIN_S = 2.0
AT_MOST_S = 60.0  # on a machine that is busy with other work
TOPIC = "login.ended"


@dataclass
class Platform:
    """Auth, and two instances of a service that only verifies tokens."""

    auth: ApiClient
    running: RunningService
    settings: NotificationsSettings
    owner_dsn: str
    elsewhere: list[ApiClient] = field(default_factory=list)
    services: list[RunningService] = field(default_factory=list)

    async def is_accepted(self, token: str) -> list[bool]:
        answers = [await client.call("GET", "/v1/alerts", token=token) for client in self.elsewhere]
        assert {answer.status for answer in answers} <= {200, 401}, answers
        return [answer.status == 200 for answer in answers]

    async def register(self, email: str) -> Answer:
        """Register, and insert the user into the other service, as `subscription.changed` would."""
        registered = await self.auth.register(email)
        await project_users(self.owner_dsn)
        return registered


async def project_users(owner_dsn: str) -> None:
    connection = await asyncpg.connect(owner_dsn)
    await connection.execute(
        """
        INSERT INTO notifications.user_locator SELECT sha256(uuid_send(public_id)), user_id FROM auth.users
        ON CONFLICT DO NOTHING
        """
    )
    await connection.close()


@pytest.fixture
async def platform(
    service_env: ServiceEnv, tmp_path: Path, database_access: DatabaseAccess
) -> AsyncIterator[Platform]:
    async with AsyncExitStack() as stack:
        settings: AuthSettings = auth_settings(service_env("auth"), tmp_path)
        running = await stack.enter_async_context(RunningService(build_auth, settings, {"http", "relay"}))
        values = {name.lower(): value for name, value in service_env("notifications").items()}
        with_jwks_url = {**values, "jwks_url": f"{running.url}/.well-known/jwks.json"}
        elsewhere = NotificationsSettings.model_validate(with_jwks_url)
        platform = Platform(
            await stack.enter_async_context(open_client(running.url)), running, elsewhere, database_access.owner_dsn
        )
        for _ in range(2):
            service = await stack.enter_async_context(RunningService(build_notifications, elsewhere, {"http"}))
            platform.services.append(service)
            platform.elsewhere.append(await stack.enter_async_context(open_client(service.url)))
        yield platform


async def _log_out(auth: ApiClient, ended: Answer, _: Answer) -> None:
    await auth.call("POST", "/v1/auth/logout", {"refresh_token": ended.text("refresh_token")})


async def _log_out_by_access_token(auth: ApiClient, ended: Answer, _: Answer) -> None:
    await auth.call("POST", "/v1/auth/logout", token=ended.text("access_token"))


async def _revoke_all_others(auth: ApiClient, _: Answer, current: Answer) -> None:
    await auth.call("DELETE", "/v1/me/sessions", token=current.text("access_token"))


async def _revoke_one(auth: ApiClient, _: Answer, current: Answer) -> None:
    listed = await auth.call("GET", "/v1/me/sessions", token=current.text("access_token"))
    items = listed.body["items"]
    for item in items:
        if not item["current"]:
            await auth.call("DELETE", f"/v1/me/sessions/{item['login_id']}", token=current.text("access_token"))


async def _change_password(auth: ApiClient, _: Answer, current: Answer) -> None:
    body: dict[str, object] = {"old_password": PASSWORD, "new_password": PASSWORD}
    changed = await auth.call("POST", "/v1/me/password", body, token=current.text("access_token"))
    assert changed.status == 204, changed


Way = Callable[[ApiClient, Answer, Answer], Awaitable[None]]
WAYS: list[Way] = [_log_out, _log_out_by_access_token, _revoke_one, _revoke_all_others, _change_password]


async def test_every_way_to_end_a_login_ends_its_access_tokens_everywhere(platform: Platform) -> None:
    auth = platform.auth
    current = await platform.register("ann@example.org")
    took = []
    for way in WAYS:
        ended = await auth.log_in("ann@example.org")
        assert all(await platform.is_accepted(ended.text("access_token"))), way
        await way(auth, ended, current)
        took.append(await _until_refused(platform, ended))
        assert all(await platform.is_accepted(current.text("access_token"))), f"{way.__name__} ended another login"
    assert sorted(took)[len(took) // 2] < WITHIN_S, took


async def _until_refused(platform: Platform, ended: Answer) -> float:
    """Return the seconds until every instance refused the token."""
    token = ended.text("access_token")
    began = asyncio.get_running_loop().time()
    await eventually(lambda: platform.is_accepted(token), lambda accepted: not any(accepted), within_s=AT_MOST_S)
    return asyncio.get_running_loop().time() - began


async def test_a_reused_refresh_token_and_a_closed_account_end_access_tokens(platform: Platform) -> None:
    auth = platform.auth
    ended = await platform.register("ann@example.org")
    newer = await auth.refresh(ended.text("refresh_token"))
    async with platform.running.database.tenant(1) as connection:
        await connection.execute(
            "UPDATE refresh_tokens SET used_at = used_at - interval '11 s' WHERE used_at > '2000-01-01'"
        )
    assert (await auth.refresh(ended.text("refresh_token"))).status == 401
    await _until_refused(platform, ended)
    assert not any(await platform.is_accepted(newer.text("access_token")))

    current = await auth.log_in("ann@example.org")
    assert all(await platform.is_accepted(current.text("access_token")))
    done = await set_account_active(platform.running.database, "ANN@example.org", utc_now(), active=False)
    assert done is not None
    assert (done.changed, done.ended) == (True, 1)
    await _until_refused(platform, current)
    assert (await auth.log_in("ann@example.org")).status == 403
    assert (
        await set_account_active(platform.running.database, "nobody@example.org", utc_now(), active=False) is None
    )
    again = await set_account_active(platform.running.database, "ann@example.org", utc_now(), active=True)
    assert again is not None
    assert again.changed
    assert (await auth.log_in("ann@example.org")).status == 200


async def test_a_late_instance_reads_earlier_ended_logins_before_it_is_ready(platform: Platform) -> None:
    auth = platform.auth
    ended = await platform.register("ann@example.org")
    await _log_out(auth, ended, ended)
    await _until_refused(platform, ended)
    async with (
        RunningService(build_notifications, platform.settings, {"http"}) as late,
        open_client(late.url) as client,
    ):

        async def is_ready() -> bool:
            return (await client.call("GET", "/readyz")).status == 200

        await eventually(is_ready, bool)
        answer = await client.call("GET", "/v1/alerts", token=ended.text("access_token"))
        assert (answer.status, answer.body["detail"]) == (401, "this login has ended")


async def test_malformed_messages_do_not_stop_the_reader(platform: Platform) -> None:
    auth = platform.auth
    ended = await platform.register("ann@example.org")
    headers = {"ce_id": "x", "ce_time": "x", "ce_dataschema": "tradefleet:login.ended:1"}
    junk = [b"", b"\x00", b"{}", b"[" * 5_000, b'{"login_id": 1}', b"\xff\xfe", b"null"]
    await platform.running.producer.send([Outgoing(TOPIC, "1", headers, value) for value in junk])
    await _log_out(auth, ended, ended)
    await _until_refused(platform, ended)
    assert all(not service.failed for service in platform.services)


async def test_the_stream_of_an_ended_login_is_closed(platform: Platform) -> None:
    auth = platform.auth
    ended = await platform.register("ann@example.org")
    headers = {"Authorization": f"Bearer {ended.text('access_token')}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        async with session.get(platform.elsewhere[0].url + "/v1/inbox/stream") as stream:
            assert stream.status == 200
            await stream.content.readline()
            await _log_out(auth, ended, ended)
            await _until_refused(platform, ended)
            async with asyncio.timeout(AT_MOST_S):
                while await stream.content.readline():
                    pass


async def test_without_a_broker_the_reader_retries_and_the_process_is_unready() -> None:
    stop = asyncio.Event()
    reader = AccessReader("127.0.0.1:1", "", EndedLogins(), Quotas())
    task = asyncio.create_task(reader.run(stop))
    await asyncio.sleep(1)
    assert (task.done(), reader.fault) == (False, "ended logins and exhausted quotas are not read yet")
    stop.set()
    await asyncio.wait_for(task, 20)
