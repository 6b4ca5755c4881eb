"""The candle events of a series, built from its bars."""

from datetime import datetime

from services.trading.bybit_api import VENUE
from services.trading.feed.queries import StoredCandle
from services.trading.queries.candles import SeriesRow
from shared.contracts.market import CandleClosed, CandleOpened
from shared.strategy.bars import Bar


def opened_event(series: SeriesRow, bar: Bar, previous: datetime | None, venue_time: datetime) -> CandleOpened:
    return CandleOpened(
        venue=VENUE,
        symbol=series.symbol,
        interval=series.interval,
        generation=series.generation,
        open_time=bar.open_time,
        previous_open_time=previous,
        open=bar.open,
        venue_time=venue_time,
    )


def closed_event(series: SeriesRow, candle: StoredCandle, venue_time: datetime) -> CandleClosed:
    bar = candle.bar
    opened = opened_event(series, bar, candle.previous_open_time, venue_time)
    return CandleClosed(**opened.model_dump(), high=bar.high, low=bar.low, close=bar.close, volume=bar.volume)
