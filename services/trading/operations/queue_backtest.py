"""Queue a backtest, within the limits of the plan, and cancel one."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from services.trading.backtest_question import MAX_WAITING, BacktestLimits, BacktestQuestion
from services.trading.bybit_api import VENUE
from services.trading.errors import BacktestEnded, TooManyBacktests
from services.trading.evaluator_version import evaluator_version
from services.trading.operations.execution_settings import strategy_of
from services.trading.queries import backtest_queue, backtest_results, backtests, candles, strategies
from services.trading.queries.backtests import BacktestRow, NewBacktest
from services.trading.queries.candles import SeriesRow
from services.trading.queries.strategies import VersionRow
from shared.chassis.errors import AccountNotReady, InvalidInput, NotFound, PlanLimitReached
from shared.chassis.postgres import Connection
from shared.contracts.types import instant_text, new_id
from shared.strategy.bars import Terms, TickTooCoarse, check_tick


@dataclass(frozen=True)
class BacktestRequest:
    """A backtest of the bars that open at or after `from_time` and before `to_time`."""

    strategy_id: UUID
    version: int | None
    symbol: str
    from_time: datetime
    to_time: datetime
    fee: Decimal
    slippage: Decimal
    initial_balance: Decimal


async def queue_backtest(
    connection: Connection, user_id: int, request: BacktestRequest, most_bars: int, now: datetime
) -> BacktestRow:
    """Queue the backtest, or complete it at once with the stored result of an equal request.

    The request is counted in the same transaction, with the tenant's plan locked, so that racing requests do not
    exceed the plan. Raises InvalidInput, AccountNotReady, PlanLimitReached, TooManyBacktests.
    """
    if request.from_time >= request.to_time:
        raise _invalid("to", "must be later than `from`")
    _check_feature(await backtests.find_backtest_limits(connection, user_id))
    version = await _version_of(connection, user_id, request)
    question = await _question_of(connection, request, version, most_bars)
    limits = _check_feature(await backtests.find_backtest_limits(connection, user_id, lock=True))
    await _count_request(connection, user_id, limits, now)
    stored = await backtest_results.find_result(connection, user_id, question.sha256(), now)
    backtest_id = new_id()
    new = _new_backtest(user_id, backtest_id, request, version, question, stored, now)
    await backtests.insert_backtest(connection, new)
    if stored is None:
        if await backtest_queue.count_jobs(connection, user_id) >= MAX_WAITING:
            raise TooManyBacktests(
                f"{MAX_WAITING} backtests are queued or running: wait for some to end, or cancel some"
            )
        await backtest_queue.insert_job(connection, user_id, backtest_id)
    return await backtests.get_backtest(connection, user_id, backtest_id)


async def cancel_backtest(connection: Connection, user_id: int, backtest_id: UUID, now: datetime) -> BacktestRow:
    """Cancel the backtest; a process that calculates it notices within a second. Idempotent.

    Raises NotFound, BacktestEnded.
    """
    status = await backtests.lock_status(connection, user_id, backtest_id)
    if status is None:
        raise NotFound
    if status in ("DONE", "FAILED"):
        raise BacktestEnded(f"the backtest has already ended: {status}")
    if status != "CANCELLED":
        await backtest_queue.delete_job(connection, user_id, backtest_id)
        await backtests.set_ended(connection, user_id, backtest_id, "CANCELLED", now)
    return await backtests.get_backtest(connection, user_id, backtest_id)


def _invalid(field: str, reason: str) -> InvalidInput:
    return InvalidInput(errors=[{"path": f"$.{field}", "reason": reason}])


def _check_feature(limits: BacktestLimits | None) -> BacktestLimits:
    """Raises AccountNotReady, PlanLimitReached."""
    if limits is None:
        raise AccountNotReady
    if not limits.has_backtesting:
        raise PlanLimitReached(
            f"the plan {limits.plan} has no backtesting",
            limit_name="backtesting",
            allowed=0,
            used=0,
            plan=limits.plan,
        )
    return limits


async def _count_request(connection: Connection, user_id: int, limits: BacktestLimits, now: datetime) -> None:
    """Count one request of today (UTC). Raises PlanLimitReached."""
    day, most = now.astimezone(UTC).date(), limits.max_backtests_per_day
    used = await backtests.get_usage(connection, user_id, day)
    if most is not None and used >= most:
        midnight = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
        raise PlanLimitReached(
            f"the plan {limits.plan} allows {most} backtests a day (UTC), {used} were requested today",
            limit_name="max_backtests_per_day",
            allowed=most,
            used=used,
            plan=limits.plan,
            resets_at=instant_text(midnight),
        )
    await backtests.count_use(connection, user_id, day)


async def _version_of(connection: Connection, user_id: int, request: BacktestRequest) -> VersionRow:
    strategy = await strategies.find_strategy(connection, user_id, request.strategy_id)
    if strategy is None or not strategy.is_active:
        raise _invalid("strategy_id", "there is no such strategy")
    number = request.version or strategy.version
    version = await strategies.find_version(connection, user_id, request.strategy_id, number)
    if version is None:
        raise _invalid("version", "there is no such version of the strategy")
    return version


async def _question_of(
    connection: Connection, request: BacktestRequest, version: VersionRow, most_bars: int
) -> BacktestQuestion:
    """Build the question. Raises InvalidInput if the stored candles cannot answer it."""
    interval = strategy_of(version.document).interval
    instrument = await candles.find_instrument(connection, VENUE, request.symbol)
    generation = await backtests.find_generation(connection, VENUE, request.symbol, interval)
    if instrument is None or generation is None:
        raise await _no_series(connection, request.symbol, interval)
    series = await candles.find_series(connection, VENUE, request.symbol, interval, generation)
    assert series is not None, "found above"
    within = await backtests.find_range(connection, series.series_id, request.from_time, request.to_time, most_bars)
    if within is None:
        raise await _no_candles(connection, request, series)
    if within.bars > most_bars:
        raise _invalid("to", f"more than {most_bars} bars lie between `from` and `to`, which is the most")
    terms = Terms(instrument, request.fee, request.slippage, request.initial_balance)
    try:
        lowest = await backtests.get_lowest_price(connection, series.series_id, within)
        check_tick(instrument.tick_size, [lowest])
    except TickTooCoarse as error:
        raise _invalid("symbol", f"{error}: a backtest would trade at other prices") from error
    return BacktestQuestion(
        version.content_hash,
        VENUE,
        request.symbol,
        interval,
        series.generation,
        within,
        terms,
        evaluator_version(),
    )


async def _no_series(connection: Connection, symbol: str, interval: str) -> InvalidInput:
    stored = await backtests.list_intervals(connection, VENUE, symbol)
    if not stored:
        return _invalid("symbol", "no candles of this symbol are stored")
    intervals = ", ".join(sorted(stored, key=lambda each: (len(each), each)))
    reason = f"its interval is {interval}, and candles of {symbol} are stored at {intervals}"
    return _invalid("strategy_id", reason)


async def _no_candles(connection: Connection, request: BacktestRequest, series: SeriesRow) -> InvalidInput:
    """Return a fault that names the end of the range beyond the stored candles."""
    assert series.anchor is not None, "it has bars"
    if request.to_time <= series.anchor:
        return _invalid("to", f"no candles are stored before {instant_text(series.anchor)}")
    last = await candles.find_last_bar(connection, series.series_id)
    if last is not None and request.from_time > last.open_time:
        return _invalid("from", f"no candles are stored after {instant_text(last.open_time)}")
    return _invalid("from", "no candles are stored between `from` and `to`")


def _new_backtest(
    user_id: int,
    backtest_id: UUID,
    request: BacktestRequest,
    version: VersionRow,
    question: BacktestQuestion,
    result_id: UUID | None,
    now: datetime,
) -> NewBacktest:
    return NewBacktest(
        user_id=user_id,
        backtest_id=backtest_id,
        strategy_id=version.strategy_id,
        strategy_version=version.version,
        strategy_hash=version.content_hash,
        venue=question.venue,
        symbol=question.symbol,
        interval=question.interval,
        generation=question.generation,
        from_time=request.from_time,
        to_time=request.to_time,
        last_bar=question.range.last,
        bars=question.range.bars,
        fee_rate=request.fee,
        slippage=request.slippage,
        initial_balance=request.initial_balance,
        **asdict(question.terms.instrument),
        status="DONE" if result_id else "QUEUED",
        result_id=result_id,
        created_at=now,
        started_at=now if result_id else None,
        ended_at=now if result_id else None,
    )
