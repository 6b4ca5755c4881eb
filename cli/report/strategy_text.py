"""Description of a strategy in English sentences, from the parsed document."""

from collections.abc import Iterator

from shared.contracts.types import decimal_text
from shared.strategy.document.nodes import Comparison, Group, Node, Not, Number, Operand
from shared.strategy.document.parse import Strategy
from shared.strategy.document.risk import Distance, Risk
from shared.strategy.indicators.recipes import IndicatorSpec

_OPERATORS = {
    ">": "is above",
    ">=": "is at or above",
    "<": "is below",
    "<=": "is at or below",
    "==": "equals",
    "crosses_above": "crosses above",
    "crosses_below": "crosses below",
}
_SIZES = {
    "percent_of_equity": "{} % of equity",
    "fixed_quote": "{} of the quote currency",
    "fixed_base": "{} of the base currency",
    "risk_percent": "an amount for which the stop costs {} % of equity",
}
_PARTS = ("fast", "slow", "signal", "fastk", "slowk", "slowd")


def describe_strategy(strategy: Strategy) -> list[str]:
    """Return one sentence per indicator, entry, exit and risk rule."""
    return [*_indicators(strategy), *_conditions(strategy), *_risk(strategy.risk)]


def _indicators(strategy: Strategy) -> Iterator[str]:
    for name, spec in strategy.indicators.items():
        yield f"{name} is {_indicator(spec)}."


def _indicator(spec: IndicatorSpec) -> str:
    numbers = [str(value) for value in (spec.period, *(getattr(spec, part) for part in _PARTS)) if value]
    if spec.deviations is not None:
        numbers.append(f"{decimal_text(spec.deviations)} deviations")
    of = f" of {spec.source}" if spec.source else ""
    return f"{spec.type}({', '.join(numbers)}){of}" if numbers else f"{spec.type}{of}"


def _conditions(strategy: Strategy) -> Iterator[str]:
    for verb, conditions in (("Enters", strategy.entry), ("Leaves", strategy.exit)):
        for side, condition in conditions.items():
            yield f"{verb} {side.lower()} at the next open when {_node(condition.root)}."


def _node(node: Node) -> str:
    match node:
        case Group():
            word = " and " if node.kind == "all" else " or "
            return word.join(f"({_node(part)})" if isinstance(part, Group) else _node(part) for part in node.parts)
        case Not():
            return f"not ({_node(node.part)})"
        case Comparison():
            lasting = f" for {node.for_bars} bars" if node.for_bars > 1 else ""
            return f"{_operand(node.left)} {_OPERATORS[node.op]} {_operand(node.right)}{lasting}"


def _operand(operand: Operand) -> str:
    if isinstance(operand, Number):
        return decimal_text(operand.value)
    text = operand.column.name
    if operand.shift:
        text += f" {operand.shift} bar{'s' if operand.shift > 1 else ''} ago"
    if operand.mul != 1:
        text += f" × {decimal_text(operand.mul)}"
    if operand.add:
        text += f" {'+' if operand.add > 0 else '−'} {decimal_text(abs(operand.add))}"
    return text


def _risk(risk: Risk) -> Iterator[str]:
    leverage = f", leverage {decimal_text(risk.leverage)}" if risk.leverage != 1 else ""
    yield f"Trades {_SIZES[risk.size_type].format(decimal_text(risk.size))}{leverage}."
    if risk.stop_loss is not None:
        yield f"Stop loss {_distance(risk.stop_loss)} from the entry."
    for target in risk.take_profits or ():
        yield f"Takes profit on {decimal_text(target.close_percent)} % at {_distance(target.distance)}."
    if (trailing := risk.trailing_stop) is not None:
        start = f", once {decimal_text(trailing.activation)} % in profit" if trailing.activation else ""
        yield f"Trails a stop by {decimal_text(trailing.value)} %{start}."
    if risk.max_bars is not None:
        yield f"Leaves after {risk.max_bars} bars."
    if risk.cooldown_bars:
        yield f"Waits {risk.cooldown_bars} bars after a trade."
    if risk.max_daily_loss_percentage is not None:
        yield f"Stops entering on a day once it has lost {decimal_text(risk.max_daily_loss_percentage)} %."


def _distance(distance: Distance) -> str:
    value = decimal_text(distance.value)
    return f"{value} %" if distance.column is None else f"{value} × {distance.column.name}"
