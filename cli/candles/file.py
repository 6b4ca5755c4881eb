"""Candle files: CSV, optionally gzipped, with strict validation. Errors name the line; the header is line 1.

`shared/market/bars.py` defines what a valid bar is, here as for the other inputs.
"""

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, cast

from cli.options import LAST_MS, quoted
from shared.market.bars import NotABar, check_time, enclose_body
from shared.strategy.bars import Bar

COLUMNS = Bar._fields
_GZIP_MAGIC = b"\x1f\x8b"
_TIME = re.compile(r"\d{1,15}", re.ASCII)
_NUMBER = re.compile(r"-?\d{1,20}(\.\d{1,30})?([eE][+-]?\d{1,2})?", re.ASCII)


class CandlesError(ValueError):
    """The file is invalid; the message names the file and the line."""


@dataclass(frozen=True, slots=True)
class Widened:
    """A bar whose high or low did not enclose open and close and was adjusted."""

    line: int
    open_time_ms: int


@dataclass(frozen=True, slots=True)
class Candles:
    bars: list[Bar]
    widened: list[Widened]


def read_candles(path: Path, interval_ms: int | None = None) -> list[Bar]:
    """Like `read_file`, but return the bars only."""
    return read_file(path, interval_ms).bars


def read_file(path: Path, interval_ms: int | None = None, *, sparse: bool = False) -> Candles:
    """Read all bars of the file. Raises CandlesError.

    With an interval, each bar must open on its grid, and the smallest step between two bars must be the interval
    unless the candles are known to be `sparse`.
    """
    bars: list[Bar] = []
    lines: list[int] = []
    widened: list[Widened] = []
    line = 1
    try:
        with _text(path) as text:
            for line, row_bar in _rows(text):
                bar = enclose_body(row_bar)
                if bar is not row_bar:
                    widened.append(Widened(line, bar.open_time_ms))
                bars.append(bar)
                lines.append(line)
    except NotABar as fault:
        raise CandlesError(f"{path}: line {line}: {fault}") from None
    except _Refused as refused:
        raise CandlesError(f"{path}: line {refused.line}: {refused.reason}") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise CandlesError(f"{path}: line {line}: broken gzip after this line ({error})") from None
    except UnicodeDecodeError:
        raise CandlesError(f"{path}: line {line}: not UTF-8 text after this line") from None
    except OSError as error:
        raise CandlesError(f"{path}: cannot be read: {error.strerror or error}") from None
    if not bars:
        raise CandlesError(f"{path}: line 1: no candles follow the header")
    if interval_ms is not None:
        if not sparse:
            _check_steps(path, bars, lines, interval_ms)
        _check_times(path, bars, lines, interval_ms)
    return Candles(bars, widened)


class _Refused(Exception):
    def __init__(self, line: int, reason: str) -> None:
        self.line, self.reason = line, reason


@contextmanager
def _text(path: Path) -> Iterator[Iterable[str]]:
    with path.open("rb") as file:
        zipped = file.peek(2)[:2] == _GZIP_MAGIC or path.suffix == ".gz"
        source = cast(BinaryIO, gzip.GzipFile(fileobj=file)) if zipped else file
        with io.TextIOWrapper(source, encoding="utf-8-sig", newline="") as text:
            yield text


def _rows(text: Iterable[str]) -> Iterator[tuple[int, Bar]]:
    reader = csv.reader(text, strict=True)
    try:
        header = next(reader, None)
        if header is None:
            raise _Refused(1, "the file is empty")
        positions = _positions(header)
        previous: int | None = None
        for row in reader:
            line = reader.line_num
            if len(row) != len(header):
                raise _Refused(line, f"has {len(row)} columns, the header has {len(header)}")
            bar = _bar(line, [row[position] for position in positions])
            if previous is not None and bar.open_time_ms == previous:
                raise _Refused(line, f"open_time_ms {previous} occurs twice")
            if previous is not None and bar.open_time_ms < previous:
                raise _Refused(
                    line, f"open_time_ms {bar.open_time_ms} is earlier than {previous} in the line before"
                )
            previous = bar.open_time_ms
            yield line, bar
    except csv.Error as error:
        raise _Refused(max(1, reader.line_num), f"is not CSV: {error}") from None


def _positions(header: Sequence[str]) -> list[int]:
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise _Refused(1, f"the header has no column {', '.join(missing)}")
    repeated = [name for name in COLUMNS if header.count(name) > 1]
    if repeated:
        raise _Refused(1, f"the header has the column {repeated[0]} twice")
    return [header.index(name) for name in COLUMNS]


def _bar(line: int, cells: Sequence[str]) -> Bar:
    if not _TIME.fullmatch(cells[0]) or int(cells[0]) > LAST_MS:
        raise _Refused(line, f"open_time_ms {quoted(cells[0])} is not a time in milliseconds")
    for name, cell in zip(COLUMNS[1:], cells[1:], strict=True):
        if not _NUMBER.fullmatch(cell):
            raise _Refused(line, f"{name} {quoted(cell)} is not a number")
    return Bar(int(cells[0]), *map(Decimal, cells[1:]))


def _check_times(path: Path, bars: Sequence[Bar], lines: Sequence[int], interval_ms: int) -> None:
    for line, bar in zip(lines, bars, strict=True):
        try:
            check_time(bar.open_time_ms, interval_ms)
        except NotABar as fault:
            raise CandlesError(f"{path}: line {line}: {fault}") from None


def _check_steps(path: Path, bars: Sequence[Bar], lines: Sequence[int], interval_ms: int) -> None:
    steps = [later.open_time_ms - earlier.open_time_ms for earlier, later in pairwise(bars)]
    if not steps or interval_ms in steps:  # one step of this length proves the interval
        return
    smallest = min(steps)
    line = lines[steps.index(smallest) + 1]
    raise CandlesError(
        f"{path}: line {line}: the smallest step between bars is {smallest} ms, "
        f"the strategy's interval is {interval_ms} ms"
    )
