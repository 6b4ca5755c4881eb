"""The queue of backtests. Claims and renewals run across tenants, as trading_queue; tenants insert and delete."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from shared.chassis.postgres import Connection, Database

LEASE = timedelta(seconds=5)


@dataclass(frozen=True)
class BacktestJob:
    """A claimed job; `failures` counts the earlier attempts that failed."""

    user_id: int
    backtest_id: UUID
    epoch: int
    failures: int
    failure_reason: str | None


async def insert_job(connection: Connection, user_id: int, backtest_id: UUID) -> None:
    await connection.execute(
        "INSERT INTO backtest_jobs (user_id, backtest_id) VALUES ($1, $2)", user_id, backtest_id
    )


async def has_jobs(database: Database) -> bool:
    return bool(await database.fetch_from_queues("SELECT FROM backtest_jobs LIMIT 1"))


async def count_jobs(connection: Connection, user_id: int) -> int:
    count: int = await connection.fetchval("SELECT count(*) FROM backtest_jobs WHERE user_id = $1", user_id)
    return count


async def delete_job(connection: Connection, user_id: int, backtest_id: UUID, epoch: int | None = None) -> bool:
    """Delete the job, under this epoch if one is given. Returns whether it existed: only one caller ends a job."""
    deleted = await connection.fetchval(
        """
        DELETE FROM backtest_jobs
        WHERE user_id = $1 AND backtest_id = $2 AND ($3::bigint IS NULL OR epoch = $3) RETURNING true
        """,
        user_id,
        backtest_id,
        epoch,
    )
    return bool(deleted)


async def is_held(connection: Connection, job: BacktestJob) -> bool:
    held: bool = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM backtest_jobs WHERE user_id = $1 AND backtest_id = $2 AND epoch = $3)",
        job.user_id,
        job.backtest_id,
        job.epoch,
    )
    return held


async def release_job(connection: Connection, job: BacktestJob, failure_reason: str | None = None) -> bool:
    """Return a job to the queue; a reason counts as a failure. Returns False if the claim was lost."""
    freed = await connection.fetchval(
        """
        UPDATE backtest_jobs SET worker = NULL, expires_at = NULL, done = 0, epoch = epoch + 1,
               failures = failures + ($4::text IS NOT NULL)::integer, failure_reason = coalesce($4, failure_reason)
        WHERE user_id = $1 AND backtest_id = $2 AND epoch = $3 RETURNING true
        """,
        job.user_id,
        job.backtest_id,
        job.epoch,
        failure_reason,
    )
    return bool(freed)


async def release_expired(connection: Connection, failure_reason: str) -> int:
    """Return expired jobs to the queue and count a failure for each: the job may have killed its process."""
    freed = await connection.fetch(
        """
        UPDATE backtest_jobs AS j SET worker = NULL, expires_at = NULL, done = 0, failures = j.failures + 1,
               failure_reason = $1
        FROM (
            SELECT user_id, backtest_id FROM backtest_jobs
            WHERE worker IS NOT NULL AND expires_at < now() FOR UPDATE SKIP LOCKED
        ) AS gone
        WHERE j.user_id = gone.user_id AND j.backtest_id = gone.backtest_id RETURNING 1
        """,
        failure_reason,
    )
    return len(freed)


async def find_next_tenant(connection: Connection) -> int | None:
    """Find the waiting tenant whose turn was longest ago. Takes one index lookup per waiting tenant."""
    user_id: int | None = await connection.fetchval(
        """
        WITH RECURSIVE waiting AS (
            (SELECT user_id FROM backtest_jobs WHERE worker IS NULL ORDER BY user_id LIMIT 1)
            UNION ALL
            SELECT (SELECT j.user_id FROM backtest_jobs j WHERE j.worker IS NULL AND j.user_id > w.user_id
                    ORDER BY j.user_id LIMIT 1)
            FROM waiting w WHERE w.user_id IS NOT NULL
        )
        SELECT w.user_id FROM waiting w LEFT JOIN backtest_turns t ON t.user_id = w.user_id
        WHERE w.user_id IS NOT NULL ORDER BY t.turn_at NULLS FIRST, w.user_id LIMIT 1
        """
    )
    return user_id


async def claim_first(connection: Connection, user_id: int, worker: str) -> BacktestJob | None:
    """Claim the tenant's oldest free job. Each claim raises the epoch."""
    row = await connection.fetchrow(
        """
        UPDATE backtest_jobs AS j SET worker = $2, epoch = j.epoch + 1, expires_at = now() + $3, done = 0
        FROM (
            SELECT backtest_id FROM backtest_jobs WHERE user_id = $1 AND worker IS NULL
            ORDER BY created_at, backtest_id LIMIT 1 FOR UPDATE SKIP LOCKED
        ) AS first
        WHERE j.user_id = $1 AND j.backtest_id = first.backtest_id
        RETURNING j.user_id, j.backtest_id, j.epoch, j.failures, j.failure_reason
        """,
        user_id,
        worker,
        LEASE,
    )
    return BacktestJob(**row) if row else None


async def record_turn(connection: Connection, user_id: int) -> None:
    await connection.execute(
        """
        INSERT INTO backtest_turns (user_id, turn_at) VALUES ($1, clock_timestamp())
        ON CONFLICT (user_id) DO UPDATE SET turn_at = excluded.turn_at
        """,
        user_id,
    )


async def delete_turns(connection: Connection, before: datetime) -> None:
    """Delete turns before `before`: a tenant without a recent turn comes first, like one who never had a turn."""
    await connection.execute("DELETE FROM backtest_turns WHERE turn_at < $1", before)


async def renew(
    connection: Connection, worker: str, jobs: Sequence[tuple[BacktestJob, int]]
) -> set[tuple[UUID, int]]:
    """Renew claims, each with the number of bars done. Returns those still held, by id and epoch."""
    rows = await connection.fetch(
        """
        UPDATE backtest_jobs AS j SET expires_at = now() + $2, done = held.done
        FROM unnest($3::bigint[], $4::uuid[], $5::bigint[], $6::integer[])
             AS held (user_id, backtest_id, epoch, done)
        WHERE j.user_id = held.user_id AND j.backtest_id = held.backtest_id AND j.epoch = held.epoch
              AND j.worker = $1
        RETURNING j.backtest_id, j.epoch
        """,
        worker,
        LEASE,
        [job.user_id for job, _ in jobs],
        [job.backtest_id for job, _ in jobs],
        [job.epoch for job, _ in jobs],
        [done for _, done in jobs],
    )
    return {(row["backtest_id"], row["epoch"]) for row in rows}


async def delete_backtests(connection: Connection, before: datetime, limit: int) -> int:
    """Delete up to `limit` backtests that ended before then, and results that no other uses; returns how many."""
    deleted: int = await connection.fetchval("SELECT forget_backtests($1, $2)", before, limit)
    return deleted
