"""Field types shared by several requests."""

from typing import Annotated

from pydantic import Field, StringConstraints

from shared.contracts.types import SYMBOL_PATTERN

Symbol = Annotated[str, StringConstraints(pattern=SYMBOL_PATTERN), Field(examples=["BTCUSDT"])]
