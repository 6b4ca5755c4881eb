"""Alerts as conditions; pure. Every type is the one grammar of strategies, so there is one evaluator."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, Strict, ValidationError, model_validator

from shared.contracts.types import AMOUNT_PATTERN, BodyModel
from shared.strategy.conditions import evaluate
from shared.strategy.document import AlertCondition, StrategyError, parse_alert
from shared.strategy.series import Series

AlertType = Literal["PRICE", "EMA_CROSS", "VOLUME", "CUSTOM"]
Raw = Mapping[str, object]
Number = Annotated[str, Field(pattern=AMOUNT_PATTERN)] | Annotated[Decimal, Strict()] | Annotated[int, Strict()]

OPERATORS = {
    "above": ">",
    "below": "<",
    "crosses_above": "crosses_above",
    "crosses_below": "crosses_below",
}


class PriceCondition(BodyModel):
    op: Literal["above", "below", "crosses_above", "crosses_below"]
    value: Number

    def document(self) -> Raw:
        return {"condition": {"left": "close", "op": OPERATORS[self.op], "right": self.value}}


class EmaCrossCondition(BodyModel):
    fast: int
    slow: int
    direction: Literal["above", "below"]

    def document(self) -> Raw:
        indicators = {name: {"type": "EMA", "period": getattr(self, name)} for name in ("fast", "slow")}
        crossing = {"left": "fast", "op": f"crosses_{self.direction}", "right": "slow"}
        return {"indicators": indicators, "condition": crossing}


class VolumeCondition(BodyModel):
    """Either `above` a volume, or above a `multiple` of the mean volume of `period` bars."""

    above: Number | None = None
    multiple: Number | None = None
    period: int | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> "VolumeCondition":
        relative = self.multiple is not None and self.period is not None
        if relative == (self.above is not None) or (self.multiple is None) != (self.period is None):
            raise ValueError("give either above, or multiple and period")
        return self

    def document(self) -> Raw:
        if self.above is not None:
            return {"condition": {"left": "volume", "op": ">", "right": self.above}}
        mean = {"ref": "mean", "mul": self.multiple}
        indicators = {"mean": {"type": "SMA", "period": self.period, "source": "volume"}}
        return {"indicators": indicators, "condition": {"left": "volume", "op": ">", "right": mean}}


SIMPLE: Mapping[str, type[PriceCondition | EmaCrossCondition | VolumeCondition]] = {
    "PRICE": PriceCondition,
    "EMA_CROSS": EmaCrossCondition,
    "VOLUME": VolumeCondition,
}


class ConditionFault(ValueError):
    """`faults` are (path below the condition data, reason)."""

    def __init__(self, faults: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{path}: {reason}" for path, reason in faults))
        self.faults = faults


def compile_alert(alert_type: AlertType, data: Raw) -> AlertCondition:
    """The condition that the data stand for. Raises ConditionFault."""
    try:
        document = data if alert_type == "CUSTOM" else SIMPLE[alert_type].model_validate(data).document()
        return parse_alert(document)
    except ValidationError as error:
        raise ConditionFault(
            [
                ("".join(f".{part}" for part in fault["loc"]), fault["msg"].removeprefix("Value error, "))
                for fault in error.errors(include_url=False, include_input=False)
            ]
        ) from error
    except StrategyError as error:
        raise ConditionFault([(fault.path.removeprefix("$"), fault.reason) for fault in error.faults]) from error


def became_true(alert: AlertCondition, series: Series, index: int) -> bool:
    """True at this bar and not at the one before: an alert that stays true says so once."""
    if evaluate(alert.condition, series, index) is not True:
        return False
    return index == 0 or evaluate(alert.condition, series, index - 1) is not True


@dataclass(frozen=True)
class Timing:
    """When an alert may fire, by the exchange's clock."""

    expires_at: datetime | None
    cooldown: timedelta
    last_triggered: datetime | None

    def allows(self, closed_at: datetime) -> bool:
        if self.expires_at is not None and closed_at > self.expires_at:
            return False
        return self.last_triggered is None or closed_at >= self.last_triggered + self.cooldown
