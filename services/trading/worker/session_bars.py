"""The bars of a live session, for its actor: from the worker's series, with the session's limits and refusals."""

from collections.abc import Mapping
from datetime import datetime

import structlog

from services.trading.domain import entry_deadline
from services.trading.orders.actor import CannotStep
from services.trading.orders.book import SessionFacts
from services.trading.worker.live_series import SESSIONS_FAILED
from services.trading.worker.live_session import STEP_FAULTS, LiveSession
from shared.market.contiguous_series import ContiguousSeries
from shared.strategy.bars import INTERVAL_MS
from shared.strategy.execution.exchange_steps import ExchangeExecution
from shared.strategy.execution.outcome import StepOutcome
from shared.strategy.series import Series

log = structlog.get_logger()


class SessionBars:
    """Keeps `session.last_bar` at the cursor that the actor has committed."""

    def __init__(self, session: LiveSession, series: ContiguousSeries) -> None:
        self._session = session
        self._series = series

    def next(self, after: datetime | None) -> tuple[Series, int] | None:
        self._session.last_bar = after
        index = self._session.bars_ahead(self._series.bars).start
        return (self._series, index) if index < len(self._series) else None

    def restore(
        self, snapshot: Mapping[str, object] | None, last_bar: datetime | None, *, replays: bool = True
    ) -> ExchangeExecution:
        session = self._session
        session.restore(snapshot)
        session.last_bar = last_bar
        if replays:
            try:
                session.replay(self._series)
            except STEP_FAULTS as error:
                raise self._cannot_step(error) from error
        return _of_exchange(session)

    def on_close(
        self, execution: ExchangeExecution, series: Series, index: int, refusal: str | None
    ) -> StepOutcome:
        try:
            return self._session.on_close_with(refusal, series, index)
        except STEP_FAULTS as error:
            raise self._cannot_step(error) from error

    def _cannot_step(self, error: Exception) -> CannotStep:
        SESSIONS_FAILED.inc()
        log.error("session_failed", session_id=str(self._session.row.session_id), exc_info=error)
        return CannotStep()

    def snapshot(self, execution: ExchangeExecution) -> Mapping[str, object]:
        return self._session.snapshot()


def facts_of(session: LiveSession) -> SessionFacts:
    row, strategy = session.row, session.strategy
    assert row.exchange_account_id is not None, "a live session has an account"
    return SessionFacts(
        session_id=row.session_id,
        account_id=row.exchange_account_id,
        symbol=row.symbol,
        strategy_hash=row.strategy_hash,
        leverage=strategy.risk.leverage,
        interval_ms=INTERVAL_MS[row.interval],
        entry_deadline=entry_deadline(row.interval),
        min_order_qty=session.instrument.min_order_qty,
        tolerance=row.tolerance,
    )


def _of_exchange(session: LiveSession) -> ExchangeExecution:
    assert isinstance(session.execution, ExchangeExecution), "a live session"
    return session.execution
