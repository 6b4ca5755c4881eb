"""Notes on analyses, lists in both orders, and the retention of each plan."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from services.analytics.domain.analysis import CandleAnalysis, SeriesAnalysis, Watch
from services.analytics.domain.analysis_ids import analysis_id
from services.analytics.domain.retention import RETENTION
from services.analytics.operations.retention import drop_expired
from services.analytics.operations.watchlist import unwatch, watch
from services.analytics.queries import market
from services.analytics.queries.market import NewAnalysis
from services.analytics.queries.retention import upsert_rounds
from shared.chassis.postgres import Database
from shared.contracts.billing import Features, Limits, PlanName, SubscriptionChanged
from shared.contracts.types import instant_text, new_id, to_ms
from shared.strategy.bars import Bar
from shared.strategy.series import Series
from shared.testing.api_client import Json
from tests.as_tenant import as_tenant
from tests.integration.analytics.conftest import Platform, consume

ANALYSIS = "/v1/market-analysis"
NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
SERIES = SeriesAnalysis("x", "BTCUSDT", "15", Series())


async def insert_analyses(database: Database, user_id: int, watch_id: UUID, *moments: datetime) -> None:
    """Insert analyses at these times."""
    async with database.tenants([user_id]) as connection:
        for moment in moments:
            await market.prepare_month(connection, moment)
        analyses = [NewAnalysis(Watch(user_id, watch_id, 20), _analysis(moment)) for moment in moments]
        await market.insert_analyses(connection, SERIES, analyses)


def _analysis(moment: datetime) -> CandleAnalysis:
    bar = Bar(to_ms(moment), *[Decimal(1)] * 5)
    return CandleAnalysis(bar, Decimal(1), 1, Decimal(0), "FLAT")


def subscription_changed(
    user_id: int, version: int, plan: PlanName, previous: PlanName | None = None
) -> SubscriptionChanged:
    return SubscriptionChanged.model_validate(
        {"user_id": user_id, "public_id": UUID(int=user_id), "aggregate": "subscription", "aggregate_seq": version}
        | {"subscription_version": version, "plan": plan, "status": "ACTIVE"}
        | {"limits": dict.fromkeys(Limits.model_fields), "features": dict.fromkeys(Features.model_fields, False)}
        | {"period_start": NOW, "period_end": None, "previous_plan": previous, "reason": "granted"}
    )


async def count_analyses(database: Database, user_id: int) -> int:
    async with database.tenant(user_id) as connection:
        count: int = await connection.fetchval("SELECT count(*) FROM user_market_analysis")
    return count


async def make_due(database: Database, *users: int) -> None:
    """Make retention due for these users."""
    async with database.tenants(users) as connection:
        await upsert_rounds(connection, users, NOW)


async def drop_all(database: Database, now: datetime, at_once: int = 5_000) -> list[int]:
    """Run retention until no user is due; returns how many analyses each step dropped."""
    steps = []
    while (dropped := await drop_expired(database, now, at_once)) is not None:
        steps.append(dropped)
    return steps


async def test_a_stale_etag_cannot_overwrite_a_note(platform: Platform) -> None:
    ann, ben = [await platform.register(f"{name}@example.org") for name in ("ann", "ben")]
    for token in (ann, ben):
        await platform.get("/v1/watchlist", token)
    row = await as_tenant(platform.database, watch, 1, "BTCUSDT", "15", 20)
    await insert_analyses(platform.database, 1, row.watch_id, NOW)
    path = f"{ANALYSIS}/{analysis_id(row.watch_id, NOW)}"
    (listed,) = await platform.every(ANALYSIS, ann)
    assert listed == (await platform.get(path, ann)).body
    for notes, status, tag in (("a gap ☂", 200, '"2"'), ("lost", 412, None)):
        answer = await platform.analytics.call("PATCH", path, {"notes": notes}, ann, If_Match='"1"')
        assert (answer.status, answer.headers.get("ETag")) == (status, tag)
    assert (await platform.get(path, ann)).body["notes"] == "a gap ☂"
    taken = await platform.analytics.call("PATCH", path, {"notes": None}, token=ann)
    assert (taken.status, taken.body["notes"]) == (200, None)
    await is_not_found(platform, path, ben)
    for nothing in (new_id(), UUID(int=2**128 - 1), UUID(int=0)):
        await is_not_found(platform, f"{ANALYSIS}/{nothing}", ann)
    wrong: tuple[Json, ...] = ({}, {"notes": 7}, {"notes": "x" * 2001}, {"notes": "x", "price": "1"})
    for body in wrong:
        assert (await platform.analytics.call("PATCH", path, body, token=ann)).status == 422


async def is_not_found(platform: Platform, path: str, token: str) -> None:
    assert (await platform.analytics.call("GET", path, token=token)).status == 404
    assert (await platform.analytics.call("PATCH", path, {"notes": "x"}, token=token)).status == 404


async def test_analyses_and_watches_are_listed_in_both_orders_and_filtered(platform: Platform) -> None:
    ann = await platform.register("ann@example.org")
    await platform.get("/v1/watchlist", ann)
    watches = [await as_tenant(platform.database, watch, 1, "BTCUSDT", "15", period) for period in (20, 50)]
    moments = [NOW + timedelta(minutes=15 * number) for number in range(10)]
    for row in watches:
        await insert_analyses(platform.database, 1, row.watch_id, *moments)
    falling = await platform.every(ANALYSIS, ann)
    rising = await platform.every(f"{ANALYSIS}?sort=open_time", ann)
    assert len(rising) == 20
    assert falling == rising[::-1]
    part = await platform.every(
        f"{ANALYSIS}?from={instant_text(moments[2])}&to={instant_text(moments[4])}&watch_id={watches[1].watch_id}",
        ann,
    )
    assert [(row["open_time"], row["ema_period"]) for row in part] == [
        (instant_text(m), 20) for m in moments[3:1:-1]
    ]
    ids = [str(row.watch_id) for row in watches]
    assert [row["watch_id"] for row in await platform.every("/v1/watchlist", ann)] == ids[::-1]
    assert [row["watch_id"] for row in await platform.every("/v1/watchlist?sort=created_at", ann)] == ids
    assert await platform.every("/v1/watchlist?symbol=ETHUSDT", ann) == []
    assert (await platform.get(f"/v1/watchlist/{ids[0]}", ann)).body["watch_id"] == ids[0]
    await as_tenant(platform.database, unwatch, 1, watches[0].watch_id)
    still = await platform.every(f"{ANALYSIS}?is_watchlist=true", ann)
    assert {(row["watch_id"], row["is_watchlist"]) for row in still} == {(ids[1], True)}
    gone = await platform.every(f"{ANALYSIS}?is_watchlist=false", ann)
    assert {(row["watch_id"], row["is_watchlist"]) for row in gone} == {(ids[0], False)}


@pytest.mark.parametrize("plan", RETENTION)
async def test_each_plan_retains_its_days(database: Database, plan: PlanName) -> None:
    row = await as_tenant(database, watch, 1, "BTCUSDT", "15", 20)
    edge = NOW - RETENTION[plan]
    await insert_analyses(database, 1, row.watch_id, edge - timedelta(minutes=15), edge, NOW)
    await consume(database, subscription_changed(1, 1, plan))
    await make_due(database, 1)
    assert await drop_all(database, NOW) == [1]
    assert await count_analyses(database, 1) == 2


async def test_a_step_is_bounded_and_the_next_continues(database: Database) -> None:
    rows = {user_id: await as_tenant(database, watch, user_id, "BTCUSDT", "15", 20) for user_id in (1, 2, 3)}
    old = [NOW - timedelta(days=100, minutes=15 * number) for number in range(6)]
    for user_id, row in rows.items():
        await insert_analyses(database, user_id, row.watch_id, *old, NOW)
    await consume(database, subscription_changed(1, 1, "PREMIUM"), subscription_changed(2, 1, "FREE"))
    await consume(
        database, subscription_changed(1, 2, "FREE", "PREMIUM"), subscription_changed(2, 2, "PRO", "FREE")
    )
    await make_due(database, 1, 2, 3)
    assert await drop_all(database, NOW, at_once=4) == [4, 2]
    # The plan of the third user is unknown, so all of their analyses stay.
    assert [await count_analyses(database, user_id) for user_id in (1, 2, 3)] == [1, 7, 7]


async def test_only_a_user_with_shorter_retention_is_due_at_once(database: Database) -> None:
    await consume(database, subscription_changed(1, 1, "PRO"), subscription_changed(2, 1, "FREE"))
    now = datetime.now(UTC)
    assert await drop_all(database, now) == []
    await consume(database, subscription_changed(1, 2, "FREE", "PRO"), subscription_changed(2, 2, "PRO", "FREE"))
    await consume(database, subscription_changed(2, 1, "FREE"))  # received again
    async with database.queue() as connection:
        due = await connection.fetch("SELECT user_id FROM user_rounds WHERE retention_due_at <= now()")
    assert [row["user_id"] for row in due] == [1]
