"""Run a strategy on bars, step by step as in the specification, in exact fractions."""

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction

from tests.reference.conditions import Columns, columns_of, evaluate
from tests.reference.document import Json, content_hash, part, plain
from tests.reference.indicators import Candles

DAY_MS = 86_400_000


@dataclass(frozen=True)
class Bar:
    time: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


@dataclass(frozen=True)
class Terms:
    tick_size: Decimal
    qty_step: Decimal
    min_order_qty: Decimal
    min_notional: Decimal
    fee: Decimal
    slippage: Decimal
    initial_balance: Decimal


@dataclass(frozen=True)
class Fill:
    time_ms: int
    action: str
    side: str
    qty: Fraction
    price: Fraction
    fee: Fraction
    reason: str

    def line(self) -> str:
        return f"{self.time_ms},{self.action},{self.side},{plain(self.qty)},{plain(self.price)},{self.reason}\n"


@dataclass(frozen=True)
class Trade:
    side: str
    entry_time: int
    exit_time: int
    entry_price: Fraction
    exit_price: Fraction
    qty: Fraction
    gross: Fraction
    fees: Fraction
    pnl: Fraction
    pnl_percentage: Fraction
    reason: str
    strategy_hash: str
    bars: int


@dataclass(frozen=True)
class Order:
    """An entry decided at a close. `distances` are the indicator distances of the stop and the targets."""

    side: str
    qty: Fraction
    stop_distance: Fraction | None
    target_distances: list[Fraction | None]


@dataclass
class Position:
    side: str
    time: int
    qty: Fraction
    price: Fraction
    left: Fraction
    extreme: Fraction
    stop_loss: Fraction | None
    targets: list[Fraction | None]
    spent: list[bool]
    fills: list[Fill]
    bars: int = 0  # in which it was open, after their open
    closes: int = 0  # closes since the entry

    @property
    def sign(self) -> int:
        return 1 if self.side == "LONG" else -1


@dataclass
class Result:
    strategy_hash: str
    decides_from: int
    fills: list[Fill] = field(default_factory=list)
    trades: list[Trade] = field(default_factory=list)
    final_equity: Fraction = Fraction(0)
    hits: Counter[str] = field(default_factory=Counter)

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256("".join(fill.line() for fill in self.fills).encode()).hexdigest()


def half_even(value: Fraction, places: int) -> Fraction:
    return Fraction(round(value * 10**places), 10**places)  # round() of a fraction is half-even


def number(value: object) -> Fraction:
    return Fraction(str(value))


class Run:
    """One backtest. `run()` follows the order of the specification and calls the other methods."""

    def __init__(
        self,
        document: Json,
        bars: Sequence[Bar],
        terms: Terms,
        columns: Columns | None = None,
        trade_from: int | None = None,
    ) -> None:
        config = part(document, "strategy_config")
        indicators = part(config, "indicators")
        self.document, self.bars = document, bars
        self.risk = part(document, "risk_management")
        self.both = config["side"] == "BOTH"
        self.side = str(config["side"])
        self.tick, self.step = Fraction(terms.tick_size), Fraction(terms.qty_step)
        self.min_qty, self.min_notional = Fraction(terms.min_order_qty), Fraction(terms.min_notional)
        self.fee, self.slippage = Fraction(terms.fee), Fraction(terms.slippage)
        self.equity = Fraction(terms.initial_balance)
        self.columns = columns or columns_of(candles_of(bars), indicators)
        self.result = Result(content_hash(document), self._decides_from(list(indicators), trade_from))
        self.position: Position | None = None
        self.leaving: str | None = None  # reason of a pending exit
        self.order: Order | None = None  # pending entry
        self.ended_at: int | None = None  # bar in which the last trade ended
        self.day, self.day_equity, self.day_pnl, self.day_lost = -1, self.equity, Fraction(0), False

    def _decides_from(self, names: list[str], trade_from: int | None) -> int:
        """Return the first decision bar, or the number of bars if there is none."""
        declared = [c for key, c in self.columns.items() if key.split(".")[0] in names]
        for t, bar in enumerate(self.bars):
            late_enough = trade_from is None or bar.time >= trade_from
            if late_enough and not any(math.isnan(column[t]) for column in declared):
                return t
        return len(self.bars)

    def run(self) -> Result:
        for t, bar in enumerate(self.bars):
            if bar.time // DAY_MS != self.day:
                self.day, self.day_equity = bar.time // DAY_MS, self.equity
                self.day_pnl, self.day_lost = Fraction(0), False
            self.at_open(t, bar)
            self.stops_and_targets(t, bar)
            self.at_close(t, bar)
        if self.position and self.bars:
            self.close(len(self.bars) - 1, self.position.left, Fraction(self.bars[-1].close), "end_of_data")
        self.result.final_equity = self.equity
        return self.result

    # 1. At the open

    def at_open(self, t: int, bar: Bar) -> None:
        if self.leaving and self.position:
            price = self.with_slippage(Fraction(bar.open), -self.position.sign)
            self.close(t, self.position.left, price, self.leaving)
        self.leaving, order, self.order = None, self.order, None
        if order is None:
            return
        if self.equity <= 0:
            self.result.hits["dropped: no equity"] += 1
            return
        self.open(bar, order)

    def open(self, bar: Bar, order: Order) -> None:
        sign = 1 if order.side == "LONG" else -1
        price = self.fill_price(self.with_slippage(Fraction(bar.open), sign))
        fill = Fill(bar.time, "open", order.side, order.qty, price, order.qty * price * self.fee, "entry")
        self.result.fills.append(fill)
        stop = self.risk.get("stop_loss")
        self.position = Position(
            side=order.side,
            time=bar.time,
            qty=order.qty,
            price=price,
            left=order.qty,
            extreme=price,
            stop_loss=self.level(price, stop, order.stop_distance, -sign) if stop else None,
            targets=[
                self.level(price, raw, distance, sign)
                for raw, distance in zip(self.levels(), order.target_distances, strict=True)
            ],
            spent=[False] * len(self.levels()),
            fills=[fill],
        )

    def level(self, price: Fraction, raw: object, distance: Fraction | None, sign: int) -> Fraction | None:
        """A stop or target at a distance from the fill price; None if it would not be above 0."""
        assert isinstance(raw, dict)
        beside = price * number(raw["value"]) / 100 if distance is None else distance
        return self.valid_level(price + sign * beside)

    # 2. Stops and targets

    def stops_and_targets(self, t: int, bar: Bar) -> None:
        position = self.position
        if position is None:
            return
        position.bars += 1
        sign = position.sign
        price, adverse, favourable = bar.open, bar.low, bar.high
        if sign < 0:
            adverse, favourable = favourable, adverse
        stop, reason = self.stop_of(position)
        if stop is not None and sign * price <= sign * stop:
            self.result.hits["stop at the open"] += 1
            self.close(t, position.left, self.with_slippage(Fraction(price), -sign), reason)
            return
        self.take_profits(t, position, Fraction(price), at_open=True)
        if self.position is None:
            return
        if stop is not None and sign * adverse <= sign * stop:
            self.close(t, position.left, self.with_slippage(stop, -sign), reason)
            return
        self.take_profits(t, position, Fraction(favourable), at_open=False)

    def stop_of(self, position: Position) -> tuple[Fraction | None, str]:
        trailing, fixed = self.trailing_of(position), position.stop_loss
        if trailing is None:
            return fixed, "stop_loss"
        if fixed is None or position.sign * trailing > position.sign * fixed:
            return trailing, "trailing_stop"
        return fixed, "stop_loss"

    def trailing_of(self, position: Position) -> Fraction | None:
        raw = self.risk.get("trailing_stop")
        if not isinstance(raw, dict):
            return None
        sign = position.sign
        live_at = position.price * (1 + sign * number(raw.get("activation") or 0) / 100)
        if sign * position.extreme < sign * live_at:
            return None
        return self.valid_level(position.extreme * (1 - sign * number(raw["value"]) / 100))

    def take_profits(self, t: int, position: Position, reached: Fraction, at_open: bool) -> None:
        """Fill every remaining target that `reached` is at or beyond, in their order."""
        listed = Fraction(0)
        for i, raw in enumerate(self.levels()):
            listed += number(raw["close_percent"])
            target = position.targets[i]
            if position.spent[i] or target is None or position.sign * reached < position.sign * target:
                continue
            position.spent[i] = True
            size = self.to_step(position.qty * number(raw["close_percent"]) / 100)
            if listed == 100:
                size = position.left
            if size < self.min_qty:
                self.result.hits["target too small"] += 1
                continue
            self.result.hits["target at the open" if at_open else "target in the bar"] += 1
            self.close(t, size, reached if at_open else target, "take_profit")
            if self.position is None:
                return

    # 3. At the close

    def at_close(self, t: int, bar: Bar) -> None:
        position = self.position
        if position is not None:
            position.closes += 1
            extreme = Fraction(bar.high if position.sign > 0 else bar.low)
            position.extreme = (
                max(position.extreme, extreme) if position.sign > 0 else min(position.extreme, extreme)
            )
            self.leaving = self.exit_reason(t, position, Fraction(bar.close))
            if self.leaving is None or not self.both:
                return
        if t < self.result.decides_from:
            return
        wanted = self.entry_side(t)
        if wanted is None or (position is not None and wanted == position.side):
            return
        if self.is_refused(t, position):
            return
        self.order = self.size_order(t, Fraction(bar.close), wanted)
        if self.order and position:
            self.result.hits["reversal"] += 1

    def exit_reason(self, t: int, position: Position, close: Fraction) -> str | None:
        trailing = self.trailing_of(position)
        if trailing is not None and position.sign * close <= position.sign * trailing:
            return "trailing_stop"
        if self.is_true("exit_conditions", position.side, t):
            return "signal"
        limit = self.risk.get("max_bars")
        return "time" if isinstance(limit, int) and position.closes >= limit else None

    def is_true(self, key: str, side: str, t: int) -> bool:
        raw = self.document.get(key)
        if self.both and isinstance(raw, dict):
            raw = raw.get(side.lower())
        return raw is not None and evaluate(self.columns, raw, t) is True

    def entry_side(self, t: int) -> str | None:
        if not self.both:
            return self.side if self.is_true("entry_conditions", self.side, t) else None
        long, short = (self.is_true("entry_conditions", side, t) for side in ("LONG", "SHORT"))
        if long and short:
            self.result.hits["both entries true"] += 1
            return None
        return "LONG" if long else "SHORT" if short else None

    def is_refused(self, t: int, leaving: Position | None) -> bool:
        cooldown = int(str(self.risk.get("cooldown_bars") or 0))
        refusals = {
            "cooldown": self.ended_at is not None and t - self.ended_at < cooldown,
            "no reversing with a cooldown": leaving is not None and cooldown > 0,
            "daily loss": self.day_lost,
            "no equity": self.equity <= 0,
        }
        for name, holds in refusals.items():
            self.result.hits[f"refused: {name}"] += holds
        return any(refusals.values())

    def size_order(self, t: int, close: Fraction, side: str) -> Order | None:
        """The order with its quantity and distances; None if the rules refuse it."""
        stop, size = self.risk.get("stop_loss"), part(self.risk, "position_size")
        stop_distance = self.distance(stop, t) if isinstance(stop, dict) else None
        targets = [self.distance(raw, t) for raw in self.levels()]
        if any(distance is not None and distance <= 0 for distance in [stop_distance, *targets]):
            self.result.hits["refused: no distance"] += 1
            return None
        value, leverage = number(size["value"]), number(self.risk.get("leverage") or 1)
        if size["type"] == "percent_of_equity":
            qty = self.equity * value / 100 * leverage / close
        elif size["type"] == "fixed_quote":
            qty = value / close
        elif size["type"] == "fixed_base":
            qty = value
        else:
            assert isinstance(stop, dict)
            away = close * number(stop["value"]) / 100 if stop_distance is None else stop_distance
            qty = self.equity * value / 100 / away
        largest = self.equity * leverage / (close * (1 + Fraction(1, 100) + 2 * self.fee * leverage))
        if qty > largest:
            self.result.hits["reduced to leverage"] += 1
        qty = self.to_step(min(qty, largest))
        if qty < self.min_qty or qty * close < self.min_notional:
            self.result.hits[f"too small: {'quantity' if qty < self.min_qty else 'notional'}"] += 1
            return None
        return Order(side, qty, stop_distance, targets)

    def distance(self, raw: Json, t: int) -> Fraction | None:
        """The distance of a stop or target by an indicator, 0 where that is undefined; None for percentages."""
        if raw["type"] == "percent":
            return None
        series = self.columns[str(raw["indicator"])][t]
        return Fraction(0) if math.isnan(series) else number(raw["value"]) * Fraction(repr(float(series)))

    # Used by all steps

    def close(self, t: int, qty: Fraction, price: Fraction, reason: str) -> None:
        position, time = self.position, self.bars[t].time
        assert position is not None
        price = self.fill_price(price)
        fill = Fill(time, "close", position.side, qty, price, qty * price * self.fee, reason)
        self.result.fills.append(fill)
        position.fills.append(fill)
        position.left -= qty
        if position.left == 0:
            self.finish(t, position, reason)

    def finish(self, t: int, position: Position, reason: str) -> None:
        closes = position.fills[1:]
        proceeds = sum((fill.qty * fill.price for fill in closes), Fraction(0))
        cost = position.qty * position.price
        gross = position.sign * (proceeds - cost)
        fees = sum((fill.fee for fill in position.fills), Fraction(0))
        pnl = half_even(gross - fees, 8)
        self.result.trades.append(
            Trade(
                side=position.side,
                entry_time=position.time,
                exit_time=self.bars[t].time,
                entry_price=position.price,
                exit_price=half_even(proceeds / position.qty, 8),
                qty=position.qty,
                gross=gross,
                fees=fees,
                pnl=pnl,
                pnl_percentage=half_even(pnl / cost * 100, 8),
                reason=reason,
                strategy_hash=self.result.strategy_hash,
                bars=position.bars,
            )
        )
        self.equity += pnl
        self.position, self.ended_at = None, t
        self.day_pnl += pnl
        limit = self.risk.get("max_daily_loss_percentage")
        if limit is not None and self.day_pnl <= -number(limit) / 100 * self.day_equity:
            self.day_lost = True

    def levels(self) -> list[Json]:
        raw = self.risk.get("take_profits")
        return raw if isinstance(raw, list) else []

    def with_slippage(self, price: Fraction, direction: int) -> Fraction:
        """The price after slippage of a buy (1) or a sell (-1)."""
        return price * (1 + direction * self.slippage)

    def to_tick(self, price: Fraction) -> Fraction:
        return math.floor(price / self.tick + Fraction(1, 2)) * self.tick

    def fill_price(self, price: Fraction) -> Fraction:
        """Round to the tick; no fill has a price at or below 0."""
        return max(self.tick, self.to_tick(price))

    def to_step(self, qty: Fraction) -> Fraction:
        return math.floor(qty / self.step) * self.step

    def valid_level(self, price: Fraction) -> Fraction | None:
        rounded = self.to_tick(price)
        return rounded if rounded > 0 else None


def candles_of(bars: Sequence[Bar]) -> Candles:
    names = ("open", "high", "low", "close", "volume")
    return Candles(*([float(getattr(bar, name)) for bar in bars] for name in names))
