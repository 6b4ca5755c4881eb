"""The environment of trading."""

from decimal import Decimal
from typing import Literal

from pydantic import Field

from shared.chassis.settings import ServiceSettings


class TradingSettings(ServiceSettings):
    service: Literal["trading"] = "trading"
    postgres_app_connections: int = 8
    postgres_worker_connections: int = 4
    postgres_queue_connections: int = 4

    bybit_rest_url: str = ""  # empty: the exchange itself
    bybit_ws_url: str = ""

    paper_fee: Decimal = Field(default=Decimal("0.00055"), ge=0, lt=1)  # of the notional of every fill
    paper_slippage: Decimal = Field(default=Decimal(0), ge=0, lt=1)
