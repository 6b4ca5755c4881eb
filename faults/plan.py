"""Plans which faults to inject and when: a pure function of the seed, so that a failed run can be repeated."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random

from faults.families import FAMILIES
from faults.kinds import InjectedFault, strike

STRIKES_A_ROUND = 6
WITHIN_S = 3.0


@dataclass(frozen=True)
class FaultRound:
    """The faults of one round, ordered by start. No process has two of them."""

    number: int
    faults: Sequence[InjectedFault]

    def __str__(self) -> str:
        return "; ".join(f"{fault.after_s} s {fault}" for fault in self.faults)


def plan(seed: int, families: Sequence[str], strikes: int = STRIKES_A_ROUND) -> Iterator[FaultRound]:
    """Yield rounds without end. Every crash point of the families comes up equally often."""
    random = Random(f"faults {seed} {','.join(families)}")
    # A generator of its own, so that adding these faults did not change what each seed draws otherwise.
    separate = Random(f"always {seed} {','.join(families)}")
    every_round = [draw for name in families for draw in FAMILIES[name].every_round]
    extras = [draw for name in families for draw in FAMILIES[name].extras]
    deck = _Deck(random, families)
    number = 0
    while True:
        number += 1
        drawn = [random.choice(extras)(random)]
        while len(drawn) <= strikes and (card := deck.take({fault.target for fault in drawn})):
            drawn.append(strike(random, *card))
        timed = [replace(fault, after_s=round(random.uniform(0, WITHIN_S), 1)) for fault in drawn]
        timed += [replace(draw(separate), after_s=round(separate.uniform(0, WITHIN_S), 1)) for draw in every_round]
        yield FaultRound(number, sorted(timed, key=lambda fault: fault.after_s))


def points_of(families: Sequence[str]) -> list[str]:
    """Return the crash points of these families."""
    return sorted({point for name in families for point in FAMILIES[name].points})


class _Deck:
    """Shuffled crash points with their processes. A point whose processes are all taken stays in the deck."""

    def __init__(self, random: Random, families: Sequence[str]) -> None:
        self._random = random
        self._all = [card for name in families for card in FAMILIES[name].points.items()]
        self._cards: list[tuple[str, Sequence[str]]] = []

    def take(self, taken: set[str]) -> tuple[str, str] | None:
        """Draw a point and a free process. Returns None if all processes are taken."""
        for _ in range(2):
            for number, (point, targets) in enumerate(self._cards):
                if free := [target for target in targets if target not in taken]:
                    del self._cards[number]
                    return point, self._random.choice(free)
            self._cards += self._random.sample(self._all, len(self._all))
        return None
