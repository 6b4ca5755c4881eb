"""Alert conditions. Every type compiles to the condition grammar of strategies, so there is one evaluator."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, ValidationError, model_validator

from shared.contracts.amounts import OfMarket
from shared.contracts.types import decimal_text
from shared.strategy.document.parse import AlertCondition, StrategyError, parse_alert
from shared.strategy.indicators.recipes import MAX_PERIOD

AlertType = Literal["PRICE", "EMA_CROSS", "VOLUME", "CUSTOM"]
Raw = Mapping[str, object]

VERSION = 1  # of the forms below; stored as `condition_version` with each condition
OPERATORS = {
    "above": ">",
    "below": "<",
    "crosses_above": "crosses_above",
    "crosses_below": "crosses_below",
}


def _integer_as_decimal(value: object) -> object:
    """Accept the JSON number 64000 as the amount "64000", but not the JSON value true."""
    return Decimal(value) if type(value) is int else value


Quantity = Annotated[OfMarket, BeforeValidator(_integer_as_decimal)]
Period = Annotated[StrictInt, Field(ge=2, le=MAX_PERIOD)]


class _Form(BaseModel):
    """Base of the forms. Unlike in a request body, amounts may be numbers, as in a strategy's conditions."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PriceCondition(_Form):
    op: Literal["above", "below", "crosses_above", "crosses_below"]
    value: Quantity

    def document(self) -> Raw:
        return {"condition": {"left": "close", "op": OPERATORS[self.op], "right": decimal_text(self.value)}}


class EmaCrossCondition(_Form):
    fast: Period
    slow: Period
    direction: Literal["above", "below"]

    @model_validator(mode="after")
    def _in_order(self) -> "EmaCrossCondition":
        if self.fast >= self.slow:
            raise ValueError("fast must be below slow")
        return self

    def document(self) -> Raw:
        indicators = {
            "fast": {"type": "EMA", "period": self.fast},
            "slow": {"type": "EMA", "period": self.slow},
        }
        crossing = {"left": "fast", "op": f"crosses_{self.direction}", "right": "slow"}
        return {"indicators": indicators, "condition": crossing}


class VolumeCondition(_Form):
    """Volume above a fixed value, or above a `multiple` of the mean volume of the `period` bars before."""

    above: Quantity | None = None
    multiple: Quantity | None = None
    period: Period | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> "VolumeCondition":
        relative = self.multiple is not None and self.period is not None
        if relative == (self.above is not None) or (self.multiple is None) != (self.period is None):
            raise ValueError("give either above, or multiple and period")
        return self

    def document(self) -> Raw:
        if self.multiple is None:
            assert self.above is not None, "the validator requires one of the two"
            return {"condition": {"left": "volume", "op": ">", "right": decimal_text(self.above)}}
        # The mean excludes the bar itself: otherwise a multiple ≥ period could never be reached.
        mean = {"ref": "mean", "shift": 1, "mul": decimal_text(self.multiple)}
        indicators = {"mean": {"type": "SMA", "period": self.period, "source": "volume"}}
        return {"indicators": indicators, "condition": {"left": "volume", "op": ">", "right": mean}}


SIMPLE: Mapping[str, type[PriceCondition | EmaCrossCondition | VolumeCondition]] = {
    "PRICE": PriceCondition,
    "EMA_CROSS": EmaCrossCondition,
    "VOLUME": VolumeCondition,
}


class ConditionFault(ValueError):
    """A condition is not valid. `faults` are pairs of path below the condition data and reason."""

    def __init__(self, faults: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{path}: {reason}" for path, reason in faults))
        self.faults = faults


def compile_alert(alert_type: AlertType, data: Raw) -> AlertCondition:
    """Compile condition data to a condition of the strategy grammar. Raises ConditionFault."""
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


def normalise_condition(alert_type: AlertType, data: Raw) -> dict[str, object]:
    """Return the condition data in the canonical form that is stored. Raises ConditionFault."""
    compile_alert(alert_type, data)
    if alert_type == "CUSTOM":
        return dict(data)
    return SIMPLE[alert_type].model_validate(data).model_dump(mode="json", exclude_none=True)
