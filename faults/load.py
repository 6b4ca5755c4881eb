"""Generates the load: tenants that use the API while the market moves. Their actions are drawn from the seed."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from random import Random

from faults.client import Tenant, outcome_of
from faults.evidence import Evidence
from shared.contracts.billing import PlanName
from shared.testing.api_client import ApiClient, Json

PAUSE_S = 0.35  # mean pause between two actions of a tenant
NEWCOMER_INTERVAL_S = 4.0
MAX_RUNNING = 4  # running sessions per tenant
MAX_CREATED = 25
SYMBOLS = ("BTCUSDT", "ETHUSDT")
INTERVAL = "15"
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
    "strategy": ("/v1/strategies/",),
    "configuration": ("/v1/bot-configurations/",),
    "session": ("/v1/sessions/", "/v1/trades?session_id="),
    "alert": ("/v1/alerts/",),
}
IDS_TRIED = 3
PLANS: tuple[PlanName, ...] = ("PRO", "PREMIUM", "FREE")  # assigned to the tenants in turn

Action = Callable[[Tenant], Awaitable[object]]


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

    def _make_tenant(self, name: str) -> Tenant:
        draw = Random(f"load {self._seed} {name}")
        mark = f"{draw.getrandbits(48):012x}"
        canary = f"canary{mark}"  # in the password too, so that a logged password is found
        return Tenant(
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
            Weighted(Tenant.renew, 1),
        ]

    async def begin(self) -> None:
        """Register the accounts one after the other."""
        for tenant in self.tenants:
            await tenant.join()

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
                for id_ in other.created[kind][-IDS_TRIED:]:
                    for path in paths:
                        await tenant.read(path + id_)

    async def _live(self, tenant: Tenant, stop: asyncio.Event) -> None:
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

    async def _read(self, tenant: Tenant) -> None:
        await tenant.read(tenant.draw.choice(READS))

    async def _start_session(self, tenant: Tenant) -> None:
        strategies = tenant.created["strategy"]
        if not strategies or len(tenant.created["session"]) >= MAX_RUNNING:
            return
        body: Json = {
            "strategy_id": tenant.draw.choice(strategies),
            "symbol": tenant.draw.choice(SYMBOLS),
            "mode": "PAPER",
            "initial_balance": "10000",
        }
        if tenant.created["configuration"] and tenant.draw.random() < 0.5:
            body["bot_configuration_id"] = tenant.draw.choice(tenant.created["configuration"])
        await tenant.create("/v1/sessions", body)

    async def _stop_session(self, tenant: Tenant) -> None:
        """Stop the oldest session. If the answer is lost, it is stopped again later."""
        if len(tenant.created["session"]) < MAX_RUNNING:
            return
        session_id = tenant.created["session"][0]
        answer = await tenant.call("POST", f"/v1/sessions/{session_id}/stop", {})
        if outcome_of(answer) != "unknown":
            tenant.created["session"].remove(session_id)

    async def _switch_session(self, verb: str, tenant: Tenant) -> None:
        if sessions := tenant.created["session"]:
            await tenant.call("POST", f"/v1/sessions/{tenant.draw.choice(sessions)}/{verb}")

    async def _make_strategy(self, tenant: Tenant) -> None:
        if len(tenant.created["strategy"]) < MAX_CREATED:
            await tenant.create("/v1/strategies", _document(tenant))

    async def _change_strategy(self, tenant: Tenant) -> None:
        if strategies := tenant.created["strategy"]:
            document = _document(tenant)
            await tenant.create(f"/v1/strategies/{tenant.draw.choice(strategies)}/versions", document)

    async def _make_configuration(self, tenant: Tenant) -> None:
        if len(tenant.created["configuration"]) < MAX_CREATED:
            body: Json = {
                "config_name": tenant.next_name("limits"),
                "config_data": {"note": tenant.canary},
                "max_position_size": "1000000",
            }
            await tenant.create("/v1/bot-configurations", body)

    async def _make_alert(self, tenant: Tenant) -> None:
        if len(tenant.created["alert"]) < MAX_CREATED:
            await tenant.create("/v1/alerts", _alert(tenant))

    async def _change_alert(self, tenant: Tenant) -> None:
        if alerts := tenant.created["alert"]:
            body: Json = {"alert_name": tenant.next_name("renamed")}
            await tenant.call("PATCH", f"/v1/alerts/{tenant.draw.choice(alerts)}", body)

    async def _remove_alert(self, tenant: Tenant) -> None:
        await self._remove(tenant, "alert", "/v1/alerts/", keep=2)

    async def _watch(self, tenant: Tenant) -> None:
        body: Json = {
            "symbol": tenant.draw.choice(SYMBOLS),
            "interval": INTERVAL,
            "ema_period": tenant.draw.randint(2, 500),
        }
        if len(tenant.created["watch"]) < MAX_CREATED:
            await tenant.create("/v1/watchlist", body)

    async def _unwatch(self, tenant: Tenant) -> None:
        await self._remove(tenant, "watch", "/v1/watchlist/", keep=1)

    async def _remove(self, tenant: Tenant, kind: str, path: str, *, keep: int) -> None:
        if len(tenant.created[kind]) > keep:
            removed = tenant.created[kind].pop(tenant.draw.randrange(len(tenant.created[kind])))
            await tenant.call("DELETE", path + removed)


def _document(tenant: Tenant) -> Json:
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


def _alert(tenant: Tenant) -> Json:
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
