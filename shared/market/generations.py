"""A series may have several generations at once, for sessions that run; whoever is on none follows the newest."""

from collections.abc import Sequence

from shared.contracts.market import CandleClosed


class NewestGeneration:
    """Lets a bar through once: that of the newest generation heard of."""

    def __init__(self) -> None:
        self._newest: dict[tuple[str, str], int] = {}

    def of(self, candles: Sequence[CandleClosed]) -> list[CandleClosed]:
        for candle in candles:
            series = (candle.symbol, candle.interval)
            self._newest[series] = max(candle.generation, self._newest.get(series, 0))
        return [each for each in candles if each.generation == self._newest[(each.symbol, each.interval)]]

    def forget(self, symbol: str, interval: str) -> None:
        """The series was not followed: a candle alone does not make its generation the newest."""
        self._newest.pop((symbol, interval), None)
