"""Alerts at a candle's close: 10,000 conditions on 20 symbols, evaluated together and one by one."""

import json
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Protocol

import asyncpg
import talib

from benchmarks.crossing import synthetic_bars
from benchmarks.measuring import RUNS, Figure, Rate, summarise
from benchmarks.servers import BenchmarkServers
from services.notifications.alert_evaluator import Evaluator
from services.notifications.domain.condition_sets import CompiledConditions, ConditionPass
from services.notifications.domain.conditions import AlertType, compile_alert
from services.notifications.domain.firing import ClosedBar
from services.notifications.queries.alerts import ALERT_COLUMNS, AlertRow
from shared.chassis.postgres import Database
from shared.contracts.market import CandleClosed
from shared.contracts.types import from_ms
from shared.market.bars import bar_of
from shared.market.history_client import CandleHistory
from shared.strategy.bars import Bar
from shared.strategy.conditions.evaluation import evaluate
from shared.strategy.series import Series

SYMBOLS = 20
ALERTS_PER_SYMBOL = 500
ALERTS = SYMBOLS * ALERTS_PER_SYMBOL
HISTORY = 3_000
CLOSES, PEER_CLOSES = 10, 2  # in each run
ALERTS_PER_TENANT = 10
NAME = f"alerts, {ALERTS:,} on {SYMBOLS} symbols"

Condition = tuple[AlertType, dict[str, Any]]  # Any: depends on the type of alert
# Makes the evaluator follow a series without firing.
SILENT: Condition = ("PRICE", {"op": "above", "value": "1000000000"})
PREPARE = "TRUNCATE notifications.user_alerts, notifications.alert_firings, notifications.market_interests"
FILL = f"""
    INSERT INTO notifications.user_alerts (user_id, alert_id, public_id, alert_name, symbol, interval, alert_type,
                                           condition_data)
    SELECT 1 + (n - 1) / {ALERTS_PER_TENANT}, uuidv7(), uuidv7(), type || ' ' || n || gen_random_uuid(), symbol,
           '1', type, data
    FROM unnest($1::text[], $2::text[], $3::jsonb[]) WITH ORDINALITY AS one (symbol, type, data, n)
"""
INSERT_DEMAND = """
    INSERT INTO notifications.market_interests (user_id, object_id, symbol, interval)
    SELECT user_id, alert_id, symbol, interval FROM notifications.user_alerts ON CONFLICT DO NOTHING;
    ANALYZE notifications.user_alerts, notifications.market_interests
"""


def conditions() -> list[Condition]:
    """Return typical conditions on one symbol: many distinct prices, and crosses and volumes that recur."""
    result: list[Condition] = []
    for number in range(ALERTS_PER_SYMBOL):
        match number % 10:
            case 0 | 1:
                periods = {"fast": 5 + number % 30, "slow": 50 + number % 30}
                result.append(("EMA_CROSS", {**periods, "direction": "above"}))
            case 2:
                result.append(("VOLUME", {"period": 10 + number % 20, "multiple": "3"}))
            case 3:
                rsi = {"rsi": {"type": "RSI", "period": 10 + number % 10}}
                both = [{"left": "rsi", "op": "<", "right": 30}, {"left": "close", "op": "<", "right": "open"}]
                result.append(("CUSTOM", {"indicators": rsi, "condition": {"all": both}}))
            case _:
                result.append(("PRICE", {"op": "crosses_above", "value": str(40_000 + 40 * number)}))
    return result


Evaluate = Callable[[Series, int], object]


def measure() -> list[Figure]:
    """Measure the computation alone."""
    bars, alert_conditions = synthetic_bars(HISTORY + CLOSES), conditions()
    alerts = [compile_alert(*one) for one in alert_conditions]
    known = CompiledConditions()
    hashes = {repr(one).encode(): one for one in alert_conditions}
    for condition_hash, one in hashes.items():
        known.compile(condition_hash, *one)

    def together(series: Series, index: int) -> None:
        ConditionPass(known, series, [_closed(series.bar(index), index)]).came_true(hashes)

    def one_by_one(series: Series, index: int) -> None:
        for alert in alerts:
            if evaluate(alert.condition, series, index) is True:
                evaluate(alert.condition, series, index - 1)

    ours = _rate(together, bars, CLOSES)
    return [
        Figure(
            NAME,
            "closes/s",
            ours,
            "a loop over alerts, each with an evaluator call",
            _rate(one_by_one, bars, CLOSES),
        ),
        Figure(
            NAME,
            "closes/s",
            ours,
            "a loop over alerts, each with its own TA-Lib",
            _rate(_by_talib(alert_conditions), bars, 1),
        ),
    ]


def _rate(evaluate_alerts: Evaluate, bars: Sequence[Bar], closes: int) -> Rate:
    """Return closes per second of all symbols together. Each series is evaluated once before timing."""
    rates = []
    for _ in range(RUNS):
        every = [Series(bars[:HISTORY]) for _ in range(SYMBOLS)]
        for series in every:
            evaluate_alerts(series, HISTORY - 1)
        began = time.perf_counter()
        for bar in bars[HISTORY : HISTORY + closes]:
            for series in every:
                series.append(bar)
                evaluate_alerts(series, len(series) - 1)
        rates.append(closes / (time.perf_counter() - began))
    return summarise(rates)


def _by_talib(alert_conditions: Sequence[Condition]) -> Evaluate:
    def evaluate_all(series: Series, _: int) -> None:
        for alert_type, data in alert_conditions:
            _evaluate_by_talib(series, alert_type, data)

    return evaluate_all


def _evaluate_by_talib(series: Series, alert_type: AlertType, data: dict[str, Any]) -> bool:
    """Evaluate one alert the direct way, with TA-Lib over the whole series."""
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


async def measure_with_postgres(servers: BenchmarkServers) -> list[Figure]:
    """Measure including all reads and writes, for alerts of 1,000 tenants."""
    connection = await asyncpg.connect(servers.superuser_dsn)
    database = await Database.connect(servers.settings("notifications"))
    bars = synthetic_bars(HISTORY + CLOSES * RUNS)
    evaluator = Evaluator(database, CandleHistory(servers.settings("notifications")))
    ours = await _rate_with_postgres(connection, evaluator, bars, CLOSES)
    theirs = await _rate_with_postgres(connection, _EveryAlert(database), bars, PEER_CLOSES)
    await database.close()
    await connection.close()
    return [Figure(f"{NAME}, with Postgres", "closes/s", ours, "every alert read and evaluated separately", theirs)]


class _CandleHandler(Protocol):
    async def on_candle_closed(self, events: Sequence[CandleClosed]) -> None: ...


class _EveryAlert:
    """Reads all alerts of a series at each close and evaluates them one after the other; fires none."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._series: dict[str, Series] = {}

    async def on_candle_closed(self, events: Sequence[CandleClosed]) -> None:
        by_symbol: dict[str, list[CandleClosed]] = {}
        for event in events:
            by_symbol.setdefault(event.symbol, []).append(event)
        for symbol, candles in by_symbol.items():
            series = self._series.setdefault(symbol, Series())
            series.extend(map(bar_of, candles))
            async with self._database.tenants(range(1, ALERTS // ALERTS_PER_TENANT + 1)) as connection:
                rows = await connection.fetch(
                    f"SELECT {ALERT_COLUMNS} FROM user_alerts WHERE symbol = $1 AND is_active", symbol
                )
            for row in rows:
                alert = AlertRow(**row)
                condition = compile_alert(alert.alert_type, alert.condition_data).condition
                evaluate(condition, series, len(series) - 1)


async def _rate_with_postgres(
    connection: asyncpg.Connection, handler: _CandleHandler, bars: Sequence[Bar], closes: int
) -> Rate:
    symbols = [f"S{number}USDT" for number in range(SYMBOLS)]
    await connection.execute(PREPARE)
    await _fill(connection, symbols, [SILENT])
    for symbol in symbols:
        await handler.on_candle_closed(_candles(symbol, bars, 0, HISTORY - 1))
    await _fill(connection, symbols, conditions())
    await handler.on_candle_closed([_candles(symbol, bars, HISTORY - 1, HISTORY)[0] for symbol in symbols])
    rates = []
    for run in range(RUNS):
        first = HISTORY + run * closes
        began = time.perf_counter()
        for number in range(first, first + closes):
            every = [candle for symbol in symbols for candle in _candles(symbol, bars, number, number + 1)]
            await handler.on_candle_closed(every)
        rates.append(closes / (time.perf_counter() - began))
    return summarise(rates)


async def _fill(
    connection: asyncpg.Connection, symbols: Sequence[str], alert_conditions: Sequence[Condition]
) -> None:
    """Insert alerts, ten per tenant, each on another symbol."""
    rows = [(symbol, alert_type, json.dumps(data)) for alert_type, data in alert_conditions for symbol in symbols]
    await connection.execute(FILL, *map(list, zip(*rows, strict=True)))
    await connection.execute(INSERT_DEMAND)


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
