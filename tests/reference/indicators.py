"""The indicators from their definitions, in plain floats: one list per output, NaN where undefined.

Seeds, look-backs and the order of float operations are those that TA-Lib documents or is known for, so that results
can be compared bit by bit; `test_indicators_agree_with_talib.py` lists where they are equal."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Column = list[float]
NAN = math.nan
ZERO = 1e-14  # TA-Lib treats a divisor below this as zero


@dataclass(frozen=True)
class Candles:
    """The five columns of the series as floats."""

    open: Column
    high: Column
    low: Column
    close: Column
    volume: Column

    def column(self, name: str) -> Column:
        return {
            "open": self.open,
            "high": self.high,
            "low": self.low,
            "close": self.close,
            "volume": self.volume,
        }[name]


def _padded(length: int, values: Column) -> Column:
    """The values at the end of a column of this length, with NaN before them."""
    return [NAN] * (length - len(values)) + values


def equal(a: float, b: float) -> bool:
    """Two numbers that differ by at most a thousand-millionth of the larger are equal, so that rounding is no
    signal."""
    return a == b or abs(a - b) <= 1e-9 * max(abs(a), abs(b)) < math.inf


def above(a: float, b: float) -> bool:
    return a > b and not equal(a, b)


def _is_zero(value: float) -> bool:
    return -ZERO < value < ZERO


# Averages. Each returns only its defined values: the first belongs to the bar at the end of the first window.


def _sma(x: Sequence[float], period: int) -> Column:
    if period == 1:
        return list(x)
    total, out = 0.0, []
    for i, value in enumerate(x):
        total += value
        if i >= period - 1:
            out.append(total / period)
            total -= x[i - period + 1]
    return out


def _ema(x: Sequence[float], period: int, factor: float | None = None) -> Column:
    """Seeded with the simple average of the first window."""
    if len(x) < period:
        return []
    k = 2.0 / (period + 1) if factor is None else factor
    seed = 0.0
    for value in x[:period]:
        seed += value
    out = [seed / period]
    for value in x[period:]:
        out.append((value - out[-1]) * k + out[-1])
    return out


def _wma(x: Sequence[float], period: int) -> Column:
    """Weights 1..period; the weighted and the plain sum are both updated bar by bar."""
    divider = period * (period + 1) // 2
    plain = weighted = leaving = 0.0
    out = []
    for i, value in enumerate(x):
        if i < period - 1:
            plain += value
            weighted += value * (i + 1)
            continue
        plain += value
        plain -= leaving
        weighted += value * period
        leaving = x[i - period + 1]
        out.append(weighted / divider)
        weighted -= plain
    return out


def _dema(x: Sequence[float], period: int) -> Column:
    first = _ema(x, period)
    second = _ema(first, period)
    return [2.0 * a - b for a, b in zip(first[period - 1 :], second, strict=True)] if second else []


def _tema(x: Sequence[float], period: int) -> Column:
    first = _ema(x, period)
    second = _ema(first, period)
    third = _ema(second, period)
    if not third:
        return []
    triples = zip(first[2 * (period - 1) :], second[period - 1 :], third, strict=True)
    return [c + (3.0 * a - 3.0 * b) for a, b, c in triples]


# Momentum


def _rsi(x: Sequence[float], period: int) -> Column:
    """Wilder's method: the first averages are simple averages of `period` changes."""
    if len(x) <= period:
        return []
    gain = loss = 0.0
    out = []
    for i in range(1, len(x)):
        change = x[i] - x[i - 1]
        if i > period:
            loss *= period - 1
            gain *= period - 1
        if change < 0:
            loss -= change
        else:
            gain += change
        if i >= period:
            loss /= period
            gain /= period
            both = gain + loss
            out.append(0.0 if _is_zero(both) else 100.0 * (gain / both))
    return out


def _roc(x: Sequence[float], period: int) -> Column:
    pairs = zip(x[period:], x, strict=False)
    return [(now / before - 1.0) * 100.0 if before != 0.0 else 0.0 for now, before in pairs]


def _mom(x: Sequence[float], period: int) -> Column:
    return [now - before for now, before in zip(x[period:], x, strict=False)]


def _stddev(x: Sequence[float], period: int) -> Column:
    """Computed over the whole window around its mean: a running sum of squares would lose small deviations."""
    out = []
    for i in range(period - 1, len(x)):
        window = x[i - period + 1 : i + 1]
        mean = math.fsum(window) / period
        out.append(math.sqrt(math.fsum((value - mean) ** 2 for value in window) / period))
    return out


# Indicators of the whole candle


def _true_range(c: Candles, i: int) -> float:
    before = c.close[i - 1]
    return max(c.high[i] - c.low[i], abs(c.high[i] - before), abs(c.low[i] - before))


def _atr(c: Candles, period: int) -> Column:
    ranges = [_true_range(c, i) for i in range(1, len(c.close))]
    if len(ranges) < period:
        return []
    out = [_sma(ranges[:period], period)[0]]
    for value in ranges[period:]:
        smoothed = out[-1] * (period - 1)
        smoothed += value
        out.append(smoothed / period)
    return out


def _adx(c: Candles, period: int) -> Column:
    """Wilder's sums of directional movement and true range; the first ADX is the mean of `period` DXs."""
    plus = minus = ranges = total_dx = adx = 0.0
    out = []
    for i in range(1, len(c.close)):
        up = c.high[i] - c.high[i - 1]
        down = c.low[i - 1] - c.low[i]
        if i >= period:
            minus -= minus / period
            plus -= plus / period
            ranges -= ranges / period
        if down > 0 and up < down:
            minus += down
        elif up > 0 and up > down:
            plus += up
        ranges += _true_range(c, i)
        if i < period:
            continue
        dx = _dx(plus, minus, ranges)
        if i < 2 * period:
            total_dx += dx if dx is not None else 0.0
            adx = total_dx / period
        elif dx is not None:
            adx = (adx * (period - 1) + dx) / period
        if i >= 2 * period - 1:
            out.append(adx)
    return out


def _dx(plus: float, minus: float, ranges: float) -> float | None:
    if _is_zero(ranges):
        return None
    minus_di = 100.0 * (minus / ranges)
    plus_di = 100.0 * (plus / ranges)
    both = minus_di + plus_di
    return None if _is_zero(both) else 100.0 * (abs(minus_di - plus_di) / both)


def _cci(c: Candles, period: int) -> Column:
    """The window is a ring buffer: its sums are taken in the order of the slots."""
    ring = [0.0] * period
    out = []
    for i in range(len(c.close)):
        typical = (c.high[i] + c.low[i] + c.close[i]) / 3
        ring[i % period] = typical
        if i < period - 1:
            continue
        mean = 0.0
        for value in ring:
            mean += value
        mean /= period
        deviation = 0.0
        for value in ring:
            deviation += abs(value - mean)
        distance = typical - mean
        defined = distance != 0.0 and deviation != 0.0
        out.append(distance / (0.015 * (deviation / period)) if defined else 0.0)
    return out


def _mfi(c: Candles, period: int) -> Column:
    typical = [(h + low + close) / 3.0 for h, low, close in zip(c.high, c.low, c.close, strict=True)]
    flows = []
    for i in range(1, len(typical)):
        flow = typical[i] * c.volume[i]
        change = typical[i] - typical[i - 1]
        flows.append((flow, 0.0) if change > 0 else (0.0, flow) if change < 0 else (0.0, 0.0))
    out = []
    for i in range(period, len(flows) + 1):
        up = math.fsum(gained for gained, _ in flows[i - period : i])
        down = math.fsum(lost for _, lost in flows[i - period : i])
        out.append(100.0 * (up / (up + down)) if up + down > 0 else 0.0)
    return out


def _obv(c: Candles) -> Column:
    out: Column = []
    for i, volume in enumerate(c.volume):
        if i == 0:
            out.append(volume)
        elif c.close[i] > c.close[i - 1]:
            out.append(out[-1] + volume)
        elif c.close[i] < c.close[i - 1]:
            out.append(out[-1] - volume)
        else:
            out.append(out[-1])
    return out


# Indicators with several outputs


def _macd(x: Sequence[float], fast: int, slow: int, signal: int) -> dict[str, Column]:
    """Both averages begin at the same bar: the fast one is seeded with the window that ends there. All three
    outputs begin where the signal line does."""
    quick = _ema(x[slow - fast :], fast)
    slower = _ema(x, slow)
    line = [a - b for a, b in zip(quick, slower, strict=True)] if slower else []
    smooth = _ema(line, signal)
    line = line[len(line) - len(smooth) :]
    hist = [a - b for a, b in zip(line, smooth, strict=True)]
    return {"macd": line, "signal": smooth, "hist": hist}


def _bbands(x: Sequence[float], period: int, deviations: float) -> dict[str, Column]:
    middle = _sma(x, period)
    width = [value * deviations for value in _stddev(x, period)]
    return {
        "upper": [a + b for a, b in zip(middle, width, strict=True)],
        "middle": middle,
        "lower": [a - b for a, b in zip(middle, width, strict=True)],
    }


def _stoch(c: Candles, fastk: int, slowk: int, slowd: int) -> dict[str, Column]:
    raw = []
    for i in range(fastk - 1, len(c.close)):
        highest = max(c.high[i - fastk + 1 : i + 1])
        lowest = min(c.low[i - fastk + 1 : i + 1])
        span = (highest - lowest) / 100.0
        raw.append((c.close[i] - lowest) / span if span != 0.0 else 0.0)
    k = _sma(raw, slowk)
    d = _sma(k, slowd)
    return {"k": k[len(k) - len(d) :], "d": d}


# Indicators of our own


def _rolling(pick: Callable[[Sequence[float]], float], x: Sequence[float], period: int) -> Column:
    return [pick(x[i - period + 1 : i + 1]) for i in range(period - 1, len(x))]


def _candles_above_ema(c: Candles, period: int) -> Column:
    """Counts back to the first close that is not above; undefined at a bar without an EMA."""
    ema = _padded(len(c.close), _ema(c.close, period))
    out: Column = []
    count = 0
    for close, average in zip(c.close, ema, strict=True):
        count = count + 1 if above(close, average) else 0
        out.append(NAN if math.isnan(average) else float(count))
    return out


def _distance_from_ema(c: Candles, period: int) -> Column:
    ema = _ema(c.close, period)
    closes = c.close[len(c.close) - len(ema) :]
    return [(close - average) / average * 100 for close, average in zip(closes, ema, strict=True)]


OF_ONE_SERIES: dict[str, Callable[[Sequence[float], int], Column]] = {
    "SMA": _sma,
    "EMA": _ema,
    "WMA": _wma,
    "DEMA": _dema,
    "TEMA": _tema,
    "RSI": _rsi,
    "ROC": _roc,
    "MOM": _mom,
    "STDDEV": _stddev,
}
OF_CANDLES: dict[str, Callable[[Candles, int], Column]] = {
    "ATR": _atr,
    "ADX": _adx,
    "CCI": _cci,
    "MFI": _mfi,
    "CANDLES_ABOVE_EMA": _candles_above_ema,
    "DISTANCE_FROM_EMA": _distance_from_ema,
}


def indicator(candles: Candles, spec: dict[str, object]) -> dict[str, Column]:
    """Every output of a declared indicator (keyed "" if it is the only one), with the length of the candles."""
    return {name: apply_rules(candles, spec, values) for name, values in before_rules(candles, spec).items()}


def apply_rules(candles: Candles, spec: dict[str, object], values: Column) -> Column:
    """Replace rounding errors around 0 by 0; in a window without any change, return the value it shows exactly."""
    return [value if math.isnan(value) else _apply_rules(candles, spec, t, value) for t, value in enumerate(values)]


def _apply_rules(candles: Candles, spec: dict[str, object], t: int, value: float) -> float:
    kind, source = str(spec["type"]), candles.column(str(spec.get("source") or "close"))

    def is_constant(x: Column) -> bool:
        period = int(str(spec["period"]))
        return t + 1 >= period and len(set(x[t + 1 - period : t + 1])) == 1

    if kind in ("SMA", "WMA", "BBANDS") and is_constant(source):
        return source[t]
    if kind == "STDDEV" and is_constant(source):
        return 0.0
    if kind == "CCI" and all(is_constant(x) for x in (candles.high, candles.low, candles.close)):
        return 0.0
    if kind in ("RSI", "MFI", "STOCH"):
        return 0.0 if value <= 1e-7 else 100.0 if value >= 100 - 1e-7 else value
    if kind == "MACD" and abs(value) <= 1e-9 * abs(source[t]):
        return 0.0
    if kind == "DISTANCE_FROM_EMA" and abs(value) <= 1e-7:
        return 0.0
    return value


def before_rules(candles: Candles, spec: dict[str, object]) -> dict[str, Column]:
    """The plain definitions, without the rules for markets that do not move."""

    def integer(key: str) -> int:
        return int(str(spec[key]))

    kind = str(spec["type"])
    default = {"HIGHEST": "high", "LOWEST": "low"}.get(kind, "close")
    source = candles.column(str(spec.get("source") or default))
    if kind in OF_ONE_SERIES:
        outputs = {"": OF_ONE_SERIES[kind](source, integer("period"))}
    elif kind in OF_CANDLES:
        outputs = {"": OF_CANDLES[kind](candles, integer("period"))}
    elif kind in ("HIGHEST", "LOWEST"):
        outputs = {"": _rolling(max if kind == "HIGHEST" else min, source, integer("period"))}
    elif kind == "OBV":
        outputs = {"": _obv(candles)}
    elif kind == "MACD":
        outputs = _macd(source, integer("fast"), integer("slow"), integer("signal"))
    elif kind == "BBANDS":
        outputs = _bbands(source, integer("period"), float(str(spec.get("deviations") or 2)))
    else:
        outputs = _stoch(candles, integer("fastk"), integer("slowk"), integer("slowd"))
    return {name: _padded(len(source), values) for name, values in outputs.items()}
