"""Alerts at a candle's close: 10,000 conditions on 20 symbols, answered together and one by one."""

import json
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Protocol

import asyncpg
import talib

from benchmarks.crossing import made_up_bars
from benchmarks.measuring import RUNS, Figure, Rate, summarised
from benchmarks.servers import Place
from services.notifications.alert_evaluator import Evaluator
from services.notifications.domain.condition_sets import ConditionPass, Conditions
from services.notifications.domain.conditions import AlertType, compile_alert
from services.notifications.domain.firing import ClosedBar
from services.notifications.queries.alerts import ALERT_COLUMNS, AlertRow
from shared.chassis.postgres import Database
from shared.contracts.market import CandleClosed
from shared.contracts.types import from_ms, to_ms
from shared.market.history_client import CandleHistory
from shared.strategy.bars import Bar
from shared.strategy.conditions.evaluation import evaluate
from shared.strategy.series import Series

SYMBOLS = 20
OF_A_SYMBOL = 500
ALERTS = SYMBOLS * OF_A_SYMBOL
HISTORY = 3_000
CLOSES = 10
OF_A_TENANT = 10
NAME = f"alerts, {ALERTS:,} on {SYMBOLS} symbols"

Condition = tuple[AlertType, dict[str, Any]]  # Any: whatever the type of an alert takes
SILENT: Condition = ("PRICE", {"op": "above", "value": "1000000000"})  # so that a series is followed
PREPARE = "TRUNCATE notifications.user_alerts, notifications.alert_firings, notifications.market_interests"
FILL = f"""
    INSERT INTO notifications.user_alerts (user_id, alert_id, public_id, alert_name, symbol, interval, alert_type,
                                           condition_data)
    SELECT 1 + n / {OF_A_TENANT}, uuidv7(), uuidv7(), type || ' ' || n || gen_random_uuid(), symbol, '1', type, data
    FROM unnest($1::text[], $2::text[], $3::jsonb[]) WITH ORDINALITY AS one (symbol, type, data, n)
"""
SPREAD = """
    INSERT INTO notifications.market_interests (user_id, object_id, symbol, interval)
    SELECT user_id, alert_id, symbol, interval FROM notifications.user_alerts ON CONFLICT DO NOTHING;
    ANALYZE notifications.user_alerts, notifications.market_interests
"""


def conditions() -> list[Condition]:
    """What people ask of one symbol: many prices of their own, and crosses and volumes that others ask for too."""
    asked: list[Condition] = []
    for number in range(OF_A_SYMBOL):
        match number % 10:
            case 0 | 1:
                periods = {"fast": 5 + number % 30, "slow": 50 + number % 30}
                asked.append(("EMA_CROSS", {**periods, "direction": "above"}))
            case 2:
                asked.append(("VOLUME", {"period": 10 + number % 20, "multiple": "3"}))
            case 3:
                rsi = {"rsi": {"type": "RSI", "period": 10 + number % 10}}
                both = [{"left": "rsi", "op": "<", "right": 30}, {"left": "close", "op": "<", "right": "open"}]
                asked.append(("CUSTOM", {"indicators": rsi, "condition": {"all": both}}))
            case _:
                asked.append(("PRICE", {"op": "crosses_above", "value": str(40_000 + 40 * number)}))
    return asked


Ask = Callable[[Series, int], object]


def measure() -> list[Figure]:
    """The computing alone."""
    bars, asked = made_up_bars(HISTORY + CLOSES), conditions()
    alerts = [compile_alert(*one) for one in asked]
    known = Conditions()
    hashes = {repr(one).encode(): one for one in asked}
    for condition_hash, one in hashes.items():
        known.learn(condition_hash, *one)

    def together(series: Series, index: int) -> None:
        ConditionPass(known, series, [_closed(series.bar(index), index)]).came_true(hashes)

    def one_by_one(series: Series, index: int) -> None:
        for alert in alerts:
            if evaluate(alert.condition, series, index) is True:
                evaluate(alert.condition, series, index - 1)

    ours = _rate(together, bars, CLOSES)
    return [
        Figure(
            NAME, "closes/s", ours, "a loop over alerts that asks the evaluator", _rate(one_by_one, bars, CLOSES)
        ),
        Figure(
            NAME, "closes/s", ours, "a loop over alerts, each with its own TA-Lib", _rate(_alone(asked), bars, 1)
        ),
    ]


def _rate(ask: Ask, bars: Sequence[Bar], closes: int) -> Rate:
    """Closes a second of all symbols together; each series was asked before, as one that is followed."""
    rates = []
    for _ in range(RUNS):
        every = [Series(bars[:HISTORY]) for _ in range(SYMBOLS)]
        for series in every:
            ask(series, HISTORY - 1)
        began = time.perf_counter()
        for bar in bars[HISTORY : HISTORY + closes]:
            for series in every:
                series.append(bar)
                ask(series, len(series) - 1)
        rates.append(closes / (time.perf_counter() - began))
    return summarised(rates)


def _alone(asked: Sequence[Condition]) -> Ask:
    def ask(series: Series, _: int) -> None:
        for alert_type, data in asked:
            _ask_talib(series, alert_type, data)

    return ask


def _ask_talib(series: Series, alert_type: AlertType, data: dict[str, Any]) -> bool:
    """As one would write it down for one alert."""
    close, volume = series.column("close"), series.column("volume")
    match alert_type:
        case "EMA_CROSS":
            fast, slow = talib.EMA(close, data["fast"]), talib.EMA(close, data["slow"])
            return bool(fast[-2] <= slow[-2] and fast[-1] > slow[-1])
        case "VOLUME":
            return bool(volume[-1] > talib.SMA(volume, data["period"])[-2] * 3)
        case "CUSTOM":
            return bool(talib.RSI(close, 14)[-1] < 30 and close[-1] < series.column("open")[-1])
    return bool(close[-2] <= float(str(data["value"])) < close[-1])


async def measure_whole(place: Place) -> list[Figure]:
    """With what is read and written, for alerts of 1,000 tenants."""
    connection = await asyncpg.connect(place.superuser_dsn)
    database = await Database.connect(place.settings("notifications"))
    bars = made_up_bars(HISTORY + 2 * CLOSES * RUNS)
    evaluator = Evaluator(database, CandleHistory(place.settings("notifications")))
    ours = await _rate_whole(connection, evaluator, bars)
    theirs = await _rate_whole(connection, _EveryAlert(database), bars)
    await database.close()
    await connection.close()
    return [Figure(f"{NAME}, with Postgres", "closes/s", ours, "every alert read and asked by itself", theirs)]


class _Asked(Protocol):
    async def on_candle_closed(self, events: Sequence[CandleClosed]) -> None: ...


class _EveryAlert:
    """Reads all alerts of a series at each close and asks for one after the other; fires nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._series: dict[str, Series] = {}

    async def on_candle_closed(self, events: Sequence[CandleClosed]) -> None:
        by_symbol: dict[str, list[CandleClosed]] = {}
        for event in events:
            by_symbol.setdefault(event.symbol, []).append(event)
        for symbol, candles in by_symbol.items():
            series = self._series.setdefault(symbol, Series())
            series.extend(Bar(to_ms(c.open_time), c.open, c.high, c.low, c.close, c.volume) for c in candles)
            async with self._database.tenants(range(1, ALERTS // OF_A_TENANT + 2)) as connection:
                rows = await connection.fetch(
                    f"SELECT {ALERT_COLUMNS} FROM user_alerts WHERE symbol = $1 AND is_active", symbol
                )
            for row in rows:
                alert = AlertRow(**row)
                condition = compile_alert(alert.alert_type, alert.condition_data).condition
                evaluate(condition, series, len(series) - 1)


async def _rate_whole(connection: asyncpg.Connection, asked: _Asked, bars: Sequence[Bar]) -> Rate:
    symbols = [f"S{number}USDT" for number in range(SYMBOLS)]
    await connection.execute(PREPARE)
    await _fill(connection, symbols, [SILENT])
    for symbol in symbols:
        await asked.on_candle_closed(_candles(symbol, bars, 0, HISTORY - 1))
    await _fill(connection, symbols, conditions())
    await asked.on_candle_closed([_candles(symbol, bars, HISTORY - 1, HISTORY)[0] for symbol in symbols])
    rates = []
    for run in range(RUNS):
        first = HISTORY + run * CLOSES
        began = time.perf_counter()
        for number in range(first, first + CLOSES):
            every = [candle for symbol in symbols for candle in _candles(symbol, bars, number, number + 1)]
            await asked.on_candle_closed(every)
        rates.append(CLOSES / (time.perf_counter() - began))
    return summarised(rates)


async def _fill(connection: asyncpg.Connection, symbols: Sequence[str], asked: Sequence[Condition]) -> None:
    """Ten alerts to a tenant, each on another symbol."""
    rows = [(symbol, alert_type, json.dumps(data)) for alert_type, data in asked for symbol in symbols]
    await connection.execute(FILL, *map(list, zip(*rows, strict=True)))
    await connection.execute(SPREAD)


def _closed(bar: Bar, index: int) -> ClosedBar:
    opened = from_ms(bar.open_time_ms)
    return ClosedBar(index, opened, opened + timedelta(minutes=1), bar.close, None)


def _candles(symbol: str, bars: Sequence[Bar], start: int, stop: int) -> list[CandleClosed]:
    return [
        CandleClosed(
            venue="BYBIT",
            symbol=symbol,
            interval="1",
            generation=1,
            open_time=from_ms(bars[number].open_time_ms),
            previous_open_time=from_ms(bars[number - 1].open_time_ms) if number else None,
            venue_time=from_ms(bars[number].open_time_ms + 60_000),
            **dict(zip(("open", "high", "low", "close", "volume"), bars[number][1:], strict=True)),
        )
        for number in range(start, stop)
    ]
