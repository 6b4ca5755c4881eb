"""`tradefleet backtest`: one strategy on one file of candles."""

import json
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path

import click

from cli.candles_file import CandlesError, Gap, find_gaps, read_candles
from cli.options import BadOption, OneLineCommand, decimal_option, instrument_option, time_option
from cli.progress import progress_bar
from cli.report.file import write_page
from cli.report.story import of_backtest
from shared.contracts.types import decimal_text, from_ms, instant_text
from shared.strategy.backtest import Report, run_backtest
from shared.strategy.bars import Bar, Instrument, Terms
from shared.strategy.document import Strategy, StrategyError, parse_json, parse_strategy
from shared.strategy.outcome import Fill, Trade

_GAPS_SHOWN = 10


@click.command(cls=OneLineCommand)
@click.option("--candles", required=True, metavar="FILE.csv[.gz]", help="Candles: open_time_ms,open,high,…")
@click.option("--strategy", required=True, metavar="FILE.json", help="The strategy document.")
@click.option("--instrument", metavar="KEY=VALUE,…", help="tick_size, qty_step, min_order_qty, min_notional.")
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
    terms = Terms(
        Instrument() if instrument is None else instrument_option(instrument),
        decimal_option("--fee", fee, below=1),
        decimal_option("--slippage", slippage, below=1),
        decimal_option("--balance", balance, zero=False),
    )
    first_bar_ms = None if trade_from is None else time_option("--trade-from", trade_from)
    document = read_strategy(Path(strategy))
    try:
        with progress_bar("reading"):
            bars = read_candles(Path(candles), document.interval_ms)
    except CandlesError as error:
        raise BadOption(f"--candles: {error}") from error
    with progress_bar("backtest") as tell:
        report = run_backtest(document, bars, terms, first_bar_ms, tell)
    gaps = find_gaps(bars, document.interval_ms)
    if page is not None:
        notes = [f"The candles have holes: {_gaps(gaps)}."] if gaps else []
        write_page(Path(page), of_backtest(Path(candles).name, document, terms, bars, report, first_bar_ms, notes))
    if as_json:
        click.echo(json.dumps(as_object(report, document, terms, bars, gaps), allow_nan=False))
    else:
        click.echo(summary(report, document, terms, bars, gaps))


def read_strategy(path: Path, option: str = "--strategy") -> Strategy:
    """The strategy in a file; BadOption with a line per fault."""
    try:
        return parse_strategy(parse_json(path.read_bytes()))
    except OSError as error:
        raise BadOption(f"{option}: {path}: cannot be read: {error.strerror or error}") from error
    except StrategyError as error:
        raise BadOption(*(f"{option}: {path}: {fault}" for fault in error.faults)) from error


def as_object(
    report: Report, strategy: Strategy, terms: Terms, bars: list[Bar], gaps: list[Gap]
) -> dict[str, object]:
    """What `--json` prints; amounts are plain decimal strings."""
    return {
        "fingerprint": report.fingerprint,
        "fills": len(report.fills),
        "trades": len(report.trades),
        "final_equity": decimal_text(report.final_equity),
        "strategy_hash": strategy.content_hash,
        "bars": len(bars),
        "gaps": [asdict(gap) for gap in gaps],
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


def summary(report: Report, strategy: Strategy, terms: Terms, bars: list[Bar], gaps: list[Gap]) -> str:
    """The report for a reader."""
    metrics = report.metrics
    first = "never on these candles"
    if report.first_decision is not None:
        first = _time(bars[report.first_decision].open_time_ms)
    rows = [
        ("strategy", f"{strategy.name}  {strategy.side}, interval {strategy.interval}"),
        ("strategy hash", strategy.content_hash),
        ("candles", f"{len(bars)} from {_time(bars[0].open_time_ms)} to {_time(bars[-1].open_time_ms)}"),
        ("gaps", _gaps(gaps)),
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


def _gaps(gaps: list[Gap]) -> str:
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
