"""The canonical form of a valid document, and its hash."""

import hashlib
import json
import re
from decimal import Decimal
from fractions import Fraction

Json = dict[str, object]
DECIMAL = re.compile(r"-?\d{1,20}(\.\d{1,18})?")
TAKES_SOURCE = ("SMA", "EMA", "WMA", "DEMA", "TEMA", "RSI", "ROC", "MOM", "STDDEV", "MACD", "BBANDS")


def plain(value: Fraction | Decimal | int | str) -> str:
    """Plain decimal notation without trailing zeros; the value must have a finite decimal expansion."""
    number = Fraction(value)
    digits = 0
    while number.denominator != 1:
        number *= 10
        digits += 1
        assert digits < 500, "a number whose decimals do not end"
    sign, text = "-" if number < 0 else "", str(abs(number.numerator))
    if not digits:
        return sign + text
    text = text.rjust(digits + 1, "0")
    return f"{sign}{text[:-digits]}.{text[-digits:]}"


def is_number(operand: object) -> bool:
    return isinstance(operand, int | Decimal) or (isinstance(operand, str) and bool(DECIMAL.fullmatch(operand)))


def part(document: Json, key: str) -> Json:
    found = document.get(key)
    return found if isinstance(found, dict) else {}


def _decimal(value: object) -> str:
    return plain(Decimal(str(value)))


def _operand(operand: object) -> object:
    if isinstance(operand, dict):
        full = {
            "ref": operand["ref"],
            "shift": operand.get("shift") or 0,
            "mul": _decimal(1 if operand.get("mul") is None else operand["mul"]),
            "add": _decimal(operand.get("add") or 0),
        }
        alone = (full["shift"], full["mul"], full["add"]) == (0, "1", "0")
        return full["ref"] if alone else full
    return _decimal(operand) if is_number(operand) else operand


def _condition(raw: object) -> Json:
    assert isinstance(raw, dict)
    for key in ("all", "any"):
        if key in raw:
            return {key: [_condition(each) for each in raw[key]]}
    if "not" in raw:
        return {"not": _condition(raw["not"])}
    return {
        "left": _operand(raw["left"]),
        "op": raw["op"],
        "right": _operand(raw["right"]),
        "for_bars": raw.get("for_bars") or 1,
    }


def _indicator(raw: object) -> Json:
    assert isinstance(raw, dict)
    spec: Json = {key: value for key, value in raw.items() if value is not None}
    kind = spec["type"]
    if kind in TAKES_SOURCE:
        spec.setdefault("source", "close")
    if kind in ("HIGHEST", "LOWEST"):
        spec.setdefault("source", "high" if kind == "HIGHEST" else "low")
    if kind == "BBANDS":
        spec["deviations"] = _decimal(spec.get("deviations", 2))
    return spec


def _decimals_of(raw: object) -> Json:
    """A size, stop or target: all fields except type and indicator are decimals."""
    assert isinstance(raw, dict)
    words = ("type", "indicator")
    return {k: v if k in words else _decimal(v) for k, v in raw.items() if v is not None}


def _risk(raw: Json) -> Json:
    out: Json = {
        "position_size": _decimals_of(raw["position_size"]),
        "leverage": _decimal(raw.get("leverage") or 1),
        "cooldown_bars": raw.get("cooldown_bars") or 0,
    }
    if raw.get("stop_loss") is not None:
        out["stop_loss"] = _decimals_of(raw["stop_loss"])
    levels = raw.get("take_profits")
    if isinstance(levels, list):
        out["take_profits"] = [_decimals_of(level) for level in levels]
    if raw.get("trailing_stop") is not None:
        out["trailing_stop"] = {"activation": "0"} | _decimals_of(raw["trailing_stop"])
    if raw.get("max_bars") is not None:
        out["max_bars"] = raw["max_bars"]
    if raw.get("max_daily_loss_percentage") is not None:
        out["max_daily_loss_percentage"] = _decimal(raw["max_daily_loss_percentage"])
    return out


def canonical(document: Json) -> Json:
    """The four parts with defaults filled in, decimals as plain strings, and nulls removed."""
    config = part(document, "strategy_config")
    side = config["side"]

    def conditions(key: str) -> Json | None:
        raw = document.get(key)
        if raw is None:
            return None
        if side != "BOTH":
            return _condition(raw)
        assert isinstance(raw, dict)
        return {half: _condition(each) for half, each in raw.items() if each is not None}

    parts: Json = {
        "strategy_config": {
            "interval": config["interval"],
            "side": side,
            "indicators": {name: _indicator(spec) for name, spec in part(config, "indicators").items()},
        },
        "entry_conditions": conditions("entry_conditions"),
        "exit_conditions": conditions("exit_conditions"),
        "risk_management": _risk(part(document, "risk_management")),
    }
    return {key: value for key, value in parts.items() if value is not None}


def content_hash(document: Json) -> str:
    text = json.dumps(canonical(document), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
