"""Takes backtests from the queue, each into a process apart, and keeps its claims while they are calculated."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import cast
from uuid import uuid4

import structlog
from prometheus_client import Counter

from services.trading.backtests.calculator import COMMAND, CalculationEnded, Calculator, Write
from services.trading.operations import work_backtest
from services.trading.operations.work_backtest import Assignment, ClaimLost
from services.trading.queries import backtest_queue, candles
from services.trading.queries.backtest_queue import Job
from services.trading.queries.backtest_results import Kind, ResultHead
from shared.chassis.clock import utc_now
from shared.chassis.pause import pause
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS, Database
from shared.contracts.types import decimal_text
from shared.strategy.bars import INTERVAL_MS

CLAIM_EVERY_S = 0.25
RENEW_EVERY_S = 0.5
AGAIN_AFTER_S = 0.5
BARS_AT_ONCE = 20_000
MOST_KEPT_WARM = 200_000  # bars: after more of them a process holds much memory, and another is started

ENDED = Counter("trading_backtests_ended_total", "Backtests that were worked on, by how they ended", ["outcome"])

log = structlog.get_logger()


class _Refused(Exception):
    """The calculation says that there will never be a result."""


@dataclass(eq=False)
class _Held:
    """A claim, how far it is, and whether it is not ours any more."""

    job: Job
    done: int = 0
    lost: asyncio.Event = field(default_factory=asyncio.Event)


class BacktestWorker:
    """So many calculations at once. What it knows can be lost: its claims expire, and others take the jobs up."""

    def __init__(self, database: Database, processes: int, command: Sequence[str] = COMMAND) -> None:
        self._database = database
        self._processes = processes
        self._command = command
        self._name = str(uuid4())
        self._held: set[_Held] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Until told to stop; then what is not finished is let go at once."""
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
        """All in one statement, with how far each is; a claim that is gone was cancelled or taken over."""
        while not over.is_set():
            held = list(self._held)
            try:
                if held:
                    await self._renew(held)
            except INFRASTRUCTURE_FAULTS as error:
                log.warning("backtests_not_renewed", error=repr(error))
            await pause(over, RENEW_EVERY_S)

    async def _renew(self, held: Sequence[_Held]) -> None:
        async with self._database.queue() as connection:
            jobs = [(each.job, each.done) for each in held]
            ours = await backtest_queue.renew(connection, self._name, jobs)
            await backtest_queue.forget_turns(connection, utc_now() - timedelta(minutes=10))
        for each in held:
            if (each.job.backtest_id, each.job.epoch) not in ours:
                each.lost.set()

    async def _work(self, stop: asyncio.Event) -> None:
        """One after another."""
        calculator = Calculator(self._command)
        try:
            while not stop.is_set():
                try:
                    job = await work_backtest.claim_job(self._database, self._name)
                except INFRASTRUCTURE_FAULTS as error:
                    log.warning("backtests_not_claimed", error=repr(error))
                    job = None
                if job is None:
                    await pause(stop, CLAIM_EVERY_S)
                else:
                    await self._work_on(_Held(job), calculator, stop)
        finally:
            await calculator.end()

    async def _work_on(self, held: _Held, calculator: Calculator, stop: asyncio.Event) -> None:
        self._held.add(held)
        working = asyncio.create_task(self._calculate(held, calculator))
        waiting = [asyncio.create_task(each.wait()) for each in (stop, held.lost)]
        try:
            await asyncio.wait([working, *waiting], return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                working.cancel()
                await calculator.end()
            (fault,) = await asyncio.gather(working, return_exceptions=True)
            await self._settle(held, fault, calculator, stop)
        finally:
            for task in (working, *waiting):
                task.cancel()
            self._held.discard(held)

    async def _settle(
        self, held: _Held, fault: BaseException | None, calculator: Calculator, stop: asyncio.Event
    ) -> None:
        """What follows from how it went; the claim is kept until that is written."""
        job, database = held.job, self._database
        match fault:
            case None:
                ENDED.labels("done").inc()
            case ClaimLost():
                await calculator.end()
            case asyncio.CancelledError() if held.lost.is_set():
                log.info("backtest_taken_away", backtest_id=str(job.backtest_id))
            case asyncio.CancelledError():
                await self._write(stop, lambda: work_backtest.let_go(database, job))
            case _Refused():
                ENDED.labels("refused").inc()
                await self._write(stop, lambda: work_backtest.fail_backtest(database, job, str(fault), utc_now()))
            case CalculationEnded():
                ENDED.labels("crashed").inc()
                log.error("backtest_crashed", backtest_id=str(job.backtest_id), reason=str(fault))
                await calculator.end()
                await self._write(stop, lambda: work_backtest.let_go(database, job, str(fault)))
            case _ if isinstance(fault, INFRASTRUCTURE_FAULTS):
                log.warning("backtest_interrupted", backtest_id=str(job.backtest_id), error=repr(fault))
                await calculator.end()
                await self._write(stop, lambda: work_backtest.let_go(database, job))
            case _:
                raise fault

    async def _write(self, stop: asyncio.Event, write: Callable[[], Awaitable[None]]) -> None:
        """Again until it is written, or the claim is lost; when told to stop, once."""
        while True:
            try:
                return await write()
            except ClaimLost:
                return None
            except INFRASTRUCTURE_FAULTS as error:
                log.warning("backtest_not_written", error=repr(error))
                if stop.is_set():
                    return None
            await pause(stop, AGAIN_AFTER_S)

    async def _calculate(self, held: _Held, calculator: Calculator) -> None:
        assignment = await work_backtest.begin_backtest(self._database, held.job, utc_now())
        if assignment is None:
            return
        await calculator.ask(_question(assignment), lambda write: self._feed(assignment, write))
        answer = calculator.answer()
        head = await _until_head(held, answer)
        if head.bars != assignment.range.bars:
            raise CalculationEnded("its candles changed while it was calculated")
        await work_backtest.finish_backtest(self._database, assignment, head, _rows(answer), utc_now())
        if head.bars > MOST_KEPT_WARM:
            await calculator.end()

    async def _feed(self, assignment: Assignment, write: Write) -> None:
        """In windows, so that no statement takes long."""
        window = timedelta(milliseconds=INTERVAL_MS[assignment.interval]) * BARS_AT_ONCE
        end = assignment.range.last + timedelta(microseconds=1)
        first = assignment.range.first
        while first < end:
            before = min(first + window, end)
            async with self._database.untenanted() as connection:
                await candles.copy_bars(connection, assignment.series_id, first, before, write)
            first = before


def _question(assignment: Assignment) -> str:
    terms, instrument = assignment.terms, assignment.terms.instrument
    amounts = {
        "tick_size": instrument.tick_size,
        "qty_step": instrument.qty_step,
        "min_order_qty": instrument.min_order_qty,
        "min_notional": instrument.min_notional,
        "fee": terms.fee,
        "slippage": terms.slippage,
        "initial_balance": terms.initial_balance,
    }
    told = {name: decimal_text(amount) for name, amount in amounts.items()}
    return json.dumps({"document": assignment.document, "terms": told})


async def _until_head(held: _Held, answer: AsyncIterator[tuple[str, str]]) -> ResultHead:
    async for word, what in answer:
        match word:
            case "progress":
                held.done = int(what)
            case "refused":
                raise _Refused(what)
            case "head":
                return ResultHead.read(what)
    raise AssertionError("an answer ends with `end`, `refused` or an error")


async def _rows(answer: AsyncIterator[tuple[str, str]]) -> AsyncIterator[tuple[Kind, str]]:
    async for word, what in answer:
        if word != "end":
            yield cast(Kind, word), what
