"""Plays the replayed bars to the engine."""

from dataclasses import dataclass
from decimal import Decimal

from sandbox.bybit.exchange.exchange import Exchange
from sandbox.bybit.replay import Candle, Market, Push


@dataclass(frozen=True)
class Prices:
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal


class Playback:
    """In a paced market orders fill when they arrive; in stepping, those that come after a close wait for the next
    open. What happens between open and close is dated in the bar's last millisecond."""

    def __init__(self, market: Market, exchange: Exchange, *, is_paced: bool) -> None:
        self._market = market
        self._exchange = exchange
        self._is_paced = is_paced
        self.stand()

    def play(self, pushes: list[Push]) -> None:
        """`pushes`: of one step. Bars of longer intervals are left out: they have the same trades."""
        now_ms = self._market.clock_ms
        for push in pushes:
            series = self._market.series[push.symbol]
            if push.interval != series.interval:
                continue
            prices = _prices(push.candle)
            if push.confirm:
                self._exchange.at_rest(push.symbol, prices, push.candle.start + series.interval_ms - 1)
                if not self._is_paced:
                    self._exchange.at_close(push.symbol, prices, now_ms)
            else:
                self._exchange.at_open(push.symbol, prices.open, now_ms)
        if self._market.done:
            for symbol, series in self._market.series.items():
                self._exchange.at_end(symbol, Decimal(series.last_price()), now_ms)

    def stand(self) -> None:
        """Give the engine the current prices: before the first bar and after a jump."""
        is_closed = not self._is_paced and (self._market.stands_at_close or self._market.steps_done == 0)
        for symbol, series in self._market.series.items():
            price, now_ms = Decimal(series.last_price()), self._market.clock_ms
            if is_closed:
                self._exchange.at_close(symbol, Prices(price, price, price, price), now_ms)
            else:
                self._exchange.at_price(symbol, price, now_ms)


def _prices(candle: Candle) -> Prices:
    return Prices(Decimal(candle.open), Decimal(candle.high), Decimal(candle.low), Decimal(candle.close))
