"""Backtest workers as processes: killed, stopped, given jobs that crash, and cut off from the database."""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence

import asyncpg
import psutil
import pytest

from services.trading.backtest_question import MAX_FAILURES
from services.trading.operations import work_backtest
from services.trading.queries.backtest_queue import BacktestJob
from shared.chassis.clock import utc_now
from shared.testing.api_client import Json
from tests.integration.accounts import eventually
from tests.integration.backtests.conftest import BARS, Person, Scene, calculation_processes

DIES = [sys.executable, "-c", "import os, sys; sys.stdin.readline(); os.kill(os.getpid(), 9)"]
FAILS = [sys.executable, "-c", "import sys; sys.stdin.readline(); sys.exit(1)"]
# Reports progress and then runs until its standard input closes.
LASTS = [
    sys.executable,
    "-c",
    """
import sys
while sys.stdin.readline() not in ("\\n", ""):
    pass
print("progress 7", flush=True)
sys.stdin.read()
""",
]
MEMBER = ("tests.integration.backtests.member", *LASTS)
CUT = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND usename <> 'tradefleet_owner'
"""


async def calculation_of(pid: int) -> psutil.Process:
    async def look() -> Sequence[psutil.Process]:
        return calculation_processes(pid)

    return (await eventually(look, bool, 60))[0]


async def until_under_way(ann: Person, path: str) -> None:
    under_way = {"done": 7, "total": BARS, "percentage": 2}

    def is_running(seen: Json) -> bool:
        return (seen["status"], seen["progress"]) == ("RUNNING", under_way)

    await eventually(lambda: ann.get(path), is_running, 60)


async def until_gone(process: psutil.Process) -> None:
    async def runs() -> bool:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE

    await eventually(runs, lambda runs: not runs, 60)


async def test_the_service_calculates_in_a_process_of_lower_priority(scene: Scene) -> None:
    ann = await scene.person()
    process = await scene.process("services.trading", "--only", "backtests")
    assert (await ann.until_ended(await ann.queue_backtest()))["status"] == "DONE"
    calculation = await calculation_of(process.pid)  # it stays warm for the next job
    assert calculation.nice() > psutil.Process(process.pid).nice()
    assert "POSTGRES_APP_DSN" not in calculation.environ()
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 20) == 0
    await until_gone(calculation)


async def test_a_cancelled_backtest_stops_and_the_next_one_runs(scene: Scene) -> None:
    ann = await scene.person()
    path, other = await ann.queue_backtest(), await ann.queue_backtest(fee_rate="0.001")
    async with scene.worker(LASTS):
        await until_under_way(ann, path)
        calculation = await calculation_of(os.getpid())
        for _ in range(2):
            answer = await ann.call("DELETE", path)
            assert (answer.status, answer.body["status"]) == (200, "CANCELLED")
        await until_gone(calculation)
        await until_under_way(ann, other)
    assert (await ann.get(path))["status"] == "CANCELLED"


async def test_a_queued_backtest_is_cancelled_and_never_started(scene: Scene) -> None:
    ann = await scene.person()
    path, other = await ann.queue_backtest(), await ann.queue_backtest(fee_rate="0.001")
    assert (await ann.call("DELETE", path)).body["status"] == "CANCELLED"
    async with scene.worker():
        await ann.until_ended(other)
    assert (await ann.get(path))["started_at"] is None


async def test_an_ended_backtest_is_not_cancelled(scene: Scene) -> None:
    ann = await scene.person()
    path = await ann.queue_backtest()
    async with scene.worker():
        done = await ann.until_ended(path)
    answer = await ann.call("DELETE", path)
    assert (answer.status, answer.body["type"]) == (409, "/problems/backtest-ended")
    assert await ann.get(path) == done


async def test_the_job_of_a_killed_process_is_taken_over(scene: Scene) -> None:
    ann = await scene.person()
    path = await ann.queue_backtest()
    member = await scene.process(*MEMBER)
    await until_under_way(ann, path)
    calculation = await calculation_of(member.pid)
    member.kill()
    async with scene.worker():
        seen = await ann.until_ended(path)
    assert seen["status"] == "DONE"
    for table, count in (("backtest_results", 1), ("backtest_jobs", 0)):
        assert len(await scene.trading.fetch(f"SELECT 1 FROM {table}")) == count
    await until_gone(calculation)


async def test_a_stopping_process_releases_its_job_at_once(scene: Scene) -> None:
    ann = await scene.person()
    path = await ann.queue_backtest()
    member = await scene.process(*MEMBER)
    await until_under_way(ann, path)
    member.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(member.wait(), 20) == 0
    assert (await ann.get(path))["status"] == "QUEUED"
    (job,) = await scene.trading.fetch("SELECT worker, failures, done FROM backtest_jobs")
    assert (job["worker"], job["failures"], job["done"]) == (None, 0, 0)


async def test_a_killed_calculation_starts_again(scene: Scene) -> None:
    ann = await scene.person()
    path = await ann.queue_backtest()
    async with scene.worker(LASTS):
        await until_under_way(ann, path)
        first = await calculation_of(os.getpid())
        first.kill()
        await until_gone(first)
        await eventually(lambda: scene.trading.fetch("SELECT 1 FROM backtest_jobs WHERE failures = 1"), bool, 60)
        await until_under_way(ann, path)


async def test_a_job_that_kills_its_process_fails_alone(scene: Scene) -> None:
    ann, bob = await scene.person(1), await scene.person(2)
    poison = await ann.queue_backtest()
    async with scene.worker(DIES):
        seen = await ann.until_ended(poison)
    reason = f"the calculation was killed by signal 9 ({MAX_FAILURES} times)"
    assert (seen["status"], seen["reason"], seen["result"]) == ("FAILED", reason, None)
    path = await bob.queue_backtest()
    async with scene.worker():
        assert (await bob.until_ended(path))["status"] == "DONE"


async def test_a_job_on_which_the_evaluator_fails_has_that_reason(scene: Scene) -> None:
    ann = await scene.person()
    path = await ann.queue_backtest()
    async with scene.worker(FAILS):
        seen = await ann.until_ended(path)
    assert seen["reason"] == f"the evaluator failed ({MAX_FAILURES} times)"


async def test_a_tenants_first_job_goes_before_another_tenants_many(scene: Scene) -> None:
    ann, bob = await scene.person(1), await scene.person(2)
    anns = [await ann.queue_backtest(fee_rate=f"0.0{index:02}") for index in range(1, 31)]
    taken = [await _take(scene) for _ in range(2)]
    bobs = [await bob.queue_backtest(fee_rate=f"0.0{index:02}") for index in range(1, 3)]
    taken += [await _take(scene) for _ in range(6)]
    assert [job.user_id for job in taken] == [1, 1, 2, 1, 2, 1, 1, 1]
    assert [f"/v1/backtests/{job.backtest_id}" for job in taken if job.user_id == 1] == anns[:6]
    assert [f"/v1/backtests/{job.backtest_id}" for job in taken if job.user_id == 2] == bobs


async def _take(scene: Scene) -> BacktestJob:
    job = await _claim(scene, "test")
    assert job is not None
    return job


async def _claim(scene: Scene, worker: str) -> BacktestJob | None:
    async with scene.trading.database.queue() as connection:
        return await work_backtest.claim_job(connection, worker)


async def test_two_processes_never_take_the_same_job(scene: Scene) -> None:
    people = [await scene.person(user_id) for user_id in range(1, 5)]
    asked = {await person.queue_backtest(fee_rate=f"0.0{index}") for person in people for index in range(1, 6)}
    claims = [_claim(scene, f"w{number}") for number in range(40)]
    taken = [job for job in await asyncio.gather(*claims) if job is not None]
    ids = [f"/v1/backtests/{job.backtest_id}" for job in taken]
    assert len(ids) == len(set(ids))
    while (job := await _claim(scene, "last")) is not None:
        ids.append(f"/v1/backtests/{job.backtest_id}")
    assert sorted(ids) == sorted(asked)


async def test_a_worker_that_lost_its_claim_writes_nothing(scene: Scene) -> None:
    """A worker was frozen for longer than its lease and wakes with a result."""
    ann = await scene.person()
    path = await ann.queue_backtest()
    frozen = await _take(scene)
    database = scene.trading.database
    async with database.tenant(frozen.user_id) as connection:
        assert await work_backtest.begin_backtest(connection, frozen, utc_now()) is not None
    await scene.trading.fetch("UPDATE backtest_jobs SET expires_at = now() - interval '1 second'")
    job = await _take(scene)
    assert (job.epoch, job.failures) == (frozen.epoch + 1, 1)
    async with database.tenant(frozen.user_id) as connection:
        await work_backtest.release_job(connection, frozen, "it thinks that it failed")
    with pytest.raises(work_backtest.ClaimLost):
        async with database.tenant(frozen.user_id) as connection:
            await work_backtest.fail_backtest(connection, frozen, "late", utc_now())
    with pytest.raises(work_backtest.ClaimLost):
        async with database.tenant(frozen.user_id) as connection:
            await work_backtest.begin_backtest(connection, frozen, utc_now())
    (row,) = await scene.trading.fetch("SELECT worker, failures FROM backtest_jobs")
    assert (row["worker"], row["failures"]) == ("test", 1)
    assert (await ann.get(path))["status"] == "RUNNING"


async def test_cut_connections_cost_neither_the_claim_nor_an_attempt(scene: Scene, postgres: str) -> None:
    ann = await scene.person()
    path = await ann.queue_backtest()
    expiry = "SELECT expires_at, failures FROM backtest_jobs"
    async with scene.worker(LASTS):
        await until_under_way(ann, path)
        superuser = await asyncpg.connect(postgres)
        for _ in range(3):
            await superuser.execute(CUT, scene.database)
            (before,) = await scene.trading.fetch(expiry)
            rows = await eventually(
                lambda: scene.trading.fetch(expiry),
                lambda rows, since=before: rows[0]["expires_at"] > since["expires_at"],  # type: ignore[misc]
            )
            assert rows[0]["failures"] == 0
        await superuser.close()
        assert (await ann.get(path))["status"] == "RUNNING"


async def test_old_backtests_are_deleted_with_their_results(scene: Scene) -> None:
    ann = await scene.person()
    async with scene.worker():
        for path in (await ann.queue_backtest(), await ann.queue_backtest(fee_rate="0.001")):
            await ann.until_ended(path)
    again = await ann.queue_backtest()  # reuses the first one's result today
    one, ago = again.rpartition("/")[2], "now() - interval '91 days'"
    await scene.trading.fetch(f"UPDATE backtest_results SET asked_at = {ago}")
    await scene.trading.fetch(f"UPDATE backtests SET ended_at = {ago} WHERE backtest_id <> $1::uuid", one)
    deleted = await scene.trading.fetch("SELECT forget_backtests(now() - interval '90 days', 100) AS n")
    assert deleted[0]["n"] == 2
    assert [each["backtest_id"] for each in await ann.list_all("/v1/backtests")] == [one]
    assert len(await ann.list_all(again + "/fills")) > 0
    (row,) = await scene.trading.fetch("SELECT count(*) AS n FROM backtest_results")
    assert row["n"] == 1
