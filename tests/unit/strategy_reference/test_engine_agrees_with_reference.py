"""The engine and the plain reference take every drawn strategy through the same fills, trades and figures.

REFERENCE_SEED gives other strategies; REFERENCE_STRATEGIES more of them. A failure names the seed of its case:
`REFERENCE_SEED=<that> REFERENCE_STRATEGIES=1` replays it alone.
"""

from collections.abc import Callable

import pytest

from tests.reference.random_strategies import draw_case
from tests.reference.table import CHUNK, FIRST_SEED, STRATEGIES, record
from tests.unit.strategy_reference.agreement import compare


@pytest.mark.parametrize("first", range(FIRST_SEED, FIRST_SEED + STRATEGIES, CHUNK))
def test_engine_and_reference_agree_on_random_strategies(
    first: int, record_property: Callable[[str, object], None]
) -> None:
    for seed in range(first, min(first + CHUNK, FIRST_SEED + STRATEGIES)):
        outcome = compare(draw_case(seed))
        record(record_property, outcome.hits, outcome.set_aside)
        assert not outcome.differences, f"REFERENCE_SEED={seed}:\n" + "\n".join(outcome.differences[:20])
