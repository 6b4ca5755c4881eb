"""Field types of requests that name a market series."""

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints, WithJsonSchema

from shared.contracts.types import SYMBOL_PATTERN
from shared.strategy.bars import INTERVAL_MS


def _check_interval(interval: str) -> str:
    if interval not in INTERVAL_MS:
        raise ValueError(f"must be one of {' '.join(INTERVAL_MS)}")
    return interval


Symbol = Annotated[str, StringConstraints(pattern=SYMBOL_PATTERN), Field(examples=["BTCUSDT"])]
Interval = Annotated[
    str, AfterValidator(_check_interval), WithJsonSchema({"type": "string", "enum": [*INTERVAL_MS]})
]
