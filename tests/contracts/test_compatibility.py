"""The check for breaking changes, tested on changed models."""

from decimal import Decimal
from typing import Literal

import pytest
from pydantic import BaseModel, Field

from tests.contracts.compatibility import breaks


class Inner(BaseModel):
    depth: int


class Then(BaseModel):
    """The model before the change."""

    number: int = Field(ge=1)
    text: str
    side: Literal["LONG", "SHORT"]
    inner: Inner
    perhaps: str | None
    late: bool = False


class Added(Then):
    more: int = 0
    """With a default."""


class AddedDeep(Then):
    class InnerMore(Inner):
        width: int = 1

    inner: InnerMore


class Required(Then):
    more: int


class RequiredDeep(Then):
    class InnerMore(Inner):
        width: int

    inner: InnerMore


class Gone(BaseModel):
    number: int = Field(ge=1)
    side: Literal["LONG", "SHORT"]
    inner: Inner
    perhaps: str | None
    late: bool = False


class Renamed(Gone):
    words: str


class RenamedOnTheWire(Then):
    text: str = Field(alias="words")


class Retyped(Then):
    number: Decimal  # type: ignore[assignment]


class Narrowed(Then):
    number: int = Field(ge=2)


class OneMoreValue(Then):
    side: Literal["LONG", "SHORT", "BOTH"]  # type: ignore[assignment]


class NoLongerNull(Then):
    perhaps: str


class NowNull(Then):
    text: str | None  # type: ignore[assignment]


class WithoutDefault(Then):
    late: bool


THEN = Then.model_json_schema()


@pytest.mark.parametrize("model", [Then, Added, AddedDeep])
def test_compatible_changes_are_not_reported(model: type[BaseModel]) -> None:
    assert breaks(THEN, model) == []


@pytest.mark.parametrize(
    ("model", "field"),
    [
        (Required, "more has no default"),
        (RequiredDeep, "inner.width has no default"),
        (Gone, "text is gone"),
        (Renamed, "text is gone"),
        (RenamedOnTheWire, "text is gone"),
        (Retyped, "number"),
        (Narrowed, "number"),
        (OneMoreValue, "side"),
        (NoLongerNull, "perhaps"),
        (NowNull, "text"),
        (WithoutDefault, "late has no default"),
    ],
)
def test_breaking_changes_are_reported(model: type[BaseModel], field: str) -> None:
    assert any(sentence.startswith(field) for sentence in breaks(THEN, model)), breaks(THEN, model)
