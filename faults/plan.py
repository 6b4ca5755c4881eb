"""What will be broken and when: a pure function of the seed, so that a run that failed is run again."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random

from faults.families import FAMILIES
from faults.kinds import InjectedFault, strike

STRIKES_A_ROUND = 6
WITHIN_S = 3.0


@dataclass(frozen=True)
class FaultRound:
    """Faults of one round, by when they begin; no process has two of them."""

    number: int
    faults: Sequence[InjectedFault]

    def __str__(self) -> str:
        return "; ".join(f"{fault.after_s} s {fault}" for fault in self.faults)


def plan(seed: int, families: Sequence[str]) -> Iterator[FaultRound]:
    """Round after round, without end. Every point of the families comes up equally often."""
    random = Random(f"faults {seed} {','.join(families)}")
    # Drawn apart, so that what each round does besides is what its seed has always done.
    apart = Random(f"always {seed} {','.join(families)}")
    always = [draw for name in families for draw in FAMILIES[name].always]
    besides = [draw for name in families for draw in FAMILIES[name].besides]
    strikes = _Deck(random, families)
    number = 0
    while True:
        number += 1
        drawn = [random.choice(besides)(random)]
        while len(drawn) <= STRIKES_A_ROUND and (card := strikes.take({fault.target for fault in drawn})):
            drawn.append(strike(random, *card))
        timed = [replace(fault, after_s=round(random.uniform(0, WITHIN_S), 1)) for fault in drawn]
        timed += [replace(draw(apart), after_s=round(apart.uniform(0, WITHIN_S), 1)) for draw in always]
        yield FaultRound(number, sorted(timed, key=lambda fault: fault.after_s))


def points_of(families: Sequence[str]) -> list[str]:
    """The points that these families strike at."""
    return sorted({point for name in families for point in FAMILIES[name].points})


class _Deck:
    """Points with the processes that come by them, shuffled; one whose processes are all taken waits its turn."""

    def __init__(self, random: Random, families: Sequence[str]) -> None:
        self._random = random
        self._all = [card for name in families for card in FAMILIES[name].points.items()]
        self._left: list[tuple[str, Sequence[str]]] = []

    def take(self, taken: set[str]) -> tuple[str, str] | None:
        """A point, and a process that is not taken; None where all are."""
        for _ in range(2):
            for number, (point, targets) in enumerate(self._left):
                if free := [target for target in targets if target not in taken]:
                    del self._left[number]
                    return point, self._random.choice(free)
            self._left += self._random.sample(self._all, len(self._all))
        return None
