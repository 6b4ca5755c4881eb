"""One contract's market: its prices, its liquidity, and the orders that wait for the next open."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from sandbox.bybit.exchange.amounts import ONE, ceil_to, floor_to
from sandbox.bybit.exchange.refusals import Refusal
from sandbox.bybit.exchange.terms import InstrumentFilters, Level

if TYPE_CHECKING:
    from sandbox.bybit.exchange.accounts import Holding
    from sandbox.bybit.exchange.orders import Order

_WITHOUT_LIMIT = (Level(0, None),)


@dataclass(slots=True)
class Market:
    """`is_closed`: a bar has been confirmed and the next one has not opened, so that market orders wait.

    `active` are the holdings with a position or an open order, by uid.
    """

    filters: InstrumentFilters
    last: Decimal | None = None
    fixed_mark: Decimal | None = None
    is_closed: bool = False
    status: str = "Trading"
    levels: Sequence[Level] = _WITHOUT_LIMIT
    waiting: list[tuple["Holding", "Order"]] = field(default_factory=list)
    active: dict[str, "Holding"] = field(default_factory=dict)

    @property
    def price(self) -> Decimal:
        """The last price. Raises Refusal before the first one."""
        if self.last is None:
            raise Refusal(110074)
        return self.last

    @property
    def mark(self) -> Decimal:
        return self.price if self.fixed_mark is None else self.fixed_mark

    def set_levels(self, levels: Sequence[Level] | None) -> None:
        self.levels = _WITHOUT_LIMIT if levels is None else tuple(levels)

    def check_trading(self) -> None:
        if self.status != "Trading" or self.last is None:
            raise Refusal(110074)

    def price_limits(self) -> tuple[Decimal, Decimal]:
        """Return the highest price of a buy and the lowest of a sell."""
        ratio, tick = self.filters.price_limit_ratio, self.filters.tick_size
        return floor_to(self.mark * (ONE + ratio), tick), ceil_to(self.mark * (ONE - ratio), tick)
