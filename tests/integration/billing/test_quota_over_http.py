"""The daily quota with real servers: two instances of a service, billing, and Kafka between them."""

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
from services.billing.domain import Change
from services.billing.operations.subscriptions import change_plan
from services.notifications.app import build as build_notifications
from services.notifications.settings import NotificationsSettings
from shared.chassis.clock import utc_now
from shared.chassis.service import RunningService
from shared.testing.api_client import Answer, ApiClient, Json, open_client
from shared.testing.tokens import serve_tokens
from stack.migrate import ROOT, DatabaseAccess
from stack.ports import Ports
from tests.integration.accounts import billing_settings, eventually
from tests.integration.billing.conftest import begin, set_daily_limit

ServiceEnv = Callable[[str], dict[str, str]]
METERED = "/v1/alerts"


@dataclass
class Platform:
    """Billing and two instances of notifications, and a tenant on PREMIUM's trial."""

    billing: RunningService
    billing_stack: AsyncExitStack
    running: list[RunningService]
    instances: list[ApiClient]
    at_billing: ApiClient
    token: str
    env: Mapping[str, str]
    access: DatabaseAccess

    async def ask(self, instance: int = 0) -> Answer:
        return await self.instances[instance].call("GET", METERED, token=self.token)

    async def until_answered(self, instance: int, status: int) -> Answer:
        return await eventually(lambda: self.ask(instance), lambda answer: answer.status == status)

    async def until_all_know(self) -> None:
        """Wait until every instance has received that the quota is exhausted."""

        async def know() -> bool:
            return all(each.quotas.find_exhausted(1, utc_now()) for each in self.running)

        await eventually(know, bool)

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


def _api_meter(usage: Answer) -> Json:
    meters = usage.body["meters"]
    found: Json = next(meter for meter in meters if meter["meter"] == "api_requests")
    return found


def _settings(env: Mapping[str, str]) -> NotificationsSettings:
    values: dict[str, object] = {name.lower(): value for name, value in env.items()}
    return NotificationsSettings.model_validate(values)


@pytest.fixture
async def platform(service_env: ServiceEnv, database_access: DatabaseAccess) -> AsyncIterator[Platform]:
    async with AsyncExitStack() as stack:
        tokens = await stack.enter_async_context(serve_tokens())
        settings = billing_settings(service_env("billing"), tokens.jwks_url)
        billing_stack = await stack.enter_async_context(AsyncExitStack())
        billing = await billing_stack.enter_async_context(RunningService(build_billing, settings))
        public_id = await begin(billing.database, 1, now=utc_now())
        env = {**service_env("notifications"), "JWKS_URL": tokens.jwks_url}
        running = [
            await stack.enter_async_context(RunningService(build_notifications, _settings(env), roles))
            for roles in ({"http", "consumers", "relay"}, {"http"})
        ]
        instances = [await stack.enter_async_context(open_client(each.url)) for each in running]
        token = tokens.make_token(public_id)
        at_billing = await stack.enter_async_context(open_client(billing.url))
        found = Platform(billing, billing_stack, running, instances, at_billing, token, env, database_access)
        await eventually(lambda: found.see("SELECT FROM notifications.user_locator"), lambda rows: len(rows) == 1)
        assert (await found.usage()).status == 200  # and its connection pool is open
        yield found


async def test_when_the_requests_run_out_every_instance_refuses_within_seconds(platform: Platform) -> None:
    await platform.limit(3)
    answers = [await platform.ask(number % 2) for number in range(3)]
    assert [answer.status for answer in answers] == [200] * 3
    refused = await platform.until_answered(0, 429)
    assert (refused.body["type"], refused.body["limit"]) == ("/problems/quota-exceeded", 3)
    assert int(str(refused.body["used"])) >= 3
    now = utc_now()
    left_s = 86_400 - (now.hour * 60 + now.minute) * 60 - now.second
    assert abs(int(refused.headers["Retry-After"]) - left_s) <= 30
    await platform.until_answered(1, 429)


async def test_a_larger_plan_admits_again_everywhere(platform: Platform) -> None:
    await platform.limit(1)
    await platform.ask()
    for instance in (0, 1):
        await platform.until_answered(instance, 429)
    async with platform.billing.database.tenant(1) as connection:
        await change_plan(connection, 1, Change("PRO", "ACTIVE", "granted"), utc_now())
    for instance in (0, 1):
        await platform.until_answered(instance, 200)


async def test_an_instance_that_starts_later_refuses_too(platform: Platform) -> None:
    await platform.limit(1)
    await platform.ask()
    await platform.until_answered(0, 429)
    async with (
        RunningService(build_notifications, _settings(platform.env), {"http"}) as late,
        open_client(late.url) as client,
    ):
        await _until_up(client)
        assert (await client.call("GET", METERED, token=platform.token)).status == 429


async def test_usage_of_two_instances_is_reported_once_and_refusals_are_explained(platform: Platform) -> None:
    """The 80 and 100 % thresholds also reach the notifications, over Kafka."""
    await platform.limit(10)
    answers = [await platform.ask(number % 2) for number in range(10)]
    assert [answer.status for answer in answers].count(200) == 10
    await platform.until_all_know()
    assert [(await platform.ask(number % 2)).status for number in range(4)] == [429] * 4
    usage = await eventually(platform.usage, lambda seen: bool(_api_meter(seen)["last_refusals"]))
    meter = _api_meter(usage)
    assert (meter["used"], meter["limit"], meter["remaining"], meter["unlimited"]) == (10, 10, 0, False)
    refusals = meter["last_refusals"]
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
    counted = await eventually(platform.usage, lambda seen: _api_meter(seen)["used"] != 0)
    assert _api_meter(counted)["used"] == 1


async def test_an_outage_of_billing_refuses_nobody_and_loses_no_count(
    platform: Platform, service_env: ServiceEnv
) -> None:
    await platform.limit(5)
    await platform.billing_stack.aclose()
    answers = [await platform.ask(number % 2) for number in range(60)]
    assert {answer.status for answer in answers} == {200}
    settings = billing_settings(service_env("billing"), platform.env["JWKS_URL"])
    async with RunningService(build_billing, settings) as again, open_client(again.url) as client:
        platform.at_billing = client
        await platform.until_used(60)
        await platform.until_all_know()
    assert (await platform.ask()).status == 429


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
        async with open_client(f"http://127.0.0.1:{port}") as client:
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


async def _until_up(client: ApiClient) -> None:
    async def ready() -> int:
        try:
            return (await client.call("GET", "/readyz")).status
        except aiohttp.ClientError:
            return 0

    await eventually(ready, lambda status: status == 200, 60)
