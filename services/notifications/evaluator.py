"""Evaluates alerts on each closed candle, all alerts of a series together."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal

from services.notifications import queries
from services.notifications.domain import Timing, became_true, compile_alert
from services.notifications.operations import fire
from services.notifications.queries import AlertRow
from shared.chassis.errors import Unavailable
from shared.chassis.history import CandleHistory
from shared.chassis.postgres import Database
from shared.contracts.market import CandleClosed
from shared.contracts.types import decimal_text, to_ms
from shared.strategy.bars import INTERVAL_MS, Bar
from shared.strategy.document import AlertCondition
from shared.strategy.followed import FollowedSeries

MOST_COMPILED = 10_000


class Evaluator:
    """A candle heard again fires nothing again."""

    def __init__(self, database: Database, history: CandleHistory) -> None:
        self._database = database
        self._history = history
        self._series: dict[str, FollowedSeries] = {}
        self._compiled: dict[tuple[str, str], AlertCondition] = {}

    async def on_candle_closed(self, events: Sequence[CandleClosed]) -> None:
        for event in events:
            await self._evaluate(event)

    async def _evaluate(self, event: CandleClosed) -> None:
        async with self._database.queue() as connection:
            owners = await queries.find_owners(connection, event.symbol, event.interval)
        if not owners:
            return
        index = await self._index_of(event)
        closed_at = event.open_time + timedelta(milliseconds=INTERVAL_MS[event.interval])
        series = self._series[event.series].series
        async with self._database.tenants(owners) as connection:
            for alert in await queries.list_active_alerts(connection, owners, event.symbol, event.interval):
                if not _timing(alert).allows(closed_at):
                    continue
                if became_true(self._condition(alert), series, index):
                    await fire(connection, alert, event, closed_at, decimal_text(_value_seen(alert, event)))

    def _condition(self, alert: AlertRow) -> AlertCondition:
        """Compiled once; each firing touches the row, so its time is no key."""
        key = (alert.alert_type, repr(alert.condition_data))
        if key not in self._compiled:
            if len(self._compiled) >= MOST_COMPILED:
                self._compiled.clear()
            self._compiled[key] = compile_alert(alert.alert_type, alert.condition_data)
        return self._compiled[key]

    async def _index_of(self, event: CandleClosed) -> int:
        """Where the candle stands in its series, from the anchor on. Raises Unavailable."""
        followed = self._series.setdefault(event.series, FollowedSeries())
        bar = Bar(to_ms(event.open_time), event.open, event.high, event.low, event.close, event.volume)
        previous_ms = to_ms(event.previous_open_time) if event.previous_open_time else None
        index = followed.take(bar, previous_ms)
        if index is None:
            candles = await self._history.fetch(event.symbol, event.interval, bar.open_time_ms)
            followed.restart(Bar(*vars(candle).values()) for candle in candles)
            index = followed.take(bar, previous_ms)
        if index is None:
            raise Unavailable(f"the history of {event.series} does not reach its candle yet")
        return index


def _timing(alert: AlertRow) -> Timing:
    return Timing(alert.expires_at, timedelta(seconds=alert.cooldown_seconds), alert.last_triggered)


def _value_seen(alert: AlertRow, event: CandleClosed) -> Decimal:
    return event.volume if alert.alert_type == "VOLUME" else event.close
