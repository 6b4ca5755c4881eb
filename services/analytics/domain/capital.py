"""Capital at work: what sessions hold, and what a day's trades are measured by.

A day's capital at work is the least capital with which the day could have been traded: what the running sessions
held at its start, and the most that sessions begun in it brought in beyond what others had given back by then.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, localcontext
from itertools import groupby
from zoneinfo import ZoneInfo

from services.analytics.domain.facts import SessionFact, TradeFact, local_date
from services.analytics.domain.quotients import PRECISION, ZERO


@dataclass(frozen=True, slots=True)
class Flow:
    """What a session brought in, or gave back."""

    moment: datetime
    added: Decimal
    taken: Decimal


@dataclass(frozen=True)
class Sofar:
    """What came before the days that are looked at."""

    pnl: Decimal = ZERO
    added: Decimal = ZERO
    taken: Decimal = ZERO

    def with_flows(self, flows: Iterable[Flow]) -> "Sofar":
        added, taken = self.added, self.taken
        for flow in flows:
            added, taken = added + flow.added, taken + flow.taken
        return Sofar(self.pnl, added, taken)


@dataclass(frozen=True)
class TradingDay:
    """A local date with trades, in order of exit. `added` and `taken` are the flows since the one before."""

    date: date
    trades: Sequence[TradeFact]
    pnl: Decimal
    starting_balance: Decimal
    capital_at_work: Decimal
    added: Decimal
    taken: Decimal


NOTHING = Sofar()


def flows_of(sessions: Iterable[SessionFact]) -> list[Flow]:
    """In order of time."""
    flows = []
    for session in sessions:
        flows.append(Flow(session.started_at, session.initial_balance, ZERO))
        if session.stopped_at is not None and session.final_balance is not None:
            flows.append(Flow(session.stopped_at, ZERO, session.final_balance))
    return sorted(flows, key=lambda flow: flow.moment)


def trading_days(
    trades: Iterable[TradeFact], flows: Iterable[Flow], zone: ZoneInfo, sofar: Sofar = NOTHING
) -> list[TradingDay]:
    """Ascending. Trades and flows belong to the local date of their moment; `sofar` is of those not among them.

    The starting balance is all that sessions begun by the end of the day brought in, and all pnl before.
    """
    by_date: dict[date, list[TradeFact]] = {}
    for trade in sorted(trades, key=lambda trade: (trade.exit_time, trade.trade_id)):
        by_date.setdefault(local_date(trade.exit_time, zone), []).append(trade)
    ahead: dict[date, list[Flow]] = {}
    for flow in flows:
        ahead.setdefault(local_date(flow.moment, zone), []).append(flow)
    come, days = sorted(ahead, reverse=True), []
    with localcontext() as context:
        context.prec = PRECISION
        for day in sorted(by_date):
            last = sofar
            while come and come[-1] < day:
                sofar = sofar.with_flows(ahead[come.pop()])
            held = sofar.pnl + sofar.added - sofar.taken
            today = ahead[come.pop()] if come and come[-1] == day else []
            sofar = sofar.with_flows(today)
            pnl = sum((trade.pnl for trade in by_date[day]), ZERO)
            flowed = (sofar.added - last.added, sofar.taken - last.taken)
            at_work = held + _most_brought_in(today)
            days.append(TradingDay(day, by_date[day], pnl, sofar.pnl + sofar.added, at_work, *flowed))
            sofar = Sofar(sofar.pnl + pnl, sofar.added, sofar.taken)
    return days


def _most_brought_in(flows: Iterable[Flow]) -> Decimal:
    """The highest balance of these flows, in order of time; what comes and goes at one moment is one."""
    balance = highest = ZERO
    for _, at_once in groupby(flows, key=lambda flow: flow.moment):
        balance += sum((flow.added - flow.taken for flow in at_once), ZERO)
        highest = max(highest, balance)
    return highest
