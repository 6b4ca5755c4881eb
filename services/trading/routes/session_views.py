"""The API's views of sessions and of the limits on them."""

from collections.abc import Mapping
from typing import Literal
from uuid import UUID

from pydantic import Field

from services.trading.domain import Awaited, Entries, SessionStatus, Waiting
from services.trading.queries.sessions import RunState, SessionRow
from shared.contracts.examples import example
from shared.contracts.types import Amount, Instant, Statistic, ViewModel
from shared.statistics import REALISED

WAITING_DETAILS: Mapping[Awaited, str] = {
    "history": "no candles of this symbol and interval are stored: the feed has received none from the exchange",
    "first_bar": "a candle that opened after the session's start should have closed by now, and none has",
    "bar": "the next candle has not arrived from the exchange",
    "feed": "no feed is running to get candles from the exchange",
}


class WaitingView(ViewModel):
    """The event still missing a minute after it was expected, by the exchange's clock.

    `history`: the series has no candles at all. `first_bar`: no candle that opened after the start has closed.
    `bar`: the candle after `last_bar_time`. `feed`: any candle, because no feed is running.
    """

    model_config = example(what="first_bar", detail=WAITING_DETAILS["first_bar"])

    what: Awaited
    since_time: Instant
    expected_time: Instant
    detail: str


class SessionView(ViewModel):
    """`entries` tells whether a running session may enter, or what prevents it: a pause, the plan's limits, a kill
    switch, a foreign change on the exchange that awaits `adopt` or `ignore` (`FROZEN`), a breached limit of the
    account, something on it that the platform does not know (`NOT_RECONCILED`), a check that refused it
    (`ACCOUNT_REFUSED`), an error of ours (`FAILED`), or a stop. `reason` is why it was stopped. A live session is
    `STOPPING` until its orders are cancelled and its position is closed on the exchange. `funding`, paid if
    positive, is not part of `pnl`.

    `slippage_tolerance_…` limits how far from the price at arrival its entries may fill; an entry above
    `max_order_quantity`, the exchange's largest market order at its start, is refused."""

    model_config = example(
        status="ACTIVE",
        reason=None,
        total_fills=2,
        waiting_for=None,
        exchange_account_id=None,
        funding="0",
        slippage_tolerance_ticks=None,
        slippage_tolerance_percentage=None,
        max_order_quantity=None,
    )

    session_id: UUID
    strategy_id: UUID
    strategy_version: int
    strategy_hash: str
    bot_configuration_id: UUID | None
    exchange_account_id: UUID | None
    symbol: str
    interval: str
    mode: Literal["PAPER", "LIVE"]
    status: SessionStatus
    entries: Entries | None
    waiting_for: WaitingView | None
    reason: str | None
    initial_balance: Amount
    final_balance: Amount | None
    equity: Amount
    pnl: Amount
    funding: Amount
    total_trades: int
    winning_trades: int
    losing_trades: int
    max_drawdown_percentage: Statistic = Field(description=REALISED)
    total_fills: int
    fingerprint: str
    fee_rate: Amount
    slippage: Amount
    slippage_tolerance_ticks: int | None
    slippage_tolerance_percentage: Amount | None
    max_order_quantity: Amount | None
    notes: str | None
    first_bar_time: Instant | None
    last_bar_time: Instant | None
    start_time: Instant
    end_time: Instant | None
    ended_at: Instant | None
    created_at: Instant
    updated_at: Instant


class LimitsView(ViewModel):
    model_config = example(active_strategies=1, active_symbols=1, running_sessions=1, stored_strategies=2)

    plan: str
    version: int
    max_active_strategies: int | None
    max_symbols: int | None
    max_running_sessions: int | None
    max_stored_strategies: int | None
    active_strategies: int
    active_symbols: int
    running_sessions: int
    stored_strategies: int


def session_view(row: SessionRow, state: RunState | None) -> SessionView:
    return SessionView(
        session_id=row.session_id,
        strategy_id=row.strategy_id,
        strategy_version=row.strategy_version,
        strategy_hash=row.strategy_hash,
        bot_configuration_id=row.bot_configuration_id,
        exchange_account_id=row.exchange_account_id,
        symbol=row.symbol,
        interval=row.interval,
        mode="PAPER" if row.is_paper_trading else "LIVE",
        status=row.status,
        entries=state.entries if state else None,
        waiting_for=_waiting(state.waiting) if state else None,
        reason=row.stop_reason,
        initial_balance=row.initial_balance,
        final_balance=row.final_balance,
        equity=row.totals.equity(row.initial_balance),
        pnl=row.total_pnl,
        funding=row.funding,
        total_trades=row.total_trades,
        winning_trades=row.winning_trades,
        losing_trades=row.losing_trades,
        max_drawdown_percentage=row.max_drawdown,
        total_fills=row.fill_count,
        fingerprint=row.fingerprint,
        fee_rate=row.fee_rate,
        slippage=row.slippage,
        slippage_tolerance_ticks=row.slippage_tolerance_ticks,
        slippage_tolerance_percentage=row.slippage_tolerance_percentage,
        max_order_quantity=row.max_order_quantity,
        notes=row.notes,
        first_bar_time=row.first_bar,
        last_bar_time=row.last_bar,
        start_time=row.start_time,
        end_time=row.end_time,
        ended_at=row.ended_at,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _waiting(waiting: Waiting | None) -> WaitingView | None:
    if waiting is None:
        return None
    detail = WAITING_DETAILS[waiting.what]
    return WaitingView(
        what=waiting.what, since_time=waiting.since, expected_time=waiting.expected_at, detail=detail
    )
