"""The load: tenants who do what tenants do, drawn from the seed, while the market moves."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from random import Random

from faults.client import Caller, Json, Person
from shared.contracts.billing import PlanName

PAUSE_S = 0.35  # between two things that one tenant does, on average
NEWCOMER_EVERY_S = 4.0
MOST_RUNNING = 4  # sessions of one tenant
MOST_MADE = 25
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
PLANS: tuple[PlanName, ...] = ("PRO", "PREMIUM", "FREE")  # of the tenants, in turn

Action = Callable[[Person], Awaitable[object]]


@dataclass(frozen=True)
class Weighted:
    action: Action
    weight: int


class Load:
    """`start()`, then `run` until told to stop; every tenant finishes what he is at."""

    def __init__(self, caller: Caller, seed: int, people: int) -> None:
        self._caller = caller
        self._seed = seed
        self.people = [self._person(f"tenant{number}") for number in range(people)]
        for number, person in enumerate(self.people):
            person.plan = PLANS[number % len(PLANS)]
        self._actions = self._weighted()

    def _person(self, name: str) -> Person:
        draw = Random(f"load {self._seed} {name}")
        mark = f"{draw.getrandbits(48):012x}"
        canary = f"canary{mark}"  # in the password too, so that one in a log is seen
        return Person(name, f"{name}-{mark}@example.org", f"password {canary}", canary, draw)

    def _weighted(self) -> list[Weighted]:
        return [
            Weighted(self._read, 6),
            Weighted(self._start_session, 3),
            Weighted(self._stop_session, 2),
            Weighted(partial(self._turn_session, "pause"), 1),
            Weighted(partial(self._turn_session, "resume"), 3),
            Weighted(self._make_strategy, 1),
            Weighted(self._change_strategy, 1),
            Weighted(self._make_configuration, 1),
            Weighted(self._make_alert, 2),
            Weighted(self._change_alert, 1),
            Weighted(self._remove_alert, 1),
            Weighted(self._watch, 1),
            Weighted(self._unwatch, 1),
            Weighted(self._caller.refresh, 1),
        ]

    async def begin(self) -> None:
        """Accounts, one after the other."""
        for person in self.people:
            await self._caller.register(person)

    async def furnish(self) -> None:
        """What every tenant has before anything breaks: a strategy, a session, an alert, a watched symbol."""
        for person in self.people:
            for action in (self._make_strategy, self._make_alert, self._watch, self._start_session):
                await action(person)
                await action(person)

    async def run(self, stop: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            for person in self.people:
                group.create_task(self._live(person, stop))
            group.create_task(self._newcomers(stop))

    async def read_everything(self) -> None:
        """What each tenant is shown in the end: page one of every list, and of another what he gets."""
        for person, other in zip(self.people, [*self.people[1:], self.people[0]], strict=True):
            for path in READS:
                await self._caller.read(person, path)
            for kind, paths in READS_BY_ID.items():
                for id_ in other.made[kind][-IDS_TRIED:]:
                    for path in paths:
                        await self._caller.read(person, path + id_)

    async def _live(self, person: Person, stop: asyncio.Event) -> None:
        actions = [each.action for each in self._actions]
        weights = [each.weight for each in self._actions]
        while not stop.is_set():
            (action,) = person.draw.choices(actions, weights)
            await action(person)
            await _pause(stop, person.draw.expovariate(1 / PAUSE_S))

    async def _newcomers(self, stop: asyncio.Event) -> None:
        """Somebody registers every now and then; his trial may be over soon."""
        number = 0
        while not stop.is_set():
            number += 1
            person = self._person(f"newcomer{number}")
            if await self._caller.register(person):
                await self._caller.read(person, "/v1/me")
                await self._make_alert(person)
            await _pause(stop, NEWCOMER_EVERY_S)

    async def _read(self, person: Person) -> None:
        await self._caller.read(person, person.draw.choice(READS))

    async def _start_session(self, person: Person) -> None:
        strategies = person.made["strategy"]
        if not strategies or len(person.made["session"]) >= MOST_RUNNING:
            return
        body: Json = {
            "strategy_id": person.draw.choice(strategies),
            "symbol": person.draw.choice(SYMBOLS),
            "mode": "PAPER",
            "initial_balance": "10000",
        }
        if person.made["configuration"] and person.draw.random() < 0.5:
            body["bot_configuration_id"] = person.draw.choice(person.made["configuration"])
        await self._caller.create(person, "POST /v1/sessions", "session", body)

    async def _stop_session(self, person: Person) -> None:
        """The oldest; one whose answer is lost is stopped again later."""
        if len(person.made["session"]) < MOST_RUNNING:
            return
        session_id = person.made["session"][0]
        answer = await self._caller.call(person, "POST /v1/sessions/{id}/stop", {}, id_=session_id)
        if answer is not None:
            person.made["session"].remove(session_id)

    async def _turn_session(self, how: str, person: Person) -> None:
        if sessions := person.made["session"]:
            operation = f"POST /v1/sessions/{{id}}/{how}"
            await self._caller.call(person, operation, id_=person.draw.choice(sessions))

    async def _make_strategy(self, person: Person) -> None:
        if len(person.made["strategy"]) < MOST_MADE:
            await self._caller.create(person, "POST /v1/strategies", "strategy", _document(person))

    async def _change_strategy(self, person: Person) -> None:
        if strategies := person.made["strategy"]:
            operation = "POST /v1/strategies/{id}/versions"
            await self._caller.create(person, operation, "", _document(person), person.draw.choice(strategies))

    async def _make_configuration(self, person: Person) -> None:
        if len(person.made["configuration"]) < MOST_MADE:
            body: Json = {
                "config_name": person.next_name("limits"),
                "config_data": {"note": person.canary},
                "max_position_size": "1000000",
            }
            await self._caller.create(person, "POST /v1/bot-configurations", "configuration", body)

    async def _make_alert(self, person: Person) -> None:
        if len(person.made["alert"]) < MOST_MADE:
            await self._caller.create(person, "POST /v1/alerts", "alert", _alert(person))

    async def _change_alert(self, person: Person) -> None:
        if alerts := person.made["alert"]:
            body: Json = {"alert_name": person.next_name("renamed")}
            await self._caller.call(person, "PATCH /v1/alerts/{id}", body, id_=person.draw.choice(alerts))

    async def _remove_alert(self, person: Person) -> None:
        await self._remove(person, "alert", "DELETE /v1/alerts/{id}", keep=2)

    async def _watch(self, person: Person) -> None:
        body: Json = {
            "symbol": person.draw.choice(SYMBOLS),
            "interval": INTERVAL,
            "ema_period": person.draw.randint(2, 500),
        }
        if len(person.made["watch"]) < MOST_MADE:
            await self._caller.create(person, "POST /v1/watchlist", "watch", body)

    async def _unwatch(self, person: Person) -> None:
        await self._remove(person, "watch", "DELETE /v1/watchlist/{id}", keep=1)

    async def _remove(self, person: Person, kind: str, operation: str, *, keep: int) -> None:
        if len(person.made[kind]) > keep:
            removed = person.made[kind].pop(person.draw.randrange(len(person.made[kind])))
            await self._caller.call(person, operation, id_=removed)


def _document(person: Person) -> Json:
    """A strategy that trades often: two short averages, small targets, few bars."""
    fast = person.draw.randint(2, 4)
    fraction = person.draw.choice(("0.3", "0.5", "0.8"))
    return {
        "strategy_name": person.next_name("often"),
        "strategy_description": f"a note of {person.canary}",
        "strategy_config": {
            "interval": INTERVAL,
            "side": person.draw.choice(("LONG", "SHORT")),
            "indicators": {
                "fast": {"type": "EMA", "period": fast},
                "slow": {"type": "EMA", "period": fast + person.draw.randint(1, 5)},
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


def _alert(person: Person) -> Json:
    """One that fires every few bars."""
    fast = person.draw.randint(2, 5)
    return {
        "alert_name": person.next_name("alert"),
        "symbol": person.draw.choice(SYMBOLS),
        "interval": INTERVAL,
        "alert_type": "EMA_CROSS",
        "condition_data": {"fast": fast, "slow": fast + 3, "direction": person.draw.choice(("above", "below"))},
    }


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
