"""The indicators: parameters, outputs and values. Values are TA-Lib's with the rules of `tolerance.py` applied."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from types import MappingProxyType

import numpy as np
import talib

from shared.contracts.json_text import child
from shared.contracts.types import decimal_text
from shared.strategy.conditions.tolerance import Values, comparison_masks, suppress_noise
from shared.strategy.document.reader import DocumentReader

CANDLE_FIELDS = ("open", "high", "low", "close", "volume")
MAX_PERIOD = 500


@dataclass(frozen=True, slots=True)
class Kind:
    """Parameters and outputs of an indicator type. `source` is None if it cannot be chosen."""

    integers: tuple[str, ...]
    source: str | None = None
    outputs: tuple[str, ...] = ("value",)


_ONE_SERIES = ("SMA", "EMA", "WMA", "DEMA", "TEMA", "RSI", "ROC", "MOM", "STDDEV")
_CANDLES = ("ATR", "ADX", "CCI", "MFI", "CANDLES_ABOVE_EMA", "DISTANCE_FROM_EMA")
KINDS: Mapping[str, Kind] = MappingProxyType(
    {name: Kind(("period",), "close") for name in _ONE_SERIES}
    | {name: Kind(("period",)) for name in _CANDLES}
    | {
        "MACD": Kind(("fast", "slow", "signal"), "close", ("macd", "signal", "hist")),
        "BBANDS": Kind(("period",), "close", ("upper", "middle", "lower")),
        "STOCH": Kind(("fastk", "slowk", "slowd"), None, ("k", "d")),
        "OBV": Kind(()),
        "HIGHEST": Kind(("period",), "high"),
        "LOWEST": Kind(("period",), "low"),
    }
)
_FUNCTIONS = {"HIGHEST": "MAX", "LOWEST": "MIN"}  # types that TA-Lib names differently
_SIMPLE = 0  # TA-Lib's code for a simple moving average
_MIN_VALUES = {"signal": 1, "fastk": 1, "slowk": 1, "slowd": 1}
_DEFAULT_DEVIATIONS = Decimal(2)


@dataclass(frozen=True, slots=True)
class IndicatorSpec:
    """An indicator type with its parameters: `IndicatorSpec("RSI", period=14)`. Other parameters stay unset."""

    type: str
    period: int = 0
    source: str | None = None
    fast: int = 0
    slow: int = 0
    signal: int = 0
    fastk: int = 0
    slowk: int = 0
    slowd: int = 0
    deviations: Decimal | None = None
    _hash: int = field(default=0, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.source is None:
            object.__setattr__(self, "source", KINDS[self.type].source)
        if self.type == "BBANDS" and self.deviations is None:
            object.__setattr__(self, "deviations", _DEFAULT_DEVIATIONS)
        compared = tuple(getattr(self, each.name) for each in fields(self) if each.compare)
        object.__setattr__(self, "_hash", hash(compared))

    def __hash__(self) -> int:
        """Return the precomputed hash: a series looks up its indicators at every bar."""
        return self._hash

    @property
    def outputs(self) -> tuple[str, ...]:
        """`("value",)` for a single output, else the names after the dot."""
        return KINDS[self.type].outputs

    @property
    def longest_period(self) -> int:
        """The number of bars that its slowest part spans."""
        if self.type == "MACD":
            return self.slow + self.signal
        return max(self.period, self.fastk + self.slowk + self.slowd, 1)

    def canonical(self) -> dict[str, object]:
        document: dict[str, object] = {"type": self.type}
        for name in KINDS[self.type].integers:
            document[name] = getattr(self, name)
        if self.source is not None:
            document["source"] = self.source
        if self.deviations is not None:
            document["deviations"] = decimal_text(self.deviations)
        return document


def parse_indicator(reader: DocumentReader, raw: object, path: str) -> IndicatorSpec:
    """Parse one declared indicator; faults are recorded in the reader."""
    name = raw.get("type") if isinstance(raw, Mapping) else None
    if not isinstance(name, str) or name not in KINDS:
        if isinstance(raw, Mapping):
            reader.fault(child(path, "type"), f"must be one of {' '.join(sorted(KINDS))}")
        else:
            reader.fault(path, "must be an object")
        return IndicatorSpec("OBV")
    kind = KINDS[name]
    optional = [] if kind.source is None else ["source"]
    if name == "BBANDS":
        optional.append("deviations")
    members = reader.members(raw, path, ["type", *kind.integers], optional)
    integers = {
        key: reader.integer(members[key], child(path, key), _MIN_VALUES.get(key, 2), MAX_PERIOD)
        for key in kind.integers
        if key in members
    }
    if name == "MACD" and {"fast", "slow"} <= integers.keys() and integers["fast"] >= integers["slow"]:
        reader.fault(child(path, "fast"), "must be below slow")
    source = kind.source
    if "source" in members:
        source = reader.choice(members["source"], child(path, "source"), CANDLE_FIELDS)
    deviations = None
    if "deviations" in members:
        deviations = reader.amount(members["deviations"], child(path, "deviations"), high=10)
    return IndicatorSpec(name, source=source, deviations=deviations, **integers)


@dataclass(frozen=True, slots=True)
class Recipe:
    """A TA-Lib call: the function (or the stream of the same name), the columns it reads, and its arguments."""

    function: str
    columns: tuple[str, ...]
    arguments: tuple[float, ...]


def recipe(spec: IndicatorSpec) -> Recipe:
    """Return the TA-Lib call that computes the indicator, or the average that it is derived from."""
    if spec.source is not None:
        return Recipe(_FUNCTIONS.get(spec.type, spec.type), (spec.source,), _arguments(spec))
    match spec.type:
        case "OBV":
            return Recipe("OBV", ("close", "volume"), ())
        case "MFI":
            return Recipe("MFI", ("high", "low", "close", "volume"), (spec.period,))
        case "STOCH":
            smoothing = (spec.fastk, spec.slowk, _SIMPLE, spec.slowd, _SIMPLE)
            return Recipe("STOCH", ("high", "low", "close"), smoothing)
        case "CANDLES_ABOVE_EMA" | "DISTANCE_FROM_EMA":
            return Recipe("EMA", ("close",), (spec.period,))
    return Recipe(spec.type, ("high", "low", "close"), (spec.period,))


def _arguments(spec: IndicatorSpec) -> tuple[float, ...]:
    if spec.type == "MACD":
        return (spec.fast, spec.slow, spec.signal)
    if spec.type == "BBANDS":
        assert spec.deviations is not None
        return (spec.period, float(spec.deviations), float(spec.deviations))
    return (spec.period,)


def compute(spec: IndicatorSpec, candles: Mapping[str, Values]) -> dict[str, Values]:
    """Return each output over the whole series; NaN where undefined."""
    call = recipe(spec)
    with np.errstate(all="ignore"):
        result = getattr(talib, call.function)(*(candles[name] for name in call.columns), *call.arguments)
        results: tuple[Values, ...] = result if isinstance(result, tuple) else (result,)
        if spec.type == "CANDLES_ABOVE_EMA":
            results = (_candles_above(candles["close"], results[0]),)
        elif spec.type == "DISTANCE_FROM_EMA":
            results = (distance_pct(candles["close"], results[0]),)
        results = suppress_noise(spec, candles, results)
    return dict(zip(spec.outputs, results, strict=True))


def distance_pct(close: Values, average: Values) -> Values:
    return (close - average) / average * 100.0


def _candles_above(close: Values, average: Values) -> Values:
    above, _, _ = comparison_masks(close, average)
    index = np.arange(len(close))
    last_not_above = np.maximum.accumulate(np.where(above, -1, index)) if len(close) else index
    counts = (index - last_not_above).astype(np.float64)
    counts[np.isnan(average)] = np.nan
    return counts
