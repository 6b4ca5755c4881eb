import json
from decimal import Decimal

import pytest

from shared.strategy.document.parse import (
    MAX_DOCUMENT_BYTES,
    StrategyError,
    parse_alert,
    parse_json,
    parse_stored,
    parse_strategy,
)
from tests.unit.strategy.scenes import ALWAYS, document

EMA_CROSS = {
    "strategy_name": "ema-cross",
    "strategy_description": "EMA 12/26 cross, long only",
    "strategy_config": {
        "interval": "60",
        "side": "LONG",
        "indicators": {
            "fast": {"type": "EMA", "period": 12},
            "slow": {"type": "EMA", "period": 26, "source": "close"},
        },
    },
    "entry_conditions": {"left": "fast", "op": "crosses_above", "right": "slow"},
    "exit_conditions": {"left": "fast", "op": "crosses_below", "right": "slow"},
    "risk_management": {
        "position_size": {"type": "percent_of_equity", "value": "100"},
        "stop_loss": {"type": "percent", "value": "2"},
        "take_profits": [{"type": "percent", "value": "4", "close_percent": "100"}],
    },
}
EMA_CROSS_HASH = "4cbf6d1c3c9310a006eb74aedd6e00a7843ac66bc3f2614bfa1840fbb7cca13b"


def faults(raw: object) -> list[str]:
    with pytest.raises(StrategyError) as caught:
        parse_strategy(raw)
    return [str(fault) for fault in caught.value.faults]


def condition_of(raw: object) -> object:
    return json.loads(parse_strategy(document(raw)).canonical_json())["entry_conditions"]


def test_the_content_hash_equals_that_of_the_contract() -> None:
    assert parse_strategy(EMA_CROSS).content_hash == EMA_CROSS_HASH


def test_name_description_defaults_and_spelling_do_not_change_the_hash() -> None:
    text = json.dumps(EMA_CROSS).replace('"2"', "2.0").replace("EMA 12/26", "none").replace('"100"', "1e2")
    text = text.replace('"take_profits"', '"max_bars": null, "leverage": 1.00, "cooldown_bars": 0, "take_profits"')
    assert parse_strategy(parse_json(text)).content_hash == EMA_CROSS_HASH


def test_a_ref_without_other_fields_is_written_as_the_name() -> None:
    written = condition_of({"left": {"ref": "close", "shift": None}, "op": ">", "right": "-0.00"})
    assert written == {"left": "close", "op": ">", "right": "0", "for_bars": 1}


def test_a_ref_with_other_fields_has_all_its_defaults() -> None:
    written = condition_of({"left": {"ref": "close", "mul": "1.50"}, "op": ">", "right": "1"})
    left = {"ref": "close", "shift": 0, "mul": "1.5", "add": "0"}
    assert written == {"left": left, "op": ">", "right": "1", "for_bars": 1}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"strategy_name": None}, "$.strategy_name: is required and may not be null"),
        ({"strategy_name": 3}, "$.strategy_name: must be a string"),
        (
            {"strategy_name": "a\0b"},
            "$.strategy_name: must be text without NUL characters and lone surrogates",
        ),
        (
            {"strategy_name": "\ud800"},
            "$.strategy_name: must be text without NUL characters and lone surrogates",
        ),
        ({"extra": 1}, "$.extra: is not a known key"),
        ({"\ud800 x": 1}, '$["\\ud800 x"]: is not a known key'),
        ({"entry_conditions": None}, "$.entry_conditions: is required and may not be null"),
        ({"risk_management": []}, "$.risk_management: must be an object"),
    ],
)
def test_a_fault_at_the_top_is_named_by_its_path(change: dict[str, object], fault: str) -> None:
    assert fault in faults(EMA_CROSS | change)


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        ({"interval": 60}, "$.strategy_config.interval: must be one of 1 3 5 15 30 60 120 240 360 720 D"),
        ({"side": "long"}, "$.strategy_config.side: must be one of LONG SHORT BOTH"),
        ({"indicators": []}, "$.strategy_config.indicators: must be an object"),
        ({"indicators": {"close": {"type": "OBV"}}}, "$.strategy_config.indicators.close: is a name of the"),
        ({"indicators": {"Fast": {"type": "OBV"}}}, "$.strategy_config.indicators.Fast: is not a name"),
        ({"indicators": {"a" * 33: {"type": "OBV"}}}, "is not a name"),
        ({"indicators": {"a\n": {"type": "OBV"}}}, '$.strategy_config.indicators["a\\n"]: is not a name'),
        (
            {"indicators": {"a": {"type": "VWAP"}}},
            "$.strategy_config.indicators.a.type: must be one of ADX ATR",
        ),
        ({"indicators": {"a": {"type": "EMA"}}}, "$.strategy_config.indicators.a.period: is required"),
        ({"indicators": {"a": {"type": "EMA", "period": 1}}}, "a.period: must be from 2 to 500"),
        ({"indicators": {"a": {"type": "EMA", "period": 501}}}, "a.period: must be from 2 to 500"),
        ({"indicators": {"a": {"type": "EMA", "period": True}}}, "a.period: must be a JSON integer"),
        ({"indicators": {"a": {"type": "EMA", "period": Decimal("14.0")}}}, "must be a JSON integer"),
        ({"indicators": {"a": {"type": "EMA", "period": "14"}}}, "a.period: must be a JSON integer"),
        ({"indicators": {"a": {"type": "EMA", "period": 10**40}}}, "a.period: must be from 2 to 500"),
        (
            {"indicators": {"a": {"type": "EMA", "period": 2, "source": "hl2"}}},
            "a.source: must be one of open",
        ),
        (
            {"indicators": {"a": {"type": "ATR", "period": 2, "source": "close"}}},
            "a.source: is not a known key",
        ),
        (
            {"indicators": {"a": {"type": "MACD", "fast": 9, "slow": 9, "signal": 1}}},
            "a.fast: must be below slow",
        ),
        (
            {"indicators": {"a": {"type": "BBANDS", "period": 9, "deviations": 11}}},
            "must be above 0 and at most 10",
        ),
        (
            {"indicators": {"a": {"type": "STOCH", "fastk": 0, "slowk": 1, "slowd": 1}}},
            "must be from 1 to 500",
        ),
        ({"indicators": {f"i{n}": {"type": "OBV"} for n in range(33)}}, "has more than 32 indicators"),
    ],
)
def test_a_fault_in_the_config_is_named_by_its_path(config: dict[str, object], fault: str) -> None:
    raw = document()
    raw["strategy_config"] = {"interval": "60", "side": "LONG", "indicators": {}} | config
    assert any(fault in each for each in faults(raw))


@pytest.mark.parametrize(
    ("condition", "fault"),
    [
        ([], "$.entry_conditions: must be a condition object"),
        ({}, "$.entry_conditions.left: is required"),
        ({"all": []}, "$.entry_conditions.all: must be a list of at least one condition"),
        ({"any": ALWAYS}, "$.entry_conditions.any: must be a list of at least one condition"),
        ({"all": [ALWAYS], "any": [ALWAYS]}, "$.entry_conditions.any: is not a known key"),
        ({"not": None}, "$.entry_conditions.not: is required and may not be null"),
        (
            {"all": [ALWAYS, {"not": {"left": "rsi", "op": ">", "right": 1}}]},
            '.all[1].not.left: "rsi" is not',
        ),
        ({"left": "close", "op": "=", "right": 1}, "$.entry_conditions.op: must be one of > >= <"),
        ({"left": "close", "op": ">", "right": True}, "$.entry_conditions.right: must be a number, a name"),
        ({"left": "close", "op": ">", "right": "1e5"}, '$.entry_conditions.right: "1e5" is not defined'),
        ({"left": "close", "op": ">", "right": "٣"}, "is not defined"),
        ({"left": "close", "op": ">", "right": 10**20}, "$.entry_conditions.right: must be a finite decimal"),
        ({"left": "close", "op": ">", "right": Decimal("1e-19")}, "must be a finite decimal"),
        ({"left": "close", "op": ">", "right": Decimal("1e999999")}, "must be a finite decimal"),
        ({"left": "close", "op": ">", "right": float("inf")}, "must be a finite decimal"),
        ({"left": "close", "op": ">", "right": 1, "for_bars": 0}, ".for_bars: must be from 1 to 500"),
        (
            {"left": {"ref": "close", "shift": -1}, "op": ">", "right": 1},
            ".left.shift: must be from 0 to 500",
        ),
        ({"left": {"ref": "5"}, "op": ">", "right": 1}, '.left.ref: "5" is not defined'),
        ({"left": "m", "op": ">", "right": 1}, ".left: must name an output: m.macd m.signal m.hist"),
        ({"left": "m.upper", "op": ">", "right": 1}, ".left: must name an output"),
        ({"left": "e.value", "op": ">", "right": 1}, ".left: e has one output and is written without a dot"),
    ],
)
def test_a_fault_in_a_condition_is_named_by_its_path(condition: object, fault: str) -> None:
    indicators = {
        "m": {"type": "MACD", "fast": 2, "slow": 3, "signal": 1},
        "e": {"type": "EMA", "period": 2},
    }
    assert any(fault in each for each in faults(document(condition, indicators=indicators)))


@pytest.mark.parametrize(
    ("risk", "fault"),
    [
        ({"position_size": {"type": "percent_of_equity", "value": 101}}, "must be above 0 and at most 100"),
        ({"position_size": {"type": "fixed_quote", "value": "-1"}}, ".position_size.value: must be above 0"),
        (
            {"position_size": {"type": "risk_percent", "value": 1}},
            ".stop_loss: is required by the position size",
        ),
        ({"leverage": "0.5"}, ".leverage: must be at least 1 and at most 100"),
        ({"stop_loss": {"type": "percent", "value": 100}}, ".stop_loss.value: must be above 0 and below 100"),
        ({"stop_loss": {"type": "atr", "value": 1}}, ".stop_loss.indicator: is required"),
        ({"stop_loss": {"type": "atr", "value": 1, "indicator": "close"}}, '"close" is not defined'),
        ({"stop_loss": {"type": "percent", "value": 1, "indicator": "e"}}, ".indicator: is not a known key"),
        ({"trailing_stop": {"type": "atr", "value": 1}}, ".trailing_stop.type: must be one of percent"),
        (
            {"trailing_stop": {"type": "percent", "value": 1, "activation": -1}},
            ".activation: must be at least 0",
        ),
        ({"max_bars": 0}, ".max_bars: must be from 1 to 100000"),
        ({"cooldown_bars": 100_001}, ".cooldown_bars: must be from 0 to 100000"),
        ({"max_daily_loss_percentage": 0}, ".max_daily_loss_percentage: must be above 0"),
        ({"take_profits": [{"type": "percent", "value": 1, "close_percent": 1}] * 6}, "at most 5 levels"),
        (
            {"take_profits": [{"type": "percent", "value": 1, "close_percent": 1}] * 2},
            "[1].value: must be above",
        ),
        (
            {"take_profits": [{"type": "percent", "value": n, "close_percent": 51} for n in (1, 2)]},
            "at most 100",
        ),
        (
            {
                "take_profits": [
                    {"type": "percent", "value": 1, "close_percent": 1},
                    {"type": "atr", "value": 2, "indicator": "e", "close_percent": 1},
                ]
            },
            ".take_profits[1]: must be of the same type and indicator",
        ),
    ],
)
def test_a_fault_in_the_risk_is_named_by_its_path(risk: dict[str, object], fault: str) -> None:
    raw = document(indicators={"e": {"type": "EMA", "period": 2}}, risk=risk)
    assert any(fault in each for each in faults(raw))


def nested(depth: int) -> object:
    condition: object = ALWAYS
    for _ in range(depth - 1):
        condition = {"not": condition}
    return condition


def test_conditions_nest_at_most_eight_deep() -> None:
    parse_strategy(document(nested(8)))
    assert faults(document(nested(9))) == ["$.entry_conditions" + ".not" * 8 + ": is nested deeper than 8"]


def test_the_conditions_of_a_document_have_at_most_128_nodes_together() -> None:
    parse_strategy(document({"any": [ALWAYS] * 63}, {"any": [ALWAYS] * 63}))
    (fault,) = faults(document({"any": [ALWAYS] * 63}, {"any": [ALWAYS] * 64}))
    assert fault.startswith("$.exit_conditions.any[63]: is one condition node too many")


def test_a_strategy_for_both_sides_has_conditions_for_each_side_or_for_one() -> None:
    plan = parse_strategy(document({"long": ALWAYS, "short": None}, {"short": ALWAYS}, side="BOTH"))
    assert set(plan.entry) == {"LONG"}
    assert set(plan.exit) == {"SHORT"}
    assert faults(document(ALWAYS, side="BOTH"))[0] == "$.entry_conditions.left: is not a known key"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "$: is nested too deep"),
        ('{"a": {"b": 1, "b": 2}}', "$.a.b: is a repeated key"),
        ('{"a": [NaN]}', "$.a[0]: is not a finite number that can be kept exactly"),
        ('{"a": 1e99999999999999999999}', "$.a: is not a finite number that can be kept exactly"),
        ('{"a": ' + "9" * 5000 + "}", "$.a: is not a finite number that can be kept exactly"),
        ('{"a": }', "$: is not JSON: Expecting value at line 1 column 7"),
        (b"\xff\xff", "$: is not UTF-8 text"),
    ],
)
def test_json_that_cannot_be_stored_exactly_is_refused(text: str | bytes, reason: str) -> None:
    with pytest.raises(StrategyError) as caught:
        parse_json(text)
    assert str(caught.value) == reason


def test_a_deep_value_under_an_unknown_key_is_not_visited() -> None:
    deep: object = 1
    for _ in range(100_000):
        deep = [deep]
    assert "$.entry_conditions.x: is not a known key" in faults(document({"x": deep}))


def test_a_faulty_indicator_is_one_fault_however_often_it_is_used() -> None:
    indicators = {"m": {"type": "MACD", "fast": 9, "slow": 3, "signal": 1}, "v": {"type": "VWAP"}}
    used = {"all": [{"left": "m.macd", "op": ">", "right": "v"}, {"left": "v", "op": ">", "right": 1}]}
    assert len(faults(document(used, indicators=indicators))) == 2


def test_faults_are_collected_together() -> None:
    assert len(faults({})) == 4


def test_an_alert_has_indicators_and_a_condition() -> None:
    raw = {
        "indicators": {"e": {"type": "EMA", "period": 2}},
        "condition": {"left": "e", "op": ">", "right": 1},
    }
    assert list(parse_alert(raw).indicators) == ["e"]
    with pytest.raises(StrategyError):
        parse_alert({"condition": {"left": "e", "op": ">", "right": 1}})


def test_the_longest_lookback_counts_shift_and_for_bars() -> None:
    condition = {"left": {"ref": "e", "shift": 10}, "op": ">", "right": 1, "for_bars": 5}
    plan = parse_strategy(document(condition, indicators={"e": {"type": "EMA", "period": 50}}))
    assert plan.longest_lookback == 64


def test_a_name_and_a_description_are_trimmed_and_a_stored_document_is_read_unchanged() -> None:
    read = parse_strategy({**EMA_CROSS, "strategy_name": " a ", "strategy_description": " b\n"})
    assert (read.name, read.description) == ("a", "b")
    for name in ("", " ", "x" * 5_000, "a\u200bb", "a\nb"):
        assert faults({**EMA_CROSS, "strategy_name": name})[0].startswith("$.strategy_name: must ")
        assert parse_stored({**EMA_CROSS, "strategy_name": name}).name == name


def test_a_document_has_a_maximum_size_that_a_stored_one_can_exceed() -> None:
    number = "-" + "9" * 20 + "." + "9" * 18
    operand = {"ref": "close", "shift": 500, "mul": number, "add": number}
    part = {"left": operand, "op": "crosses_above", "right": operand, "for_bars": 500}
    document = {**EMA_CROSS, "entry_conditions": {"all": [part] * 120}}
    assert faults(document) == [f"$: has more than {MAX_DOCUMENT_BYTES} bytes in canonical form"]
    assert len(parse_stored(document).canonical) < 2 * MAX_DOCUMENT_BYTES
