"""The program that calculates backtests, one after another: `python -m services.trading.backtests.calculation`.

It has no database, no settings and no secrets. It reads a line of JSON, then bars, one a line, and an empty line.
It answers with lines of a word and what belongs to it: `progress`, then `refused`, or `head`, rows and `end`.
"""

import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import BinaryIO, Protocol

from services.trading.backtest_question import MOST_FILLS
from shared.contracts.types import AMOUNT_PATTERN, decimal_text, from_ms, instant_text
from shared.market.bars import NotABar, enclosed, find_gaps
from shared.strategy.backtest.run import BacktestReport, run_backtest
from shared.strategy.bars import INTERVAL_MS, Bar, Instrument, Terms, TickTooCoarse
from shared.strategy.document.parse import parse_stored
from shared.strategy.execution.outcome import Fill, Trade

NICENESS = 10  # bots at a candle's close come first
KILLED_FIRST = "500"  # of 1000: where memory runs out, it is this process that goes
REPORT_EVERY_S = 0.25
ROWS_AT_ONCE = 1_000

Say = Callable[[str, str], None]
Row = dict[str, str | int]
_AMOUNT = re.compile(AMOUNT_PATTERN, re.ASCII)


class _Refused(Exception):
    """There is no result, and there never will be one."""


def main() -> None:
    """Until the other side closes its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICENESS)
    with suppress(OSError):  # Linux only
        Path("/proc/self/oom_score_adj").write_text(KILLED_FIRST)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints, prints to the log

    def say(word: str, what: str) -> None:
        answers.write(f"{word} {what}\n".encode())
        answers.flush()

    with suppress(BrokenPipeError):
        while asked := sys.stdin.buffer.readline():
            _answer(json.loads(asked), _bars(sys.stdin.buffer), say)


def _bars(source: BinaryIO) -> list[Bar]:
    bars = []
    while (line := source.readline()) != b"\n":
        if not line:
            raise SystemExit("the bars ended before their end")
        time_ms, opened, high, low, close, volume = line.decode().split("\t")
        numbers = (Decimal(opened), Decimal(high), Decimal(low), Decimal(close), Decimal(volume))
        bars.append(Bar(int(time_ms), *numbers))
    return bars


def _answer(asked: Mapping[str, object], bars: Sequence[Bar], say: Say) -> None:
    strategy, terms = parse_stored(asked["document"]), _terms(asked["terms"])
    try:
        report = run_backtest(strategy, _checked(bars), terms, None, _progress(say))
        if len(report.fills) > MOST_FILLS:
            raise _Refused(f"it has {len(report.fills)} fills, and {MOST_FILLS} is the most that is kept")
        head = json.dumps(_head(report, bars, INTERVAL_MS[strategy.interval]), allow_nan=False)
        fills = [_fill(number, fill) for number, fill in enumerate(report.fills, 1)]
        trades = [_trade(number, trade) for number, trade in enumerate(report.trades, 1)]
    except (_Refused, TickTooCoarse) as refused:
        say("refused", str(refused))
        return
    say("head", head)
    for word, rows in (("fills", fills), ("trades", trades)):
        for chunk in _chunks(rows):
            say(word, json.dumps(chunk))
    say("end", "")


def _checked(bars: Sequence[Bar]) -> list[Bar]:
    """As the feed takes them; those that an older release stored were not checked then."""
    try:
        return [enclosed(bar) for bar in bars]
    except NotABar as fault:
        raise _Refused(f"a stored candle is no bar: {fault}") from None


def _terms(told: object) -> Terms:
    assert isinstance(told, dict), "written by the process that asks"
    values = {name: Decimal(text) for name, text in told.items()}
    names = ("tick_size", "qty_step", "min_order_qty", "min_notional")
    instrument = Instrument(*(values[name] for name in names))
    return Terms(instrument, values["fee"], values["slippage"], values["initial_balance"])


class _Progress(Protocol):
    def __call__(self, done: int, total: int, /) -> None: ...


def _progress(say: Say) -> _Progress:
    last = time.monotonic()

    def tell(done: int, _total: int, /) -> None:
        nonlocal last
        if time.monotonic() - last >= REPORT_EVERY_S:
            last = time.monotonic()
            say("progress", str(done))

    return tell


def _head(report: BacktestReport, bars: Sequence[Bar], interval_ms: int) -> dict[str, object]:
    first = report.first_decision
    gaps = find_gaps((bar.open_time_ms for bar in bars), interval_ms)
    return {
        "bars": len(bars),
        "fingerprint": report.fingerprint,
        "final_equity": _amount(report.final_equity),
        "fills": len(report.fills),
        "trades": len(report.trades),
        "missing_bars": sum(gap.missing for gap in gaps),
        "first_decision": None if first is None else _time(bars[first].open_time_ms),
        "metrics": asdict(report.metrics),
    }


def _fill(number: int, fill: Fill) -> Row:
    return {
        "n": number,
        "time": _time(fill.time_ms),
        "action": fill.action,
        "side": fill.side,
        "qty": _amount(fill.qty),
        "price": _amount(fill.price),
        "fee": _amount(fill.fee),
        "reason": fill.reason,
    }


def _trade(number: int, trade: Trade) -> Row:
    return {
        "n": number,
        "side": trade.side,
        "entry_time": _time(trade.entry_time),
        "exit_time": _time(trade.exit_time),
        "entry_price": _amount(trade.entry_price),
        "exit_price": _amount(trade.exit_price),
        "quantity": _amount(trade.qty),
        "gross_pnl": _amount(trade.gross),
        "fee": _amount(trade.fees),
        "pnl": _amount(trade.pnl),
        "pnl_percentage": _amount(trade.pnl_percentage),
        "reason": trade.reason,
        "bars": trade.bars,
    }


def _amount(value: Decimal) -> str:
    text = decimal_text(value)
    if not _AMOUNT.fullmatch(text):
        raise _Refused(
            f"it comes to an amount of {len(text)} characters, and 20 digits and 18 decimals are the most"
        )
    return text


def _time(milliseconds: int) -> str:
    return instant_text(from_ms(milliseconds))


def _chunks(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    for begin in range(0, len(rows), ROWS_AT_ONCE):
        yield rows[begin : begin + ROWS_AT_ONCE]


if __name__ == "__main__":
    main()
