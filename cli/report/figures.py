"""Charts of a report, drawn with plotly. Floats are fine here: values are drawn, not booked."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from cli.report.story import Story
from cli.report.thinning import downsample_candles, downsample_curve
from shared.contracts.types import decimal_text, from_ms
from shared.strategy.bars import Bar
from shared.strategy.execution.outcome import Fill, Reason

UP, DOWN, OURS, OTHER, STOP = "#2f9e72", "#d1495b", "#3b7dd8", "#9a8866", "#c77d00"
FEW_TRADES = 20
_EXITS: dict[Reason, tuple[str, str]] = {
    "stop_loss": ("stop loss", "x"),
    "trailing_stop": ("trailing stop", "x-thin-open"),
    "take_profit": ("target", "star"),
}


def market(story: Story) -> go.Figure:
    """Return the chart of candles with entries, exits and stops."""
    bars, size = downsample_candles(story.bars)
    each = "a bar" if size == 1 else f"{size} bars"
    figure = go.Figure(
        go.Candlestick(
            x=[_time(bar.open_time_ms) for bar in bars],
            open=_floats([bar.open for bar in bars]),
            high=_floats([bar.high for bar in bars]),
            low=_floats([bar.low for bar in bars]),
            close=_floats([bar.close for bar in bars]),
            name=f"candle of {each}",
            increasing_line_color=UP,
            decreasing_line_color=DOWN,
        )
    )
    _add_stops(figure, story)
    for side, symbol, color in (("LONG", "triangle-up", UP), ("SHORT", "triangle-down", DOWN)):
        entries = [fill for fill in story.fills if fill.action == "open" and fill.side == side]
        _add_fills(figure, entries, f"entry {side.lower()}", symbol, color)
    exits: dict[tuple[str, str], list[Fill]] = {}
    for fill in story.fills:
        if fill.action == "close":
            exits.setdefault(_EXITS.get(fill.reason, ("exit", "circle-open")), []).append(fill)
    for (name, symbol), fills in exits.items():
        _add_fills(figure, fills, name, symbol, OURS)
    figure.update_layout(xaxis_rangeslider_visible=True, xaxis_rangeslider_thickness=0.06, height=560)
    if window := _first_trades(story):
        figure.update_xaxes(range=window)
        figure.update_yaxes(range=_heights(bars, window))
    return figure


def _add_fills(figure: go.Figure, fills: Sequence[Fill], name: str, symbol: str, color: str) -> None:
    if fills:
        figure.add_scattergl(
            x=[_time(fill.time_ms) for fill in fills],
            y=_floats([fill.price for fill in fills]),
            mode="markers",
            marker={"symbol": symbol, "size": 10, "color": color, "line": {"width": 1, "color": "#fff"}},
            text=[f"{decimal_text(fill.qty)} at {decimal_text(fill.price)}, {fill.reason}" for fill in fills],
            hovertemplate="%{x}<br>%{text}",
            name=name,
        )


def _add_stops(figure: go.Figure, story: Story) -> None:
    times: list[datetime] = []
    prices: list[float | None] = []
    ends = [*(stop.time_ms for stop in story.stops[1:]), story.bars[-1].open_time_ms]
    for stop, end in zip(story.stops, ends, strict=True):
        price = None if stop.price is None else float(stop.price)
        times += [_time(stop.time_ms), _time(end)]
        prices += [price, price]
    if any(price is not None for price in prices):
        line = {"color": STOP, "width": 1.5, "dash": "dot"}
        figure.add_scattergl(x=times, y=prices, mode="lines", line=line, name="stop", connectgaps=False)


def _first_trades(story: Story) -> list[datetime] | None:
    """Return the initial time window: the last FEW_TRADES trades; None, for all, if there are no more."""
    if len(story.trades) <= FEW_TRADES:
        return None
    length = story.strategy.interval_ms
    begin = story.trades[-FEW_TRADES].entry_time - 10 * length
    return [_time(begin), _time(story.bars[-1].open_time_ms + 5 * length)]


def _heights(bars: Sequence[Bar], window: Sequence[datetime]) -> list[float]:
    shown = [bar for bar in bars if window[0] <= _time(bar.open_time_ms) <= window[1]] or bars
    low, high = min(bar.low for bar in shown), max(bar.high for bar in shown)
    margin = (high - low) / 20
    return _floats([low - margin, high + margin])


def equity(story: Story) -> go.Figure:
    """Return the chart of realised equity, buy and hold, and the drawdown."""
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.7, 0.3], vertical_spacing=0.05)
    curve = [*story.equity, (story.bars[-1].open_time_ms, story.final_equity)]
    drawn = downsample_curve(curve)
    x = [_time(at) for at, _ in drawn]
    step = {"shape": "hv", "color": OURS, "width": 2}
    figure.add_scattergl(x=x, y=_floats([value for _, value in drawn]), name="equity", line=step, row=1, col=1)
    hold = downsample_curve(buy_and_hold(story))
    figure.add_scattergl(
        x=[_time(at) for at, _ in hold],
        y=_floats([value for _, value in hold]),
        name="buy and hold",
        line={"color": OTHER, "width": 1},
        row=1,
        col=1,
    )
    falls = downsample_curve(drawdowns(curve))
    figure.add_scatter(
        x=[_time(at) for at, _ in falls],
        y=[value for _, value in falls],
        name="drawdown",
        line={"shape": "hv", "color": DOWN, "width": 1},
        fill="tozeroy",
        row=2,
        col=1,
    )
    figure.update_yaxes(title_text="quote currency", row=1, col=1)
    figure.update_yaxes(title_text="% below the peak", row=2, col=1)
    figure.update_layout(height=520)
    return figure


def buy_and_hold(story: Story) -> list[tuple[int, Decimal]]:
    """Return the value over time of the initial balance invested at the open after the first decision bar."""
    if story.first_decision is None or story.first_decision + 1 >= len(story.bars):
        return []
    bars = story.bars[story.first_decision + 1 :]
    units = story.terms.initial_balance / bars[0].open
    return [(bar.open_time_ms, bar.close * units) for bar in bars]


def drawdowns(curve: Sequence[tuple[int, Decimal]]) -> list[tuple[int, float]]:
    """Return the drawdown over time in percent, 0 or below."""
    highest, falls = curve[0][1], []
    for at, value in curve:
        highest = max(highest, value)
        falls.append((at, float((value - highest) / highest * 100)))
    return falls


def distribution(story: Story) -> go.Figure:
    """Return the histogram of trades by pnl."""
    figure = go.Figure()
    for name, color, wanted in (("gain", UP, True), ("loss", DOWN, False)):
        values = [float(trade.pnl_percentage) for trade in story.trades if (trade.pnl > 0) is wanted]
        figure.add_histogram(x=values, name=f"{name} ({len(values)})", marker_color=color, opacity=0.85)
    figure.update_layout(barmode="overlay", height=320)
    figure.update_xaxes(title_text="pnl of a trade, % of its notional")
    figure.update_yaxes(title_text="trades")
    return figure


def months(story: Story) -> dict[int, dict[int, Decimal]]:
    """Return the realised return in percent by year and month (UTC), from the first bar to the last."""
    first, last = _time(story.bars[0].open_time_ms), _time(story.bars[-1].open_time_ms)
    pnl: dict[tuple[int, int], Decimal] = {}
    for trade in story.trades:
        at = _time(trade.exit_time)
        pnl[at.year, at.month] = pnl.get((at.year, at.month), Decimal(0)) + trade.pnl
    equity, table = story.terms.initial_balance, dict[int, dict[int, Decimal]]()
    for number in range(first.year * 12 + first.month - 1, last.year * 12 + last.month):
        year, month = number // 12, number % 12 + 1
        gain = pnl.get((year, month), Decimal(0))
        if equity > 0:
            table.setdefault(year, {})[month] = gain / equity * 100
        equity += gain
    return table


def _floats(values: Sequence[Decimal]) -> list[float]:
    return [float(value) for value in values]


def _time(milliseconds: int) -> datetime:
    return from_ms(milliseconds)
