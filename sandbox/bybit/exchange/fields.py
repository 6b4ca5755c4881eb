"""Reads the fields of a request's body. What is malformed is refused with 10001, by the field's name."""

import re
from collections.abc import Mapping
from decimal import Decimal

from sandbox.bybit.exchange.refusals import Refusal

Body = Mapping[str, object]
_AMOUNT = re.compile(r"\d{1,20}(\.\d{1,18})?", re.ASCII)
_LINK_ID = re.compile(r"[A-Za-z0-9_-]{1,36}", re.ASCII)


class Fields:
    """The fields of one body. Absent, null and empty fields are the same."""

    def __init__(self, body: Body) -> None:
        self._body = body
        self.choice("category", "linear", required=True)

    def has(self, name: str) -> bool:
        return self._body.get(name) not in (None, "")

    def text(self, name: str, *, required: bool = False) -> str:
        value = self._body.get(name)
        if value is None or value == "":
            if required:
                raise _malformed(name)
            return ""
        if not isinstance(value, str):
            raise _malformed(name)
        return value

    def choice(self, name: str, *options: str, default: str = "", required: bool = False) -> str:
        value = self.text(name, required=required) or default
        if value and value not in options:
            raise _malformed(name)
        return value

    def amount(self, name: str) -> Decimal | None:
        """Return a decimal of at least 0: a string, or a number of the JSON text."""
        value = self._body.get(name)
        if value is None or value == "":
            return None
        if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
            raise _malformed(name)
        text = format(value, "f") if isinstance(value, Decimal) else str(value)
        if not _AMOUNT.fullmatch(text):
            raise _malformed(name)
        return Decimal(text)

    def needed_amount(self, name: str) -> Decimal:
        value = self.amount(name)
        if value is None:
            raise _malformed(name)
        return value

    def number(self, name: str, *options: int, default: int = 0) -> int:
        value = self._body.get(name)
        if value is None or value == "":
            return default
        if isinstance(value, str) and value.isascii() and value.isdigit():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or value not in options:
            raise _malformed(name)
        return value

    def flag(self, name: str) -> bool:
        value = self._body.get(name)
        if value is None or value == "":
            return False
        if not isinstance(value, bool):
            raise _malformed(name)
        return value

    def link_id(self) -> str:
        value = self.text("orderLinkId")
        if value and not _LINK_ID.fullmatch(value):
            raise Refusal(10001, "params error: orderLinkId must be 1 to 36 letters, digits, dashes or underscores")
        return value


def _malformed(name: str) -> Refusal:
    return Refusal(10001, f"params error: {name} invalid")
