"""The bound of balances, sizes and prices in requests; answers show every stored amount."""

from decimal import Decimal

import pytest
from pydantic import TypeAdapter, ValidationError

from shared.contracts.amounts import Fraction, Positive, Price, places_of
from shared.contracts.types import Amount, ViewModel

MOST = "1000000000000"


@pytest.mark.parametrize(
    "text", ["0.00000001", "1", MOST, f"{MOST}.00000000", "999999999999.99999999", "1.5000000000"]
)
def test_amounts_up_to_the_bound_are_accepted(text: str) -> None:
    assert TypeAdapter(Positive).validate_python(text) == Decimal(text)


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "-1",
        f"{MOST}.00000001",
        "1000000000001",
        "0.000000001",
        "99999999999999999999.999999999999999999",
        "1e3",
    ],
)
def test_amounts_beyond_the_bound_are_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Positive).validate_python(text)


def test_a_price_can_be_zero_and_a_fraction_is_below_one() -> None:
    assert TypeAdapter(Price).validate_python("0") == 0
    assert TypeAdapter(Fraction).validate_python("0.99999999") < 1
    for kind, text in ((Price, "-0.1"), (Fraction, "1"), (Fraction, "0.000000001"), (Price, "0.000000001")):
        with pytest.raises(ValidationError):
            TypeAdapter(kind).validate_python(text)


def test_places_are_counted_without_rounding() -> None:
    texts = ("1", "1.10", "1E+2", "12345678901234567890.123456789012345678")
    assert [places_of(Decimal(text)) for text in texts] == [0, 1, 0, 18]


class Shown(ViewModel):
    amount: Amount


@pytest.mark.parametrize("text", ["1" * 40, "0." + "1" * 40, "-" + "9" * 30 + "." + "9" * 30, "1E+30", "5E-324"])
def test_an_answer_shows_every_storable_amount(text: str) -> None:
    shown = Shown(amount=Decimal(text)).model_dump()["amount"]
    assert shown == Decimal(text)
    assert Decimal(Shown(amount=Decimal(text)).model_dump_json().split('"')[3]) == Decimal(text)
