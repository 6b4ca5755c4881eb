"""The settings of the trading service, read from the environment."""

from decimal import Decimal
from typing import Literal

from pydantic import Field, FilePath, SecretStr

from shared.chassis.settings import ServiceSettings


class TradingSettings(ServiceSettings):
    service: Literal["trading"] = "trading"
    postgres_app_connections: int = 8
    postgres_worker_connections: int = 4
    postgres_queue_connections: int = 4

    bybit_rest_url: str = ""  # empty: the exchange itself
    bybit_ws_url: str = ""

    # The address from which this process connects to the exchange: processes with the same name share its limits.
    exchange_egress: str = Field(default="default", min_length=1)
    exchange_requests: int = Field(default=540, ge=10)  # from it in five seconds; the exchange's limit is 600

    instruments_every_s: float = Field(default=3600, gt=0)  # how often the feed refreshes its contracts

    backtest_processes: int = Field(default=1, ge=1, le=64)  # at once, per backtest worker
    backtest_most_bars: int = Field(default=2_000_000, ge=1)  # per backtest; a million take about a gigabyte
    backtest_keep_days: int = Field(default=90, ge=1)  # after it ended

    paper_fee: Decimal = Field(default=Decimal("0.00055"), ge=0, lt=1)  # of the notional of every fill
    paper_slippage: Decimal = Field(default=Decimal(0), ge=0, lt=1)

    tradefleet_live: Literal["off", "on"] = "off"  # on: exchange accounts of environment LIVE may be used
    exchange_keys_file: FilePath | None = None  # the ring that encrypts exchange keys, see custody/key_ring.py
    exchange_keys: SecretStr = SecretStr("")  # the same as a text, if there is no file
    exchange_check_every_s: float = Field(default=3600, gt=0)  # how often each exchange account is checked
