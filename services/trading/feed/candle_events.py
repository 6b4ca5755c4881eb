"""The candle events of a series, built from its bars."""

from datetime import datetime

from services.trading.bybit_api import VENUE, Kline
from services.trading.feed.queries import StoredCandle, StoredSeries
from shared.contracts.market import CandleClosed, CandleOpened


def opened_event(
    series: StoredSeries, kline: Kline, previous: datetime | None, venue_time: datetime
) -> CandleOpened:
    return CandleOpened(
        venue=VENUE,
        symbol=series.symbol,
        interval=series.interval,
        generation=series.generation,
        open_time=kline.open_time,
        previous_open_time=previous,
        open=kline.open,
        venue_time=venue_time,
    )


def closed_event(series: StoredSeries, candle: StoredCandle, venue_time: datetime) -> CandleClosed:
    kline = candle.kline
    opened = opened_event(series, kline, candle.previous_open_time, venue_time)
    return CandleClosed(
        **opened.model_dump(), high=kline.high, low=kline.low, close=kline.close, volume=kline.volume
    )
