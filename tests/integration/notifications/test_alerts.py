"""Alerts from the request to the inbox, on the real database and broker."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID

import aiohttp
import pytest

from services.notifications.app import build
from services.notifications.settings import NotificationsSettings
from shared.chassis.outbox import emit
from shared.chassis.postgres import Database
from shared.chassis.service import RunningService
from shared.contracts.billing import Features, Limits, PlanName, SubscriptionChanged
from shared.contracts.market import CandleClosed
from shared.contracts.types import from_ms, new_id
from shared.testing.tokens import TokenIssuer, serve_tokens
from tests.integration.accounts import Answer, Client, eventually

MINUTE = 60_000
FIRST = 1_767_225_600_000
ServiceEnv = Callable[[str], dict[str, str]]
PRICE = {
    "alert_name": "ten",
    "symbol": "BTCUSDT",
    "interval": "1",
    "alert_type": "PRICE",
    "condition_data": {"op": "above", "value": "10"},
}


@dataclass
class Platform:
    running: RunningService
    issuer: TokenIssuer
    client: Client
    tokens: dict[int, str] = field(default_factory=dict)

    async def user(self, user_id: int, plan: PlanName = "PREMIUM") -> str:
        """A tenant with a plan; his token."""
        public_id = new_id()
        async with self.running.database.tenant(user_id) as connection:
            await emit(connection, subscription(user_id, public_id, plan))
        return self.issuer.make_token(public_id)

    async def call(self, method: str, path: str, token: str, body: dict[str, object] | None = None) -> Answer:
        return await self.client.call(method, path, body, token)

    async def play(self, *closes: str, start: int = 0) -> None:
        await self.running.producer.publish([candle(start + n, close) for n, close in enumerate(closes)])

    async def inbox(self, token: str) -> list[dict[str, object]]:
        return (await self.call("GET", "/v1/inbox", token)).body["items"]  # type: ignore[return-value]


def subscription(user_id: int, public_id: UUID, plan: PlanName) -> SubscriptionChanged:
    paid = plan != "FREE"
    return SubscriptionChanged(
        user_id=user_id,
        public_id=public_id,
        aggregate=f"subscription:{user_id}",
        aggregate_seq=1,
        subscription_version=1,
        plan=plan,
        status="ACTIVE",
        limits=Limits(
            max_trades_per_month=None,
            max_active_strategies=None,
            max_symbols=None,
            daily_api_requests=None,
            max_backtests_per_day=None,
        ),
        features=Features(
            advanced_ai=paid, api_access=paid, backtesting=paid, telegram_alerts=paid, priority_support=paid
        ),
        period_start=from_ms(FIRST),
        period_end=None,
        previous_plan=None,
        reason="test",
    )


def candle(number: int, close: str) -> CandleClosed:
    price = Decimal(close)
    return CandleClosed(
        venue="bybit",
        symbol="BTCUSDT",
        interval="1",
        generation=1,
        open_time=from_ms(FIRST + number * MINUTE),
        previous_open_time=from_ms(FIRST + (number - 1) * MINUTE) if number else None,
        open=price,
        high=price,
        low=price,
        close=price,
        volume=Decimal(1),
        venue_time=from_ms(FIRST + (number + 1) * MINUTE),
    )


@asynccontextmanager
async def started(env: dict[str, str], issuer: TokenIssuer) -> AsyncIterator[Platform]:
    values: dict[str, object] = {name.lower(): value for name, value in env.items()}
    settings = NotificationsSettings.model_validate({**values, "jwks_url": issuer.jwks_url})
    async with RunningService(build, settings) as running, aiohttp.ClientSession() as session:
        yield Platform(running, issuer, Client(running.url, session))


@pytest.fixture
async def platform(service_env: ServiceEnv) -> AsyncIterator[Platform]:
    async with serve_tokens() as issuer, started(service_env("notifications"), issuer) as running:
        yield running


async def count(database: Database, table: str) -> int:
    async with database.queue() as connection:
        found: int = await connection.fetchval(f"SELECT count(*) FROM {table}")
        return found


async def test_an_alert_fires_at_its_bars_and_lands_in_the_inbox(platform: Platform) -> None:
    token = await platform.user(1)
    made = await platform.call("POST", "/v1/alerts", token, dict(PRICE))
    assert made.status == 201
    assert made.headers["Location"] == f"/v1/alerts/{made.body['alert_id']}"
    assert made.body["channels"] == ["dashboard"]
    await platform.play("9", "11", "12", "9", "13")
    messages = await eventually(lambda: platform.inbox(token), lambda found: len(found) >= 2)
    assert [message["data"]["price"] for message in reversed(messages)] == ["11", "13"]  # type: ignore[index]
    shown = await platform.call("GET", f"/v1/alerts/{made.body['alert_id']}", token)
    assert shown.body["triggered_count"] == 2


async def test_a_bar_heard_again_fires_nothing_again(platform: Platform) -> None:
    token = await platform.user(1)
    await platform.call("POST", "/v1/alerts", token, dict(PRICE))
    await platform.play("9", "11")
    await platform.play("9", "11")
    await platform.play("9", "11", start=2)
    await eventually(lambda: platform.inbox(token), lambda found: len(found) >= 2)
    assert await count(platform.running.database, "outbox WHERE topic = 'alert.triggered'") == 2


async def test_a_restart_goes_on_where_it_was(service_env: ServiceEnv) -> None:
    async with serve_tokens() as issuer:
        async with started(service_env("notifications"), issuer) as before:
            token = await before.user(1)
            await before.call("POST", "/v1/alerts", token, dict(PRICE))
            await before.play("9", "11")
            await eventually(lambda: before.inbox(token), lambda found: len(found) == 1)
        async with started(service_env("notifications"), issuer) as after:
            await after.play("9", "11")
            assert len(await after.inbox(token)) == 1


async def test_a_tenant_sees_his_own_alerts_and_inbox_only(platform: Platform) -> None:
    mine, other = await platform.user(1), await platform.user(2)
    made = await platform.call("POST", "/v1/alerts", mine, dict(PRICE))
    await platform.play("9", "11")
    messages = await eventually(lambda: platform.inbox(mine), lambda found: len(found) == 1)
    assert await platform.inbox(other) == []
    assert (await platform.call("GET", "/v1/alerts", other)).body["items"] == []
    for method, path in (
        ("GET", f"/v1/alerts/{made.body['alert_id']}"),
        ("DELETE", f"/v1/alerts/{made.body['alert_id']}"),
        ("POST", f"/v1/inbox/{messages[0]['event_id']}/read"),
    ):
        assert (await platform.call(method, path, other)).status == 404


async def test_what_was_read_is_marked(platform: Platform) -> None:
    token = await platform.user(1)
    await platform.call("POST", "/v1/alerts", token, dict(PRICE))
    await platform.play("9", "11", "9", "11")
    messages = await eventually(lambda: platform.inbox(token), lambda found: len(found) == 2)
    read = await platform.call("POST", f"/v1/inbox/{messages[0]['event_id']}/read", token)
    assert read.body["is_read"] is True
    unread = await platform.call("GET", "/v1/inbox?unread=true", token)
    assert [item["event_id"] for item in unread.body["items"]] == [messages[1]["event_id"]]  # type: ignore[attr-defined]
    assert (await platform.call("POST", "/v1/inbox/read", token)).body == {"marked_read": 1}


async def test_a_plan_without_telegram_is_refused_it(platform: Platform) -> None:
    free, paying = await platform.user(1, "FREE"), await platform.user(2, "PREMIUM")
    refused = await platform.call("POST", "/v1/alerts", free, {**PRICE, "notify_telegram": True})
    assert (refused.status, refused.body["type"], refused.body["plan"]) == (403, "/problems/plan-limit", "FREE")
    assert (await platform.call("GET", "/v1/alerts", free)).body["items"] == []
    taken = await platform.call("POST", "/v1/alerts", paying, {**PRICE, "notify_telegram": True})
    assert (taken.status, taken.body["channels"]) == (201, ["dashboard"])


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"interval": "7"}, "$.interval"),
        ({"symbol": "btc"}, "$.symbol"),
        ({"alert_name": " "}, "$.alert_name"),
        ({"cooldown_seconds": -1}, "$.cooldown_seconds"),
        ({"condition_data": {"op": "above", "value": "x"}}, "$.condition_data.value"),
        ({"expires_at": "2026-01-01T00:00:00"}, "$.expires_at"),
        ({"more": 1}, "$.more"),
    ],
)
async def test_what_is_not_valid_is_named(platform: Platform, change: dict[str, object], path: str) -> None:
    token = await platform.user(1)
    answer = await platform.call("POST", "/v1/alerts", token, {**PRICE, **change})
    assert answer.status == 422
    assert any(fault["path"].startswith(path) for fault in answer.body["errors"]), answer.body  # type: ignore[attr-defined]


async def test_an_alert_is_changed_paused_and_removed(platform: Platform) -> None:
    token = await platform.user(1)
    made = await platform.call("POST", "/v1/alerts", token, dict(PRICE))
    path = f"/v1/alerts/{made.body['alert_id']}"
    assert (await platform.call("POST", "/v1/alerts", token, dict(PRICE))).status == 409
    changed = await platform.call("PATCH", path, token, {"is_active": False, "cooldown_seconds": 60})
    assert (changed.body["is_active"], changed.body["cooldown_seconds"]) == (False, 60)
    assert await count(platform.running.database, "market_interests") == 0
    assert (await platform.call("PATCH", path, token, {"condition_data": {}})).status == 422
    assert (await platform.call("DELETE", path, token)).status == 204
    assert (await platform.call("GET", path, token)).status == 404
