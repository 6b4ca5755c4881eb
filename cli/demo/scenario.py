"""Tenants of the demo and their actions before and after the replay."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from sandbox.bybit.client import SandboxClient
from shared.contracts.types import decimal_text
from shared.testing.api_client import ApiClient, Json
from shared.testing.tenant import Tenant

PREMIUM_STRATEGIES = 5
PREMIUM_SYMBOLS = 10
MARGIN_OF_ACCOUNT = 10  # its balance in multiples of its session's, so that no order lacks margin


@dataclass
class Session:
    session_id: str
    symbol: str
    strategy: str
    document: Json


@dataclass(kw_only=True)
class DemoTenant(Tenant):
    plan: str = "PREMIUM"
    mode: Literal["PAPER", "LIVE"] = "PAPER"
    sessions: list[Session] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)  # requests that its plan did not allow, with the reason

    @property
    def is_live(self) -> bool:
        """Whether it trades on the sandbox exchange."""
        return self.mode == "LIVE"


@dataclass(frozen=True)
class Scenario:
    """Setup of each tenant; `busy` adds alerts, a watchlist and a configuration to the sessions.

    `live_documents` are traded by the tenants on the exchange, at this fee.
    """

    documents: Sequence[Json]
    live_documents: Sequence[Json]
    symbols: Sequence[str]
    interval: str
    initial_balance: str
    fee: Decimal
    last_prices: Mapping[str, str]
    busy: bool

    def plan_needed(self, mode: str) -> str:
        """Return PREMIUM if it suffices, else PRO: PREMIUM limits the entries of a month on the exchange."""
        if mode == "LIVE":
            return "PRO"
        small = len(self.documents) <= PREMIUM_STRATEGIES and len(self.symbols) <= PREMIUM_SYMBOLS
        return "PREMIUM" if small else "PRO"


async def register(gateway: ApiClient, name: str) -> DemoTenant:
    """Register a new account through the API; it starts on the PREMIUM trial."""
    tenant = DemoTenant(
        gateway.url,
        gateway.http,
        email=f"{name}-{secrets.token_hex(4)}@example.org",
        password=secrets.token_urlsafe(18),
        renews=True,
        canary=f"canary{secrets.token_hex(6)}",
    )
    body = {"email": tenant.email, "password": tenant.password, "timezone": "Europe/Rome", "language": "en"}
    tokens = await tenant.must("POST", "/v1/auth/register", body)
    tenant.token, tenant.refresh_token = tokens["access_token"], tokens["refresh_token"]
    return tenant


async def set_up(tenant: DemoTenant, scenario: Scenario, sandbox: SandboxClient) -> None:
    """Create strategies and sessions; if `busy`, also configurations, alerts and a watchlist.

    On the exchange each session has an account of its own, because two on one symbol would share a position.
    """
    if scenario.busy:
        names = {"username": f"ada-{tenant.canary}", "first_name": "Ada", "last_name": tenant.canary}
        await tenant.must("PATCH", "/v1/me", names)
        await tenant.must("PUT", "/v1/inbox/preferences", {"kinds": {"TRADE_OPENED": {}, "TRADE_CLOSED": {}}})
        configuration = tenant.bodies(scenario.documents[0])["POST /v1/bot-configurations"]
        await tenant.make("/v1/bot-configurations", {**configuration, "is_default": True})
        await tenant.make("/v1/bot-configurations", _strict_configuration(tenant))
        for alert in _alerts(tenant, scenario):
            await tenant.make("/v1/alerts", alert)
        for symbol in scenario.symbols:
            watched = {"symbol": symbol, "interval": scenario.interval, "ema_period": 20}
            await tenant.make("/v1/watchlist", watched)
    for document in scenario.live_documents if tenant.is_live else scenario.documents:
        strategy_id = await tenant.make("/v1/strategies", document)
        for symbol in scenario.symbols:
            request = {**_session(scenario, strategy_id, symbol), "notes": f"of the demo, {tenant.canary}"}
            if scenario.busy:
                request["bot_configuration_id"] = tenant.first_id("bot_configuration_id")
            if tenant.is_live:
                name = f"{document['strategy_name']} on {symbol} {tenant.canary}"
                account = await _connect_account(tenant, scenario, sandbox, name)
                request |= {"mode": "LIVE", "exchange_account_id": account}
            await _start(tenant, document, request)


async def _connect_account(tenant: DemoTenant, scenario: Scenario, sandbox: SandboxClient, name: str) -> str:
    """Open an account at the exchange and add its key as a user would. Returns the id of the exchange account."""
    balance, fee = Decimal(scenario.initial_balance) * MARGIN_OF_ACCOUNT, decimal_text(scenario.fee)
    opened = await sandbox.open_account(balance=decimal_text(balance), taker_fee=fee, maker_fee=fee)
    key = {"api_key": opened.api_key, "api_secret": opened.api_secret}
    return await tenant.make("/v1/exchange-accounts", {"account_name": name, "environment": "SANDBOX", **key})


def _session(scenario: Scenario, strategy_id: str, symbol: str) -> Json:
    return {
        "strategy_id": strategy_id,
        "symbol": symbol,
        "mode": "PAPER",
        "initial_balance": scenario.initial_balance,
    }


async def _start(tenant: DemoTenant, document: Json, request: Json) -> None:
    session_id = await tenant.make("/v1/sessions", request)
    tenant.sessions.append(Session(session_id, request["symbol"], document["strategy_name"], document))


def _strict_configuration(tenant: DemoTenant) -> Json:
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


def _alerts(tenant: DemoTenant, scenario: Scenario) -> list[Json]:
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


async def add_notes(tenant: DemoTenant) -> None:
    """Add a note to the last trade and to the last market analysis."""
    body = {"notes": f"looked at again, {tenant.canary}"}
    for trade in (await tenant.must("GET", "/v1/trades?sort=-entry_time&limit=1"))["items"]:
        await tenant.must("PATCH", f"/v1/trades/{trade['trade_id']}", body)
    for analysis in (await tenant.must("GET", "/v1/market-analysis?sort=-open_time&limit=1"))["items"]:
        await tenant.must("PATCH", f"/v1/market-analysis/{analysis['analysis_id']}", body)


async def try_paid_features(tenant: DemoTenant, scenario: Scenario) -> list[str]:
    """Request features outside the FREE plan and return the refusals with their reasons."""
    document, first = scenario.documents[0], scenario.symbols[0]
    backtest = tenant.bodies(document, first)["POST /v1/backtests"]
    answers = {"a backtest": await tenant.call("POST", "/v1/backtests", backtest)}
    if scenario.busy and len(scenario.symbols) > 1:
        strategy_id = await tenant.make("/v1/strategies", document)
        await _start(tenant, document, _session(scenario, strategy_id, first))
        second = _session(scenario, strategy_id, scenario.symbols[1])
        answers["a second symbol"] = await tenant.call("POST", "/v1/sessions", second)
    return [f"{what}: {answer.problem()}" for what, answer in answers.items() if answer.status == 403]
