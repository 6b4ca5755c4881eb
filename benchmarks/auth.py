"""The cost of recording changes over HTTP, and whether the time of a failed login reveals an account."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from uuid import UUID

import aiohttp
from aiohttp.test_utils import TestServer

from benchmarks.measuring import RUNS, Figure, Rate, measure_rate_async, summarise
from benchmarks.servers import BenchmarkServers
from services.auth.domain.accounts import NewUser
from services.auth.domain.attempts import FreeAttempts
from services.auth.errors import BadCredentials
from services.auth.operations.activity import log_activity
from services.auth.operations.authentication import AuthContext
from services.auth.operations.logins import log_in
from services.auth.operations.passwords import Passwords
from services.auth.operations.registration import register
from services.auth.operations.signing_keys import SigningKeys
from services.auth.operations.tokens import AccessTokens
from shared.chassis.activity import with_activity
from shared.chassis.auth import SCOPES, Principal
from shared.chassis.clock import utc_now
from shared.chassis.http.app import Call, Endpoint, Reply, created, make_app
from shared.chassis.http.client_address import Client
from shared.chassis.postgres import Database
from shared.chassis.telemetry import configure_logging
from shared.contracts.activity import ActivityRecorded
from shared.contracts.types import ViewModel, new_id
from tests.integration.accounts import write_signing_key

REQUESTS = 400
CLIENTS = 8
EVENTS = 5_000
USERS = 500
BATCH = 500
PAIRS = 30  # per run
HERE = Client("203.0.113.7", None)
EMAIL, NOBODY = "ann@example.org", "nobody@example.org"
PASSWORD, WRONG = "correct horse battery", "wrong horse battery"
WATCH = "INSERT INTO watchlist (user_id, watch_id, symbol, interval, ema_period) VALUES ($1, $2, $3, '1', 5)"


async def measure(servers: BenchmarkServers) -> list[Figure]:
    configure_logging("auth", "WARNING")
    return [
        *await _measure_recording(servers),
        *await _measure_chaining(servers),
        *await _measure_failures(servers),
    ]


class _Tokens:
    """An authenticator whose tokens are user ids."""

    async def principal(self, authorization: str | None) -> Principal:
        user_id = int((authorization or "").removeprefix("Bearer "))
        return Principal(user_id, UUID(int=user_id), SCOPES, None)


class _ThingView(ViewModel):
    thing_id: UUID


async def _measure_recording(servers: BenchmarkServers) -> list[Figure]:
    """Measure requests that write one row, each of another user: bare, recorded, and recorded with a key."""
    settings = servers.settings("analytics")
    database = await Database.connect(settings)

    async def make(call: Call) -> Reply[_ThingView]:
        thing_id = new_id()
        async with call.transaction() as connection:
            await connection.execute(WATCH, call.principal.user_id, thing_id, thing_id.hex.upper()[:30])
        return created(_ThingView(thing_id=thing_id), f"/v1/things/{thing_id}")

    bare = Endpoint("POST", "/v1/things", make, "", response=_ThingView, status=201, scope="trade")
    recorded = with_activity(bare, "analytics", settings.trusted_proxies)
    rates = {}
    for name, endpoint, keyed in (("keyed", recorded, True), ("recorded", recorded, False), ("bare", bare, False)):
        async with _serve(endpoint, database) as session:
            load = partial(_load, session, keyed=keyed)
            rates[name] = await measure_rate_async(REQUESTS, load)
    await database.close()
    peer = "the same, not recorded"
    return [
        Figure("a change over HTTP, recorded", "requests/s", rates["recorded"], peer, rates["bare"], aim=0.625),
        Figure("and with a key", "requests/s", rates["keyed"], peer, rates["bare"], aim=0.625),
    ]


@asynccontextmanager
async def _serve(endpoint: Endpoint, database: Database) -> AsyncIterator[aiohttp.ClientSession]:
    tokens = _Tokens()
    app = make_app([endpoint], tokens, body_limit_bytes=1_000, database=database)  # type: ignore[arg-type]  # tokens of its own
    async with TestServer(app) as server, aiohttp.ClientSession(server.make_url("/")) as session:
        yield session


async def _load(session: aiohttp.ClientSession, *, keyed: bool) -> None:
    async def client(number: int) -> None:
        for request in range(number, REQUESTS, CLIENTS):
            headers = {"Authorization": f"Bearer {1 + request}"}
            if keyed:
                headers["Idempotency-Key"] = str(new_id())
            async with session.post("/v1/things", headers=headers) as answer:
                assert answer.status == 201

    await asyncio.gather(*(client(number) for number in range(CLIENTS)))


async def _measure_chaining(servers: BenchmarkServers) -> list[Figure]:
    """Measure writing activity into the log, in batches and one by one."""
    database = await Database.connect(servers.settings("auth"))
    now = utc_now()

    def events(count: int) -> list[ActivityRecorded]:
        return [_activity(1 + number % USERS, now + timedelta(seconds=number)) for number in range(count)]

    async def chain(count: int, at_once: int) -> None:
        waiting = events(count)
        for begin in range(0, count, at_once):
            batch = waiting[begin : begin + at_once]
            async with database.tenants({event.user_id for event in batch}) as connection:
                await log_activity(connection, batch, now)

    ours = await measure_rate_async(EVENTS, lambda: chain(EVENTS, BATCH))
    theirs = await measure_rate_async(BATCH, lambda: chain(BATCH, 1))
    await database.close()
    return [Figure("activity chained into the log", "events/s", ours, "one by one", theirs)]


def _activity(user_id: int, at: object) -> ActivityRecorded:
    fields: Mapping[str, object] = {
        "user_id": user_id,
        "public_id": UUID(int=user_id),
        "aggregate": f"activity:trading:{user_id}",
        "aggregate_seq": 1,
        "activity_id": new_id(),
        "service": "trading",
        "actor": "USER",
        "activity_type": "CREATE_STRATEGY",
        "object": "/v1/strategies/0190a6f2-7b5e-7c1f-8a52-3d0f9c7e4b21",
        "address": "203.0.113.7",
        "user_agent": "curl/8.5",
        "endpoint": "POST /v1/strategies",
        "at": at,
    }
    return ActivityRecorded.model_validate(fields)


async def _measure_failures(servers: BenchmarkServers) -> list[Figure]:
    """Measure alternating failures: known and unknown e-mail, login and registration.

    If both times have the same distribution, the first is longer in half of all pairs.
    """
    with tempfile.TemporaryDirectory() as folder:
        database, passwords = await Database.connect(servers.settings("auth")), Passwords(waiting=8)
        tokens = AccessTokens(SigningKeys(write_signing_key(Path(folder))), issuer="us", audience="api", ttl_s=600)
        days = timedelta(days=30)
        desk = AuthContext(database, passwords, tokens, days, days, FreeAttempts(10**9, 10**9))
        user = NewUser(EMAIL, PASSWORD, "UTC", "en", None, None, None)
        await register(desk, user, HERE, utc_now())
        wrong = replace(user, password=WRONG)
        known = _FailingAttempt(lambda: log_in(desk, EMAIL, WRONG, HERE, utc_now()))
        others = {
            "with an unknown one": _FailingAttempt(lambda: log_in(desk, NOBODY, WRONG, HERE, utc_now())),
            "its registration": _FailingAttempt(lambda: register(desk, wrong, HERE, utc_now())),
        }
        figures = await _compare("a failed login with a known e-mail", known, others)
        await passwords.close()
        await database.close()
    return figures


class _FailingAttempt:
    def __init__(self, attempt: Callable[[], Awaitable[object]]) -> None:
        self._attempt = attempt

    async def seconds(self) -> float:
        began = time.perf_counter()
        try:
            await self._attempt()
        except BadCredentials:
            return time.perf_counter() - began
        raise AssertionError("the attempt should have failed")


async def _compare(name: str, one: _FailingAttempt, others: Mapping[str, _FailingAttempt]) -> list[Figure]:
    """Measure all in turn, and compare each time of the one with each time of every other."""
    longer: dict[str, list[float]] = {other: [] for other in others}
    for _ in range(RUNS):
        times: dict[_FailingAttempt, list[float]] = {attempt: [] for attempt in (one, *others.values())}
        for _ in range(PAIRS):
            for attempt, seconds in times.items():
                seconds.append(await attempt.seconds())
        for other, attempt in others.items():
            pairs = [a > b for a in times[one] for b in times[attempt]]
            longer[other].append(100 * sum(pairs) / len(pairs))
    return [
        Figure(f"{name} takes longer than {other}", "% of pairs", summarise(each), "a coin", Rate(50, 0))
        for other, each in longer.items()
    ]
