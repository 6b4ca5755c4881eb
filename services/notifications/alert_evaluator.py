"""Evaluates alerts on closed candles: those of all series that closed, together."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from services.notifications.domain.condition_sets import CompiledConditions, ConditionPass
from services.notifications.domain.firing import ClosedBar
from services.notifications.operations.firing import ClosedSeries, fire_alerts
from shared.chassis.errors import Unavailable
from shared.chassis.postgres import Database
from shared.contracts.market import CandleClosed
from shared.market.demand import find_users_of_series
from shared.market.history_client import CandleHistory
from shared.market.series_follower import SeriesFollower
from shared.strategy.bars import INTERVAL_MS


class Evaluator:
    """Evaluates the conditions of a series when its bars close.

    Offsets are committed after the firings, so a bar may be delivered again; it fires no alert twice.
    """

    def __init__(self, database: Database, history: CandleHistory) -> None:
        self._database = database
        self._follower = SeriesFollower(history)
        self._evaluated: dict[tuple[str, str], datetime] = {}  # symbol, interval → open time of the last bar
        self._conditions = CompiledConditions()

    async def on_candle_closed(self, events: Sequence[CandleClosed]) -> None:
        await self._follower.handle_together(events, self._evaluate)

    async def _evaluate(self, candles: Mapping[str, Sequence[CandleClosed]], followed: set[str]) -> None:
        """Evaluate new candles by series; `followed` gets the series that have active alerts.

        Raises Unavailable if the history of a series is not, after the other series are evaluated.
        """
        fresh = {name: new for name, of_series in candles.items() if (new := self._newer(of_series))}
        followed.update(name for name in candles if name not in fresh and self._follower.follows(name))
        owners = await self._find_owners(fresh)
        due: dict[str, ClosedSeries] = {}
        fault: Unavailable | None = None
        for name, new in list(fresh.items()):
            if not (users := owners.get(_key_of(new[0]))):
                continue
            try:
                series, indices, _ = await self._follower.append(new)
            except Unavailable as error:
                fault = error
                del fresh[name]
                continue
            bars = [_closed_bar(*each) for each in zip(indices, new, strict=True)]
            due[name] = ClosedSeries(*_key_of(new[0]), users, ConditionPass(self._conditions, series, bars))
        await fire_alerts(self._database, self._conditions, list(due.values()))
        self._evaluated.update({_key_of(new[0]): new[-1].open_time for new in fresh.values()})
        followed.update(due)
        if fault is not None:
            raise fault

    async def _find_owners(
        self, fresh: Mapping[str, Sequence[CandleClosed]]
    ) -> Mapping[tuple[str, str], Sequence[int]]:
        if not fresh:
            return {}
        async with self._database.queue() as connection:
            return await find_users_of_series(connection, [_key_of(new[0]) for new in fresh.values()])

    def _newer(self, candles: Sequence[CandleClosed]) -> list[CandleClosed]:
        return list(_newer_than(candles, self._evaluated.get(_key_of(candles[0]))))


def _key_of(candle: CandleClosed) -> tuple[str, str]:
    return candle.symbol, candle.interval


def _newer_than(candles: Sequence[CandleClosed], evaluated: datetime | None) -> Iterator[CandleClosed]:
    """Yield candles after the last evaluated one, ascending.

    Otherwise a candle that is published again would fire alerts that were created after it closed.
    """
    for candle in candles:
        if evaluated is None or candle.open_time > evaluated:
            evaluated = candle.open_time
            yield candle


def _closed_bar(index: int, candle: CandleClosed) -> ClosedBar:
    closed_at = candle.open_time + timedelta(milliseconds=INTERVAL_MS[candle.interval])
    return ClosedBar(index, candle.open_time, closed_at, candle.close, candle.published_at)
