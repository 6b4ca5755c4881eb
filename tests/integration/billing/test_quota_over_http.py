"""The daily quota over real sockets: two instances of a service, billing, and Kafka between them."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass

import aiohttp
import asyncpg
import pytest

from services.billing.app import build as build_billing
from services.notifications.app import build as build_notifications
from services.notifications.settings import NotificationsSettings
from shared.chassis.clock import utc_now
from shared.chassis.quota.meter import UNLEASED_BLOCK
from shared.chassis.service import RunningService
from shared.testing.tokens import TokenIssuer, serve_tokens
from stack.migrate import ROOT, DatabaseAccess
from stack.ports import Ports
from tests.integration.accounts import Answer, Client, billing_settings, eventually
from tests.integration.billing.conftest import begin, set_daily_limit

ServiceEnv = Callable[[str], dict[str, str]]
METERED = "/v1/alerts"


@dataclass
class Platform:
    """Billing and two instances of notifications, and a tenant on PREMIUM's trial."""

    billing: RunningService
    instances: list[Client]
    at_billing: Client
    token: str
    env: Mapping[str, str]
    access: DatabaseAccess

    async def ask(self, instance: int = 0) -> Answer:
        return await self.instances[instance].call("GET", METERED, token=self.token)

    async def limit(self, requests: int) -> None:
        await set_daily_limit(self.access.owner_dsn, "PREMIUM", requests)

    async def see(self, query: str) -> list[asyncpg.Record]:
        """Query as the owner, past row level security."""
        connection = await asyncpg.connect(self.access.owner_dsn)
        try:
            return list(await connection.fetch(query))
        finally:
            await connection.close()

    async def usage(self) -> Answer:
        return await self.at_billing.call("GET", "/v1/usage", token=self.token)

    async def until_used(self, requests: int) -> Answer:
        return await eventually(self.usage, lambda seen: _api_meter(seen)["used"] == requests)


def _api_meter(usage: Answer) -> dict[str, object]:
    meters = usage.body["meters"]
    assert isinstance(meters, list)
    found: dict[str, object] = next(meter for meter in meters if meter["meter"] == "api_requests")
    return found


def _notifications_env(env: Mapping[str, str], tokens: TokenIssuer, billing_url: str) -> dict[str, str]:
    return {**env, "JWKS_URL": tokens.jwks_url, "BILLING_INTERNAL_URL": billing_url}


def _settings(env: Mapping[str, str]) -> NotificationsSettings:
    values: dict[str, object] = {name.lower(): value for name, value in env.items()}
    return NotificationsSettings.model_validate(values)


@pytest.fixture
async def platform(service_env: ServiceEnv, database_access: DatabaseAccess) -> AsyncIterator[Platform]:
    async with AsyncExitStack() as stack:
        tokens = await stack.enter_async_context(serve_tokens())
        settings = billing_settings(service_env("billing"), tokens.jwks_url)
        billing = await stack.enter_async_context(RunningService(build_billing, settings))
        public_id = await begin(billing.database, 1, now=utc_now())
        env = _notifications_env(service_env("notifications"), tokens, billing.internal_url)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        instances = []
        for roles in ({"http", "consumers", "relay"}, {"http"}):
            running = RunningService(build_notifications, _settings(env), roles)
            instances.append(Client((await stack.enter_async_context(running)).url, session))
        token = tokens.make_token(public_id)
        found = Platform(billing, instances, Client(billing.url, session), token, env, database_access)
        await eventually(lambda: found.see("SELECT FROM notifications.user_locator"), lambda rows: len(rows) == 1)
        assert (await found.usage()).status == 200  # and its connection pool is open
        yield found


async def test_with_one_unit_left_exactly_one_of_fifty_parallel_requests_passes(platform: Platform) -> None:
    await platform.limit(1)
    answers = await asyncio.gather(*(platform.ask(number % 2) for number in range(50)))
    assert sorted(answer.status for answer in answers) == [200] + [429] * 49


async def test_a_refusal_shows_limit_usage_and_when_to_retry(platform: Platform) -> None:
    await platform.limit(3)
    assert [(await platform.ask()).status for _ in range(4)] == [200, 200, 200, 429]
    refused = await platform.ask(1)
    assert (refused.body["type"], refused.body["limit"], refused.body["used"]) == (
        "/problems/quota-exceeded",
        3,
        3,
    )
    now = utc_now()
    left_s = 86_400 - (now.hour * 60 + now.minute) * 60 - now.second
    assert abs(int(refused.headers["Retry-After"]) - left_s) <= 30


async def test_usage_of_two_instances_is_reported_once_and_refusals_are_explained(platform: Platform) -> None:
    """The 80 and 100 % thresholds also reach the notifications, over Kafka."""
    await platform.limit(10)
    answers = [await platform.ask(number % 2) for number in range(14)]
    assert [answer.status for answer in answers].count(200) == 10
    meter = _api_meter(await platform.until_used(10))
    assert (meter["limit"], meter["remaining"], meter["unlimited"]) == (10, 0, False)
    refusals = meter["last_refusals"]
    assert isinstance(refusals, list)
    (refusal,) = refusals
    assert (refusal["service"], refusal["operation"]) == ("notifications", f"GET {METERED}")
    assert (refusal["used"], refusal["limit"], refusal["login_id"] is None) == (10, 10, False)
    api_usage = (await platform.usage()).body["api_usage"]
    assert isinstance(api_usage, dict)
    assert (api_usage["total_requests"], api_usage["requests_remaining"]) == (10, 0)
    query = "SELECT message FROM notifications.user_system_events WHERE event_type = 'USAGE_THRESHOLD' ORDER BY 1"
    rows = await eventually(lambda: platform.see(query), lambda rows: len(rows) == 2)
    assert "(100 %)" in rows[0][0]
    assert "(80 %)" in rows[1][0]


async def test_unauthorized_and_unmetered_requests_use_no_quota(platform: Platform) -> None:
    await platform.limit(1)
    for _ in range(3):
        assert (await platform.instances[0].call("GET", METERED, token="x")).status == 401
        assert (await platform.usage()).status == 200
    assert (await platform.ask()).status == 200


async def test_without_billing_an_instance_serves_one_lease_and_then_asks_to_retry(
    platform: Platform,
) -> None:
    env = {**platform.env, "BILLING_INTERNAL_URL": "http://127.0.0.1:9"}
    async with RunningService(build_notifications, _settings(env), {"http"}) as alone:
        async with aiohttp.ClientSession() as session:
            client = Client(alone.url, session)
            answers = [await client.call("GET", METERED, token=platform.token) for _ in range(UNLEASED_BLOCK + 2)]
    assert [answer.status for answer in answers] == [200] * UNLEASED_BLOCK + [503] * 2
    assert int(answers[-1].headers["Retry-After"]) >= 1
    await platform.until_used(UNLEASED_BLOCK)


async def test_usage_of_a_killed_instance_is_between_its_reports_and_its_answers(
    platform: Platform,
) -> None:
    ports = Ports()
    port = ports.take()
    ports.release(port)
    env = {**os.environ, **platform.env, "HTTP_PORT": str(port), "PYTHONPATH": str(ROOT)}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.notifications", "--only", "http"),
        env=env,
        stdout=asyncio.subprocess.DEVNULL,
    )
    total = """SELECT coalesce(sum((convert_from(payload, 'UTF8')::jsonb ->> 'count')::int), 0) AS n
              FROM notifications.outbox WHERE topic = 'usage.recorded'"""
    try:
        async with aiohttp.ClientSession() as session:
            client = Client(f"http://127.0.0.1:{port}", session)
            await _until_up(client)
            first = [await client.call("GET", METERED, token=platform.token) for _ in range(30)]
            await eventually(lambda: platform.see(total), lambda rows: rows[0]["n"] == 30)
            more = [await client.call("GET", METERED, token=platform.token) for _ in range(5)]
            process.send_signal(signal.SIGKILL)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
    assert {answer.status for answer in first + more} == {200}
    counted = await eventually(platform.usage, lambda seen: 30 <= int(str(_api_meter(seen)["used"])) <= 35)
    assert _api_meter(counted)["limit"] == 20_000


async def _until_up(client: Client) -> None:
    async def ready() -> int:
        try:
            return (await client.call("GET", "/readyz")).status
        except aiohttp.ClientError:
            return 0

    await eventually(ready, lambda status: status == 200, 60)
