"""For any input, parsing a document gives a Strategy or raises StrategyError."""

import json
from decimal import Decimal
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.strategy.document.parse import Strategy, StrategyError, parse_json, parse_strategy

EXAMPLES = [
    parse_json(path.read_bytes())
    for path in sorted((Path(__file__).resolve().parents[3] / "examples/strategies").glob("*.json"))
]
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(10**40), 10**40),
    st.decimals(allow_nan=True),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["close", "fast", "bands.upper", "rsi", "atr", "percent", "LONG", "BOTH", "-0", "1" * 21]),
    st.sampled_from([Decimal("NaN"), Decimal("sNaN"), Decimal("-0"), Decimal("1E+999999"), Decimal("1E-999999")]),
)
KEYS = st.sampled_from(
    [
        "type",
        "value",
        "indicator",
        "left",
        "op",
        "right",
        "all",
        "any",
        "not",
        "ref",
        "period",
        "close_percent",
        "long",
    ]
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(KEYS, st.text(max_size=3)), inner, max_size=3),
    ),
    max_leaves=8,
)


def places(value: object, path: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    found = [path]
    if isinstance(value, dict):
        found += [each for key, inner in value.items() for each in places(inner, (*path, key))]
    if isinstance(value, list):
        found += [each for index, inner in enumerate(value) for each in places(inner, (*path, index))]
    return found


def with_replaced(document: object, path: tuple[object, ...], value: object) -> object:
    if not path:
        return value
    if isinstance(document, dict):
        return {
            key: with_replaced(inner, path[1:], value) if key == path[0] else inner
            for key, inner in document.items()
        }
    assert isinstance(document, list)
    return [with_replaced(inner, path[1:], value) if at == path[0] else inner for at, inner in enumerate(document)]


def parse_or_check_faults(raw: object) -> Strategy | None:
    try:
        return parse_strategy(raw)
    except StrategyError as error:
        faults = error.faults
    assert faults
    for fault in faults:
        assert fault.path.startswith("$")
        assert str(fault).isprintable()
        str(fault).encode()
    return None


@settings(max_examples=600, deadline=None)
@given(data=st.data(), example=st.sampled_from(EXAMPLES))
def test_a_document_with_any_value_anywhere_is_parsed_or_refused(data: st.DataObject, example: object) -> None:
    changed = with_replaced(example, data.draw(st.sampled_from(places(example))), data.draw(VALUES))
    strategy = parse_or_check_faults(changed)
    if strategy is not None:
        canonical = parse_json(strategy.canonical_json())
        assert isinstance(canonical, dict)
        again = parse_strategy({"strategy_name": "again", **canonical})
        assert again.canonical_json() == strategy.canonical_json()


@settings(max_examples=300, deadline=None)
@given(
    text=st.one_of(
        st.text(max_size=40), st.binary(max_size=40), VALUES.map(lambda value: json.dumps(value, default=str))
    )
)
def test_any_text_is_parsed_or_refused(text: str | bytes) -> None:
    try:
        raw = parse_json(text)
    except StrategyError:
        return
    parse_or_check_faults(raw)
