"""The five services, and two tenants who have created one of everything through the API."""

import asyncio
import io
import json
import logging
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
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
from stack.billing_database import grant
from stack.consumer_lag import consumer_lag
from stack.migrate import SERVICES, DatabaseAccess
from stack.topics import open_admin_client
from tests.integration.accounts import Json, auth_settings, billing_settings, eventually
from tests.integration.trading.market import Exchange, Market
from tests.isolation.filled import TABLES
from tests.isolation.probe import OPEN_KINDS, Caller
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
SYMBOL = {"symbol": "BTCUSDT", "interval": "15"}


@dataclass
class Person:
    """`ids` are by kind; `canary` is in every text that the tenant may write, `secrets` must not be stored
    anywhere."""

    email: str
    password: str
    canary: str
    token: str = ""
    secrets: list[str] = field(default_factory=list)
    user_id: int = 0
    ids: dict[str, list[str]] = field(default_factory=dict)

    @property
    def all_ids(self) -> list[str]:
        return [one for several in self.ids.values() for one in several]

    @property
    def private_ids(self) -> list[str]:
        return [one for kind, several in self.ids.items() if kind not in OPEN_KINDS for one in several]


@dataclass(frozen=True)
class Answer:
    status: int
    text: str
    headers: Mapping[str, str]


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

    async def call(
        self,
        method: str,
        template: str,
        caller: Caller | None,
        path: str = "",
        body: Json | None = None,
        **headers: str,
    ) -> Answer:
        """Call an operation at the service that has it."""
        url = self.routes[method, template] + (path or template)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if caller is not None:
            sent["Authorization"] = f"Bearer {caller.token}"
        ends = {"seconds": "0"} if template.endswith("/stream") else {}  # the stream ends after the stored events
        async with self.session.request(method, url, params=ends, json=body, headers=sent) as answer:
            text = await answer.text()
            whole = text + "\n".join(f"{name}: {value}" for name, value in answer.headers.items())
            canary, kind = caller.canary if caller else "", kind_of(method, template)
            self.answers.append((canary, f"{method} {path or template}", whole))
            if kind is not None and answer.status != 401:
                self.requests[canary][kind] += 1
            return Answer(answer.status, text, answer.headers)

    async def json(
        self, method: str, template: str, caller: Person | None, path: str = "", body: Json | None = None
    ) -> Json:
        answer = await self.call(method, template, caller, path, body)
        assert answer.status < 300, f"{method} {path or template}: {answer.status} {answer.text}"
        decoded: Json = json.loads(answer.text or "{}")
        return decoded

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
    env: ServiceEnv, access: DatabaseAccess, superuser_dsn: str, folder: Path
) -> AsyncIterator[tuple[World, Exchange]]:
    """Start the services, without any account."""
    async with AsyncExitStack() as stack:
        log = await stack.enter_async_context(captured_log())
        exchange = Exchange()
        server = await stack.enter_async_context(TestServer(exchange.app()))
        exchange.url = f"http://127.0.0.1:{server.port}"
        running = await _start(stack, env, exchange.url, folder)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        database = await asyncpg.connect(superuser_dsn, database=access.name)
        stack.push_async_callback(database.close)
        world = World(running, session, database, log)
        for service in running.values():
            for endpoint in service.service.endpoints:
                if not endpoint.internal:
                    world.routes[endpoint.method, endpoint.path] = service.url
        yield world, exchange


@asynccontextmanager
async def running_world(
    env: ServiceEnv, access: DatabaseAccess, superuser_dsn: str, folder: Path
) -> AsyncIterator[tuple[World, Person, Person]]:
    """Start the services with two tenants, and wait until no event is left to send."""
    async with running_services(env, access, superuser_dsn, folder) as (world, exchange):
        first, second = [_person(name) for name in ("first", "second")]
        for person in (first, second):
            await _register(world, person, access)
        await _play(world, world.running["trading"], exchange, first, second)
        await settle(world)
        yield world, first, second


async def _start(stack: AsyncExitStack, env: ServiceEnv, exchange: str, folder: Path) -> dict[str, RunningService]:
    def values(service: str, **more: str) -> dict[str, object]:
        return {**{name.lower(): value for name, value in env(service).items()}, **more}

    async def start(build: Callable[..., object], settings: object) -> RunningService:
        return await stack.enter_async_context(RunningService(build, settings, ROLES))  # type: ignore[arg-type]

    running = {"auth": await start(auth.build, auth_settings(env("auth"), folder))}
    keys = {"jwks_url": f"{running['auth'].url}/.well-known/jwks.json"}
    running["billing"] = await start(billing.build, billing_settings(env("billing"), keys["jwks_url"]))
    running["trading"] = await start(
        trading_app.build, TradingSettings.model_validate(values("trading", bybit_rest_url=exchange, **keys))
    )
    keys["trading_internal_url"] = running["trading"].internal_url
    running["analytics"] = await start(
        analytics.build, AnalyticsSettings.model_validate(values("analytics", **keys))
    )
    running["notifications"] = await start(
        notifications.build, NotificationsSettings.model_validate(values("notifications", **keys))
    )
    return running


def _person(name: str) -> Person:
    canary = f"canary{name}{token_hex(6)}"
    return Person(f"{canary}@example.org", f"secret {token_hex(12)}", canary)


async def _register(world: World, person: Person, access: DatabaseAccess) -> None:
    names = dict.fromkeys(("username", "first_name", "last_name"), person.canary)
    entry: Json = {"email": person.email, "password": person.password}
    agent = {"User_Agent": person.canary}
    await world.call("POST", "/v1/auth/register", person, body={**entry, **names}, **agent)
    person.user_id = await world.database.fetchval("SELECT user_id FROM auth.users WHERE email = $1", person.email)
    for _ in range(2):  # a second login, so that one can be ended without the other
        tokens = await world.json("POST", "/v1/auth/login", person, body=entry)
        person.token = str(tokens["access_token"])
        person.secrets += [str(tokens["access_token"]), str(tokens["refresh_token"])]
    person.secrets.append(person.password)
    await grant(access.dsn("billing_app"), person.email, "PRO")
    await until_known(world, person)


async def until_known(world: World, person: Caller, plan: str = "PRO") -> None:
    """Wait until every service knows the tenant and the plan."""
    for path, text in (
        ("/v1/subscription", plan),
        ("/v1/sessions/limits", plan),
        ("/v1/watchlist", "items"),
        ("/v1/alerts", "items"),
        ("/v1/me", plan),
    ):
        await eventually(
            lambda path=path: world.call("GET", path, person),  # type: ignore[misc]
            lambda answer, text=text: answer.status == 200 and text in answer.text,  # type: ignore[misc]
            SETTLED_WITHIN_S,
        )


def bodies(person: Person) -> dict[str, Json]:
    """Return the bodies of the objects this tenant creates, by operation; every free text is their canary."""
    canary = person.canary
    document = {key: _rename(value, "fast", f"i_{canary}") for key, value in CROSS.items()}
    document |= {"strategy_name": canary, "strategy_description": canary}
    return {
        "POST /v1/strategies": document,
        "POST /v1/bot-configurations": {
            "config_name": canary,
            "config_data": {canary: {"note": [canary]}},
            "strategy_type": canary,
            "max_position_size": "1000000",
        },
        "POST /v1/watchlist": {**SYMBOL},
        "POST /v1/alerts": {
            **SYMBOL,
            "alert_name": canary,
            "alert_type": "PRICE",
            "condition_data": {"op": "above", "value": "10"},
        },
    }


def _rename(value: object, old: str, new: str) -> object:
    if isinstance(value, dict):
        return {(new if key == old else key): _rename(each, old, new) for key, each in value.items()}
    return new if value == old else value


async def _play(world: World, service: RunningService, exchange: Exchange, first: Person, second: Person) -> None:
    """Create both tenants' objects and move the market, so that sessions trade and alerts fire."""
    market = Market(service.database, service.producer, "BTCUSDT", wavy_bars(BARS + 1))
    await market.begin()
    for person in (first, second):
        await _make(world, person)
    async with trading(service, exchange):
        await market.close_bars(BARS)
        for person in (first, second):
            await _collect(world, person)
    await _backtest(world, service, first, second)


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


def backtest_of(person: Person, **changes: str) -> Json:
    """Return the body of a backtest that the tenant may request."""
    terms: Json = {"strategy_id": person.ids["strategy_id"][0], "symbol": "BTCUSDT"}
    return {**terms, "from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z", **changes}


async def _backtest(world: World, service: RunningService, *people: Person) -> None:
    """Create one pending and one finished backtest for each tenant."""
    path = "/v1/backtests"
    for person in people:
        backtest = await world.json("POST", path, person, body=backtest_of(person))
        person.ids["backtest_id"] = [str(backtest["backtest_id"])]
    async with backtesting(service):
        for person in people:
            await _wait_for_items(lambda p=person: world.json("GET", path, p, path + "?status=DONE"))  # type: ignore[misc]
    for person in people:
        pending = await world.json("POST", path, person, body=backtest_of(person, fee_rate="0.001"))
        person.ids["backtest_id"].insert(0, str(pending["backtest_id"]))


async def _make(world: World, person: Person) -> None:
    kinds = {
        "/v1/strategies": "strategy_id",
        "/v1/bot-configurations": "bot_configuration_id",
        "/v1/watchlist": "watch_id",
        "/v1/alerts": "alert_id",
    }
    for label, body in bodies(person).items():
        path = label.partition(" ")[2]
        created = await world.json("POST", path, person, body=body)
        person.ids[kinds[path]] = [str(created[kinds[path]])]
    await _publish(world, person)
    own = {kind: person.ids[kind][0] for kind in ("strategy_id", "bot_configuration_id")}
    start: Json = {**own, "symbol": "BTCUSDT", "mode": "PAPER", "initial_balance": "10000"}
    session = str((await world.json("POST", "/v1/sessions", person, body=start))["session_id"])
    person.ids["session_id"] = [session]
    for action in ("pause", "resume"):
        template = f"/v1/sessions/{{id}}/{action}"
        await world.json("POST", template, person, template.replace("{id}", session))


async def _publish(world: World, person: Person) -> None:
    """Publish a strategy without any of the tenant's own texts."""
    strategy = str((await world.json("POST", "/v1/strategies", person, body={**CROSS}))["strategy_id"])
    publish = "/v1/strategies/{id}/publish"
    path = publish.replace("{id}", strategy)
    published = await world.json("POST", publish, person, path, {"display_name": "somebody"})
    person.ids["strategy_id"].append(strategy)
    person.ids["published_strategy_id"] = [str(published["published_strategy_id"])]
    templates = (await world.json("GET", "/v1/strategies/templates", person))["items"]
    assert isinstance(templates, list)
    person.ids["template_id"] = [str(templates[0]["template_id"])]


async def _collect(world: World, person: Person) -> None:
    """Collect the ids of objects that the platform created by itself."""
    session = person.ids["session_id"][0]
    decisions = "/v1/sessions/{id}/decisions"
    for kind, template, path, name in (
        ("trade_id", "/v1/trades", "/v1/trades?status=CLOSED", "trade_id"),
        ("decision_id", decisions, decisions.replace("{id}", session), "decision_id"),
        ("fill_id", "/v1/fills", "/v1/fills", "fill_id"),
        ("event_id", "/v1/inbox", "/v1/inbox?event_category=ALERT", "event_id"),
        ("login_id", "/v1/me/sessions", "/v1/me/sessions", "login_id"),
        ("analysis_id", "/v1/market-analysis", "/v1/market-analysis", "analysis_id"),
        ("", "/v1/performance/equity", "/v1/performance/equity", "trade_id"),
    ):
        items = await _wait_for_items(lambda t=template, p=path: world.json("GET", t, person, p))  # type: ignore[misc]
        if kind:
            person.ids[kind] = [str(item[name]) for item in items if not item.get("current")][:2]


async def _wait_for_items(look: Callable[[], Awaitable[Json]]) -> list[Json]:
    page = await eventually(look, lambda page: bool(page["items"]), SETTLED_WITHIN_S)
    items = page["items"]
    assert isinstance(items, list)
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
