"""A worker's operations on a backtest: claim, begin, finish, fail, release.

After its claim is lost, the worker changes nothing.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from services.trading.backtest_question import MAX_FAILURES, BacktestQuestion, Range
from services.trading.evaluator_version import evaluator_version
from services.trading.queries import backtest_queue, backtest_results, backtests, candles, strategies
from services.trading.queries.backtest_queue import BacktestJob
from services.trading.queries.backtest_results import Kind, ResultHead
from services.trading.queries.backtests import BacktestRow
from shared.chassis.postgres import Connection
from shared.contracts.types import new_id
from shared.strategy.bars import Terms

WORKER_LOST = "the worker process was lost"

log = structlog.get_logger()

Chunks = AsyncIterator[tuple[Kind, str]]


class ClaimLost(Exception):
    """The job was cancelled, or claimed by another worker."""


@dataclass(frozen=True)
class Assignment:
    """A backtest to be calculated."""

    job: BacktestJob
    document: dict[str, object]
    interval: str
    series_id: int
    range: Range
    terms: Terms
    question_sha256: bytes


async def claim_job(connection: Connection, worker: str) -> BacktestJob | None:
    """Claim the next job, of the tenant that has waited longest for a turn; None if the queue is empty."""
    await backtest_queue.release_expired(connection, WORKER_LOST)
    user_id = await backtest_queue.find_next_tenant(connection)
    if user_id is None:
        return None
    job = await backtest_queue.claim_first(connection, user_id, worker)
    if job is not None:
        await backtest_queue.record_turn(connection, user_id)
    return job


async def begin_backtest(connection: Connection, job: BacktestJob, now: datetime) -> Assignment | None:
    """Mark the backtest running and return what to calculate. Raises ClaimLost.

    Returns None, with the backtest ended, if it has failed too often or its result is already stored.
    """
    row = await _lock_claimed(connection, job)
    if job.failures >= MAX_FAILURES:
        await _end_failed(connection, job, f"{job.failure_reason} ({job.failures} times)", now)
        return None
    series = await candles.find_series(connection, row.venue, row.symbol, row.interval, row.generation)
    version = await strategies.find_version(connection, job.user_id, row.strategy_id, row.strategy_version)
    assert series is not None, "series are never deleted"
    assert version is not None, "versions are never deleted"
    # Bars that closed after the request are excluded; missing bars filled in since are included.
    before = row.last_bar + timedelta(microseconds=1)
    within = await backtests.find_range(connection, series.series_id, row.from_time, before)
    assert within is not None, "candles are never deleted"
    question = _question(row, within)
    stored = await backtest_results.find_result(connection, job.user_id, question.sha256(), now)
    if stored is not None:
        await _delete_job(connection, job)
        await backtests.set_ended(connection, job.user_id, job.backtest_id, "DONE", now, result_id=stored)
        return None
    await backtests.set_running(connection, job.user_id, job.backtest_id, within.bars, now)
    document = dict(version.document)
    return Assignment(job, document, row.interval, series.series_id, within, row.terms, question.sha256())


async def finish_backtest(
    connection: Connection, assignment: Assignment, head: ResultHead, chunks: Chunks, now: datetime
) -> None:
    """Store the result with all its rows and end the job. Raises ClaimLost."""
    job, result_id = assignment.job, new_id()
    first = await backtest_results.insert_result(
        connection, job.user_id, result_id, assignment.question_sha256, head, now
    )
    async for kind, rows in chunks:
        if first:
            await backtest_results.insert_rows(connection, job.user_id, result_id, kind, rows)
    if not first:
        found = await backtest_results.find_result(connection, job.user_id, assignment.question_sha256, now)
        assert found is not None, "its insert conflicted with ours"
        result_id = found
    await _lock_claimed(connection, job)
    await _delete_job(connection, job)
    await backtests.set_ended(connection, job.user_id, job.backtest_id, "DONE", now, result_id=result_id)


async def fail_backtest(connection: Connection, job: BacktestJob, reason: str, now: datetime) -> None:
    """Fail the backtest for good: calculating it again would give the same. Raises ClaimLost."""
    await _lock_claimed(connection, job)
    await _end_failed(connection, job, reason, now)


async def release_job(connection: Connection, job: BacktestJob, failure_reason: str | None = None) -> None:
    """Release the job for another worker; with a reason, count one more failure."""
    await backtests.lock_status(connection, job.user_id, job.backtest_id)
    if await backtest_queue.release_job(connection, job, failure_reason):
        await backtests.set_queued(connection, job.user_id, job.backtest_id)


async def _lock_claimed(connection: Connection, job: BacktestJob) -> BacktestRow:
    """Return the backtest, locked. Raises ClaimLost if this worker no longer holds the claim."""
    await backtests.lock_status(connection, job.user_id, job.backtest_id)
    row = await backtests.find_backtest(connection, job.user_id, job.backtest_id)
    if row is None or not await backtest_queue.is_held(connection, job):
        raise ClaimLost
    return row


async def _delete_job(connection: Connection, job: BacktestJob) -> None:
    if not await backtest_queue.delete_job(connection, job.user_id, job.backtest_id, job.epoch):
        raise ClaimLost


async def _end_failed(connection: Connection, job: BacktestJob, reason: str, now: datetime) -> None:
    await _delete_job(connection, job)
    await backtests.set_ended(connection, job.user_id, job.backtest_id, "FAILED", now, failure_reason=reason)
    log.error("backtest_failed", backtest_id=str(job.backtest_id), reason=reason)


def _question(row: BacktestRow, within: Range) -> BacktestQuestion:
    return BacktestQuestion(
        row.strategy_hash,
        row.venue,
        row.symbol,
        row.interval,
        row.generation,
        within,
        row.terms,
        evaluator_version(),
    )
