"""Generates the load: tenants that use the API while the market moves. Their actions are drawn from the seed."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from random import Random

from faults.client import LoadTenant, outcome_of
from faults.evidence import Evidence
from faults.exchange_faults import FaultyExchange
from sandbox.synthetic_candles import INTERVAL
from shared.contracts.billing import PlanName
from shared.testing.api_client import ApiClient, Json

PAUSE_S = 0.35  # mean pause between two actions of a tenant
NEWCOMER_INTERVAL_S = 4.0
MAX_RUNNING = 4  # running sessions per tenant
MAX_CREATED = 25
ACCOUNTS = 2  # exchange accounts per tenant of a run with live trading
LIVE_SHARE = 0.7  # of the sessions of a tenant with exchange accounts
STOPPED_SHARE = 0.3  # of the stops of such a tenant: a live session needs some bars to trade
SYMBOLS = ("BTCUSDT", "ETHUSDT")
READS = (
    "/v1/me",
    "/v1/subscription",
    "/v1/usage",
    "/v1/strategies",
    "/v1/bot-configurations",
    "/v1/sessions",
    "/v1/sessions/limits",
    "/v1/trades",
    "/v1/alerts",
    "/v1/inbox",
    "/v1/watchlist",
    "/v1/market-analysis",
    "/v1/performance/summary?mode=PAPER",
    "/v1/performance/daily?mode=PAPER",
    "/v1/performance/equity?mode=PAPER",
)
READS_BY_ID = {
    "strategy_id": ("/v1/strategies/",),
    "bot_configuration_id": ("/v1/bot-configurations/",),
    "session_id": ("/v1/sessions/", "/v1/trades?session_id="),
    "alert_id": ("/v1/alerts/",),
}
IDS_TRIED = 3
PLANS: tuple[PlanName, ...] = ("PRO", "PREMIUM", "FREE")  # assigned to the tenants in turn

Action = Callable[[LoadTenant], Awaitable[object]]


@dataclass(frozen=True)
class Weighted:
    action: Action
    weight: int


class Load:
    """`begin()` and `furnish()`, then `run()` until `stop` is set. Each tenant completes the action in progress."""

    def __init__(self, gateway: ApiClient, evidence: Evidence, seed: int, tenants: int) -> None:
        self._gateway = gateway
        self._evidence = evidence
        self._seed = seed
        self.tenants = [self._make_tenant(f"tenant{number}") for number in range(tenants)]
        for number, tenant in enumerate(self.tenants):
            tenant.plan = PLANS[number % len(PLANS)]
        self._actions = self._weighted()

    def _make_tenant(self, name: str) -> LoadTenant:
        draw = Random(f"load {self._seed} {name}")
        mark = f"{draw.getrandbits(48):012x}"
        canary = f"canary{mark}"  # in the password too, so that a logged password is found
        return LoadTenant(
            self._gateway.url,
            self._gateway.http,
            email=f"{name}-{mark}@example.org",
            password=f"password {canary}",
            evidence=self._evidence,
            canary=canary,
            draw=draw,
        )

    def _weighted(self) -> list[Weighted]:
        return [
            Weighted(self._read, 6),
            Weighted(self._start_session, 3),
            Weighted(self._stop_session, 2),
            Weighted(partial(self._switch_session, "pause"), 1),
            Weighted(partial(self._switch_session, "resume"), 3),
            Weighted(self._make_strategy, 1),
            Weighted(self._change_strategy, 1),
            Weighted(self._make_configuration, 1),
            Weighted(self._make_alert, 2),
            Weighted(self._change_alert, 1),
            Weighted(self._remove_alert, 1),
            Weighted(self._watch, 1),
            Weighted(self._unwatch, 1),
            Weighted(LoadTenant.renew, 1),
        ]

    async def begin(self) -> None:
        """Register the accounts one after the other."""
        for tenant in self.tenants:
            await tenant.join()

    async def open_accounts(self, exchange: FaultyExchange) -> None:
        """Connect exchange accounts for each tenant; most of the sessions started from then on are live."""
        for tenant in [tenant for tenant in self.tenants for _ in range(ACCOUNTS)]:
            key, secret = await exchange.open_account()
            body: Json = {
                "account_name": tenant.next_name("account"),
                "environment": "SANDBOX",
                "api_key": key,
                "api_secret": secret,
            }
            await tenant.create("/v1/exchange-accounts", body)

    async def furnish(self) -> None:
        """Give each tenant strategies, alerts, watched symbols and sessions before faults begin."""
        for tenant in self.tenants:
            for action in (self._make_strategy, self._make_alert, self._watch, self._start_session):
                await action(tenant)
                await action(tenant)

    async def run(self, stop: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            for tenant in self.tenants:
                group.create_task(self._live(tenant, stop))
            group.create_task(self._newcomers(stop))

    async def read_everything(self) -> None:
        """Read, as each tenant, the first page of every list and, by id, objects of another tenant."""
        for tenant, other in zip(self.tenants, [*self.tenants[1:], self.tenants[0]], strict=True):
            for path in READS:
                await tenant.read(path)
            for kind, paths in READS_BY_ID.items():
                for id_ in other.ids[kind][-IDS_TRIED:]:
                    for path in paths:
                        await tenant.read(path + id_)

    async def _live(self, tenant: LoadTenant, stop: asyncio.Event) -> None:
        actions = [each.action for each in self._actions]
        weights = [each.weight for each in self._actions]
        while not stop.is_set():
            (action,) = tenant.draw.choices(actions, weights)
            await action(tenant)
            await _pause(stop, tenant.draw.expovariate(1 / PAUSE_S))

    async def _newcomers(self, stop: asyncio.Event) -> None:
        """Register a new tenant every few seconds, whose trial may be ended by a fault."""
        number = 0
        while not stop.is_set():
            number += 1
            tenant = self._make_tenant(f"newcomer{number}")
            if await tenant.join():
                await tenant.read("/v1/me")
                await self._make_alert(tenant)
            await _pause(stop, NEWCOMER_INTERVAL_S)

    async def _read(self, tenant: LoadTenant) -> None:
        await tenant.read(tenant.draw.choice(READS))

    async def _start_session(self, tenant: LoadTenant) -> None:
        strategies = tenant.ids["strategy_id"]
        if not strategies or len(tenant.ids["session_id"]) >= MAX_RUNNING:
            return
        body: Json = {
            "strategy_id": tenant.draw.choice(strategies),
            "symbol": tenant.draw.choice(SYMBOLS),
            "mode": "PAPER",
            "initial_balance": "10000",
        }
        if (accounts := tenant.ids["exchange_account_id"]) and tenant.draw.random() < LIVE_SHARE:
            body |= {"mode": "LIVE", "exchange_account_id": tenant.draw.choice(accounts)}
        if tenant.ids["bot_configuration_id"] and tenant.draw.random() < 0.5:
            body["bot_configuration_id"] = tenant.draw.choice(tenant.ids["bot_configuration_id"])
        await tenant.create("/v1/sessions", body)

    async def _stop_session(self, tenant: LoadTenant) -> None:
        """Stop the oldest session. If the answer is lost, it is stopped again later."""
        if len(tenant.ids["session_id"]) < MAX_RUNNING:
            return
        if tenant.ids["exchange_account_id"] and tenant.draw.random() > STOPPED_SHARE:
            return
        session_id = tenant.ids["session_id"][0]
        answer = await tenant.call("POST", f"/v1/sessions/{session_id}/stop", {})
        if outcome_of(answer) != "unknown":
            tenant.ids["session_id"].remove(session_id)

    async def _switch_session(self, verb: str, tenant: LoadTenant) -> None:
        if sessions := tenant.ids["session_id"]:
            await tenant.call("POST", f"/v1/sessions/{tenant.draw.choice(sessions)}/{verb}")

    async def _make_strategy(self, tenant: LoadTenant) -> None:
        if len(tenant.ids["strategy_id"]) < MAX_CREATED:
            await tenant.create("/v1/strategies", _document(tenant))

    async def _change_strategy(self, tenant: LoadTenant) -> None:
        if strategies := tenant.ids["strategy_id"]:
            document = _document(tenant)
            await tenant.create(f"/v1/strategies/{tenant.draw.choice(strategies)}/versions", document)

    async def _make_configuration(self, tenant: LoadTenant) -> None:
        if len(tenant.ids["bot_configuration_id"]) < MAX_CREATED:
            body: Json = {
                "config_name": tenant.next_name("limits"),
                "config_data": {"note": tenant.canary},
                "max_position_size": "1000000",
            }
            await tenant.create("/v1/bot-configurations", body)

    async def _make_alert(self, tenant: LoadTenant) -> None:
        if len(tenant.ids["alert_id"]) < MAX_CREATED:
            await tenant.create("/v1/alerts", _alert(tenant))

    async def _change_alert(self, tenant: LoadTenant) -> None:
        if alerts := tenant.ids["alert_id"]:
            body: Json = {"alert_name": tenant.next_name("renamed")}
            await tenant.call("PATCH", f"/v1/alerts/{tenant.draw.choice(alerts)}", body)

    async def _remove_alert(self, tenant: LoadTenant) -> None:
        await self._remove(tenant, "alert_id", "/v1/alerts/", keep=2)

    async def _watch(self, tenant: LoadTenant) -> None:
        body: Json = {
            "symbol": tenant.draw.choice(SYMBOLS),
            "interval": INTERVAL,
            "ema_period": tenant.draw.randint(2, 500),
        }
        if len(tenant.ids["watch_id"]) < MAX_CREATED:
            await tenant.create("/v1/watchlist", body)

    async def _unwatch(self, tenant: LoadTenant) -> None:
        await self._remove(tenant, "watch_id", "/v1/watchlist/", keep=1)

    async def _remove(self, tenant: LoadTenant, kind: str, path: str, *, keep: int) -> None:
        if len(tenant.ids[kind]) > keep:
            removed = tenant.ids[kind].pop(tenant.draw.randrange(len(tenant.ids[kind])))
            await tenant.call("DELETE", path + removed)


def _document(tenant: LoadTenant) -> Json:
    """Return a strategy that trades often: two short averages, small targets, few bars."""
    fast = tenant.draw.randint(2, 4)
    fraction = tenant.draw.choice(("0.3", "0.5", "0.8"))
    return {
        "strategy_name": tenant.next_name("often"),
        "strategy_description": f"a note of {tenant.canary}",
        "strategy_config": {
            "interval": INTERVAL,
            "side": tenant.draw.choice(("LONG", "SHORT")),
            "indicators": {
                "fast": {"type": "EMA", "period": fast},
                "slow": {"type": "EMA", "period": fast + tenant.draw.randint(1, 5)},
            },
        },
        "entry_conditions": {"left": "fast", "op": ">", "right": "slow"},
        "exit_conditions": {"left": "fast", "op": "<", "right": "slow"},
        "risk_management": {
            "position_size": {"type": "percent_of_equity", "value": "20"},
            "leverage": "1",
            "stop_loss": {"type": "percent", "value": fraction},
            "take_profits": [{"type": "percent", "value": fraction, "close_percent": "100"}],
            "max_bars": 6,
        },
    }


def _alert(tenant: LoadTenant) -> Json:
    """Return an alert that fires every few bars."""
    fast = tenant.draw.randint(2, 5)
    return {
        "alert_name": tenant.next_name("alert"),
        "symbol": tenant.draw.choice(SYMBOLS),
        "interval": INTERVAL,
        "alert_type": "EMA_CROSS",
        "condition_data": {"fast": fast, "slow": fast + 3, "direction": tenant.draw.choice(("above", "below"))},
    }


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
