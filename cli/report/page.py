"""HTML page of a report: one file, for small screens, light and dark mode."""

import json
from collections.abc import Iterable
from decimal import Decimal
from html import escape

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from cli.report import figures
from cli.report.story import Story
from cli.report.strategy_text import describe_strategy
from shared.contracts.types import decimal_text, from_ms, instant_text

STYLE = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent);
        --soft: color-mix(in srgb, currentColor 6%, transparent); }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 0 auto; padding: 1rem;
       background: Canvas; color: CanvasText; }
h1 { margin-bottom: .2rem; overflow-wrap: anywhere; }
h2 { margin-top: 2.2rem; border-bottom: 1px solid var(--line); }
.quiet { opacity: .75; overflow-wrap: anywhere; }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: .6rem;
           margin: 1rem 0; }
.figures div { background: var(--soft); border-radius: .4rem; padding: .5rem .7rem; }
.figures b { display: block; font-size: 1.15rem; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%; }
th, td { text-align: right; padding: .25rem .5rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
pre { background: var(--soft); padding: .75rem; overflow-x: auto; border-radius: .3rem;
      font: .85em/1.45 ui-monospace, monospace; }
details summary { cursor: pointer; padding: .3rem 0; }
"""
# Text and grid colours follow the colour scheme of the browser, also when it changes.
SCRIPT = """
const dark = matchMedia("(prefers-color-scheme: dark)");
function paint() {
  const text = dark.matches ? "#ddd" : "#222", grid = dark.matches ? "#ffffff22" : "#00000018";
  for (const one of document.querySelectorAll(".plotly-graph-div")) {
    const change = {"font.color": text};
    for (const axis of Object.keys(one.layout).filter(name => /^[xy]axis/.test(name)))
      Object.assign(change, {[axis + ".gridcolor"]: grid, [axis + ".zerolinecolor"]: grid});
    Plotly.relayout(one, change);
  }
}
dark.addEventListener("change", paint);
addEventListener("load", paint);
"""
NOT_MODELLED = (
    "Funding payments, liquidation, partial fills, the spread and market impact are not modelled. Within a bar, a "
    "stop is filled before the targets that were not already passed at its open. Equity includes closed trades "
    "only, so drawdowns within a trade are not shown. A trade that breaks even counts as a trade in the win rate, "
    "but not as won."
)
MAX_TRADES_SHOWN = 1_000
MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


def page(story: Story) -> str:
    """Render the whole page."""
    title = escape(f"{story.strategy.name}: {story.heading}")
    sections = [
        _section("Market", _chart(figures.market(story), "market")),
        _section("Equity", _chart(figures.equity(story), "equity")),
        _section("Months", _months(story)),
        _section("Trades", _chart(figures.distribution(story), "distribution") + _trades(story)),
        _section("Strategy", _strategy(story)),
        _section("Terms", _terms(story)),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n<script>{get_plotlyjs()}</script>\n"
        f"{_head(story)}{''.join(sections)}<script>{SCRIPT}</script>\n</html>\n"
    )


def _section(title: str, content: str) -> str:
    return f"<h2>{title}</h2>\n{content}\n"


def _head(story: Story) -> str:
    bars = story.bars
    period = f"{len(bars):,} bars from {_time(bars[0].open_time_ms)} to {_time(bars[-1].open_time_ms)}"
    strategy = story.strategy
    kind = f"{strategy.side.lower()}, interval {strategy.interval}"
    return (
        f"<h1>{escape(strategy.name)}</h1>\n"
        f'<p class="quiet">{escape(story.heading)}: {kind}; {period}.</p>'
        f'<div class="figures">{"".join(_figures(story))}</div>\n'
        + "".join(f"<p>{escape(note)}</p>" for note in story.notes)
    )


def _figures(story: Story) -> Iterable[str]:
    metrics = story.metrics
    shown = [
        ("return", _number(metrics.total_return_pct, " %")),
        ("buy and hold", _number(metrics.buy_and_hold_pct, " %")),
        ("max drawdown", _number(metrics.max_drawdown_pct, " %")),
        ("final equity", decimal_text(round(story.final_equity, 2))),
        ("trades", f"{len(story.trades):,}"),
        ("win rate", _number(metrics.win_rate_pct, " %")),
        ("profit factor", _number(metrics.profit_factor)),
        ("expectancy", _number(metrics.expectancy)),
        ("bars per trade", _number(metrics.avg_bars)),
        ("exposure", _number(metrics.exposure_pct, " %")),
        ("Sharpe", _number(metrics.sharpe)),
        ("Sortino", _number(metrics.sortino)),
        ("Calmar", _number(metrics.calmar)),
        ("fees paid", _number(metrics.fees)),
    ]
    return (f"<div>{name}<b>{value}</b></div>" for name, value in shown)


def _chart(figure: go.Figure, name: str) -> str:
    figure.update_layout(
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        font={"family": "system-ui, sans-serif"},
    )
    figure.update_xaxes(automargin=True)
    figure.update_yaxes(automargin=True)
    config = {"responsive": True, "displayModeBar": False}
    html: str = figure.to_html(full_html=False, include_plotlyjs=False, div_id=name, config=config)
    return html


def _months(story: Story) -> str:
    rows = []
    for year, by_month in figures.months(story).items():
        product = Decimal(1)
        for value in by_month.values():
            product *= 1 + value / 100
        cells = "".join(_month(by_month.get(month)) for month in range(1, 13))
        rows.append(f"<tr><td>{year}</td>{cells}{_month((product - 1) * 100)}</tr>")
    heads = "".join(f"<th>{name}</th>" for name in ["", *MONTHS, "year"])
    return f'<div class="wide"><table><tr>{heads}</tr>{"".join(rows)}</table></div>'


def _month(value: Decimal | None) -> str:
    if value is None:
        return "<td></td>"
    color = figures.UP if value > 0 else figures.DOWN
    strength = min(60, int(abs(value) * 6))
    style = f' style="background: color-mix(in srgb, {color} {strength}%, transparent)"' if value else ""
    return f"<td{style}>{value:+.2f}</td>"


def _trades(story: Story) -> str:
    shown = story.trades[-MAX_TRADES_SHOWN:]
    rows = "".join(
        f"<tr><td>{_time(trade.entry_time)}</td><td>{_time(trade.exit_time)}</td><td>{trade.side}</td>"
        f"<td>{decimal_text(trade.qty)}</td><td>{decimal_text(trade.entry_price)}</td>"
        f"<td>{decimal_text(trade.exit_price)}</td><td>{decimal_text(trade.pnl)}</td>"
        f"<td>{trade.pnl_percentage:.3f}</td><td>{trade.reason}</td></tr>"
        for trade in shown
    )
    names = ("entry", "exit", "side", "quantity", "entry price", "exit price", "pnl", "pnl %", "reason")
    heads = "".join(f"<th>{name}</th>" for name in names)
    what = f"All {len(shown)} trades" if len(shown) == len(story.trades) else f"The last {len(shown)} trades"
    table = f'<div class="wide"><table><tr>{heads}</tr>{rows}</table></div>'
    return f"<details><summary>{what}</summary>{table}</details>"


def _strategy(story: Story) -> str:
    strategy = story.strategy
    about = f"<p>{escape(strategy.description)}</p>" if strategy.description else ""
    sentences = "".join(f"<li>{escape(sentence)}</li>" for sentence in describe_strategy(strategy))
    document = escape(json.dumps(json.loads(strategy.canonical), indent=2, ensure_ascii=False))
    return (
        f"{about}<ul>{sentences}</ul><details><summary>Document</summary><pre>{document}</pre></details>"
        f'<p class="quiet">Content hash {strategy.content_hash}</p>'
    )


def _terms(story: Story) -> str:
    terms, instrument = story.terms, story.terms.instrument
    rows = {
        "initial balance": decimal_text(terms.initial_balance),
        "fee per fill, of its notional": f"{decimal_text(terms.fee * 100)} %",
        "slippage, against the trader": f"{decimal_text(terms.slippage * 100)} %",
        "fees paid": _number(story.metrics.fees),
        "tick size": decimal_text(instrument.tick_size),
        "quantity step": decimal_text(instrument.qty_step),
        "minimum quantity": decimal_text(instrument.min_order_qty),
        "minimum notional": decimal_text(instrument.min_notional),
    }
    table = "".join(f"<tr><td>{name}</td><td>{value}</td></tr>" for name, value in rows.items())
    return (
        f"<table>{table}</table><p>{NOT_MODELLED}</p>"
        f'<p class="quiet">Fingerprint of all {len(story.fills):,} fills: {story.fingerprint}</p>'
    )


def _number(value: float | None, unit: str = "") -> str:
    return "–" if value is None else f"{value:,.2f}{unit}"


def _time(milliseconds: int) -> str:
    return instant_text(from_ms(milliseconds)).replace("T", " ").removesuffix(":00.000Z")
