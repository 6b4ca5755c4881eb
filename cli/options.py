"""Option values shared by commands; an invalid value prints a line on stderr and exits with code 2."""

import json
from dataclasses import fields, replace
from datetime import UTC, datetime
from decimal import Decimal

import click

from shared.contracts.amounts import check_bounded
from shared.contracts.types import to_ms
from shared.strategy.bars import Instrument
from shared.strategy.document.reader import is_decimal_text
from stack.failure import BadInput

INTERRUPTED = 130
LAST_MS = 253_402_300_799_999  # the end of the year 9999
_INSTRUMENT_KEYS = tuple(each.name for each in fields(Instrument))


class BadOption(BadInput):
    """An option value is invalid; prints one line on stderr per reason."""

    def __init__(self, *lines: str) -> None:
        self.lines = tuple(map(one_line, lines))
        super().__init__("\n".join(self.lines))

    def show(self, file: object = None) -> None:
        for line in self.lines:
            click.echo(f"tradefleet: {line}", err=True)


class OneLineCommand(click.Command):
    """A command that reports usage and file errors as one line; exits with 130 on Ctrl-C."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: object
    ) -> click.Context:
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.UsageError as error:
            raise BadOption(error.format_message()) from error

    def invoke(self, ctx: click.Context) -> object:
        try:
            result: object = super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            raise SystemExit(INTERRUPTED) from None
        except OSError as error:
            if error.filename is None or error.strerror is None:
                raise
            raise BadOption(f"{error.filename}: {error.strerror}") from error
        return result


def one_line(text: str) -> str:
    """Return the text with line breaks and other control characters escaped."""
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text)


def decimal_option(
    option: str, text: str, below: int | None = None, zero: bool = True, bounded: bool = True
) -> Decimal:
    """Parse a decimal of at least 0 (`zero=False`: above 0), below `below`, and within the API's bound of amounts.

    Raises BadOption.
    """
    if not is_decimal_text(text):
        raise BadOption(f"{option}: {quoted(text)} is not a decimal of at most 20 digits and 18 decimals")
    value = Decimal(text)
    if value < 0 or (not zero and value == 0):
        raise BadOption(f"{option}: must be {'at least' if zero else 'above'} 0")
    if below is not None and value >= below:
        raise BadOption(f"{option}: must be below {below}")
    if bounded:
        try:
            check_bounded(value)
        except ValueError as error:
            raise BadOption(f"{option}: {error}") from error
    return value


def instrument_option(text: str, defaults: Instrument, option: str = "--instrument") -> Instrument:
    """Parse `tick_size=0.1,qty_step=0.001,…`; missing keys come from `defaults`. Raises BadOption."""
    values: dict[str, Decimal] = {}
    for part in text.split(","):
        key, equals, value = part.strip().partition("=")
        if not equals or key not in _INSTRUMENT_KEYS:
            raise BadOption(f"{option}: {quoted(part)} is not one of {'= '.join(_INSTRUMENT_KEYS)}=")
        if key in values:
            raise BadOption(f"{option}: {key} is given twice")
        values[key] = decimal_option(f"{option} {key}", value, zero=key == "min_notional", bounded=False)
    return replace(defaults, **values)


def time_option(option: str, text: str) -> int:
    """Parse milliseconds since 1970 or ISO 8601; a time without offset is UTC. Raises BadOption."""
    if text.isascii() and text.isdigit() and len(text) <= 15:
        milliseconds = int(text)
    else:
        try:
            time = datetime.fromisoformat(text)
        except ValueError:
            raise BadOption(f"{option}: {quoted(text)} is neither ISO 8601 nor milliseconds") from None
        if time.tzinfo is None:
            time = time.replace(tzinfo=UTC)
        milliseconds = to_ms(time)
    if not 0 <= milliseconds <= LAST_MS:
        raise BadOption(f"{option}: {quoted(text)} is out of range")
    return milliseconds


def quoted(text: str) -> str:
    return json.dumps(text if len(text) <= 60 else text[:57] + "...")
