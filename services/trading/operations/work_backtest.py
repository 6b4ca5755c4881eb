"""What a process that works on backtests does to one: take it up, end it, let it go. After its claim was lost it
changes nothing."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from services.trading.backtest_question import MOST_FAILURES, BacktestQuestion, Range
from services.trading.evaluator_version import evaluator_version
from services.trading.queries import backtest_queue, backtest_results, backtests, candles, strategies
from services.trading.queries.backtest_queue import Job
from services.trading.queries.backtest_results import Kind, ResultHead
from services.trading.queries.backtests import BacktestRow
from shared.chassis.postgres import Connection, Database
from shared.contracts.types import new_id
from shared.strategy.bars import Terms

LOST = "the process that worked on it was lost"

log = structlog.get_logger()

Chunks = AsyncIterator[tuple[Kind, str]]


class ClaimLost(Exception):
    """Cancelled, or taken up by somebody else."""


@dataclass(frozen=True)
class Assignment:
    """What is to be calculated."""

    job: Job
    document: dict[str, object]
    interval: str
    series_id: int
    range: Range
    terms: Terms
    question_sha256: bytes


async def claim_job(database: Database, worker: str) -> Job | None:
    """The next one: of the tenant who has waited longest for a turn."""
    async with database.queue() as connection:
        await backtest_queue.free_expired(connection, LOST)
        user_id = await backtest_queue.find_next_tenant(connection)
        if user_id is None:
            return None
        job = await backtest_queue.claim_first(connection, user_id, worker)
        if job is not None:
            await backtest_queue.note_turn(connection, user_id)
        return job


async def begin_backtest(database: Database, job: Job, now: datetime) -> Assignment | None:
    """None: there is nothing to calculate, as it failed too often or the answer is kept. Raises ClaimLost."""
    async with database.tenant(job.user_id) as connection:
        row = await _held(connection, job)
        if job.failures >= MOST_FAILURES:
            await _end_failed(connection, job, f"{job.failure_reason} ({job.failures} times)", now)
            return None
        series = await candles.get_series(connection, row.venue, row.symbol, row.interval, row.generation)
        version = await strategies.get_version(connection, job.user_id, row.strategy_id, row.strategy_version)
        assert series is not None, "a series stays"
        assert version is not None, "a version stays"
        # Bars that closed since it was asked for are not in it; those filled in since are.
        before = row.last_bar + timedelta(microseconds=1)
        within = await backtests.find_range(connection, series.series_id, row.from_time, before)
        assert within is not None, "candles stay"
        question = _question(row, within)
        kept = await backtest_results.find_result(connection, job.user_id, question.sha256(), now)
        if kept is not None:
            await _take_out(connection, job)
            await backtests.set_ended(connection, job.user_id, job.backtest_id, "DONE", now, result_id=kept)
            return None
        await backtests.set_running(connection, job.user_id, job.backtest_id, within.bars, now)
        document = dict(version.document)
        return Assignment(job, document, row.interval, series.series_id, within, row.terms, question.sha256())


async def finish_backtest(
    database: Database, assignment: Assignment, head: ResultHead, chunks: Chunks, now: datetime
) -> None:
    """The result with all its rows, and the end of the job, at once. Raises ClaimLost."""
    job, result_id = assignment.job, new_id()
    async with database.tenant(job.user_id) as connection:
        first = await backtest_results.insert_result(
            connection, job.user_id, result_id, assignment.question_sha256, head, now
        )
        async for kind, rows in chunks:
            if first:
                await backtest_results.insert_rows(connection, job.user_id, result_id, kind, rows)
        if not first:
            found = await backtest_results.find_result(connection, job.user_id, assignment.question_sha256, now)
            assert found is not None, "it was in the way a moment ago"
            result_id = found
        await _held(connection, job)
        await _take_out(connection, job)
        await backtests.set_ended(connection, job.user_id, job.backtest_id, "DONE", now, result_id=result_id)


async def fail_backtest(database: Database, job: Job, reason: str, now: datetime) -> None:
    """For ever: to calculate it again would come to the same. Raises ClaimLost."""
    async with database.tenant(job.user_id) as connection:
        await _held(connection, job)
        await _end_failed(connection, job, reason, now)


async def let_go(database: Database, job: Job, failure_reason: str | None = None) -> None:
    """Somebody takes it up again; with a reason it has failed once more."""
    async with database.tenant(job.user_id) as connection:
        await backtests.lock_status(connection, job.user_id, job.backtest_id)
        if await backtest_queue.set_free(connection, job, failure_reason):
            await backtests.set_waiting(connection, job.user_id, job.backtest_id)


async def _held(connection: Connection, job: Job) -> BacktestRow:
    """The backtest, locked, if the claim still stands."""
    await backtests.lock_status(connection, job.user_id, job.backtest_id)
    row = await backtests.get_backtest(connection, job.user_id, job.backtest_id)
    if row is None or not await backtest_queue.is_held(connection, job):
        raise ClaimLost
    return row


async def _take_out(connection: Connection, job: Job) -> None:
    if not await backtest_queue.delete_job(connection, job.user_id, job.backtest_id, job.epoch):
        raise ClaimLost


async def _end_failed(connection: Connection, job: Job, reason: str, now: datetime) -> None:
    await _take_out(connection, job)
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
