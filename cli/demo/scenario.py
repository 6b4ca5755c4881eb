"""Tenants of the demo and their actions before and after the replay."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cli.demo.api import Client
from shared.contracts.types import new_id

PREMIUM_STRATEGIES = 5
PREMIUM_SYMBOLS = 10


@dataclass
class Session:
    session_id: str
    symbol: str
    strategy: str
    document: Mapping[str, Any]


@dataclass
class Tenant:
    email: str
    plan: str
    client: Client
    canary: str
    sessions: list[Session] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)  # requests that its plan did not allow, with the reason


@dataclass(frozen=True)
class Scenario:
    """Setup of each tenant; `busy` adds alerts, a watchlist and a configuration to the sessions."""

    documents: Sequence[Mapping[str, Any]]
    symbols: Sequence[str]
    interval: str
    initial_balance: str
    last_prices: Mapping[str, str]
    busy: bool

    def plan_needed(self) -> str:
        """Return PREMIUM if it suffices, else PRO."""
        small = len(self.documents) <= PREMIUM_STRATEGIES and len(self.symbols) <= PREMIUM_SYMBOLS
        return "PREMIUM" if small else "PRO"


async def register(client: Client, name: str) -> Tenant:
    """Register a new account through the API; it starts on the PREMIUM trial."""
    email = f"{name}-{secrets.token_hex(4)}@example.org"
    body = await client.must(
        "POST",
        "/v1/auth/register",
        {"email": email, "password": secrets.token_urlsafe(18), "timezone": "Europe/Rome", "language": "en"},
    )
    tokens = body.get("tokens", body)
    return Tenant(
        email,
        "PREMIUM",
        Client(client.http, client.gateway, tokens["access_token"], tokens["refresh_token"]),
        f"canary{secrets.token_hex(6)}",
    )


async def set_up(tenant: Tenant, scenario: Scenario) -> None:
    """Create strategies and sessions; if `busy`, also configurations, alerts and a watchlist."""
    client = tenant.client
    configuration = None
    if scenario.busy:
        names = {"username": f"ada-{tenant.canary}", "first_name": "Ada", "last_name": tenant.canary}
        await client.must("PATCH", "/v1/me", names)
        configuration = await client.must("POST", "/v1/bot-configurations", _configuration(tenant))
        await client.must("PUT", "/v1/inbox/preferences", {"kinds": {"TRADE_OPENED": {}, "TRADE_CLOSED": {}}})
        await client.must("POST", "/v1/bot-configurations", _strict_configuration(tenant))
        for alert in _alerts(tenant, scenario):
            await client.must("POST", "/v1/alerts", alert)
        for symbol in scenario.symbols:
            await client.must(
                "POST", "/v1/watchlist", {"symbol": symbol, "interval": scenario.interval, "ema_period": 20}
            )
    for document in scenario.documents:
        strategy = await client.must("POST", "/v1/strategies", document)
        for symbol in scenario.symbols:
            request = {
                "strategy_id": strategy["strategy_id"],
                "symbol": symbol,
                "mode": "PAPER",
                "initial_balance": scenario.initial_balance,
                "notes": f"of the demo, {tenant.canary}",
            }
            if configuration:
                request["bot_configuration_id"] = configuration["bot_configuration_id"]
            session = await client.must("POST", "/v1/sessions", request)
            tenant.sessions.append(Session(session["session_id"], symbol, str(document["strategy_name"]), document))


def _configuration(tenant: Tenant) -> dict[str, object]:
    return {
        "config_name": f"limits {tenant.canary}",
        "config_data": {},
        "max_position_size": "1000000",
        "is_default": True,
    }


def _strict_configuration(tenant: Tenant) -> dict[str, object]:
    """Return a configuration with every limit; no session of the demo uses it."""
    return {
        "config_name": f"careful {tenant.canary}",
        "config_data": {"min_stop_distance_percentage": "0.5"},
        "strategy_type": "trend",
        "risk_level": "LOW",
        "max_position_size": "500",
        "stop_loss_percentage": "3",
        "take_profit_percentage": "10",
    }


def _alerts(tenant: Tenant, scenario: Scenario) -> list[dict[str, object]]:
    """Return one alert of each type; the price alert is close to the first price, so that it fires."""
    symbol = scenario.symbols[0]
    series = {"symbol": symbol, "interval": scenario.interval}
    return [
        {
            **series,
            "alert_name": f"price {tenant.canary}",
            "alert_type": "PRICE",
            "condition_data": {"op": "crosses_above", "value": scenario.last_prices[symbol]},
        },
        {
            **series,
            "alert_name": "ema cross",
            "alert_type": "EMA_CROSS",
            "condition_data": {"fast": 9, "slow": 21, "direction": "above"},
        },
        {
            **series,
            "alert_name": "volume",
            "alert_type": "VOLUME",
            "condition_data": {"period": 20, "multiple": "3"},
        },
        {
            **series,
            "alert_name": "oversold",
            "alert_type": "CUSTOM",
            "condition_data": {
                "indicators": {"rsi": {"type": "RSI", "period": 14}},
                "condition": {"left": "rsi", "op": "<", "right": 30},
            },
        },
    ]


async def add_notes(tenant: Tenant) -> None:
    """Add a note to the last trade and to the last market analysis."""
    client, note = tenant.client, f"looked at again, {tenant.canary}"
    for trade in (await client.must("GET", "/v1/trades", sort="-entry_time", limit="1"))["items"]:
        await client.must("PATCH", f"/v1/trades/{trade['trade_id']}", {"notes": note})
    for analysis in (await client.must("GET", "/v1/market-analysis", sort="-open_time", limit="1"))["items"]:
        await client.must("PATCH", f"/v1/market-analysis/{analysis['analysis_id']}", {"notes": note})


async def try_paid_features(tenant: Tenant, scenario: Scenario) -> list[str]:
    """Request features outside the FREE plan and return the refusals with their reasons."""
    client = tenant.client
    refusals = []
    backtest = {
        "strategy_id": str(new_id()),
        "symbol": scenario.symbols[0],
        "from": "2026-01-01T00:00:00Z",
        "to": "2026-02-01T00:00:00Z",
    }
    answer = await client.call("POST", "/v1/backtests", backtest)
    if answer.status == 403:
        refusals.append(f"a backtest: {answer.problem()}")
    if scenario.busy:
        refusals += await _try_second_symbol(tenant, scenario)
    return refusals


async def _try_second_symbol(tenant: Tenant, scenario: Scenario) -> list[str]:
    client = tenant.client
    document = scenario.documents[0]
    strategy = await client.must("POST", "/v1/strategies", document)
    request = {
        "strategy_id": strategy["strategy_id"],
        "mode": "PAPER",
        "initial_balance": scenario.initial_balance,
    }
    first = await client.must("POST", "/v1/sessions", {**request, "symbol": scenario.symbols[0]})
    tenant.sessions.append(
        Session(first["session_id"], scenario.symbols[0], str(document["strategy_name"]), document)
    )
    answer = await client.call("POST", "/v1/sessions", {**request, "symbol": scenario.symbols[1]})
    return [f"a second symbol: {answer.problem()}"] if answer.status == 403 else []
