"""The terms on which the exchange, its contracts and its accounts are set up."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType
from typing import Literal, Protocol

MarginMode = Literal["REGULAR_MARGIN", "ISOLATED_MARGIN", "PORTFOLIO_MARGIN"]
ONE_WAY, HEDGE = 0, 3
"""Position modes, as switch-mode has them."""


@dataclass(frozen=True, slots=True)
class InstrumentFilters:
    """The rules of a linear contract, named as instruments-info has them. The defaults are BTCUSDT's."""

    symbol: str
    tick_size: Decimal = Decimal("0.10")
    min_price: Decimal = Decimal("0.10")
    max_price: Decimal = Decimal("1999999.80")
    qty_step: Decimal = Decimal("0.001")
    min_order_qty: Decimal = Decimal("0.001")
    max_order_qty: Decimal = Decimal(1190)
    max_market_order_qty: Decimal = Decimal(500)
    post_only_max_order_qty: Decimal = Decimal(1190)
    min_notional: Decimal = Decimal(5)
    min_leverage: Decimal = Decimal(1)
    max_leverage: Decimal = Decimal(100)
    leverage_step: Decimal = Decimal("0.01")
    price_limit_ratio: Decimal = Decimal("0.01")  # riskParameters.priceLimitRatioX: the price band
    maintenance_margin_rate: Decimal = Decimal("0.005")
    risk_limit_value: Decimal = Decimal(200_000_000)  # the largest position in USDT
    base_coin: str = "BTC"
    settle_coin: str = "USDT"
    status: str = "Trading"


@dataclass(frozen=True, slots=True)
class Rules:
    """The limits of the exchange. `has_price_band` False: limit orders may have any price within the filters."""

    max_active_orders: int = 500  # of an account and symbol
    max_conditional_orders: int = 10  # of an account and symbol
    max_partial_stops: int = 20  # of a position
    has_price_band: bool = True
    kept_rows: int = 10_000  # of each history of an account


@dataclass(frozen=True, slots=True)
class AccountTerms:
    """An account as it is opened. Fees and slippage are fractions of the notional.

    `mnt_price` is the price of MNT in USDT, for accounts that pay their fees in it (`fmsef`).
    `unified_margin_status` and `delta_neutral` are facts for the account's answers, without effect here.
    """

    balance: Decimal = Decimal(10_000)
    taker_fee: Decimal = Decimal("0.00055")
    maker_fee: Decimal = Decimal("0.00055")
    slippage: Decimal = Decimal(0)
    leverage: Decimal = Decimal(10)  # of each symbol, until set
    margin_mode: MarginMode = "REGULAR_MARGIN"
    lpa_perp: bool = False  # True: a limit order beyond the price band is refused; False: moved to its edge
    fmsef: bool = False
    mnt_price: Decimal = Decimal(1)
    hedge_symbols: tuple[str, ...] = ()
    unified_margin_status: int = 6
    delta_neutral: bool = False
    leverages: Mapping[str, Decimal] = field(default_factory=lambda: MappingProxyType({}))  # by symbol

    def __post_init__(self) -> None:
        fractions = (self.taker_fee, self.slippage)
        if not (self.balance >= 0 and all(0 <= each < 1 for each in fractions) and -1 < self.maker_fee < 1):
            raise ValueError("balance must be at least 0; fees and slippage must be fractions")
        if not (self.leverage >= 1 and all(each >= 1 for each in self.leverages.values()) and self.mnt_price > 0):
            raise ValueError("leverages must be at least 1, mnt_price above 0")


class Bar(Protocol):
    """The prices of a candle."""

    @property
    def open(self) -> Decimal: ...
    @property
    def high(self) -> Decimal: ...
    @property
    def low(self) -> Decimal: ...
    @property
    def close(self) -> Decimal: ...


@dataclass(frozen=True, slots=True)
class Level:
    """Liquidity at `ticks` from the current price, against the taker. `quantity` None: without limit."""

    ticks: int
    quantity: Decimal | None
