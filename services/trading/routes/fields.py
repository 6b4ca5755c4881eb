"""Field types shared by several requests."""

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, WithJsonSchema

from shared.contracts.types import SYMBOL_PATTERN
from shared.strategy.bars import INTERVAL_MS

Symbol = Annotated[str, StringConstraints(pattern=SYMBOL_PATTERN), Field(examples=["BTCUSDT"])]


def _known(interval: str) -> str:
    if interval not in INTERVAL_MS:
        raise ValueError(f"must be one of {' '.join(INTERVAL_MS)}")
    return interval


Interval = Annotated[str, AfterValidator(_known), WithJsonSchema({"type": "string", "enum": [*INTERVAL_MS]})]


def _true_or_false(value: object) -> bool:
    if value in ("true", "false"):
        return value == "true"
    raise ValueError("must be true or false")


Flag = Annotated[bool, BeforeValidator(_true_or_false)]
"""A boolean in a query string: `true` or `false`, as in JSON."""
