"""Risk management: sizes, stops, targets and limits as written in the document."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import accumulate

from shared.contracts.json_text import child
from shared.contracts.types import decimal_text
from shared.strategy.decimals import HUNDRED, ONE, exact, percent_of
from shared.strategy.document.conditions import ConditionReader
from shared.strategy.document.nodes import Column
from shared.strategy.document.reader import DocumentReader

SIZE_TYPES = ("percent_of_equity", "fixed_quote", "fixed_base", "risk_percent")
DISTANCE_TYPES = ("percent", "atr")
MAX_TARGETS = 5
MAX_BARS = 100_000


@dataclass(frozen=True, slots=True)
class Distance:
    """The distance of a stop or target from the entry price: a percentage of it or a multiple of an indicator."""

    type: str
    value: Decimal
    column: Column | None = None
    fraction: Decimal = field(init=False, repr=False, compare=False)
    above: Decimal = field(init=False, repr=False, compare=False)
    below: Decimal = field(init=False, repr=False, compare=False)
    """`above` and `below`: the factors that move the entry price up or down by the percentage."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "fraction", percent_of(self.value))
        with exact():
            object.__setattr__(self, "above", ONE + self.fraction)
            object.__setattr__(self, "below", ONE - self.fraction)

    def canonical(self) -> dict[str, object]:
        document: dict[str, object] = {"type": self.type, "value": decimal_text(self.value)}
        if self.column is not None:
            document["indicator"] = self.column.name
        return document


@dataclass(frozen=True, slots=True)
class TakeProfit:
    distance: Distance
    close_percent: Decimal
    close_fraction: Decimal = field(init=False, repr=False, compare=False)
    closes_all: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "close_fraction", percent_of(self.close_percent))
        object.__setattr__(self, "closes_all", self.close_percent == HUNDRED)

    def canonical(self) -> dict[str, object]:
        return self.distance.canonical() | {"close_percent": decimal_text(self.close_percent)}


@dataclass(frozen=True, slots=True)
class TrailingStop:
    value: Decimal
    activation: Decimal
    fraction: Decimal = field(init=False, repr=False, compare=False)
    activation_fraction: Decimal = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "fraction", percent_of(self.value))
        object.__setattr__(self, "activation_fraction", percent_of(self.activation))

    def canonical(self) -> dict[str, object]:
        return {
            "type": "percent",
            "value": decimal_text(self.value),
            "activation": decimal_text(self.activation),
        }


@dataclass(frozen=True, slots=True)
class Risk:
    size_type: str
    size: Decimal
    leverage: Decimal = Decimal(1)
    stop_loss: Distance | None = None
    take_profits: tuple[TakeProfit, ...] | None = None
    trailing_stop: TrailingStop | None = None
    max_bars: int | None = None
    cooldown_bars: int = 0
    max_daily_loss_percentage: Decimal | None = None
    size_fraction: Decimal = field(init=False, repr=False, compare=False)
    rest_index: int | None = field(init=False, repr=False, compare=False)
    """Index of the level at which the percentages reach 100: it closes the whole rest."""
    uses_indicators: bool = field(init=False, repr=False, compare=False)
    """True if a distance depends on an indicator."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "size_fraction", percent_of(self.size))
        sums = list(accumulate(level.close_percent for level in self.take_profits or ()))
        object.__setattr__(self, "rest_index", sums.index(HUNDRED) if HUNDRED in sums else None)
        distances = [self.stop_loss, *(level.distance for level in self.take_profits or ())]
        uses = any(each is not None and each.column is not None for each in distances)
        object.__setattr__(self, "uses_indicators", uses)

    @property
    def has_stop(self) -> bool:
        """Whether each position has a stop from its entry on: a trailing stop with an activation comes later."""
        trails_at_once = self.trailing_stop is not None and not self.trailing_stop.activation
        return self.stop_loss is not None or trails_at_once

    def canonical(self) -> dict[str, object]:
        document: dict[str, object] = {
            "position_size": {"type": self.size_type, "value": decimal_text(self.size)},
            "leverage": decimal_text(self.leverage),
            "cooldown_bars": self.cooldown_bars,
        }
        if self.stop_loss is not None:
            document["stop_loss"] = self.stop_loss.canonical()
        if self.take_profits is not None:
            document["take_profits"] = [target.canonical() for target in self.take_profits]
        if self.trailing_stop is not None:
            document["trailing_stop"] = self.trailing_stop.canonical()
        if self.max_bars is not None:
            document["max_bars"] = self.max_bars
        if self.max_daily_loss_percentage is not None:
            document["max_daily_loss_percentage"] = decimal_text(self.max_daily_loss_percentage)
        return document


def parse_risk(reader: DocumentReader, conditions: ConditionReader, raw: object, path: str) -> Risk:
    """Parse the member `risk_management`; faults are recorded in the reader."""
    optional = [
        "leverage",
        "stop_loss",
        "take_profits",
        "trailing_stop",
        "max_bars",
        "cooldown_bars",
        "max_daily_loss_percentage",
    ]
    given = reader.members(raw, path, ["position_size"], optional)
    size_type, size = SIZE_TYPES[0], Decimal(1)
    if "position_size" in given:
        size_type, size = _size(reader, given["position_size"], child(path, "position_size"))
    stop = targets = trailing = max_bars = loss = None
    if "stop_loss" in given:
        stop = _distance(reader, conditions, given["stop_loss"], child(path, "stop_loss"), 100)
    elif size_type == "risk_percent":
        reader.fault(child(path, "stop_loss"), "is required by the position size risk_percent")
    if "take_profits" in given:
        targets = _take_profits(reader, conditions, given["take_profits"], child(path, "take_profits"))
    if "trailing_stop" in given:
        trailing = _trailing(reader, given["trailing_stop"], child(path, "trailing_stop"))
    if "max_bars" in given:
        max_bars = reader.integer(given["max_bars"], child(path, "max_bars"), 1, MAX_BARS)
    if "max_daily_loss_percentage" in given:
        loss = reader.amount(given["max_daily_loss_percentage"], child(path, "max_daily_loss_percentage"))
    return Risk(
        size_type,
        size,
        reader.amount(given.get("leverage", 1), child(path, "leverage"), low=1, high=100, above=False),
        stop,
        targets,
        trailing,
        max_bars,
        reader.integer(given.get("cooldown_bars", 0), child(path, "cooldown_bars"), 0, MAX_BARS),
        loss,
    )


def _size(reader: DocumentReader, raw: object, path: str) -> tuple[str, Decimal]:
    given = reader.members(raw, path, ["type", "value"])
    size_type = SIZE_TYPES[0]
    if "type" in given:
        size_type = reader.choice(given["type"], child(path, "type"), SIZE_TYPES)
    high = 100 if size_type in ("percent_of_equity", "risk_percent") else None
    size = reader.amount(given.get("value", 1), child(path, "value"), high=high)
    return size_type, size


def _distance(
    reader: DocumentReader,
    conditions: ConditionReader,
    raw: object,
    path: str,
    percent_below: int | None,
    further: tuple[str, ...] = (),
) -> Distance | None:
    wants_indicator = isinstance(raw, Mapping) and raw.get("type") == "atr"
    required = ["type", "value", *(["indicator"] if wants_indicator else []), *further]
    given = reader.members(raw, path, required)
    if "type" not in given or "value" not in given:
        return None
    kind = reader.choice(given["type"], child(path, "type"), DISTANCE_TYPES)
    high = percent_below if kind == "percent" else None
    value = reader.amount(given["value"], child(path, "value"), high=high, below=True)
    if kind == "percent":
        return Distance(kind, value)
    if "indicator" not in given:
        return None
    column = conditions.column(given["indicator"], child(path, "indicator"), indicators_only=True)
    return Distance(kind, value, column) if column is not None else None


def _take_profits(
    reader: DocumentReader, conditions: ConditionReader, raw: object, path: str
) -> tuple[TakeProfit, ...] | None:
    if not isinstance(raw, list) or len(raw) > MAX_TARGETS:
        reader.fault(path, f"must be a list of at most {MAX_TARGETS} levels")
        return None
    before = len(reader.faults)
    levels: list[TakeProfit] = []
    for index, each in enumerate(raw):
        here = child(path, index)
        distance = _distance(reader, conditions, each, here, None, further=("close_percent",))
        if distance is None or not isinstance(each, Mapping) or each.get("close_percent") is None:
            continue
        percent = reader.amount(each["close_percent"], child(here, "close_percent"), high=100)
        levels.append(TakeProfit(distance, percent))
    if len(reader.faults) > before:
        return None
    for index in range(1, len(levels)):
        distance, previous = levels[index].distance, levels[index - 1].distance
        if (distance.type, distance.column) != (previous.type, previous.column):
            reader.fault(child(path, index), "must be of the same type and indicator as the levels before it")
        elif distance.value <= previous.value:
            reader.fault(child(child(path, index), "value"), "must be above the value of the level before it")
    if sum(level.close_percent for level in levels) > 100:
        reader.fault(path, "close_percents must sum to at most 100")
    return tuple(levels)


def _trailing(reader: DocumentReader, raw: object, path: str) -> TrailingStop:
    given = reader.members(raw, path, ["type", "value"], ["activation"])
    if "type" in given:
        reader.choice(given["type"], child(path, "type"), ("percent",))
    value = reader.amount(given.get("value", 1), child(path, "value"), high=100, below=True)
    activation = reader.amount(given.get("activation", 0), child(path, "activation"), above=False)
    return TrailingStop(value, activation)
