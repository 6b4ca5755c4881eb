"""The text that a fingerprint hashes, written from a booking's rows: as Python or compiled, like the kernel."""

from collections.abc import Sequence
from typing import Any

from shared.strategy.backtest.integers.kernel import (
    ENTRY,
    FILL_BAR,
    FILL_PRICE,
    FILL_QTY,
    FILL_REASON,
    FILL_SIDE,
)
from shared.strategy.execution.outcome import Reason

LONGEST_LINE = 128
REASONS: tuple[Reason, ...] = (
    "entry",
    "signal",
    "time",
    "stop_loss",
    "trailing_stop",
    "take_profit",
    "end_of_data",
)
"""By the kernel's codes."""
PIECES = tuple(f",{action},{side},".encode() for action in ("close", "open") for side in ("LONG", "SHORT")) + tuple(
    f",{reason}\n".encode() for reason in REASONS
)
TEXT = b"".join(PIECES)
STARTS = tuple(sum(map(len, PIECES[:index])) for index in range(len(PIECES) + 1))
_FIRST_REASON = 4
_ZERO, _POINT, _COMMA = b"0.,"


def write_lines(
    fills: Any, count: int, times: Sequence[int], scales: Sequence[int], text: Any, starts: Sequence[int], out: Any
) -> int:
    """Write the lines of `count` fills into `out` and return their length.

    `scales`: the tick as an integer and its number of decimal places, and the same for the quantity step. `text`
    and `starts` are TEXT and STARTS.
    """
    at = 0
    for index in range(count):
        row = fills[index]
        at = put_number(out, at, times[row[FILL_BAR]], 0)
        piece = 2 * (row[FILL_REASON] == ENTRY) + (row[FILL_SIDE] < 0)
        at = put_piece(out, at, text, starts[piece], starts[piece + 1])
        at = put_number(out, at, row[FILL_QTY] * scales[2], scales[3])
        out[at] = _COMMA
        at = put_number(out, at + 1, row[FILL_PRICE] * scales[0], scales[1])
        piece = _FIRST_REASON + row[FILL_REASON]
        at = put_piece(out, at, text, starts[piece], starts[piece + 1])
    return at


def put_piece(out: Any, at: int, text: Any, start: int, stop: int) -> int:
    for index in range(start, stop):
        out[at] = text[index]
        at += 1
    return at


def put_number(out: Any, at: int, value: int, places: int) -> int:
    """Write value ÷ 10^places, at least 0, without trailing zeros. Return the position after it."""
    while places > 0 and value % 10 == 0:
        value //= 10
        places -= 1
    length, rest = 1, value // 10
    while rest > 0:
        length += 1
        rest //= 10
    length = max(length, places + 1)
    end = at + length + (places > 0)
    to = end
    for digit in range(length):
        if digit == places and places > 0:
            to -= 1
            out[to] = _POINT
        to -= 1
        out[to] = _ZERO + value % 10
        value //= 10
    return end
