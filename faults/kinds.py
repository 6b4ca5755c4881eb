"""The kinds of faults. A fault holds everything that the injector needs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal, TypeAlias, get_args

from faults.exchange_faults import EXCHANGE_FAULTS
from faults.proxy import WeatherKind
from shared.chassis.crash_points import Point
from shared.contracts.catalog import EVENTS
from shared.contracts.envelope import Event
from stack.migrate import SERVICES

Kind = Literal[
    "strike",  # kill or freeze at a crash point
    "kill",  # at any moment
    "freeze",  # stop at any moment, continue later
    "crash_postgres",
    "crash_kafka",
    "terminate_backends",
    "weather",  # bad network conditions in front of a server
    "exchange",  # answers, delays and streams of the exchange
    "poison",  # a message on a topic that no consumer can handle
]
Poison = Literal["no JSON", "too deep", "no UTF-8", "a NUL", "a version of 4,301 digits", "nobody's"]

BAD_WEATHER: tuple[WeatherKind, ...] = ("latency", "resets", "half_open", "slices")
FREQUENT_POINTS = (
    "transaction.",
    "consumer.",
    "inbox.",
    "feed.",
    "orders.before_commit",
    "orders.after_commit",
)  # hit several times a second
SESSION_TIMEOUT_S = 10.0  # of consumer groups: a member that is silent for longer loses its partitions


@dataclass(frozen=True)
class InjectedFault:
    """`target` is a process, a server, a topic or an entry of `EXCHANGE_FAULTS`.

    `lasts_s` is how long a freeze or bad weather lasts.
    """

    kind: Kind
    target: str
    point: str = ""
    action: Literal["KILL", "STOP", ""] = ""
    nth: int = 1
    weather: WeatherKind = "calm"
    poison: Poison | Literal[""] = ""
    delay_s: float = 0.0
    after_s: float = 0.0  # from the start of its round
    lasts_s: float = 0.0

    def __str__(self) -> str:
        description = {
            "strike": f"{self.action} {self.target} at {self.point}, hit {self.nth}",
            "kill": f"KILL {self.target}",
            "freeze": f"STOP {self.target}",
            "exchange": f"exchange: {self.target}",
            "weather": f"{self.weather} before {self.target}",
            "poison": f"poison on {self.target}: {self.poison}",
        }.get(self.kind, self.kind.replace("_", " "))
        return description + (f" for {self.lasts_s} s" if self.lasts_s else "")


Draw: TypeAlias = Callable[[Random], InjectedFault]


@dataclass(frozen=True)
class Family:
    """A family of faults.

    `points` maps each crash point to the processes that hit it; the points are struck in turn. `extras` are other
    faults, of which each round has one out of all families. `every_round` are faults that every round has.
    """

    title: str
    points: dict[Point, Sequence[str]]
    extras: Sequence[Draw]
    every_round: Sequence[Draw] = ()


def processes(role: str, services: Sequence[str] = SERVICES) -> list[str]:
    """Return the names that the stack gives to processes when it is split by role."""
    return [f"{service}-{role}" for service in services]


def strike(random: Random, point: str, target: str) -> InjectedFault:
    """Draw a kill (four out of five times) or a freeze at a crash point."""
    nth = random.choice((1, 1, 2, 3)) if point.startswith(FREQUENT_POINTS) else 1
    if random.random() < 0.8:
        return InjectedFault("strike", target, point, "KILL", nth)
    return InjectedFault("strike", target, point, "STOP", nth, lasts_s=draw_freeze_s(random))


def kill_one_of(targets: Sequence[str]) -> Draw:
    return lambda random: InjectedFault("kill", random.choice(targets))


def freeze_one_of(targets: Sequence[str]) -> Draw:
    return lambda random: InjectedFault("freeze", random.choice(targets), lasts_s=draw_freeze_s(random))


def weather_before(server: str) -> Draw:
    """Return a draw of one kind of bad weather in front of a server."""

    def draw(random: Random) -> InjectedFault:
        kind = random.choice(BAD_WEATHER)
        delay_s = round(random.uniform(0.02, 0.3), 2) if kind == "latency" else 0.0
        return InjectedFault(
            "weather", server, weather=kind, delay_s=delay_s, lasts_s=round(random.uniform(1, 6), 1)
        )

    return draw


def crash(server: Literal["postgres", "kafka"]) -> Draw:
    kind: Kind = "crash_postgres" if server == "postgres" else "crash_kafka"
    return lambda _: InjectedFault(kind, server)


def exchange_fault(random: Random) -> InjectedFault:
    return InjectedFault("exchange", random.choice(sorted(EXCHANGE_FAULTS)), lasts_s=round(random.uniform(2, 6), 1))


def terminate_backends(_: Random) -> InjectedFault:
    return InjectedFault("terminate_backends", "postgres")


def poison(random: Random) -> InjectedFault:
    """Draw a poisoned message for any topic that outboxes publish to."""
    topics = sorted(event.topic for event in EVENTS if issubclass(event, Event))
    return InjectedFault("poison", random.choice(topics), poison=random.choice(get_args(Poison)))


def draw_freeze_s(random: Random) -> float:
    """Draw the length of a freeze: half of them are longer than a consumer group's session time-out."""
    if random.random() < 0.5:
        return round(SESSION_TIMEOUT_S + random.uniform(1, 4), 1)
    return round(random.uniform(0.5, 6), 1)
