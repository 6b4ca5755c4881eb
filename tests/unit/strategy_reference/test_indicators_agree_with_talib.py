"""The reference's indicators equal TA-Lib's: bit for bit where the operations are the same, otherwise nearly."""

import math
import random

import pytest

from shared.testing.random_strategies import SOURCES, TYPES
from tests.reference.document import TAKES_SOURCE, Json
from tests.reference.execution import candles_of
from tests.reference.indicators import Candles, before_rules
from tests.reference.random_candles import RECORDED, jumpy, recorded_slice
from tests.unit.strategy_reference.talib_values import talib_outputs

BIT_FOR_BIT = ("SMA", "ROC", "MOM", "ADX", "OBV", "HIGHEST", "LOWEST")
TOLERANCE = 1e-9  # of the indicator's largest value
SERIES = 24


def _candles(seed: int) -> Candles:
    rng = random.Random(seed)
    drawn = recorded_slice if seed % 2 and RECORDED.is_dir() else jumpy
    return candles_of(drawn(rng, rng.choice((3, 60, 300, 700)))[1])


def _spec(rng: random.Random, kind: str) -> Json:
    if kind == "MACD":
        spec: Json = {"fast": rng.randrange(2, 13), "slow": rng.randrange(13, 40), "signal": rng.randrange(1, 10)}
    elif kind == "STOCH":
        spec = {name: rng.randrange(1, 15) for name in ("fastk", "slowk", "slowd")}
    else:
        spec = {} if kind == "OBV" else {"period": rng.choice((2, 3, 5, 14, 20, 50, 200))}
    if kind == "BBANDS":
        spec["deviations"] = rng.choice(("1", "2", "2.5"))
    if kind in (*TAKES_SOURCE, "HIGHEST", "LOWEST"):
        spec["source"] = rng.choice(SOURCES)
    return {"type": kind, **spec}


@pytest.mark.parametrize("kind", TYPES)
def test_indicator_agrees_with_talib(kind: str) -> None:
    for seed in range(SERIES):
        candles, spec = _candles(seed), _spec(random.Random(f"{kind}{seed}"), kind)
        theirs = talib_outputs(candles, spec)
        defined = [abs(v) for values in theirs.values() for v in values if not math.isnan(v)]
        scale = max(defined, default=1.0)
        for name, mine in before_rules(candles, spec).items():
            allowed = scale * TOLERANCE
            if kind in BIT_FOR_BIT:
                allowed = 0.0
            for t, (here, there) in enumerate(zip(mine, theirs[name], strict=True)):
                assert math.isnan(here) == math.isnan(there), f"{spec} {name} of seed {seed} at {t}"
                assert math.isnan(here) or abs(here - there) <= allowed, (
                    f"{spec} {name} of seed {seed} at {t}: {here!r}, TA-Lib {there!r}"
                )
