"""Report data of a finished session."""

from collections.abc import Sequence
from datetime import datetime

from cli.report.story import StopLevel, Story
from services.trading.operations.execution_settings import first_bar_ms_of, strategy_of, terms_of
from services.trading.operations.verify_session import Verification
from shared.contracts.types import instant_text
from shared.strategy.backtest.metrics import measure
from shared.strategy.backtest.run import first_decision
from shared.strategy.series import Series


def story_of_session(verification: Verification, stops: Sequence[StopLevel]) -> Story:
    """Return the report data of a session whose fills equal its backtest; restrictions become notes."""
    recorded, session = verification.recorded, verification.recorded.session
    strategy, series = strategy_of(session.strategy_config), Series(recorded.bars)
    first = first_decision(strategy, series, first_bar_ms_of(session))
    start = next(
        (index for index, bar in enumerate(recorded.bars) if bar.open_time_ms >= first_bar_ms_of(session)), 0
    )
    return Story(
        f"session {session.session_id} on {session.symbol}, {'paper' if session.is_paper_trading else 'live'}",
        strategy,
        terms_of(session),
        recorded.bars[start:],
        recorded.fills,
        verification.trades,
        measure(series, verification.trades, session.initial_balance, first, given_start=True),
        verification.fingerprints[0],
        verification.final_balance,
        None if first is None else first - start,
        stops,
        [_restriction_note(each.kind, each.after_bar) for each in recorded.restrictions],
    )


def _restriction_note(kind: str, after_bar: datetime | None) -> str:
    what = kind.capitalize().replace("_", " ")
    return f"{what} after the bar of {instant_text(after_bar)}." if after_bar else f"{what} from the first bar on."
