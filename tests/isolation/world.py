"""The five services, and two tenants who have created one of everything through the API."""

import asyncio
import io
import json
import logging
import re
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from secrets import token_hex

import aiohttp
import asyncpg
import structlog
from aiohttp.test_utils import TestServer

from services.analytics import app as analytics
from services.analytics.settings import AnalyticsSettings
from services.auth import app as auth
from services.billing import app as billing
from services.notifications import app as notifications
from services.notifications.settings import NotificationsSettings
from services.trading import app as trading_app
from services.trading.backtests.worker import BacktestWorker
from services.trading.bybit_api import MarketApi
from services.trading.settings import TradingSettings
from services.trading.venue_clock import VenueClock
from services.trading.worker.worker import Worker
from shared.chassis.quota.metered_paths import kind_of
from shared.chassis.service import RunningService
from shared.chassis.telemetry import configure_logging
from shared.testing.api_client import PASSWORD, Answer, Json
from shared.testing.tenant import Tenant, until_known
from stack.billing_database import grant
from stack.consumer_lag import consumer_lag
from stack.migrate import SERVICES, DatabaseAccess
from stack.topics import open_admin_client
from tests.integration.accounts import auth_settings, billing_settings, eventually
from tests.integration.trading.market import Exchange, Market
from tests.isolation.filled import TABLES
from tests.pace import patient
from tests.unit.trading.custody.accounts import Accounts
from tests.unit.trading.scenes import CROSS, wavy_bars

ServiceEnv = Callable[[str], dict[str, str]]
ROLES = {"http", "consumers", "relay", "jobs"}
BARS = 60
SETTLED_WITHIN_S = 60.0
# They change with each request of the tenant itself, so that a digest cannot compare them: see `booked_requests`.
COUNTS_REQUESTS = {"billing.api_usage_reports", "billing.user_api_usage"}
USAGE_EVENTS = " UNION ALL ".join(
    f"SELECT event_id FROM {service}.outbox WHERE topic = 'usage.recorded' AND user_id = $1" for service in SERVICES
)
BOOKED = """
    SELECT kind, sum(requests)::bigint FROM billing.api_usage_reports WHERE user_id = $1 GROUP BY kind
    UNION ALL SELECT 'total', sum(total_requests)::bigint FROM billing.user_api_usage WHERE user_id = $1
"""


@dataclass(kw_only=True)
class Person(Tenant):
    """A tenant of the world, each of whose operations is called at the service that has it. `secrets` must not be
    stored anywhere."""

    world: "World"
    secrets: list[str] = field(default_factory=list)
    user_id: int = 0

    async def send(
        self, method: str, path: str, body: Json | None, token: str, headers: Mapping[str, str]
    ) -> Answer:
        self.url, template = self.world.route(method, path)
        answer = await super().send(method, path, body, token, headers)
        whole = answer.raw + "\n".join(f"{name}: {value}" for name, value in answer.headers.items())
        self.world.answers.append((self.canary, f"{method} {path}", whole))
        if (kind := kind_of(method, template)) is not None and answer.status != 401:
            self.world.requests[self.canary][kind] += 1
        return answer


@dataclass
class World:
    """`routes` has the address of the service for each operation, `answers` everything that was answered, and
    `requests` the number of metered requests by canary and kind."""

    running: Mapping[str, RunningService]
    session: aiohttp.ClientSession
    database: asyncpg.Connection
    log: io.StringIO
    routes: dict[tuple[str, str], str] = field(default_factory=dict)
    answers: list[tuple[str, str, str]] = field(default_factory=list)
    requests: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def person(self, canary: str, email: str, password: str = PASSWORD) -> Person:
        return Person("", self.session, world=self, canary=canary, email=email, password=password)

    def route(self, method: str, path: str) -> tuple[str, str]:
        """Return the address of the service that has the operation, and the operation's path."""
        for (each, template), url in self.routes.items():
            if each == method and re.fullmatch(re.sub(r"{\w+}", "[^/]+", template), path.partition("?")[0]):
                return url, template
        raise AssertionError(f"no service has {method} {path}")

    async def digest(self, person: Person) -> dict[str, str]:
        """Return a digest of all rows of the tenant by table, read as a superuser. It leaves out the counts of
        requests, and the events that report the tenant's own."""
        tables = [
            f"{row['service']}.{row['name']}"
            for row in await self.database.fetch(TABLES, SERVICES)
            if row["of_tenant"] and not row["is_partition"]
        ]
        but_usage = f" AND event_id NOT IN ({USAGE_EVENTS})"
        each = (
            f"SELECT '{table}', md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) FROM {table} AS t "
            "WHERE user_id = $1" + (but_usage if table.endswith(("inbox", "outbox")) else "")
            for table in tables
            if table not in COUNTS_REQUESTS
        )
        return {row[0]: row[1] for row in await self.database.fetch(" UNION ALL ".join(each), person.user_id)}

    async def booked_requests(self, person: Person) -> dict[str, int]:
        """Return the requests that billing has booked for the tenant, by kind and in total, read as a superuser."""
        return {row[0]: row[1] for row in await self.database.fetch(BOOKED, person.user_id)}


@asynccontextmanager
async def captured_log() -> AsyncIterator[io.StringIO]:
    """Capture the services' log in the format they write."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logging("isolation", "INFO", stream)
    try:
        yield stream
    finally:
        structlog.reset_defaults()
        structlog.contextvars.unbind_contextvars("service")
        root.handlers[:] = handlers
        root.setLevel(level)


@asynccontextmanager
async def running_services(
    env: ServiceEnv, access: DatabaseAccess, superuser_dsn: str, folder: Path, roles: set[str] = ROLES
) -> AsyncIterator[tuple[World, Exchange]]:
    """Start the services, without any account."""
    async with AsyncExitStack() as stack:
        log = await stack.enter_async_context(captured_log())
        exchange = Exchange()
        server = await stack.enter_async_context(TestServer(exchange.app()))
        exchange.url = f"http://127.0.0.1:{server.port}"
        running = await _start(stack, env, exchange.url, folder, roles)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        database = await asyncpg.connect(superuser_dsn, database=access.name)
        stack.push_async_callback(database.close)
        world = World(running, session, database, log)
        for service in running.values():
            for endpoint in service.service.endpoints:
                if not endpoint.internal:
                    world.routes[endpoint.method, endpoint.path] = service.url
        world.routes = dict(sorted(world.routes.items(), key=lambda route: route[0][1].count("{")))
        yield world, exchange


@asynccontextmanager
async def running_world(
    env: ServiceEnv, access: DatabaseAccess, superuser_dsn: str, folder: Path
) -> AsyncIterator[tuple[World, Person, Person]]:
    """Start the services with two tenants, and wait until no event is left to send."""
    async with running_services(env, access, superuser_dsn, folder) as (world, exchange):
        first, second = [await _register(world, name, access) for name in ("first", "second")]
        await _play(world, world.running["trading"], exchange, first, second)
        await settle(world)
        yield world, first, second


async def _start(
    stack: AsyncExitStack, env: ServiceEnv, exchange: str, folder: Path, roles: set[str]
) -> dict[str, RunningService]:
    def values(service: str, **more: str) -> dict[str, object]:
        return {**{name.lower(): value for name, value in env(service).items()}, **more}

    async def start(build: Callable[..., object], settings: object) -> RunningService:
        return await stack.enter_async_context(RunningService(build, settings, roles))  # type: ignore[arg-type]

    running = {"auth": await start(auth.build, auth_settings(env("auth"), folder))}
    keys = {"jwks_url": f"{running['auth'].url}/.well-known/jwks.json"}
    running["billing"] = await start(billing.build, billing_settings(env("billing"), keys["jwks_url"]))
    running["trading"] = await start(
        partial(trading_app.build, account_reader=Accounts()),
        TradingSettings.model_validate(values("trading", bybit_rest_url=exchange, **keys)),
    )
    keys["trading_internal_url"] = running["trading"].internal_url
    running["analytics"] = await start(
        analytics.build, AnalyticsSettings.model_validate(values("analytics", **keys))
    )
    running["notifications"] = await start(
        notifications.build, NotificationsSettings.model_validate(values("notifications", **keys))
    )
    return running


async def _register(world: World, name: str, access: DatabaseAccess) -> Person:
    canary = f"canary{name}{token_hex(6)}"
    person = world.person(canary, email=f"{canary}@example.org", password=f"secret {token_hex(12)}")
    entry: Json = {"email": person.email, "password": person.password}
    names = dict.fromkeys(("username", "first_name", "last_name"), canary)
    await person.call("POST", "/v1/auth/register", {**entry, **names}, User_Agent=canary)
    person.user_id = await world.database.fetchval("SELECT user_id FROM auth.users WHERE email = $1", person.email)
    for _ in range(2):  # a second login, so that one can be ended without the other
        person.keep(await person.log_in(person.email, person.password))
        person.secrets += [person.token, person.refresh_token]
    person.secrets.append(person.password)
    await grant(access.dsn("billing_app"), person.email, "PRO")
    await until_known(person, "PRO", patient(SETTLED_WITHIN_S))
    return person


def bodies(person: Person) -> dict[str, Json]:
    """Return bodies that each operation accepts from this tenant; every free text is their canary."""
    return person.bodies(_strategy(person))


def _strategy(person: Person) -> Json:
    """Return a strategy with an indicator named after the canary."""
    named: Json = json.loads(json.dumps(CROSS).replace('"fast"', f'"i_{person.canary}"'))
    return named


async def _play(world: World, service: RunningService, exchange: Exchange, first: Person, second: Person) -> None:
    """Create both tenants' objects and move the market, so that sessions trade and alerts fire."""
    market = Market(service.database, service.producer, "BTCUSDT", wavy_bars(BARS + 1))
    await market.begin()
    for person in (first, second):
        await person.fill(_strategy(person), CROSS)
        account = bodies(person)["POST /v1/exchange-accounts"]
        await person.make("/v1/exchange-accounts", account)
        person.secrets += [account["api_key"], account["api_secret"]]
        for action in ("pause", "resume"):
            await person.must("POST", f"/v1/sessions/{person.first_id('session_id')}/{action}")
    async with trading(service, exchange):
        await market.close_bars(BARS)
        for person in (first, second):
            await _collect(person)
    await _backtest(service, first, second)


@asynccontextmanager
async def trading(service: RunningService, exchange: Exchange) -> AsyncIterator[None]:
    """Run the worker of the sessions."""
    api = MarketApi(exchange.url)
    settings = service._settings
    assert isinstance(settings, TradingSettings)
    stop = asyncio.Event()
    worker = asyncio.create_task(Worker(service.database, settings, VenueClock(api)).run(stop))
    try:
        yield
    finally:
        stop.set()
        await worker
        api.close()


@asynccontextmanager
async def backtesting(service: RunningService) -> AsyncIterator[None]:
    """Run the worker of the backtests."""
    stop = asyncio.Event()
    working = asyncio.create_task(BacktestWorker(service.database, 1).run(stop))
    try:
        yield
    finally:
        stop.set()
        await working


async def _backtest(service: RunningService, *people: Person) -> None:
    """Create one pending and one finished backtest for each tenant."""
    for person in people:
        await person.make("/v1/backtests", bodies(person)["POST /v1/backtests"])
    async with backtesting(service):
        for person in people:
            await _wait_for_items(person, "/v1/backtests?status=DONE")
    for person in people:
        await person.make("/v1/backtests", {**bodies(person)["POST /v1/backtests"], "fee_rate": "0.001"})
        person.ids["backtest_id"].reverse()


async def _collect(person: Person) -> None:
    """Collect the ids of objects that the platform created by itself."""
    for kind, path in (
        ("trade_id", "/v1/trades?status=CLOSED"),
        ("decision_id", f"/v1/sessions/{person.first_id('session_id')}/decisions"),
        ("fill_id", "/v1/fills"),
        ("event_id", "/v1/inbox?event_category=ALERT"),
        ("login_id", "/v1/me/sessions"),
        ("analysis_id", "/v1/market-analysis"),
    ):
        items = await _wait_for_items(person, path)
        person.ids[kind] = [str(item[kind]) for item in items if not item.get("current")][:2]
    await _wait_for_items(person, "/v1/performance/equity")


async def _wait_for_items(person: Person, path: str) -> list[Json]:
    page = await eventually(lambda: person.must("GET", path), lambda page: bool(page["items"]), SETTLED_WITHIN_S)
    items: list[Json] = page["items"]
    return items


async def settle(world: World) -> None:
    """Wait until every request is reported, and every event and what follows from it has been handled."""
    settings = world.running["auth"]._settings
    async with open_admin_client(settings.kafka) as admin:

        async def under_way() -> int:
            meters = [running._meter for running in world.running.values()]
            unreported = sum(len(meter._tenants) + len(meter._unwritten) for meter in meters)
            unread = (await consumer_lag(admin, settings.kafka, settings.kafka_topic_prefix)).total()
            return unreported + await _unsent(world) + unread

        for _ in range(2):  # what is handled may publish more
            await eventually(under_way, lambda left: left == 0, SETTLED_WITHIN_S)


async def _unsent(world: World) -> int:
    each = (f"(SELECT count(*) FROM {service}.outbox WHERE sent_at IS NULL)" for service in SERVICES)
    unsent: int = await world.database.fetchval(f"SELECT {' + '.join(each)}")
    return unsent
