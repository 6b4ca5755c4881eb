"""The grammar of indicators."""

from collections.abc import Mapping

from shared.contracts.json_text import child
from shared.strategy.document.reader import DocumentReader
from shared.strategy.indicators.recipes import CANDLE_FIELDS, KINDS, MAX_PERIOD, IndicatorSpec

_MIN_VALUES = {"signal": 1, "fastk": 1, "slowk": 1, "slowd": 1}  # else 2


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
