"""The program that calculates backtests, one after another: `python -m services.trading.backtests.calculation`.

It has no database, no settings and no secrets. It reads a line of JSON, then bars, one per line, and an empty line.
It answers with lines of a kind and a payload: any number of `progress`, then either `refused`, or `head`, chunks of
`fills` and `trades`, and `end`.
"""

import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, fields
from decimal import Decimal
from pathlib import Path
from typing import BinaryIO, Protocol

from services.trading.backtest_question import MAX_FILLS
from shared.contracts.types import AMOUNT_PATTERN, decimal_text, from_ms, instant_text
from shared.market.bars import NotABar, enclose_body, find_gaps
from shared.strategy.backtest.report import BacktestReport
from shared.strategy.backtest.run import run_backtest
from shared.strategy.bars import INTERVAL_MS, Bar, Instrument, Terms, TickTooCoarse
from shared.strategy.document.parse import parse_stored
from shared.strategy.execution.outcome import Fill, Trade

NICENESS = 10  # workers stepping sessions at a candle's close come first
OOM_SCORE = "500"  # of 1000: when memory runs out, the kernel kills this process first
REPORT_EVERY_S = 0.25
ROWS_PER_CHUNK = 1_000

Send = Callable[[str, str], None]
Row = dict[str, str | int]
_AMOUNT = re.compile(AMOUNT_PATTERN, re.ASCII)


class _Refused(Exception):
    """The backtest has no result; calculating it again would not change that."""


def main() -> None:
    """Answer requests until standard input is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICENESS)
    with suppress(OSError):  # Linux only
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # prints of any library go to the log, not into the answers

    def send(kind: str, payload: str) -> None:
        answers.write(f"{kind} {payload}\n".encode())
        answers.flush()

    with suppress(BrokenPipeError):
        while request := sys.stdin.buffer.readline():
            _answer(json.loads(request), _bars(sys.stdin.buffer), send)


def _bars(source: BinaryIO) -> list[Bar]:
    bars = []
    while (line := source.readline()) != b"\n":
        if not line:
            raise SystemExit("the input ended within the bars")
        time_ms, opened, high, low, close, volume = line.decode().split("\t")
        numbers = (Decimal(opened), Decimal(high), Decimal(low), Decimal(close), Decimal(volume))
        bars.append(Bar(int(time_ms), *numbers))
    return bars


def _answer(request: Mapping[str, object], bars: Sequence[Bar], send: Send) -> None:
    strategy, terms = parse_stored(request["document"]), _terms(request["terms"])
    try:
        report = run_backtest(strategy, _check_bars(bars), terms, None, _progress(send))
        if report.total_fills > MAX_FILLS:
            raise _Refused(f"the backtest has {report.total_fills} fills; at most {MAX_FILLS} are stored")
        head = json.dumps(_head(report, bars, INTERVAL_MS[strategy.interval]), allow_nan=False)
        fills = [_fill(number, fill) for number, fill in enumerate(report.fills, 1)]
        trades = [_trade(number, trade) for number, trade in enumerate(report.trades, 1)]
    except (_Refused, TickTooCoarse) as refused:
        send("refused", str(refused))
        return
    send("head", head)
    for kind, rows in (("fills", fills), ("trades", trades)):
        for chunk in _chunks(rows):
            send(kind, json.dumps(chunk))
    send("end", "")


def _check_bars(bars: Sequence[Bar]) -> list[Bar]:
    """Check and widen bars as the feed does; older releases stored them unchecked. Raises _Refused."""
    try:
        return [enclose_body(bar) for bar in bars]
    except NotABar as fault:
        raise _Refused(f"a stored candle is invalid: {fault}") from None


def _terms(texts: object) -> Terms:
    assert isinstance(texts, dict), "written by the worker"
    values = {name: Decimal(text) for name, text in texts.items()}
    instrument = Instrument(*(values[each.name] for each in fields(Instrument)))
    return Terms(instrument, values["fee"], values["slippage"], values["initial_balance"])


class _Progress(Protocol):
    def __call__(self, done: int, total: int, /) -> None: ...


def _progress(send: Send) -> _Progress:
    last = time.monotonic()

    def report(done: int, _total: int, /) -> None:
        nonlocal last
        if time.monotonic() - last >= REPORT_EVERY_S:
            last = time.monotonic()
            send("progress", str(done))

    return report


def _head(report: BacktestReport, bars: Sequence[Bar], interval_ms: int) -> dict[str, object]:
    first = report.first_decision
    gaps = find_gaps((bar.open_time_ms for bar in bars), interval_ms)
    return {
        "bars": len(bars),
        "fingerprint": report.fingerprint,
        "final_equity": _amount(report.final_equity),
        "fills": report.total_fills,
        "trades": report.total_trades,
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
        raise _Refused(f"an amount has {len(text)} characters; at most 20 digits and 18 decimals can be stored")
    return text


def _time(milliseconds: int) -> str:
    return instant_text(from_ms(milliseconds))


def _chunks(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    for begin in range(0, len(rows), ROWS_PER_CHUNK):
        yield rows[begin : begin + ROWS_PER_CHUNK]


if __name__ == "__main__":
    main()
