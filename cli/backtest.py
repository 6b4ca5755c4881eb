"""`tradefleet backtest`: run one strategy on one candle file."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path

import click

from cli.candles.file import Candles, CandlesError, Widened, read_file
from cli.candles.instrument import ResolvedInstrument, check_interval, find_instrument_file, resolve_instrument
from cli.options import BadOption, OneLineCommand, decimal_option, instrument_option, time_option
from cli.progress import progress_bar
from cli.report.file import write_page
from cli.report.story import story_of_backtest
from shared.contracts.types import decimal_text, from_ms, instant_text
from shared.market.bars import Gap, find_gaps
from shared.strategy.backtest.report import BacktestReport
from shared.strategy.backtest.run import run_backtest
from shared.strategy.bars import Bar, Instrument, Terms, TickTooCoarse
from shared.strategy.document.parse import Strategy, StrategyError, parse_json, parse_strategy
from shared.strategy.execution.outcome import Fill, Trade

_GAPS_SHOWN = 10
_LEFT_OUT = "drawdown: of closed trades only; win rate: a trade that breaks even counts, but not as won"


@click.command(cls=OneLineCommand)
@click.option("--candles", required=True, metavar="FILE.csv[.gz]", help="Candle file: open_time_ms,open,high,…")
@click.option("--strategy", required=True, metavar="FILE.json", help="The strategy document.")
@click.option(
    "--instrument",
    metavar="KEY=VALUE,…",
    help="tick_size, qty_step, min_order_qty, min_notional; default: FILE.instrument.json, else derived.",
)
@click.option("--fee", default="0.00055", show_default=True, help="Fraction of the notional of every fill.")
@click.option("--slippage", default="0", show_default=True, help="Fraction of the price, against the trader.")
@click.option("--balance", default="10000", show_default=True, help="The initial balance.")
@click.option(
    "--trade-from", metavar="TIME", help="ISO or ms: first decision on the first bar that opens at or after it."
)
@click.option("--report", "page", metavar="FILE.html", help="Also write the result as an HTML page.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the summary.")
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
    """Run a strategy on recorded candles, with fees and slippage, without funding."""
    amounts = (
        decimal_option("--fee", fee, below=1),
        decimal_option("--slippage", slippage, below=1),
        decimal_option("--balance", balance, zero=False),
    )
    first_bar_ms = None if trade_from is None else time_option("--trade-from", trade_from)
    given = [] if instrument is None else [instrument]
    for option in given:
        instrument_option(option, Instrument())  # validate before reading the candles, which takes longer
    document = read_strategy(Path(strategy))
    file, resolved = _read(Path(candles), document, given)
    terms, bars = Terms(resolved.instrument, *amounts), file.bars
    try:
        with progress_bar("backtest") as on_progress:
            report = run_backtest(document, bars, terms, first_bar_ms, on_progress)
    except TickTooCoarse as error:
        raise BadOption(f"--instrument tick_size: {error}") from error
    view = ReportView(
        report, document, terms, bars, find_gaps(_times(bars), document.interval_ms), file.widened, resolved
    )
    if page is not None:
        story = story_of_backtest(Path(candles).name, document, terms, bars, report, first_bar_ms, view.notes)
        write_page(Path(page), story)
    click.echo(json.dumps(as_object(view), allow_nan=False) if as_json else summary(view))


def _read(path: Path, document: Strategy, instrument: Sequence[str]) -> tuple[Candles, ResolvedInstrument]:
    try:
        with progress_bar("reading"):
            stored = find_instrument_file(path)
            check_interval(path, stored, document.interval)
            file = read_file(path, document.interval_ms, sparse=stored is not None)
    except CandlesError as error:
        raise BadOption(f"--candles: {error}") from error
    return file, resolve_instrument(file.bars, stored, instrument)


def _times(bars: Sequence[Bar]) -> Iterator[int]:
    return (bar.open_time_ms for bar in bars)


@dataclass(frozen=True)
class ReportView:
    """A backtest report with the properties of its candles and instrument that affect the result."""

    report: BacktestReport
    strategy: Strategy
    terms: Terms
    bars: Sequence[Bar]
    gaps: Sequence[Gap]
    widened: Sequence[Widened]
    instrument: ResolvedInstrument

    @property
    def notes(self) -> list[str]:
        """Return notes for the HTML page."""
        notes = [f"Instrument: {_instrument(self.instrument)}."]
        if self.gaps:
            notes.append(f"The candles have gaps: {_gaps(self.gaps)}.")
        if self.widened:
            notes.append(
                f"Bars whose high or low did not enclose open and close were widened: {_widened(self.widened)}."
            )
        return notes


def read_strategy(path: Path, option: str = "--strategy") -> Strategy:
    """Read a strategy document. Raises BadOption with one line per fault."""
    try:
        return parse_strategy(parse_json(path.read_bytes()))
    except OSError as error:
        raise BadOption(f"{option}: {path}: cannot be read: {error.strerror or error}") from error
    except StrategyError as error:
        raise BadOption(*(f"{option}: {path}: {fault}" for fault in error.faults)) from error


def as_object(view: ReportView) -> dict[str, object]:
    """Return the JSON of `--json`; amounts are plain decimal strings."""
    report, terms, resolved = view.report, view.terms, view.instrument
    return {
        "fingerprint": report.fingerprint,
        "arithmetic": report.arithmetic,
        "fills": report.total_fills,
        "trades": report.total_trades,
        "final_equity": decimal_text(report.final_equity),
        "strategy_hash": view.strategy.content_hash,
        "bars": len(view.bars),
        "gaps": [asdict(gap) for gap in view.gaps],
        "widened": [asdict(bar) for bar in view.widened],
        "instrument": {
            **{name: decimal_text(value) for name, value in asdict(resolved.instrument).items()},
            "source": resolved.source,
            "has_finer_prices": resolved.has_finer_prices,
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


def summary(view: ReportView) -> str:
    """Return the report as text."""
    report, strategy, terms, bars = view.report, view.strategy, view.terms, view.bars
    metrics = report.metrics
    first = "never on these candles"
    if report.first_decision is not None:
        first = _time(bars[report.first_decision].open_time_ms)
    rows = [
        ("strategy", f"{strategy.name}  {strategy.side}, interval {strategy.interval}"),
        ("strategy hash", strategy.content_hash),
        ("candles", f"{len(bars)} from {_time(bars[0].open_time_ms)} to {_time(bars[-1].open_time_ms)}"),
        ("gaps", _gaps(view.gaps)),
        *([("widened", _widened(view.widened))] if view.widened else []),
        ("instrument", _instrument(view.instrument)),
        ("decides from", first),
        (
            "terms",
            f"fee {_percent(terms.fee)} per fill, slippage {_percent(terms.slippage)}, no funding",
        ),
        ("", ""),
        ("trades", f"{report.total_trades} ({report.total_fills} fills)"),
        ("equity", f"{decimal_text(terms.initial_balance)} → {decimal_text(report.final_equity)}"),
        ("return", _shown(metrics.total_return_pct, " %")),
        ("buy and hold", _shown(metrics.buy_and_hold_pct, " %")),
        ("max drawdown", _shown(metrics.max_drawdown_pct, " %")),
        ("win rate", _shown(metrics.win_rate_pct, " %")),
        ("", _LEFT_OUT),
        ("profit factor", _shown(metrics.profit_factor)),
        ("expectancy", _shown(metrics.expectancy, " per trade")),
        ("bars per trade", _shown(metrics.avg_bars)),
        ("exposure", _shown(metrics.exposure_pct, " % of the bars")),
        ("Sharpe", _shown(metrics.sharpe)),
        ("Sortino", _shown(metrics.sortino)),
        ("Calmar", _shown(metrics.calmar)),
        ("fees paid", _shown(metrics.fees)),
        ("fingerprint", report.fingerprint),
    ]
    return "\n".join(f"{name:<14} {value}".rstrip() for name, value in rows)


def _instrument(resolved: ResolvedInstrument) -> str:
    steps = resolved.instrument
    text = (
        f"tick {decimal_text(steps.tick_size)}, quantity step {decimal_text(steps.qty_step)}, "
        f"minimum {decimal_text(steps.min_order_qty)}, minimum notional {decimal_text(steps.min_notional)}"
    )
    text = f"{text}; {resolved.source}"
    return f"{text}; the candles have prices finer than the tick" if resolved.has_finer_prices else text


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
