"""The backtest worker: claims queued backtests, runs each in a separate process, renews its claims meanwhile."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import cast
from uuid import uuid4

import structlog
from prometheus_client import Counter

from services.trading.backtests.calculator import COMMAND, CalculationEnded, Calculator, Write
from services.trading.operations.work_backtest import (
    Assignment,
    ClaimLost,
    begin_backtest,
    claim_job,
    fail_backtest,
    finish_backtest,
    release_job,
)
from services.trading.queries import backtest_queue, candles
from services.trading.queries.backtest_queue import BacktestJob
from services.trading.queries.backtest_results import Kind, ResultHead
from shared.chassis.clock import utc_now
from shared.chassis.pause import pause
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS, Connection, Database
from shared.contracts.types import decimal_text
from shared.strategy.bars import INTERVAL_MS

CLAIM_EVERY_S = 0.25
RENEW_EVERY_S = 0.5
RETRY_AFTER_S = 0.5
BARS_PER_WINDOW = 20_000
RESTART_AFTER_BARS = 200_000  # a process that calculated more bars holds much memory, and is replaced

ENDED = Counter("trading_backtests_ended_total", "Backtests whose calculation ended, by outcome", ["outcome"])

log = structlog.get_logger()


class _Refused(Exception):
    """The calculation reported that the backtest can have no result."""


@dataclass(eq=False)
class _Claim:
    """A claimed job, the bars done so far, and an event that is set when the claim is lost."""

    job: BacktestJob
    done: int = 0
    lost: asyncio.Event = field(default_factory=asyncio.Event)


class BacktestWorker:
    """Runs `processes` calculations at once. If it dies, its claims expire and other workers claim the jobs."""

    def __init__(self, database: Database, processes: int, command: Sequence[str] = COMMAND) -> None:
        self._database = database
        self._processes = processes
        self._command = command
        self._name = str(uuid4())
        self._claims: set[_Claim] = set()
        self._claiming = asyncio.Lock()  # one slot asks for all that are free

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set, then release unfinished jobs at once."""
        over = asyncio.Event()
        renewing = asyncio.create_task(self._keep_claims(over))
        slots = [asyncio.create_task(self._work(stop)) for _ in range(self._processes)]
        try:
            await asyncio.gather(*slots)
        finally:
            over.set()
            for task in (*slots, renewing):
                task.cancel()
            await asyncio.gather(*slots, renewing, return_exceptions=True)

    async def _keep_claims(self, over: asyncio.Event) -> None:
        """Renew all claims, with their progress, in one statement. A missing claim was cancelled or taken over."""
        while not over.is_set():
            claims = list(self._claims)
            try:
                if claims:
                    await self._renew(claims)
            except INFRASTRUCTURE_FAULTS as error:
                log.warning("backtests_not_renewed", error=repr(error))
            await pause(over, RENEW_EVERY_S)

    async def _renew(self, claims: Sequence[_Claim]) -> None:
        async with self._database.queue() as connection:
            jobs = [(each.job, each.done) for each in claims]
            renewed = await backtest_queue.renew(connection, self._name, jobs)
            await backtest_queue.delete_turns(connection, utc_now() - timedelta(minutes=10))
        for each in claims:
            if (each.job.backtest_id, each.job.epoch) not in renewed:
                each.lost.set()

    async def _work(self, stop: asyncio.Event) -> None:
        """Claim and calculate one backtest after another until `stop` is set."""
        calculator = Calculator(self._command)
        try:
            while not stop.is_set():
                async with self._claiming:
                    job = await self._claim(stop)
                if job is not None:
                    await self._work_on(_Claim(job), calculator, stop)
        finally:
            await calculator.kill()

    async def _claim(self, stop: asyncio.Event) -> BacktestJob | None:
        """Wait for a job and claim it. Returns None once `stop` is set."""
        while not stop.is_set():
            try:
                if await backtest_queue.has_jobs(self._database):
                    async with self._database.queue() as connection:
                        if (job := await claim_job(connection, self._name)) is not None:
                            return job
            except INFRASTRUCTURE_FAULTS as error:
                log.warning("backtests_not_claimed", error=repr(error))
            await pause(stop, CLAIM_EVERY_S)
        return None

    async def _work_on(self, claim: _Claim, calculator: Calculator, stop: asyncio.Event) -> None:
        self._claims.add(claim)
        working = asyncio.create_task(self._calculate(claim, calculator))
        waiting = [asyncio.create_task(each.wait()) for each in (stop, claim.lost)]
        try:
            await asyncio.wait([working, *waiting], return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                working.cancel()
                await calculator.kill()
            (fault,) = await asyncio.gather(working, return_exceptions=True)
            await self._settle(claim, fault, calculator, stop)
        finally:
            for task in (working, *waiting):
                task.cancel()
            self._claims.discard(claim)

    async def _settle(
        self, claim: _Claim, fault: BaseException | None, calculator: Calculator, stop: asyncio.Event
    ) -> None:
        """Write the outcome: done, failed, or back to the queue. The claim is renewed until this is written."""
        job, reason = claim.job, str(fault)
        match fault:
            case None:
                ENDED.labels("done").inc()
            case ClaimLost():
                await calculator.kill()
            case asyncio.CancelledError() if claim.lost.is_set():
                log.info("backtest_claim_lost", backtest_id=str(job.backtest_id))
            case asyncio.CancelledError():
                await self._write(stop, job, lambda connection: release_job(connection, job))
            case _Refused():
                ENDED.labels("refused").inc()
                await self._write(stop, job, lambda connection: fail_backtest(connection, job, reason, utc_now()))
            case CalculationEnded():
                ENDED.labels("crashed").inc()
                log.error("backtest_crashed", backtest_id=str(job.backtest_id), reason=reason)
                await calculator.kill()
                await self._write(stop, job, lambda connection: release_job(connection, job, reason))
            case _ if isinstance(fault, INFRASTRUCTURE_FAULTS):
                log.warning("backtest_interrupted", backtest_id=str(job.backtest_id), error=repr(fault))
                await calculator.kill()
                await self._write(stop, job, lambda connection: release_job(connection, job))
            case _:
                raise fault

    async def _write(
        self, stop: asyncio.Event, job: BacktestJob, write: Callable[[Connection], Awaitable[None]]
    ) -> None:
        """Retry `write` until it succeeds or the claim is lost; once `stop` is set, do not retry."""
        while True:
            try:
                async with self._database.tenant(job.user_id) as connection:
                    return await write(connection)
            except ClaimLost:
                return None
            except INFRASTRUCTURE_FAULTS as error:
                log.warning("backtest_not_written", error=repr(error))
                if stop.is_set():
                    return None
            await pause(stop, RETRY_AFTER_S)

    async def _calculate(self, claim: _Claim, calculator: Calculator) -> None:
        job = claim.job
        async with self._database.tenant(job.user_id) as connection:
            assignment = await begin_backtest(connection, job, utc_now())
        if assignment is None:
            return
        await calculator.send(_request(assignment), lambda write: self._feed(assignment, write))
        answer = calculator.receive()
        head = await _until_head(claim, answer)
        if head.bars != assignment.range.bars:
            raise CalculationEnded("its candles changed during the calculation")
        async with self._database.tenant(job.user_id) as connection:
            await finish_backtest(connection, assignment, head, _rows(answer), utc_now())
        if head.bars > RESTART_AFTER_BARS:
            await calculator.kill()

    async def _feed(self, assignment: Assignment, write: Write) -> None:
        """Write the bars in windows, so that no statement takes long."""
        window = timedelta(milliseconds=INTERVAL_MS[assignment.interval]) * BARS_PER_WINDOW
        end = assignment.range.last + timedelta(microseconds=1)
        first = assignment.range.first
        while first < end:
            before = min(first + window, end)
            async with self._database.untenanted() as connection:
                await candles.copy_bars(connection, assignment.series_id, first, before, write)
            first = before


def _request(assignment: Assignment) -> str:
    terms = assignment.terms
    amounts = {
        **asdict(terms.instrument),
        "fee": terms.fee,
        "slippage": terms.slippage,
        "initial_balance": terms.initial_balance,
    }
    terms_text = {name: decimal_text(amount) for name, amount in amounts.items()}
    return json.dumps({"document": assignment.document, "terms": terms_text})


async def _until_head(claim: _Claim, answer: AsyncIterator[tuple[str, str]]) -> ResultHead:
    async for kind, payload in answer:
        match kind:
            case "progress":
                claim.done = int(payload)
            case "refused":
                raise _Refused(payload)
            case "head":
                return ResultHead.read(payload)
    raise AssertionError("an answer ends with `end`, `refused` or an exception")


async def _rows(answer: AsyncIterator[tuple[str, str]]) -> AsyncIterator[tuple[Kind, str]]:
    async for kind, payload in answer:
        if kind != "end":
            yield cast(Kind, kind), payload
