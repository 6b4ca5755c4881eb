"""`tradefleet backtest`: one strategy on one file of candles."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path

import click

from cli.candles.file import Candles, CandlesError, Widened, read_file
from cli.candles.instrument import InstrumentUsed, check_interval, find_beside, instrument_used
from cli.options import BadOption, OneLineCommand, decimal_option, instrument_option, time_option
from cli.progress import progress_bar
from cli.report.file import write_page
from cli.report.story import of_backtest
from shared.contracts.types import decimal_text, from_ms, instant_text
from shared.market.bars import Gap, find_gaps
from shared.strategy.backtest.run import BacktestReport, run_backtest
from shared.strategy.bars import Bar, Instrument, Terms, TickTooCoarse
from shared.strategy.document.parse import Strategy, StrategyError, parse_json, parse_strategy
from shared.strategy.execution.outcome import Fill, Trade

_GAPS_SHOWN = 10


@click.command(cls=OneLineCommand)
@click.option("--candles", required=True, metavar="FILE.csv[.gz]", help="Candles: open_time_ms,open,high,…")
@click.option("--strategy", required=True, metavar="FILE.json", help="The strategy document.")
@click.option(
    "--instrument",
    metavar="KEY=VALUE,…",
    help="tick_size, qty_step, min_order_qty, min_notional; else as kept beside the candles, or as they show.",
)
@click.option("--fee", default="0.00055", show_default=True, help="On the notional of every fill.")
@click.option("--slippage", default="0", show_default=True, help="As a fraction, against us.")
@click.option("--balance", default="10000", show_default=True, help="The initial balance.")
@click.option("--trade-from", metavar="TIME", help="ISO or ms: decide from the first bar that opens then or later.")
@click.option("--report", "page", metavar="FILE.html", help="Also write the result as one page.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of the summary.")
def backtest(
    candles: str,
    strategy: str,
    instrument: str | None,
    fee: str,
    slippage: str,
    balance: str,
    trade_from: str | None,
    page: str | None,
    as_json: bool,
) -> None:
    """Run a strategy over recorded candles: exact fills, fees counted, no funding."""
    amounts = (
        decimal_option("--fee", fee, below=1),
        decimal_option("--slippage", slippage, below=1),
        decimal_option("--balance", balance, zero=False),
    )
    first_bar_ms = None if trade_from is None else time_option("--trade-from", trade_from)
    given = [] if instrument is None else [instrument]
    for option in given:
        instrument_option(option, Instrument())  # before the candles are read, which takes longer
    document = read_strategy(Path(strategy))
    file, used = _read(Path(candles), document, given)
    terms, bars = Terms(used.instrument, *amounts), file.bars
    try:
        with progress_bar("backtest") as tell:
            report = run_backtest(document, bars, terms, first_bar_ms, tell)
    except TickTooCoarse as error:
        raise BadOption(f"--instrument tick_size: {error}") from error
    shown = ShownReport(
        report, document, terms, bars, find_gaps(_times(bars), document.interval_ms), file.widened, used
    )
    if page is not None:
        story = of_backtest(Path(candles).name, document, terms, bars, report, first_bar_ms, shown.notes)
        write_page(Path(page), story)
    click.echo(json.dumps(as_object(shown), allow_nan=False) if as_json else summary(shown))


def _read(path: Path, document: Strategy, instrument: Sequence[str]) -> tuple[Candles, InstrumentUsed]:
    try:
        with progress_bar("reading"):
            beside = find_beside(path)
            check_interval(path, beside, document.interval)
            file = read_file(path, document.interval_ms, sparse=beside is not None)
    except CandlesError as error:
        raise BadOption(f"--candles: {error}") from error
    return file, instrument_used(file.bars, beside, instrument)


def _times(bars: Sequence[Bar]) -> Iterator[int]:
    return (bar.open_time_ms for bar in bars)


@dataclass(frozen=True)
class ShownReport:
    """A report, and what of its candles and instrument the reader must know."""

    report: BacktestReport
    strategy: Strategy
    terms: Terms
    bars: Sequence[Bar]
    gaps: Sequence[Gap]
    widened: Sequence[Widened]
    instrument: InstrumentUsed

    @property
    def notes(self) -> list[str]:
        """Sentences of the page."""
        notes = [f"Instrument: {_instrument(self.instrument)}."]
        if self.gaps:
            notes.append(f"The candles have holes: {_gaps(self.gaps)}.")
        if self.widened:
            notes.append(
                f"Bars whose high or low did not enclose open and close were widened: {_widened(self.widened)}."
            )
        return notes


def read_strategy(path: Path, option: str = "--strategy") -> Strategy:
    """The strategy in a file; BadOption with a line per fault."""
    try:
        return parse_strategy(parse_json(path.read_bytes()))
    except OSError as error:
        raise BadOption(f"{option}: {path}: cannot be read: {error.strerror or error}") from error
    except StrategyError as error:
        raise BadOption(*(f"{option}: {path}: {fault}" for fault in error.faults)) from error


def as_object(shown: ShownReport) -> dict[str, object]:
    """What `--json` prints; amounts are plain decimal strings."""
    report, terms, used = shown.report, shown.terms, shown.instrument
    return {
        "fingerprint": report.fingerprint,
        "fills": len(report.fills),
        "trades": len(report.trades),
        "final_equity": decimal_text(report.final_equity),
        "strategy_hash": shown.strategy.content_hash,
        "bars": len(shown.bars),
        "gaps": [asdict(gap) for gap in shown.gaps],
        "widened": [asdict(bar) for bar in shown.widened],
        "instrument": {
            **{name: decimal_text(value) for name, value in asdict(used.instrument).items()},
            "source": used.source,
            "has_finer_prices": used.has_finer_prices,
        },
        "fee": decimal_text(terms.fee),
        "slippage": decimal_text(terms.slippage),
        "initial_balance": decimal_text(terms.initial_balance),
        "funding": None,
        "metrics": asdict(report.metrics),
        "fill_list": [_fill(fill) for fill in report.fills],
        "trade_list": [_trade(trade) for trade in report.trades],
    }


def _fill(fill: Fill) -> dict[str, object]:
    return {
        "time_ms": fill.time_ms,
        "action": fill.action,
        "side": fill.side,
        "qty": decimal_text(fill.qty),
        "price": decimal_text(fill.price),
        "fee": decimal_text(fill.fee),
        "reason": fill.reason,
    }


def _trade(trade: Trade) -> dict[str, object]:
    return {
        "side": trade.side,
        "entry_time": trade.entry_time,
        "exit_time": trade.exit_time,
        "entry_price": decimal_text(trade.entry_price),
        "exit_price": decimal_text(trade.exit_price),
        "qty": decimal_text(trade.qty),
        "gross": decimal_text(trade.gross),
        "fees": decimal_text(trade.fees),
        "pnl": decimal_text(trade.pnl),
        "pnl_percentage": decimal_text(trade.pnl_percentage),
        "reason": trade.reason,
        "strategy_hash": trade.strategy_hash,
    }


def summary(shown: ShownReport) -> str:
    """The report for a reader."""
    report, strategy, terms, bars = shown.report, shown.strategy, shown.terms, shown.bars
    metrics = report.metrics
    first = "never on these candles"
    if report.first_decision is not None:
        first = _time(bars[report.first_decision].open_time_ms)
    rows = [
        ("strategy", f"{strategy.name}  {strategy.side}, interval {strategy.interval}"),
        ("strategy hash", strategy.content_hash),
        ("candles", f"{len(bars)} from {_time(bars[0].open_time_ms)} to {_time(bars[-1].open_time_ms)}"),
        ("gaps", _gaps(shown.gaps)),
        *([("widened", _widened(shown.widened))] if shown.widened else []),
        ("instrument", _instrument(shown.instrument)),
        ("decides from", first),
        (
            "terms",
            f"fee {_percent(terms.fee)} of every fill, slippage {_percent(terms.slippage)}, no funding",
        ),
        ("", ""),
        ("trades", f"{len(report.trades)} ({len(report.fills)} fills)"),
        ("equity", f"{decimal_text(terms.initial_balance)} → {decimal_text(report.final_equity)}"),
        ("return", _shown(metrics.total_return_pct, " %")),
        ("buy and hold", _shown(metrics.buy_and_hold_pct, " %")),
        ("max drawdown", _shown(metrics.max_drawdown_pct, " %")),
        ("win rate", _shown(metrics.win_rate_pct, " %")),
        ("profit factor", _shown(metrics.profit_factor)),
        ("expectancy", _shown(metrics.expectancy, " a trade")),
        ("bars a trade", _shown(metrics.avg_bars)),
        ("exposure", _shown(metrics.exposure_pct, " % of the bars")),
        ("Sharpe", _shown(metrics.sharpe)),
        ("Sortino", _shown(metrics.sortino)),
        ("Calmar", _shown(metrics.calmar)),
        ("fees paid", _shown(metrics.fees)),
        ("fingerprint", report.fingerprint),
    ]
    return "\n".join(f"{name:<14} {value}".rstrip() for name, value in rows)


def _instrument(used: InstrumentUsed) -> str:
    steps = used.instrument
    text = (
        f"tick {decimal_text(steps.tick_size)}, quantity step {decimal_text(steps.qty_step)}, "
        f"least {decimal_text(steps.min_order_qty)}, least notional {decimal_text(steps.min_notional)}"
    )
    text = f"{text}; {used.source}"
    return f"{text}; the candles have prices finer than the tick" if used.has_finer_prices else text


def _widened(widened: Sequence[Widened]) -> str:
    lines = ", ".join(f"line {bar.line}" for bar in widened[:_GAPS_SHOWN])
    more = f" and {len(widened) - _GAPS_SHOWN} more" if len(widened) > _GAPS_SHOWN else ""
    return f"{len(widened)}: {lines}{more}"


def _gaps(gaps: Sequence[Gap]) -> str:
    if not gaps:
        return "none"
    lines = [f"{len(gaps)}, {sum(gap.missing for gap in gaps)} bars missing"]
    lines += [
        f"{gap.missing} after {_time(gap.after_ms)}, before {_time(gap.before_ms)}" for gap in gaps[:_GAPS_SHOWN]
    ]
    if len(gaps) > _GAPS_SHOWN:
        lines.append(f"and {len(gaps) - _GAPS_SHOWN} more (--json lists all)")
    return ("\n" + " " * 15).join(lines)


def _percent(fraction: Decimal) -> str:
    return f"{decimal_text(fraction * 100)} %"


def _shown(value: float | None, unit: str = "") -> str:
    if value is None:
        return "undefined"
    number = f"{value:,.2f}" if value == 0 or abs(value) >= 1 else f"{value:.4g}"
    return f"{number}{unit}"


def _time(milliseconds: int) -> str:
    return instant_text(from_ms(milliseconds)).replace(".000Z", "Z")


if __name__ == "__main__":
    backtest()
