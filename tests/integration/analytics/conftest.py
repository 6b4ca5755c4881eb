"""Analytics on the real database and broker, beside auth; the test plays trading."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import cast
from uuid import UUID

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from services.analytics.app import build
from services.analytics.consumers import EVENT_HANDLERS
from services.analytics.settings import AnalyticsSettings
from services.auth.app import build as build_auth
from shared.chassis.events.outbox import emit
from shared.chassis.events.producer import Producer
from shared.chassis.postgres import Connection, Database
from shared.chassis.service import DEFAULT_ROLES, RunningService
from shared.chassis.service_tokens import ServiceCallers
from shared.chassis.settings import ServiceSettings
from shared.contracts.auth import UserRegistered
from shared.contracts.envelope import Event
from shared.contracts.market import CandleClosed
from shared.contracts.trading import SessionStarted, SessionStopped, TradeClosed
from shared.contracts.types import decimal_text, from_ms, new_id
from shared.strategy.bars import Bar
from shared.testing.api_client import Answer, ApiClient, Json, open_client, public_id_of
from stack.service_keys import list_file_of
from tests.integration.accounts import auth_settings
from tests.unit.analytics.facts import INTERVAL, STEP_MS

ServiceEnv = Callable[[str], dict[str, str]]
STRATEGY = UUID(int=7)
Handle = Callable[[Connection, Sequence[Event]], Awaitable[None]]
HANDLERS = {subscription.event.topic: cast(Handle, subscription.handle) for subscription in EVENT_HANDLERS}


def user_registered(user_id: int, timezone: str = "UTC", seq: int = 1) -> UserRegistered:
    """Build a registration; of two events of a user, the one with the higher `seq` is the later."""
    return UserRegistered.model_validate(
        {"user_id": user_id, "public_id": UUID(int=user_id), "aggregate": "user", "aggregate_seq": seq}
        | {"email": f"{user_id}@example.org", "timezone": timezone, "language": "en", "is_active": True}
    )


def trade_closed(
    user_id: int, exit_time: str, pnl: str, *, trade_id: UUID | None = None, paper: bool = True, **more: object
) -> TradeClosed:
    """Build a trade that ended at this UTC time."""
    moment = datetime.fromisoformat(exit_time).replace(tzinfo=UTC)
    return TradeClosed.model_validate(
        {"user_id": user_id, "public_id": UUID(int=user_id), "aggregate": "session", "aggregate_seq": 1}
        | {"trade_id": trade_id or new_id(), "session_id": UUID(int=1), "symbol": "BTCUSDT", "side": "LONG"}
        | {"entry_time": moment, "exit_time": moment, "entry_price": "1", "exit_price": "2", "quantity": "1"}
        | {"pnl": pnl, "pnl_percentage": "1", "fee": "0.1", "reason": "signal", "strategy_id": STRATEGY}
        | {"strategy_name": "cross", "strategy_hash": "x", "is_paper_trade": paper}
        | more
    )


def _session(user_id: int, session_id: UUID, balance: str) -> dict[str, object]:
    return (
        {"user_id": user_id, "public_id": UUID(int=user_id), "aggregate": "session", "aggregate_seq": 1}
        | {"session_id": session_id, "symbol": "BTCUSDT", "interval": "15", "mode": "PAPER"}
        | {"initial_balance": balance, "strategy_id": STRATEGY, "strategy_name": "cross", "strategy_hash": "x"}
    )


def session_started(
    user_id: int, at: str, balance: str = "10000", session_id: UUID | None = None
) -> SessionStarted:
    moment = datetime.fromisoformat(at).replace(tzinfo=UTC)
    return SessionStarted.model_validate(
        _session(user_id, session_id or new_id(), balance) | {"started_at": moment}
    )


def session_stopped(user_id: int, at: str, balance: str, session_id: UUID) -> SessionStopped:
    moment = datetime.fromisoformat(at).replace(tzinfo=UTC)
    return SessionStopped.model_validate(
        _session(user_id, session_id, balance)
        | {"final_balance": balance, "total_pnl": "0", "total_trades": 0, "reason": "manual", "stopped_at": moment}
    )


def candles(bars: Sequence[Bar], symbol: str = "BTCUSDT", interval: str = INTERVAL) -> list[CandleClosed]:
    """Build the events that the feed publishes for these bars; the first bar begins the series."""
    return [
        CandleClosed(
            venue="BYBIT",
            symbol=symbol,
            interval=interval,
            generation=1,
            open_time=from_ms(bar.open_time_ms),
            previous_open_time=from_ms(bars[index - 1].open_time_ms) if index else None,
            open=bar.open,
            high=bar.high,
            low=bar.low,
            close=bar.close,
            volume=bar.volume,
            venue_time=from_ms(bar.open_time_ms + STEP_MS),
        )
        for index, bar in enumerate(bars)
    ]


@asynccontextmanager
async def market_of(settings: ServiceSettings) -> AsyncIterator[Producer]:
    """A producer of candles that has trading as its source, as only trading may publish them."""
    producer = Producer(settings.kafka_bootstrap, settings.kafka_topic_prefix, CandleClosed.source)
    try:
        yield producer
    finally:
        await producer.discard()


@dataclass
class History:
    """Trading's internal listener, which serves `bars` unless it is down."""

    callers: ServiceCallers
    bars: list[Bar] = field(default_factory=list)
    down: bool = False
    missing: str = ""  # the path of a field the exchange does not know
    requests: int = 0
    url: str = ""

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/internal/v1/candles", self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.Response:
        self.requests += 1
        if self.down:
            return web.Response(status=503)
        self.callers.check(request.headers.get("Authorization"), frozenset({"analytics", "notifications"}))
        if self.missing:
            fault = {"path": self.missing, "reason": "the exchange does not have it"}
            return web.json_response({"type": "not-found", "errors": [fault]}, status=404)
        until, limit = int(request.query["to_ms"]), int(request.query["limit"])
        shown = [bar for bar in self.bars if bar.open_time_ms <= until][-limit:]
        rows = [[bar[0], *(decimal_text(value) for value in bar[1:])] for bar in shown]
        return web.json_response({"items": rows, "anchor_ms": self.bars[0].open_time_ms if self.bars else None})


async def consume(database: Database, *events: Event) -> None:
    """Handle one batch of events of one topic."""
    handle = HANDLERS[events[0].topic]
    async with database.tenants({event.user_id for event in events}) as connection:
        await handle(connection, events)


@dataclass(frozen=True)
class Platform:
    """Auth and analytics over HTTP; `history` and `market` stand in for trading."""

    auth: ApiClient
    analytics: ApiClient
    running: RunningService
    history: History
    market: Producer
    people: dict[int, UUID] = field(default_factory=dict)  # public ids from auth, by user id

    @property
    def database(self) -> Database:
        return self.running.database

    async def register(self, email: str, timezone: str = "UTC") -> str:
        """Register a user and return an access token; the first one is user 1."""
        token = (await self.auth.register(email, timezone=timezone)).text("access_token")
        self.people[len(self.people) + 1] = public_id_of(token)
        return token

    def _with_public_ids(self, events: Iterable[Event]) -> list[Event]:
        """Return the events with the public ids of registered users."""
        return [
            event.model_copy(update={"public_id": self.people.get(event.user_id, event.public_id)})
            for event in events
        ]

    async def consume(self, *events: Event) -> None:
        """Handle one batch of events of one topic at once."""
        await consume(self.database, *self._with_public_ids(events))

    async def publish(self, *anonymous: Event) -> None:
        """Publish events through the outbox and Kafka, as trading does."""
        events = self._with_public_ids(anonymous)
        for user_id in dict.fromkeys(event.user_id for event in events):
            async with self.database.tenant(user_id) as connection:
                await emit(connection, *(event for event in events if event.user_id == user_id))

    async def get(self, path: str, token: str) -> Answer:
        answer = await self.analytics.call("GET", path, token=token)
        assert answer.status == 200, answer
        return answer

    async def every(self, path: str, token: str) -> list[Json]:
        return await self.analytics.list_all(path, token)


@pytest.fixture
async def history(service_keys: Path) -> AsyncIterator[History]:
    history = History(ServiceCallers("trading", list_file_of(service_keys)))
    server = TestServer(history.app())
    await server.start_server()
    history.url = f"http://127.0.0.1:{server.port}"
    yield history
    await server.close()


def _settings(env: dict[str, str], history: History, jwks_url: str = "") -> AnalyticsSettings:
    values: dict[str, object] = {name.lower(): value for name, value in env.items()}
    return AnalyticsSettings.model_validate(
        {**values, "http_port": 0, "jwks_url": jwks_url, "trading_internal_url": history.url}
    )


@pytest.fixture
async def database(service_env: ServiceEnv, history: History) -> AsyncIterator[Database]:
    """Analytics' database, without a running service."""
    opened = await Database.connect(_settings(service_env("analytics"), history))
    yield opened
    await opened.close()


@pytest.fixture
def roles() -> frozenset[str]:
    """The roles in which analytics runs."""
    return DEFAULT_ROLES


@pytest.fixture
async def platform(
    service_env: ServiceEnv, any_source: None, history: History, tmp_path: Path, roles: frozenset[str]
) -> AsyncIterator[Platform]:
    async with RunningService(build_auth, auth_settings(service_env("auth"), tmp_path)) as auth:
        settings = _settings(service_env("analytics"), history, f"{auth.url}/.well-known/jwks.json")
        async with RunningService(build, settings, roles) as running:
            async with open_client(auth.url) as at_auth, open_client(running.url) as at_analytics:
                async with market_of(settings) as market:
                    yield Platform(at_auth, at_analytics, running, history, market)
