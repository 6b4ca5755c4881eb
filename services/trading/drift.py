"""How a live session's trades differ from those of its backtest, split into causes. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from shared.strategy.bars import Side
from shared.strategy.decimals import ZERO, exact, quantise, quantised_quotient
from shared.strategy.execution.outcome import Trade


@dataclass(frozen=True)
class LiveTrade:
    """A closed trade as booked. Times are the open times of bars, in ms. `decided_ms`: the bar at whose close its
    entry was decided; None: it was adopted. `funding` is positive when paid; `pnl` leaves it out. `executed_ms`:
    its first execution."""

    trade_id: UUID
    side: Side
    decided_ms: int | None
    entry_ms: int
    exit_ms: int
    quantity: Decimal
    entry_price: Decimal
    exit_price: Decimal
    fees: Decimal
    funding: Decimal
    pnl: Decimal
    executed_ms: int | None

    def latency_ms(self, interval_ms: int) -> int | None:
        """Return the time from the close of the bar that decided the entry to its first execution."""
        if self.decided_ms is None or self.executed_ms is None:
            return None
        return self.executed_ms - self.decided_ms - interval_ms


@dataclass(frozen=True)
class Drift:
    """A live trade beside its backtest trade; one of them may be missing.

    `gap` is what the live trade earned more than the backtest's, funding included, and the sum of its parts.
    `price`: fills at other prices; `latency`: fills in a later bar; `missed_fill`: quantity that only one traded.
    """

    live: LiveTrade | None
    backtest: Trade | None
    gap: Decimal
    price: Decimal = ZERO
    fee: Decimal = ZERO
    funding: Decimal = ZERO
    latency: Decimal = ZERO
    missed_fill: Decimal = ZERO


def compare_trades(
    live: Sequence[LiveTrade], backtest: Sequence[Trade], decided_ms: Mapping[int, int]
) -> list[Drift]:
    """Pair trades of the same entry decision, in the order of their entries.

    `decided_ms`: by the bar of a backtest's entry, the bar at whose close it was decided.
    """
    waiting = {(trade.side, decided_ms.get(trade.entry_time)): trade for trade in backtest}
    drifts = []
    for trade in live:
        partner = waiting.pop((trade.side, trade.decided_ms), None) if trade.decided_ms is not None else None
        drifts.append(_extra(trade) if partner is None else _pair(trade, partner))
    drifts += [Drift(None, trade, gap=-trade.pnl, missed_fill=-trade.pnl) for trade in waiting.values()]
    return sorted(drifts, key=_entry_ms)


def total(drifts: Sequence[Drift]) -> Drift:
    with exact():
        return Drift(
            None,
            None,
            gap=sum((each.gap for each in drifts), ZERO),
            price=sum((each.price for each in drifts), ZERO),
            fee=sum((each.fee for each in drifts), ZERO),
            funding=sum((each.funding for each in drifts), ZERO),
            latency=sum((each.latency for each in drifts), ZERO),
            missed_fill=sum((each.missed_fill for each in drifts), ZERO),
        )


def _extra(trade: LiveTrade) -> Drift:
    """Return the drift of a trade that the backtest does not have: it was adopted, or follows a missed fill."""
    return Drift(trade, None, gap=trade.pnl - trade.funding, funding=-trade.funding, missed_fill=trade.pnl)


def _pair(live: LiveTrade, backtest: Trade) -> Drift:
    """Split the gap. The backtest's amounts are scaled to the live quantity first; `price` takes what is left, so
    that the parts are exactly the gap."""
    with exact():
        gap = live.pnl - live.funding - backtest.pnl
        missed = quantised_quotient((live.quantity - backtest.qty) * backtest.pnl, backtest.qty)
        fee = quantised_quotient(backtest.fees * live.quantity, backtest.qty) - quantise(live.fees)
        latency = ZERO
        sign = 1 if live.side == "LONG" else -1
        if live.entry_ms > backtest.entry_time:
            latency += sign * (backtest.entry_price - live.entry_price) * live.quantity
        if live.exit_ms > backtest.exit_time:
            latency += sign * (live.exit_price - backtest.exit_price) * live.quantity
        latency = quantise(latency)
        price = gap + live.funding - missed - fee - latency
    return Drift(live, backtest, gap, price, fee, -live.funding, latency, missed)


def _entry_ms(drift: Drift) -> int:
    trade = drift.live
    if trade is not None:
        return trade.entry_ms
    assert drift.backtest is not None, "one of them is there"
    return drift.backtest.entry_time
