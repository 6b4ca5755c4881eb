"""`/v1/sessions/{id}/drift`: each trade of a session beside its backtest's, and what the difference is made of."""

import asyncio
from datetime import datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

from services.trading.drift import Drift, LiveTrade, total
from services.trading.errors import SessionNotComparable
from services.trading.operations.session_drift import drift_of, read_trades
from services.trading.operations.verify_session import NotVerifiable
from shared.chassis.http.app import Call
from shared.chassis.http.routes import Routes, endpoint
from shared.chassis.postgres import Database
from shared.contracts.examples import BAR, example
from shared.contracts.types import Amount, Instant, ViewModel, from_ms
from shared.strategy.bars import INTERVAL_MS
from shared.strategy.execution.outcome import Trade

MAX_BARS = 50_000  # a few seconds of a processor
PARTS = {"gap": "-1.2", "price": "-0.9", "fee": "-0.1", "funding": "-0.2", "latency": "0", "missed_fill": "0"}


class DriftPartsView(ViewModel):
    """`gap` is what the session earned more than the backtest, and the sum of the other five. `price`: other
    prices. `fee`: other fees. `funding`: a backtest has none. `latency`: an entry or exit in a later bar.
    `missed_fill`: quantity that only one of the two traded."""

    model_config = example(**PARTS)

    gap: Amount
    price: Amount
    fee: Amount
    funding: Amount
    latency: Amount
    missed_fill: Amount


class ComparedTradeView(ViewModel):
    """One side of a comparison. `pnl` leaves out funding. Times are open times of bars."""

    model_config = example(entry_time=BAR, exit_time=BAR)

    entry_time: Instant
    exit_time: Instant
    entry_price: Amount
    exit_price: Amount
    quantity: Amount
    fee: Amount
    pnl: Amount


class TradeDriftView(DriftPartsView):
    """A trade of the session and the one of the backtest that was decided at the same bar; null: there is none.
    `entry_latency_ms`: from the close of that bar to the first execution; null without one."""

    model_config = example(**PARTS, side="LONG", entry_latency_ms=140)

    trade_id: UUID | None
    side: Literal["LONG", "SHORT"]
    entry_latency_ms: int | None
    session: ComparedTradeView | None
    backtest: ComparedTradeView | None


class DriftView(ViewModel):
    session_id: UUID
    last_bar_time: Instant | None
    sums: DriftPartsView
    trades: list[TradeDriftView]


class SessionDriftRoutes(Routes):
    def __init__(self, database: Database) -> None:
        self._database = database

    @endpoint(
        "GET",
        "/v1/sessions/{id}/drift",
        "Compare each closed trade with a backtest's, and split the difference into its causes",
        errors=(SessionNotComparable,),
    )
    async def get_session_drift(self, call: Call) -> DriftView:
        user_id, session_id = call.principal.user_id, call.uuid()
        try:
            async with self._database.tenant(user_id) as connection:
                traded = await read_trades(connection, user_id, session_id, MAX_BARS)
            drifts = await asyncio.to_thread(drift_of, traded)
        except NotVerifiable as error:
            raise SessionNotComparable(str(error)) from error
        session = traded.recorded.session
        return drift_view(session_id, session.last_bar, INTERVAL_MS[session.interval], drifts)


def drift_view(session_id: UUID, last_bar: datetime | None, interval_ms: int, drifts: list[Drift]) -> DriftView:
    return DriftView(
        session_id=session_id,
        last_bar_time=last_bar,
        sums=DriftPartsView(**_parts(total(drifts))),
        trades=[_trade_view(drift, interval_ms) for drift in drifts],
    )


def _trade_view(drift: Drift, interval_ms: int) -> TradeDriftView:
    live, backtest = drift.live, drift.backtest
    side = live.side if live is not None else backtest.side if backtest is not None else "LONG"
    return TradeDriftView(
        **_parts(drift),
        trade_id=live.trade_id if live is not None else None,
        side=side,
        entry_latency_ms=live.latency_ms(interval_ms) if live is not None else None,
        session=_live_view(live) if live is not None else None,
        backtest=_backtest_view(backtest) if backtest is not None else None,
    )


def _parts(drift: Drift) -> dict[str, Decimal]:
    return {name: getattr(drift, name) for name in DriftPartsView.model_fields}


def _live_view(trade: LiveTrade) -> ComparedTradeView:
    return ComparedTradeView(
        entry_time=from_ms(trade.entry_ms),
        exit_time=from_ms(trade.exit_ms),
        entry_price=trade.entry_price,
        exit_price=trade.exit_price,
        quantity=trade.quantity,
        fee=trade.fees,
        pnl=trade.pnl,
    )


def _backtest_view(trade: Trade) -> ComparedTradeView:
    return ComparedTradeView(
        entry_time=from_ms(trade.entry_time),
        exit_time=from_ms(trade.exit_time),
        entry_price=trade.entry_price,
        exit_price=trade.exit_price,
        quantity=trade.qty,
        fee=trade.fees,
        pnl=trade.pnl,
    )
