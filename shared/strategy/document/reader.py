"""Document faults, and the reader that collects all of them with their JSON paths."""

import json
import re
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal

from shared.contracts.json_text import MAX_FAULTS, DocumentFault, InvalidDocument, child, is_storable

_DECIMAL = re.compile(r"-?\d{1,20}(\.\d{1,18})?", re.ASCII)
_WHOLE_DIGITS = 20
_DECIMAL_PLACES = 18


class StrategyError(InvalidDocument):
    """The strategy document is refused."""


def is_decimal_text(text: str) -> bool:
    return _DECIMAL.fullmatch(text) is not None


def quoted(text: str) -> str:
    """Quote a value for an error message: one line, ASCII, at most 64 characters of it."""
    return json.dumps(text if len(text) <= 64 else text[:61] + "...")


class DocumentReader:
    """Converts raw JSON to typed values.

    For a faulty value it records the fault and returns a valid one, so that reading continues; `check` raises all
    faults.
    """

    def __init__(self, *, incoming: bool = False) -> None:
        self.incoming = incoming
        """True if a client sent the document. Today's text rules and size limit do not apply to a stored one."""
        self.faults: list[DocumentFault] = []
        self.faulty_names: set[str] = set()
        """Indicators declared with a fault; a use of one is not reported as another fault."""

    def fault(self, path: str, reason: str) -> None:
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(DocumentFault(path, reason))

    def check(self) -> None:
        if self.faults:
            raise StrategyError(*self.faults)

    def members(
        self, raw: object, path: str, required: Collection[str], optional: Collection[str] = ()
    ) -> dict[str, object]:
        """Return the members that are present; optional members that are null are left out."""
        if not isinstance(raw, Mapping):
            self.fault(path, "must be an object")
            return {}
        for key in raw:
            if key not in required and key not in optional:
                self.fault(child(path, key), "is not a known key")
            if len(self.faults) >= MAX_FAULTS:
                break
        for key in required:
            if key not in raw:
                self.fault(child(path, key), "is required")
            elif raw[key] is None:
                self.fault(child(path, key), "is required and may not be null")
        allowed = [*required, *optional]
        return {key: raw[key] for key in allowed if key in raw and raw[key] is not None}

    def text(self, raw: object, path: str, check: Callable[[str], str]) -> str:
        if not isinstance(raw, str):
            self.fault(path, "must be a string")
            return ""
        if not is_storable(raw):
            self.fault(path, "must be text without NUL characters and lone surrogates")
            return ""
        if not self.incoming:
            return raw
        try:
            return check(raw)
        except ValueError as error:
            self.fault(path, str(error))
            return ""

    def choice(self, raw: object, path: str, options: Collection[str]) -> str:
        if not isinstance(raw, str) or raw not in options:
            self.fault(path, f"must be one of {' '.join(options)}")
            return next(iter(options))
        return raw

    def integer(self, raw: object, path: str, low: int, high: int) -> int:
        if isinstance(raw, bool) or not isinstance(raw, int):
            self.fault(path, "must be a JSON integer")
        elif not low <= raw <= high:
            self.fault(path, f"must be from {low} to {high}")
        else:
            return raw
        return high

    def decimal(self, raw: object, path: str) -> Decimal | None:
        """Return a decimal of at most 20 digits before the point and 18 after it; None after recording a fault."""
        value = _decimal(raw)
        if value is None:
            self.fault(path, "must be a finite decimal of at most 20 digits before the point and 18 after it")
        return value

    def amount(
        self,
        raw: object,
        path: str,
        high: int | None = None,
        low: int = 0,
        above: bool = True,
        below: bool = False,
    ) -> Decimal:
        """Return a decimal above `low` (not `above`: at least `low`) and at most `high` (`below`: below `high`)."""
        value = self.decimal(raw, path)
        if value is None:
            return Decimal(1)
        too_low = value <= low if above else value < low
        too_high = high is not None and (value >= high if below else value > high)
        if too_low or too_high:
            expected = f"above {low}" if above else f"at least {low}"
            if high is not None:
                expected += f" and {'below' if below else 'at most'} {high}"
            self.fault(path, f"must be {expected}")
            return Decimal(1)
        return value


def _decimal(raw: object) -> Decimal | None:
    if isinstance(raw, bool):
        return None
    if isinstance(raw, str):
        return _unsigned_zero(Decimal(raw)) if is_decimal_text(raw) else None
    if isinstance(raw, int):
        return Decimal(raw) if abs(raw) < 10**_WHOLE_DIGITS else None
    if isinstance(raw, float):
        raw = Decimal(repr(raw))
    if not isinstance(raw, Decimal) or not raw.is_finite():
        return None
    exponent = raw.as_tuple().exponent
    assert isinstance(exponent, int)
    if -exponent > _DECIMAL_PLACES or (raw and raw.adjusted() >= _WHOLE_DIGITS):
        return None
    return _unsigned_zero(raw)


def _unsigned_zero(value: Decimal) -> Decimal:
    return value if value else Decimal(0)
