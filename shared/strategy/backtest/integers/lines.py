"""The text that a fingerprint hashes, written from a booking's rows: as Python or compiled, like the kernel."""

from collections.abc import MutableSequence, Sequence

from shared.strategy.backtest.integers.kernel import (
    ENTRY,
    FILL_BAR,
    FILL_COLUMNS,
    FILL_PRICE,
    FILL_QTY,
    FILL_REASON,
    FILL_SIDE,
)
from shared.strategy.execution.outcome import Reason

LONGEST_NUMBER = 40
LONGEST_LINE = 3 * LONGEST_NUMBER + 40
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
FIRST_REASON = 4
ZERO, POINT, COMMA = b"0.,"


def write_lines(
    fills: Sequence[int],
    count: int,
    times: Sequence[int],
    scales: Sequence[int],
    text: Sequence[int],
    starts: Sequence[int],
    out: MutableSequence[int],
) -> int:
    """Write the lines of `count` fills into `out` and return their length.

    `scales`: the tick as an integer and its number of decimal places, and the same for the quantity step. `text`
    and `starts` are TEXT and STARTS. `out` has LONGEST_LINE bytes for each line.
    """
    at = 0
    for index in range(count):
        row = index * FILL_COLUMNS
        reason = fills[row + FILL_REASON]
        at = put_number(out, at, times[fills[row + FILL_BAR]], 0)
        piece = 0 if fills[row + FILL_SIDE] > 0 else 1
        if reason == ENTRY:
            piece += 2
        at = put_piece(out, at, text, starts[piece], starts[piece + 1])
        at = put_number(out, at, fills[row + FILL_QTY] * scales[2], scales[3])
        out[at] = COMMA
        at = put_number(out, at + 1, fills[row + FILL_PRICE] * scales[0], scales[1])
        piece = FIRST_REASON + reason
        at = put_piece(out, at, text, starts[piece], starts[piece + 1])
    return at


def put_piece(out: MutableSequence[int], at: int, text: Sequence[int], start: int, stop: int) -> int:
    for index in range(start, stop):
        out[at] = text[index]
        at += 1
    return at


def put_number(out: MutableSequence[int], at: int, value: int, places: int) -> int:
    """Write value ÷ 10^places, at least 0, without trailing zeros. Return the position after it."""
    while places > 0 and value % 10 == 0:
        value //= 10
        places -= 1
    start = end = at + LONGEST_NUMBER  # the digits from the last to the first, then moved to their place
    written = 0
    while value > 0 or written <= places:
        if written == places and places > 0:
            start -= 1
            out[start] = POINT
        start -= 1
        rest = value // 10
        out[start] = ZERO + value - 10 * rest
        value = rest
        written += 1
    for index in range(start, end):
        out[at] = out[index]
        at += 1
    return at
