"""Selects the newest generation of a series. Several may exist at once, because sessions stay on theirs; other
consumers follow the newest."""

from collections.abc import Sequence

from shared.contracts.market import CandleClosed


class NewestGeneration:
    """Passes each bar once: the one of the newest generation received."""

    def __init__(self) -> None:
        self._newest: dict[tuple[str, str], int] = {}

    def select(self, candles: Sequence[CandleClosed]) -> list[CandleClosed]:
        for candle in candles:
            series = (candle.symbol, candle.interval)
            self._newest[series] = max(candle.generation, self._newest.get(series, 0))
        return [each for each in candles if each.generation == self._newest[(each.symbol, each.interval)]]

    def reset(self, symbol: str, interval: str) -> None:
        """Drop the generation of a series that is not followed after all: a candle alone does not make its
        generation the newest."""
        self._newest.pop((symbol, interval), None)
