"""Parses, validates and hashes strategy documents; reports every fault with its JSON path."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType

from shared.contracts.json_text import DocumentFault, InvalidDocument, child, read_json
from shared.contracts.texts import check_name, check_text
from shared.strategy.bars import INTERVAL_MS, Side
from shared.strategy.document.conditions import ConditionReader
from shared.strategy.document.indicators import parse_indicator
from shared.strategy.document.nodes import Condition
from shared.strategy.document.reader import DocumentReader, StrategyError
from shared.strategy.document.risk import Risk, parse_risk
from shared.strategy.indicators.recipes import CANDLE_FIELDS, IndicatorSpec

__all__ = [
    "INTERVAL_MS",
    "MAX_DOCUMENT_BYTES",
    "AlertCondition",
    "DocumentFault",
    "Strategy",
    "StrategyError",
    "parse_alert",
    "parse_json",
    "parse_stored",
    "parse_strategy",
]

MAX_INDICATORS = 32
MAX_DOCUMENT_BYTES = 32_768  # in canonical form, without name and description
SIDES = ("LONG", "SHORT", "BOTH")
_INDICATOR_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}", re.ASCII)
_HALVES: Mapping[str, Side] = MappingProxyType({"long": "LONG", "short": "SHORT"})
Conditions = Mapping[Side, Condition]


@dataclass(frozen=True, slots=True)
class Strategy:
    """A validated document. `entry` and `exit` have a condition per side; a missing one is never true."""

    name: str
    description: str | None
    interval: str
    side: str
    indicators: Mapping[str, IndicatorSpec]
    entry: Conditions
    exit: Conditions
    risk: Risk
    canonical: str
    content_hash: str

    def canonical_json(self) -> str:
        """Return the text whose SHA-256 is the content hash."""
        return self.canonical

    @property
    def interval_ms(self) -> int:
        return INTERVAL_MS[self.interval]

    @property
    def longest_lookback(self) -> int:
        """The longest period in bars, with shift and for_bars: the history that the series needs."""
        periods = [spec.longest_period for spec in self.indicators.values()]
        conditions = [*self.entry.values(), *self.exit.values()]
        return max([1, *periods, *(condition.lookback for condition in conditions)])


@dataclass(frozen=True, slots=True)
class AlertCondition:
    """A condition outside a strategy, with the indicators it uses."""

    indicators: Mapping[str, IndicatorSpec]
    condition: Condition


def parse_strategy(raw: object) -> Strategy:
    """Parse a document from JSON values. Raises StrategyError with all its faults."""
    return _parse(raw, DocumentReader(incoming=True))


def parse_stored(raw: object) -> Strategy:
    """Parse a stored document. Today's rules for name, description and size may be stricter and are not applied."""
    return _parse(raw, DocumentReader())


def _parse(raw: object, reader: DocumentReader) -> Strategy:
    given = reader.members(
        raw,
        "$",
        ["strategy_name", "strategy_config", "entry_conditions", "risk_management"],
        ["strategy_description", "exit_conditions"],
    )
    name = reader.text(given.get("strategy_name", "unnamed"), "$.strategy_name", check_name)
    description = None
    if "strategy_description" in given:
        description = reader.text(given["strategy_description"], "$.strategy_description", check_text)
    interval, side, indicators = _config(reader, given.get("strategy_config"), "$.strategy_config")
    conditions = ConditionReader(reader, indicators)
    entry = _conditions(reader, conditions, side, given.get("entry_conditions"), "$.entry_conditions")
    exits = _conditions(reader, conditions, side, given.get("exit_conditions"), "$.exit_conditions")
    risk = Risk("fixed_base", Decimal(1))
    if "risk_management" in given:
        risk = parse_risk(reader, conditions, given["risk_management"], "$.risk_management")
    reader.check()
    canonical = _canonical(
        {
            "strategy_config": {
                "interval": interval,
                "side": side,
                "indicators": {key: spec.canonical() for key, spec in indicators.items()},
            },
            "entry_conditions": _canonical_conditions(side, entry),
            "exit_conditions": _canonical_conditions(side, exits) if "exit_conditions" in given else None,
            "risk_management": risk.canonical(),
        }
    )
    if reader.incoming and len(canonical.encode()) > MAX_DOCUMENT_BYTES:
        raise StrategyError(DocumentFault("$", f"has more than {MAX_DOCUMENT_BYTES} bytes in canonical form"))
    content_hash = hashlib.sha256(canonical.encode()).hexdigest()
    return Strategy(name, description, interval, side, indicators, entry, exits, risk, canonical, content_hash)


def parse_alert(raw: object) -> AlertCondition:
    """Parse `{"indicators": {…}, "condition": …}`; indicators are optional. Raises StrategyError."""
    reader = DocumentReader()
    given = reader.members(raw, "$", ["condition"], ["indicators"])
    indicators = _indicators(reader, given.get("indicators", {}), "$.indicators")
    condition = None
    if "condition" in given:
        condition = ConditionReader(reader, indicators).condition(given["condition"], "$.condition")
    reader.check()
    assert condition is not None
    return AlertCondition(indicators, condition)


def parse_json(text: bytes | str) -> object:
    """Parse JSON with exact decimals. Raises StrategyError for NaN, Infinity, repeated keys or deep nesting."""
    try:
        return read_json(text)
    except InvalidDocument as error:
        raise StrategyError(*error.faults) from error


def _config(reader: DocumentReader, raw: object, path: str) -> tuple[str, str, dict[str, IndicatorSpec]]:
    config = {} if raw is None else reader.members(raw, path, ["interval", "side", "indicators"])
    return (
        reader.choice(config.get("interval", "1"), child(path, "interval"), tuple(INTERVAL_MS)),
        reader.choice(config.get("side", "LONG"), child(path, "side"), SIDES),
        _indicators(reader, config.get("indicators", {}), child(path, "indicators")),
    )


def _indicators(reader: DocumentReader, raw: object, path: str) -> dict[str, IndicatorSpec]:
    if not isinstance(raw, Mapping):
        reader.fault(path, "must be an object")
        return {}
    if len(raw) > MAX_INDICATORS:
        reader.fault(path, f"has more than {MAX_INDICATORS} indicators")
        reader.faulty_names.update(raw)
        return {}
    indicators = {}
    for name, each in raw.items():
        here = child(path, name)
        if not isinstance(name, str) or not _INDICATOR_NAME.fullmatch(name):
            reader.fault(here, "is not a name: a small letter, then at most 31 of a-z 0-9 _")
        elif name in CANDLE_FIELDS:
            reader.fault(here, "is a name of the candle's own")
        else:
            before = len(reader.faults)
            indicators[name] = parse_indicator(reader, each, here)
            if len(reader.faults) > before:
                reader.faulty_names.add(name)
    return indicators


def _conditions(
    reader: DocumentReader, conditions: ConditionReader, side: str, raw: object, path: str
) -> dict[Side, Condition]:
    if raw is None:
        return {}
    if side != "BOTH":
        condition = conditions.condition(raw, path)
        return {"LONG" if side == "LONG" else "SHORT": condition} if condition is not None else {}
    halves = {}
    for half, each in reader.members(raw, path, [], list(_HALVES)).items():
        condition = conditions.condition(each, child(path, half))
        if condition is not None:
            halves[_HALVES[half]] = condition
    return halves


def _canonical_conditions(side: str, conditions: Conditions) -> object:
    if side == "BOTH":
        return {key.lower(): condition.canonical() for key, condition in conditions.items()}
    return next(condition.canonical() for condition in conditions.values())


def _canonical(parts: Mapping[str, object]) -> str:
    given = {key: value for key, value in parts.items() if value is not None}
    return json.dumps(given, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
