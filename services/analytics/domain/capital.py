"""Capital at work: the capital that sessions hold, on which a day's percentages are based.

A day's capital at work is the least capital with which the day could have been traded: the balance of running
sessions at its start, plus the highest net inflow during the day (balances of started sessions less those of
stopped ones).
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, localcontext
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple
from zoneinfo import ZoneInfo

from services.analytics.domain.facts import ClosedTrade, SessionFact, local_date
from services.analytics.domain.quotients import PRECISION, ZERO


@dataclass(frozen=True, slots=True)
class Flow:
    """Capital added by a session at its start, or taken out at its stop."""

    moment: datetime
    added: Decimal
    taken: Decimal


class PriorTotals(NamedTuple):
    """Totals before the days that are computed."""

    pnl: Decimal = ZERO
    added: Decimal = ZERO
    taken: Decimal = ZERO

    def with_flows(self, flows: Iterable[Flow]) -> "PriorTotals":
        added, taken = self.added, self.taken
        for flow in flows:
            added, taken = added + flow.added, taken + flow.taken
        return PriorTotals(self.pnl, added, taken)


class TradingDay(NamedTuple):
    """A local date with trades, in order of exit. `added` and `taken` are the flows since the previous such day."""

    date: date
    trades: Sequence[ClosedTrade]
    pnl: Decimal
    starting_balance: Decimal
    capital_at_work: Decimal
    added: Decimal
    taken: Decimal


NO_PRIOR = PriorTotals()


def flows_of(sessions: Iterable[SessionFact]) -> list[Flow]:
    """Return the capital flows of sessions, in order of time."""
    flows = []
    for session in sessions:
        flows.append(Flow(session.started_at, session.initial_balance, ZERO))
        if session.stopped_at is not None and session.final_balance is not None:
            flows.append(Flow(session.stopped_at, ZERO, session.final_balance))
    return sorted(flows, key=lambda flow: flow.moment)


def trading_days(
    trades: Iterable[ClosedTrade], flows: Iterable[Flow], zone: ZoneInfo, prior: PriorTotals = NO_PRIOR
) -> list[TradingDay]:
    """Return the days with trades, ascending. `prior` has the totals of earlier trades and flows.

    Trades and flows belong to the local date of their time. A day's starting balance is the capital added by its
    end plus all earlier pnl.
    """
    by_date = defaultdict[date, list[ClosedTrade]](list)
    for trade in sorted(trades, key=attrgetter("exit_time", "trade_id")):
        by_date[trade.exit_time.astimezone(zone).date()].append(trade)
    flows_by_date = defaultdict[date, list[Flow]](list)
    for flow in flows:
        flows_by_date[local_date(flow.moment, zone)].append(flow)
    pending, days = sorted(flows_by_date, reverse=True), []
    with localcontext() as context:
        context.prec = PRECISION
        for day in sorted(by_date):
            previous = prior
            while pending and pending[-1] < day:
                prior = prior.with_flows(flows_by_date[pending.pop()])
            held = prior.pnl + prior.added - prior.taken
            today = flows_by_date[pending.pop()] if pending and pending[-1] == day else []
            prior = prior.with_flows(today) if today else prior
            pnl = sum((trade.pnl for trade in by_date[day]), ZERO)
            flowed = (prior.added - previous.added, prior.taken - previous.taken)
            at_work = held + _peak_inflow(today) if today else held
            days.append(TradingDay(day, by_date[day], pnl, prior.pnl + prior.added, at_work, *flowed))
            prior = PriorTotals(prior.pnl + pnl, prior.added, prior.taken)
    return days


def _peak_inflow(flows: Iterable[Flow]) -> Decimal:
    """Return the highest running balance of flows in order of time. Flows at the same time are netted."""
    balance = highest = ZERO
    for _, simultaneous in groupby(flows, key=lambda flow: flow.moment):
        balance += sum((flow.added - flow.taken for flow in simultaneous), ZERO)
        highest = max(highest, balance)
    return highest
