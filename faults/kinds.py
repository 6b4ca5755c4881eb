"""What can be broken: a fault says everything that the injector has to know."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal, TypeAlias, get_args

from faults.proxy import WeatherKind
from shared.chassis.crash_points import Point
from shared.contracts.catalog import EVENTS
from shared.contracts.envelope import Event
from stack.migrate import SERVICES

Kind = Literal[
    "strike",  # at a named point
    "kill",  # at any moment
    "freeze",  # at any moment, and woken later
    "crash_postgres",
    "crash_kafka",
    "terminate_backends",
    "weather",  # on the way to a server
    "poison",  # a message that nobody can handle, on a topic
]
Poison = Literal["no JSON", "too deep", "no UTF-8", "a NUL", "a version of 4,301 digits", "nobody's"]

BAD_WEATHER: tuple[WeatherKind, ...] = ("latency", "resets", "half_open", "slices")
OFTEN = ("transaction.", "consumer.", "inbox.", "feed.")  # come by several times a second
SESSION_TIMEOUT_S = 10.0  # of a consumer's group: who is silent for longer has lost what it held


@dataclass(frozen=True)
class InjectedFault:
    """`target` is a process, a server or a topic; `lasts_s` how long it stands still or the weather is bad."""

    kind: Kind
    target: str
    point: str = ""
    action: Literal["KILL", "STOP", ""] = ""
    nth: int = 1
    weather: WeatherKind = "calm"
    poison: Poison | Literal[""] = ""
    delay_s: float = 0.0
    after_s: float = 0.0  # from the beginning of its round
    lasts_s: float = 0.0

    def __str__(self) -> str:
        said = {
            "strike": f"{self.action} {self.target} at {self.point}, hit {self.nth}",
            "kill": f"KILL {self.target}",
            "freeze": f"STOP {self.target}",
            "weather": f"{self.weather} before {self.target}",
            "poison": f"poison on {self.target}: {self.poison}",
        }.get(self.kind, self.kind.replace("_", " "))
        return said + (f" for {self.lasts_s} s" if self.lasts_s else "")


Draw: TypeAlias = Callable[[Random], InjectedFault]


@dataclass(frozen=True)
class Family:
    """`points`: the processes where each is come by, struck in turn; `besides`: what else happens meanwhile, one of
    all families' in a round; `always`: what happens in each round.
    """

    title: str
    points: dict[Point, Sequence[str]]
    besides: Sequence[Draw]
    always: Sequence[Draw] = ()


def processes(role: str, services: Sequence[str] = SERVICES) -> list[str]:
    """As the stack names them when it is split by role."""
    return [f"{service}-{role}" for service in services]


def strike(random: Random, point: str, target: str) -> InjectedFault:
    """A kill four times out of five, else a freeze."""
    nth = random.choice((1, 1, 2, 3)) if point.startswith(OFTEN) else 1
    if random.random() < 0.8:
        return InjectedFault("strike", target, point, "KILL", nth)
    return InjectedFault("strike", target, point, "STOP", nth, lasts_s=frozen_for(random))


def kill_one_of(targets: Sequence[str]) -> Draw:
    return lambda random: InjectedFault("kill", random.choice(targets))


def freeze_one_of(targets: Sequence[str]) -> Draw:
    return lambda random: InjectedFault("freeze", random.choice(targets), lasts_s=frozen_for(random))


def weather_before(server: str) -> Draw:
    """Bad weather of every kind on the way to a server."""

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


def terminate_backends(_: Random) -> InjectedFault:
    return InjectedFault("terminate_backends", "postgres")


def poison(random: Random) -> InjectedFault:
    """On any topic that outboxes send to."""
    topics = sorted(event.topic for event in EVENTS if issubclass(event, Event))
    return InjectedFault("poison", random.choice(topics), poison=random.choice(get_args(Poison)))


def frozen_for(random: Random) -> float:
    """Half of the time for longer than a group waits."""
    if random.random() < 0.5:
        return round(SESSION_TIMEOUT_S + random.uniform(1, 4), 1)
    return round(random.uniform(0.5, 6), 1)
