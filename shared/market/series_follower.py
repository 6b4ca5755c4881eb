"""Follows the series of consumed candles. Bars that were missed are loaded from trading's history."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from shared.chassis.errors import HistoryTooShort
from shared.contracts.market import CandleClosed
from shared.contracts.types import to_ms
from shared.market.contiguous_series import ContiguousSeries
from shared.market.generations import NewestGeneration
from shared.market.history_client import CandleHistory


class SeriesFollower:
    """Holds the followed series, each of the newest generation and from its anchor on."""

    def __init__(self, history: CandleHistory) -> None:
        self._history = history
        self._series: dict[str, ContiguousSeries] = {}
        self._newest = NewestGeneration()

    def follows(self, series: str) -> bool:
        return series in self._series

    async def handle(
        self, candles: Sequence[CandleClosed], work: Callable[[Sequence[CandleClosed]], Awaitable[bool]]
    ) -> None:
        """Call `work` once for each series, with its candles of the newest generation. `work` returns whether the
        series is still followed; if it is not, or if `work` raises, the series' next candle loads it again."""
        for name, of_series in self._by_series(candles).items():
            is_followed = False
            try:
                is_followed = await work(of_series)
            finally:
                if not is_followed:
                    self._forget(name, of_series[0])

    async def handle_together(
        self,
        candles: Sequence[CandleClosed],
        work: Callable[[Mapping[str, Sequence[CandleClosed]], set[str]], Awaitable[None]],
    ) -> None:
        """Like `handle`, but call `work` once for all series, with a set to which it adds those still followed."""
        by_series = self._by_series(candles)
        followed: set[str] = set()
        try:
            await work(by_series, followed)
        finally:
            for name, of_series in by_series.items():
                if name not in followed:
                    self._forget(name, of_series[0])

    def _by_series(self, candles: Sequence[CandleClosed]) -> dict[str, list[CandleClosed]]:
        by_series: dict[str, list[CandleClosed]] = {}
        for candle in self._newest.select(candles):
            by_series.setdefault(candle.series, []).append(candle)
        return by_series

    def _forget(self, name: str, candle: CandleClosed) -> None:
        self._newest.reset(candle.symbol, candle.interval)
        self._series.pop(name, None)

    async def append(self, candles: Sequence[CandleClosed]) -> tuple[ContiguousSeries, list[int], bool]:
        """Append candles of one series. Returns the series, each candle's index in it, and whether it was loaded
        from the history.

        Raises Unavailable, and HistoryTooShort if the history does not reach a candle yet.
        """
        first = candles[0]
        series = self._series.setdefault(first.series, ContiguousSeries())
        indices = _take_all(series, candles)
        is_loaded = indices is None
        if indices is None:
            until = max(to_ms(candle.open_time) for candle in candles)
            bars = await self._history.fetch(first.symbol, first.interval, until, first.generation)
            series = self._series[first.series] = ContiguousSeries(bars)
            indices = _take_all(series, candles)
        if indices is None:
            raise HistoryTooShort(f"the history of {first.series} does not reach its candle yet")
        return series, indices, is_loaded


def _take_all(series: ContiguousSeries, candles: Sequence[CandleClosed]) -> list[int] | None:
    """Return the candles' indices; None if a bar is missing."""
    indices = [index for candle in candles if (index := series.take(candle)) is not None]
    return indices if len(indices) == len(candles) else None
