"""Batches of facts, in any order, give the same days to the last digit."""

import asyncio
import random
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

import asyncpg
import pytest

from services.analytics.consumers import on_session_started, on_trade_closed
from services.analytics.operations.days import compute_stale_days, fresh_days, rebuild_days
from shared.chassis.postgres import Database
from shared.contracts.envelope import Event
from shared.contracts.trading import TradeClosed
from shared.contracts.types import new_id
from stack.migrate import DatabaseAccess
from tests.integration.accounts import eventually
from tests.integration.analytics.conftest import (
    consume,
    session_started,
    session_stopped,
    trade_closed,
    user_registered,
)

Days = list[tuple[object, ...]]


async def days_of(database: Database, user_id: int, mode: str = "PAPER") -> Days:
    async with fresh_days(database, user_id) as connection:
        rows = await connection.fetch(
            """
            SELECT date::text, timezone, starting_balance, ending_balance, daily_pnl, daily_pnl_percentage,
                   total_trades, winning_trades, losing_trades, win_rate, max_drawdown, sharpe_ratio, volatility,
                   data, capital_at_work
            FROM user_daily_performance WHERE mode = $1 ORDER BY date
            """,
            mode,
        )
    return [tuple(map(str, row)) for row in rows]


def some_trades(user_id: int, count: int, seed: int = 1) -> list[TradeClosed]:
    draw = random.Random(seed)
    return [
        trade_closed(
            user_id,
            str(datetime(2026, 1, 1) + timedelta(minutes=draw.randrange(87 * 24 * 60))),  # noqa: DTZ001
            str(Decimal(draw.randint(-(10**12), 10**12)).scaleb(-8)),
        )
        for _ in range(count)
    ]


async def test_a_batch_with_duplicates_is_counted_once_and_exactly(database: Database) -> None:
    trades = [trade for user_id in (1, 2, 3) for trade in some_trades(user_id, 40, seed=user_id)]
    await consume(database, *trades, *trades[:50])
    await consume(database, *reversed(trades))
    for user_id in (1, 2, 3):
        own = [trade for trade in trades if trade.user_id == user_id]
        days = await days_of(database, user_id)
        assert sum(Decimal(str(day[4])) for day in days) == sum(trade.pnl for trade in own)
        assert sum(int(str(day[6])) for day in days) == len(own)


async def test_events_in_any_order_give_the_same_days(database: Database) -> None:
    session = new_id()
    events: list[Event] = [
        user_registered(1, "Europe/Rome"),
        session_started(1, "2026-01-10 12:00", "5000", session),
        session_started(1, "2026-02-01 12:00", "250.00000001"),
        session_stopped(1, "2026-02-20 12:00", "5000", session),
        *some_trades(1, 60),
    ]
    await consume(database, events[0])
    for event in events[1:]:
        await consume(database, event)
    expected = await days_of(database, 1)
    assert len(expected) > 30
    draw = random.Random(5)
    for user_id in (2, 3, 4):
        shuffled = [
            event.model_copy(update={"user_id": user_id, "public_id": UUID(int=user_id)}) for event in events
        ]
        draw.shuffle(shuffled)
        for event in shuffled:
            await consume(database, event)
        assert await days_of(database, user_id) == expected


async def test_days_rebuilt_from_the_facts_are_the_same(database: Database) -> None:
    await consume(database, session_started(1, "2026-01-10 12:00"))
    for trade in some_trades(1, 50):
        await consume(database, trade)
    before = await days_of(database, 1)
    async with database.tenants([1]) as connection:
        await rebuild_days(connection, [1])
    assert await days_of(database, 1) == before


async def test_a_change_of_time_zone_recomputes_all_days(database: Database) -> None:
    await consume(database, trade_closed(1, "2026-01-01 23:30", "1"), trade_closed(1, "2026-01-02 01:00", "2"))
    assert [(day[0], day[1], day[4]) for day in await days_of(database, 1)] == [
        ("2026-01-01", "UTC", "1"),
        ("2026-01-02", "UTC", "2"),
    ]
    await consume(database, user_registered(1, "Europe/Rome"))
    assert [(day[0], day[1], day[4]) for day in await days_of(database, 1)] == [("2026-01-02", "Europe/Rome", "3")]


async def test_after_a_change_of_time_zone_days_are_as_if_it_had_always_applied(database: Database) -> None:
    """Compares every column of every day, across clock changes in both zones, there and back."""
    session = new_id()
    sessions = [
        session_started(1, "2026-01-10 23:30", "5000", session),
        session_started(1, "2026-03-08 04:30", "70"),
    ]
    await consume(database, user_registered(1, "Europe/Rome"))
    await consume(database, *sessions)
    await consume(database, *some_trades(1, 90))
    await consume(database, session_stopped(1, "2026-03-01 04:30", "4900", session))
    in_rome = await days_of(database, 1)
    await consume(database, user_registered(1, "America/New_York", 2))
    in_new_york = await days_of(database, 1)
    for_another = [
        event.model_copy(update={"user_id": 2, "public_id": UUID(int=2)})
        for event in (*sessions, *some_trades(1, 90), session_stopped(1, "2026-03-01 04:30", "4900", session))
    ]
    await consume(database, user_registered(2, "America/New_York"))
    for event in for_another:
        await consume(database, event)
    assert in_new_york == await days_of(database, 2)
    assert {day[1] for day in in_new_york} == {"America/New_York"}
    await consume(database, user_registered(1, "Europe/Rome", 3))
    assert await days_of(database, 1) == in_rome != in_new_york
    await consume(database, user_registered(1, "America/New_York", 2))  # an older event, received again
    assert await days_of(database, 1) == in_rome


async def test_paper_and_live_are_kept_apart(database: Database) -> None:
    await consume(
        database, trade_closed(1, "2026-01-01 10:00", "1"), trade_closed(1, "2026-01-01 10:00", "5", paper=False)
    )
    assert [day[4] for day in await days_of(database, 1, "PAPER")] == ["1"]
    assert [day[4] for day in await days_of(database, 1, "LIVE")] == ["5"]


async def test_a_session_received_late_corrects_the_balances(database: Database) -> None:
    await consume(database, trade_closed(1, "2026-01-02 10:00", "100"))
    session = new_id()
    await consume(database, session_stopped(1, "2026-01-03 10:00", "1000", session))
    assert [(day[2], day[5]) for day in await days_of(database, 1)] == [("0", "None")]
    await consume(database, session_started(1, "2026-01-01 10:00", "1000", session))
    assert [(day[2], day[5]) for day in await days_of(database, 1)] == [("1000", "10.00000000")]


async def test_capital_of_a_stopped_session_is_no_longer_at_work(database: Database) -> None:
    """This holds too if the stop is consumed after the days that follow it were computed."""
    session, other = new_id(), new_id()
    await consume(
        database,
        session_started(1, "2026-01-01 10:00", "1000", session),
        session_started(1, "2026-01-02 09:00", "100", other),
    )
    await consume(database, trade_closed(1, "2026-01-02 10:00", "100"), trade_closed(1, "2026-01-05 10:00", "11"))
    columns = "date::text", "starting_balance", "capital_at_work", "daily_pnl_percentage", "data"
    assert await columns_of(database, 1, *columns[:4]) == [
        ("2026-01-02", 1100, 1100, Decimal("9.09090909")),
        ("2026-01-05", 1200, 1200, Decimal("0.91666667")),
    ]
    await consume(database, session_stopped(1, "2026-01-03 10:00", "1100", session))
    assert await columns_of(database, 1, *columns) == [
        (
            *("2026-01-02", 1100, 1100, Decimal("9.09090909")),
            {"version": 2, "capital_added": "1100", "capital_taken": "0"},
        ),
        (*("2026-01-05", 1200, 100, 11), {"version": 2, "capital_added": "0", "capital_taken": "1100"}),
    ]


async def columns_of(database: Database, user_id: int, *columns: str) -> Days:
    async with fresh_days(database, user_id) as connection:
        rows = await connection.fetch(f"SELECT {', '.join(columns)} FROM user_daily_performance ORDER BY date")
    return [tuple(row) for row in rows]


async def test_ten_stopped_sessions_do_not_dilute_the_eleventh(database: Database) -> None:
    sessions = [new_id() for _ in range(10)]
    await consume(
        database, *(session_started(1, f"2026-01-{day:02} 00:00", "10000", s) for day, s in enumerate(sessions, 1))
    )
    await consume(
        database, *(session_stopped(1, f"2026-01-{day:02} 20:00", "10000", s) for day, s in enumerate(sessions, 1))
    )
    await consume(
        database,
        session_started(1, "2026-01-11 09:00", "10000"),
        session_started(1, "2026-01-11 10:00", "7", new_id()),
    )
    await consume(database, trade_closed(1, "2026-01-11 12:00", "100.07"))
    assert await columns_of(database, 1, "starting_balance", "capital_at_work", "daily_pnl_percentage") == [
        (110_007, 10_007, 1)
    ]


async def test_a_stop_consumed_before_its_start_counts_from_the_day_of_the_stop(database: Database) -> None:
    """This holds even for a stop whose clock was behind that of the start."""
    session, trades = new_id(), [trade_closed(1, f"2026-01-0{day} 10:00", "10") for day in (1, 2, 3, 4)]
    events: list[Event] = [
        session_started(1, "2026-01-01 00:00", "1000"),
        session_started(1, "2026-01-03 00:00", "500", session),
        session_stopped(1, "2026-01-02 10:00", "500", session),
        *trades,
    ]
    for event in events[:2] + trades[:]:
        await consume(database, event)
    await consume(database, events[2])
    expected = await columns_of(database, 1, "*")
    for user_id, order in ((2, (2, 0, 3, 4, 5, 6, 1)), (3, (6, 5, 2, 1, 3, 4, 0))):
        for number in order:
            public = {"user_id": user_id, "public_id": UUID(int=user_id)}
            await consume(database, events[number].model_copy(update=public))
        names = "date, capital_at_work, daily_pnl_percentage, starting_balance, data"
        assert await columns_of(database, user_id, names) == await columns_of(database, 1, names)
    assert len(expected) == 4


async def test_days_computed_by_an_earlier_version_are_recomputed_with_the_next_event(
    database: Database, database_access: DatabaseAccess
) -> None:
    await consume(
        database, session_started(1, "2026-01-01 00:00", "1000"), session_started(1, "2026-01-02 00:00", "50")
    )
    await consume(database, *(trade_closed(1, f"2026-01-0{day} 10:00", "10") for day in (1, 2, 3)))
    expected = await days_of(database, 1)
    owner = await asyncpg.connect(database_access.owner_dsn)
    await owner.execute("UPDATE analytics.user_daily_performance SET capital_at_work = NULL, max_drawdown = 7")
    await owner.close()
    assert await days_of(database, 1) != expected
    await consume(database, session_started(1, "2026-01-03 10:00", "1"))
    await consume(database, trade_closed(1, "2026-01-04 10:00", "10"))
    assert (await days_of(database, 1))[:2] == expected[:2]
    assert await columns_of(database, 1, "capital_at_work") == [(1000,), (1060,), (1071,), (1081,)]


async def test_where_the_clock_goes_back_over_midnight_late_trades_find_their_day(database: Database) -> None:
    """St. John's went from 2010-11-07 00:01 back to 23:01: some later trades belong to the earlier date."""
    trades = [
        trade_closed(1, f"2010-11-0{time}", "1")
        for time in ("6 12:00", "7 02:29", "7 02:30", "7 02:31", "7 03:29", "7 03:30", "8 12:00")
    ]
    await consume(database, user_registered(1, "America/St_Johns"), user_registered(2, "America/St_Johns"))
    await consume(database, *trades)
    assert [(day[0], day[6]) for day in await days_of(database, 1)] == [
        *(("2010-11-06", "4"), ("2010-11-07", "2"), ("2010-11-08", "1"))
    ]
    for trade in reversed(trades):
        await consume(database, trade.model_copy(update={"user_id": 2, "public_id": UUID(int=2)}))
    assert await days_of(database, 2) == await days_of(database, 1)
    for trade in trades:
        again = {"user_id": 3, "public_id": UUID(int=3)}
        await consume(database, trade.model_copy(update=again))
    await consume(database, user_registered(3, "America/St_Johns"))
    assert await days_of(database, 3) == await days_of(database, 1)


async def test_concurrent_batches_of_one_user_lose_nothing(database: Database) -> None:
    trades = some_trades(1, 60)
    batches = [trades[start : start + 10] for start in range(0, 60, 10)]
    sessions = [session_started(1, f"2026-01-{day:02} 00:00") for day in (3, 9)]
    await asyncio.gather(
        *(consume(database, *batch) for batch in batches), *(consume(database, one) for one in sessions)
    )
    together = await days_of(database, 1)
    async with database.tenants([1]) as connection:
        await rebuild_days(connection, [1])
    assert together == await days_of(database, 1)
    assert sum(Decimal(str(day[4])) for day in together) == sum(trade.pnl for trade in trades)


async def test_concurrent_batches_of_the_same_users_do_not_deadlock(database: Database) -> None:
    """Batches lock their users in one order, so that they cannot deadlock."""
    forth = [trade for user_id in range(1, 20) for trade in some_trades(user_id, 2, seed=user_id)]
    back = [trade for user_id in range(19, 0, -1) for trade in some_trades(user_id, 2, seed=100 + user_id)]
    await asyncio.gather(*(consume(database, *batch) for batch in (forth, back, forth, back)))
    assert len(await days_of(database, 7)) >= 2


async def test_a_forged_user_id_in_a_batch_is_refused_by_the_database(database: Database) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with database.tenants([2]) as connection:
            await on_trade_closed(connection, [trade_closed(1, "2026-01-01 10:00", "1")])
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with database.tenants([2]) as connection:
            await on_session_started(connection, [session_started(1, "2026-01-01 10:00")])
    assert await days_of(database, 1) == []


TABLES = (
    "trade_facts",
    "session_facts",
    "user_daily_performance",
    "stale_days",
    "user_zones",
    "watchlist",
    "user_market_analysis",
)


async def test_the_app_role_sees_no_other_tenants_rows(database: Database) -> None:
    await consume(database, user_registered(1), user_registered(2))
    await consume(database, *some_trades(1, 5), *some_trades(2, 5))
    await consume(database, session_started(1, "2026-01-01 10:00"), session_started(2, "2026-01-01 10:00"))
    async with database.tenant(2) as connection:
        for table in TABLES:
            assert await connection.fetchval(f"SELECT count(*) FROM {table} WHERE user_id <> 2") == 0
    async with database.untenanted() as connection:
        for table in TABLES:
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0


@pytest.mark.parametrize(
    "attempt",
    [
        "INSERT INTO trade_facts (user_id) VALUES (2)",
        "UPDATE user_daily_performance SET daily_pnl = 1",
        "DELETE FROM session_facts",
        "DELETE FROM stale_days",
        "INSERT INTO user_market_analysis (user_id) VALUES (2)",
        "SELECT prepare_analysis_month('2026-01-01Z')",
        "UPDATE watchlist SET user_id = 1",
    ],
)
async def test_the_app_role_may_not_write_facts_or_other_tenants_rows(database: Database, attempt: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with database.tenant(2) as connection:
            await connection.execute(attempt)


async def test_many_users_are_counted_in_one_batch(database: Database) -> None:
    trades = [trade for user_id in range(1, 201) for trade in some_trades(user_id, 3, seed=user_id)]
    await consume(database, *trades)

    async def booked() -> int:
        async with database.tenants(range(1, 201)) as connection:
            await compute_stale_days(connection, range(1, 201))
            count: int = await connection.fetchval("SELECT sum(total_trades) FROM user_daily_performance")
        return count

    assert await eventually(booked, lambda count: count == 600, within_s=1) == 600
