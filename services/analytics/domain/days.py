"""From facts to days: one pure function, so that the same facts give the same days in whatever order they came."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from itertools import accumulate
from uuid import UUID
from zoneinfo import ZoneInfo

from services.analytics.statistics import trailing_risk

ZERO = Decimal(0)
PLACES = Decimal("0.00000001")
PRECISION = 60  # digits; sums of amounts stay exact far beyond any balance
TRAILING_DAYS = 30
ONE_DAY = timedelta(days=1)


@dataclass(frozen=True)
class TradeFact:
    """A finished round trip; `pnl` is net of `fee`."""

    trade_id: UUID
    symbol: str
    strategy_id: UUID
    strategy_name: str
    exit_time: datetime
    pnl: Decimal
    fee: Decimal


@dataclass(frozen=True)
class SessionFact:
    """What a session brought in and gave back, and when."""

    initial_balance: Decimal
    started_at: datetime
    final_balance: Decimal | None = None
    stopped_at: datetime | None = None


@dataclass(frozen=True)
class Day:
    """A local day with trades. Balances and pnl are exact, percentages have 8 places; the rest are statistics.

    The flows are what sessions brought in and gave back since the day before with trades.
    """

    date: date
    starting_balance: Decimal
    ending_balance: Decimal
    daily_pnl: Decimal
    daily_pnl_percentage: Decimal | None
    total_trades: int
    winning_trades: int
    losing_trades: int
    win_rate: Decimal
    max_drawdown: Decimal | None
    sharpe_ratio: Decimal | None
    volatility: Decimal | None
    capital_added: Decimal
    capital_taken: Decimal


@dataclass(frozen=True)
class Carried:
    """What the days before the first one to be cut hand on: their first, their last and what it ended with.

    `returns_pct` has those of the last 29 days.
    """

    first_date: date
    last_date: date
    ending_balance: Decimal
    returns_pct: Mapping[date, Decimal | None] = field(default_factory=dict)


def cut_days(
    trades: Iterable[TradeFact],
    sessions: Sequence[SessionFact],
    zone: ZoneInfo,
    carried: Carried | None = None,
    *,
    pnl_before: Decimal = ZERO,
) -> list[Day]:
    """The days of these trades, ascending: all, those after the days that are `carried`, or of a part alone.

    `pnl_before` is of the trades before such a part.

    A trade belongs to the local date of its exit. The starting balance is what sessions begun by the end of the
    day brought in, and all pnl before; what they bring in and give back is a flow, outside the day's percentage.
    """
    by_date: dict[date, list[TradeFact]] = {}
    for trade in sorted(trades, key=lambda trade: (trade.exit_time, trade.trade_id)):
        by_date.setdefault(trade.exit_time.astimezone(zone).date(), []).append(trade)
    returns = dict(carried.returns_pct) if carried else {}
    first = carried.first_date if carried else min(by_date, default=None)
    since = day_start(carried.last_date + ONE_DAY, zone) if carried else None
    days: list[Day] = []
    with localcontext() as context:
        context.prec = PRECISION
        added = _Running((each.started_at, each.initial_balance) for each in sessions)
        taken = _Running((each.stopped_at, each.final_balance) for each in sessions)
        if carried and since:
            pnl_before = carried.ending_balance - added.before(since)
        for day in sorted(by_date):
            assert first is not None, "there is a first day"
            end = day_start(day + ONE_DAY, zone)
            starting = added.before(end) + pnl_before
            pnl = sum((trade.pnl for trade in by_date[day]), ZERO)
            returns[day] = percent(pnl, starting)
            flows = (each.before(end) - (each.before(since) if since else ZERO) for each in (added, taken))
            days.append(_day(day, by_date[day], starting, trailing(returns, first, day), *flows))
            since, pnl_before = end, pnl_before + pnl
    return days


def _day(
    day: date,
    trades: Sequence[TradeFact],
    starting: Decimal,
    recent: Sequence[Decimal],
    capital_added: Decimal,
    capital_taken: Decimal,
) -> Day:
    pnls = [trade.pnl for trade in trades]
    pnl = sum(pnls, ZERO)
    winning = sum(each > 0 for each in pnls)
    sharpe, volatility = trailing_risk(recent)
    return Day(
        date=day,
        starting_balance=starting,
        ending_balance=starting + pnl,
        daily_pnl=pnl,
        daily_pnl_percentage=percent(pnl, starting),
        total_trades=len(pnls),
        winning_trades=winning,
        losing_trades=sum(each < 0 for each in pnls),
        win_rate=percent(Decimal(winning), Decimal(len(pnls))) or ZERO,
        max_drawdown=max_drawdown_pct(starting, pnls),
        sharpe_ratio=sharpe,
        volatility=volatility,
        capital_added=capital_added,
        capital_taken=capital_taken,
    )


def trailing(
    returns_pct: Mapping[date, Decimal | None], first: date, last: date, days: int = TRAILING_DAYS
) -> list[Decimal]:
    """Returns of the calendar days up to `last`; 0 where nothing was traded, left out where undefined."""
    begin = max(first, last - timedelta(days=days - 1))
    wanted = map(date.fromordinal, range(begin.toordinal(), last.toordinal() + 1))
    return [value for day in wanted if (value := returns_pct.get(day, ZERO)) is not None]


class _Running:
    """The sum of amounts, by the time they came."""

    def __init__(self, amounts: Iterable[tuple[datetime | None, Decimal | None]]) -> None:
        come = sorted((moment, amount) for moment, amount in amounts if moment is not None and amount is not None)
        self._moments = [moment for moment, _ in come]
        self._sums = list(accumulate((amount for _, amount in come), initial=ZERO))

    def before(self, moment: datetime) -> Decimal:
        return self._sums[bisect_left(self._moments, moment)]


def day_start(day: date, zone: ZoneInfo) -> datetime:
    """The moment a local day begins; where the clock skips midnight, the first moment after it."""
    return datetime.combine(day, time.min, zone).astimezone(UTC)


def percent(part: Decimal, whole: Decimal) -> Decimal | None:
    """8 places, half-even; None where there is no whole."""
    if whole <= 0:
        return None
    with localcontext() as context:
        context.prec = PRECISION
        return (part / whole * 100).quantize(PLACES, ROUND_HALF_EVEN)


def max_drawdown_pct(starting: Decimal, pnls: Iterable[Decimal]) -> Decimal | None:
    """Of realised equity, from its highest so far, the start included; None where there was never any."""
    equity = highest = starting
    deepest = percent(ZERO, starting)
    for pnl in pnls:
        equity += pnl
        highest = max(highest, equity)
        fall = percent(highest - equity, highest)
        if fall is not None and (deepest is None or fall > deepest):
            deepest = fall
    return deepest
