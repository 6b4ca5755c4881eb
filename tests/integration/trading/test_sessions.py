"""Starting, pausing, resuming and stopping sessions; limits of plan and configuration; isolation of tenants."""

import asyncio
from decimal import Decimal
from uuid import UUID

import pytest

from services.trading.errors import LiveTradingOff, SessionEnded
from services.trading.operations.configurations import change_configuration, delete_configuration
from services.trading.operations.pause_session import pause_session, resume_session
from services.trading.operations.start_session import StartRequest, start_session
from services.trading.operations.stop_session import stop_session
from services.trading.queries import fills, sessions
from services.trading.queries.sessions import SessionRow
from shared.chassis.errors import InvalidInput, NotFound, PlanLimitReached
from shared.chassis.listing import Slice
from shared.contracts.types import from_ms
from tests.as_tenant import as_tenant
from tests.integration.trading.conftest import PAPER, Trading, configuration_values
from tests.integration.trading.market import BEFORE
from tests.unit.trading.scenes import CROSS, wavy_bars

ALWAYS_LONG: dict[str, object] = {
    **CROSS,
    "strategy_name": "always long",
    "strategy_config": {"interval": "15", "side": "LONG", "indicators": {}},
    "entry_conditions": {"left": "close", "op": ">", "right": 0},
    "exit_conditions": None,
    "risk_management": {"position_size": {"type": "fixed_quote", "value": "1000"}},
}


async def test_one_of_fifty_racing_starts_for_one_free_place_wins(trading: Trading) -> None:
    await trading.subscribe(1)
    strategy_ids = [await trading.strategy(1, strategy_name=f"cross {number}") for number in range(50)]
    ann = await trading.subscribe(1, "FREE", strategies=1, symbols=1)
    starts = [trading.start(ann, strategy_id) for strategy_id in strategy_ids]
    done = await asyncio.gather(*starts, return_exceptions=True)
    assert len([each for each in done if isinstance(each, SessionRow)]) == 1
    refused = [each for each in done if isinstance(each, PlanLimitReached)]
    assert len(refused) == 49
    assert dict(refused[0].extra) == {
        "limit_name": "max_active_strategies",
        "allowed": 1,
        "used": 1,
        "plan": "FREE",
    }


async def test_a_plan_limits_symbols_and_names_the_limit(trading: Trading) -> None:
    ann = await trading.subscribe(1, "FREE", strategies=1, symbols=1)
    strategy_id = await trading.strategy(1)
    await trading.start(ann, strategy_id, "BTCUSDT")
    await trading.start(ann, strategy_id, "BTCUSDT")
    with pytest.raises(PlanLimitReached, match="the plan FREE allows 1 symbols, 1 in use"):
        await trading.start(ann, strategy_id, "ETHUSDT")


async def test_a_stopped_session_frees_its_place(trading: Trading) -> None:
    ann = await trading.subscribe(1, "FREE", strategies=1, symbols=1)
    first = await trading.start(ann, await trading.strategy(1))
    await as_tenant(trading.database, stop_session, 1, first.session_id, "manual", BEFORE)
    await trading.start(ann, await trading.strategy(1, strategy_name="another"), "ETHUSDT")


async def test_live_sessions_are_refused_for_now(trading: Trading) -> None:
    ann = await trading.subscribe(1)
    request = StartRequest(await trading.strategy(1), None, None, "BTCUSDT", "LIVE", Decimal(100))
    with pytest.raises(LiveTradingOff):
        await as_tenant(trading.database, start_session, ann, request, PAPER, BEFORE)


async def test_a_session_needs_a_strategy_of_its_own_tenant(trading: Trading) -> None:
    await trading.subscribe(1)
    bob = await trading.subscribe(2)
    with pytest.raises(InvalidInput):
        await trading.start(bob, await trading.strategy(1))


async def test_a_pause_refuses_entries_with_a_decision_and_exits_continue(trading: Trading) -> None:
    ann = await trading.subscribe(1)
    session = await trading.start(ann, await trading.strategy(1))
    bars = wavy_bars(160)
    async with trading.worker():
        market = await trading.market(bars)
        last = await market.close_bars(60)
        await trading.until_stepped(last)
        before = await _entries(trading)
        paused = await as_tenant(trading.database, pause_session, 1, session.session_id)
        assert paused.status == "PAUSED"
        await trading.until_stepped(await market.close_bars(60))
        assert await _entries(trading) == before
        assert {row["refusal"] for row in await _refused(trading)} == {"paused"}
        (position,) = await trading.fetch("SELECT snapshot -> 'position' AS position FROM user_trading_sessions")
        assert position["position"] in (None, "null")
        await as_tenant(trading.database, resume_session, 1, session.session_id)
        await trading.until_stepped(await market.close_bars(40))
    assert await _entries(trading) > before
    held = await trading.fetch("SELECT kind, after_bar FROM session_restrictions ORDER BY restriction_number")
    assert [(row["kind"], row["after_bar"]) for row in held] == [
        ("PAUSED", from_ms(last)),
        ("RESUMED", from_ms(bars[119].open_time_ms)),
    ]


async def _entries(trading: Trading) -> int:
    return len(await trading.fetch("SELECT 1 FROM fills WHERE action = 'open'"))


async def _refused(trading: Trading) -> list[dict[str, object]]:
    rows = await trading.fetch("SELECT * FROM decisions WHERE outcome = 'refused' ORDER BY time")
    return [dict(row) for row in rows]


async def test_a_stop_closes_at_the_open_of_the_current_bar(trading: Trading) -> None:
    ann = await trading.subscribe(1)
    session = await trading.start(ann, await trading.strategy(1, ALWAYS_LONG))
    bars = wavy_bars(20)
    async with trading.worker():
        market = await trading.market(bars)
        await trading.until_stepped(await market.close_bars(5))
        stopped = await as_tenant(trading.database, stop_session, 1, session.session_id, "manual", BEFORE)
    (closing,) = await trading.fetch("SELECT * FROM fills WHERE action = 'close'")
    assert (closing["price"], closing["time"]) == (bars[5].open, from_ms(bars[5].open_time_ms))
    assert (closing["reason"], stopped.status, stopped.stop_reason) == ("manual", "STOPPED", "manual")
    assert await trading.fetch("SELECT 1 FROM session_leases") == []
    assert await trading.fetch("SELECT 1 FROM market_interests") == []


async def test_a_stop_drops_a_pending_entry(trading: Trading) -> None:
    ann = await trading.subscribe(1)
    session = await trading.start(ann, await trading.strategy(1, ALWAYS_LONG))
    async with trading.worker():
        market = await trading.market(wavy_bars(1))
        await trading.until_stepped(await market.close_bars(1))
        await as_tenant(trading.database, stop_session, 1, session.session_id, "manual", BEFORE)
    assert await trading.fetch("SELECT 1 FROM fills") == []
    assert len(await trading.fetch("SELECT 1 FROM decisions WHERE outcome = 'dropped'")) == 1


async def test_stopping_is_idempotent_and_final(trading: Trading) -> None:
    ann = await trading.subscribe(1)
    session = await trading.start(ann, await trading.strategy(1))
    one, other = [
        await as_tenant(trading.database, stop_session, 1, session.session_id, reason, BEFORE)
        for reason in ("manual", "end_of_data")
    ]
    assert one == other
    assert len(await trading.fetch("SELECT 1 FROM outbox WHERE topic = 'session.stopped'")) == 1
    with pytest.raises(SessionEnded):
        await as_tenant(trading.database, resume_session, 1, session.session_id)


async def test_concurrent_stops_and_steps_end_each_session_once(trading: Trading) -> None:
    ann = await trading.subscribe(1)
    strategy_id = await trading.strategy(1, ALWAYS_LONG)
    started = [(await trading.start(ann, strategy_id)).session_id for _ in range(12)]
    async with trading.worker():
        market = await trading.market(wavy_bars(60))
        await trading.until_stepped(await market.close_bars(5))
        closing = asyncio.create_task(market.close_bars(50))
        await asyncio.gather(
            *(
                as_tenant(trading.database, stop_session, 1, each, "manual", BEFORE)
                for each in started
                for _ in range(3)
            ),
            *(_pause_if_running(trading, each) for each in started),
        )
        await closing
    (row,) = await trading.fetch(
        """SELECT count(*) FILTER (WHERE status = 'STOPPED') AS stopped, sum(total_trades) AS trades,
                  (SELECT count(*) FROM user_trades WHERE status = 'CLOSED') AS closed,
                  (SELECT count(*) FROM user_trades WHERE status = 'OPEN') AS open FROM user_trading_sessions"""
    )
    assert dict(row) == {"stopped": 12, "trades": 12, "closed": 12, "open": 0}


async def _pause_if_running(trading: Trading, session_id: UUID) -> None:
    try:
        await as_tenant(trading.database, pause_session, 1, session_id)
    except SessionEnded:
        return


@pytest.mark.parametrize(
    ("limit", "value", "extra"),
    [
        ("max_position_size", "999", {}),
        ("stop_loss_percentage", "1.5", {"stop_loss": {"type": "percent", "value": "2"}}),
        ("stop_loss_percentage", "50", {}),
        (
            "take_profit_percentage",
            "3",
            {"take_profits": [{"type": "percent", "value": "4", "close_percent": "100"}]},
        ),
    ],
)
async def test_an_entry_beyond_a_configuration_is_refused_with_a_decision(
    trading: Trading, limit: str, value: str, extra: dict[str, object]
) -> None:
    ann = await trading.subscribe(1)
    size = {"position_size": {"type": "fixed_base", "value": "15"}}
    strategy_id = await trading.strategy(1, ALWAYS_LONG, risk_management={**size, **extra})
    configuration_id = await trading.configuration(1, **{limit: Decimal(value)})
    await trading.start(ann, strategy_id, configuration_id=configuration_id)
    async with trading.worker():
        market = await trading.market(wavy_bars(5))
        await trading.until_stepped(await market.close_bars(5))
    assert await trading.fetch("SELECT 1 FROM fills") == []
    assert {row["refusal"] for row in await _refused(trading)} == {limit}


async def test_a_running_session_keeps_its_limits_when_the_configuration_is_changed_or_deleted(
    trading: Trading,
) -> None:
    ann = await trading.subscribe(1)
    strategy_id = await trading.strategy(1, ALWAYS_LONG)
    configuration_id = await trading.configuration(
        1, max_position_size=Decimal(999), config_data={"min_stop_distance_percentage": "0.5"}
    )
    await trading.start(ann, strategy_id, configuration_id=configuration_id)
    wide = configuration_values(config_name="wide")
    await as_tenant(trading.database, change_configuration, 1, configuration_id, wide)
    await as_tenant(trading.database, delete_configuration, 1, configuration_id)
    async with trading.worker():
        market = await trading.market(wavy_bars(5))
        await trading.until_stepped(await market.close_bars(5))
    assert await trading.fetch("SELECT 1 FROM fills") == []
    assert {row["refusal"] for row in await _refused(trading)} == {"max_position_size"}


async def test_after_a_downgrade_the_sessions_started_first_keep_entering(trading: Trading) -> None:
    ann = await trading.subscribe(1, "PREMIUM", strategies=5, symbols=10)
    first = await trading.start(ann, await trading.strategy(1, ALWAYS_LONG))
    other = await trading.strategy(1, ALWAYS_LONG, strategy_name="another")
    second = await trading.start(ann, other)
    await trading.subscribe(1, "FREE", strategies=1, symbols=1)
    async with trading.worker():
        market = await trading.market(wavy_bars(30))
        await trading.until_stepped(await market.close_bars(5))
        opened = await trading.fetch("SELECT session_id FROM fills WHERE action = 'open'")
        assert [row["session_id"] for row in opened] == [first.session_id]
        assert {(row["session_id"], row["refusal"]) for row in await _refused(trading)} == {
            (second.session_id, "plan_limit")
        }
        await as_tenant(trading.database, stop_session, 1, first.session_id, "manual", BEFORE)
        await trading.until_stepped(await market.close_bars(5))
        opened = await trading.fetch("SELECT session_id FROM fills WHERE action = 'open' ORDER BY created_at")
        assert [row["session_id"] for row in opened] == [first.session_id, second.session_id]
    kinds = await trading.fetch("SELECT kind FROM session_restrictions WHERE session_id = $1", second.session_id)
    assert [row["kind"] for row in kinds] == ["PLAN_LIMIT", "PLAN_LIMIT_LIFTED"]


async def test_an_open_position_is_closed_by_its_rules_after_the_plan_lapsed(trading: Trading) -> None:
    ann = await trading.subscribe(1, "PREMIUM", strategies=5, symbols=10)
    for name in ("first", "second"):
        await trading.start(ann, await trading.strategy(1, strategy_name=name))
    async with trading.worker():
        market = await trading.market(wavy_bars(120))
        await trading.until_stepped(await market.close_bars(60))
        await trading.subscribe(1, "FREE", strategies=1, symbols=1)
        await trading.until_stepped(await market.close_bars(60))
    rows = await trading.fetch("SELECT session_id, count(*) FROM user_trades WHERE status = 'OPEN' GROUP BY 1")
    assert len(rows) <= 1


async def test_an_older_subscription_event_changes_nothing(trading: Trading) -> None:
    await trading.subscribe(1, "PRO")
    trading.versions[1] = 0
    await trading.subscribe(1, "FREE", strategies=1, symbols=1)
    assert [row["plan"] for row in await trading.fetch("SELECT plan FROM entitlements")] == ["PRO"]


async def test_a_tenant_sees_and_stops_only_their_own_sessions(trading: Trading) -> None:
    ann = await trading.subscribe(1)
    await trading.subscribe(2)
    session = await trading.start(ann, await trading.strategy(1))
    with pytest.raises(NotFound):
        await as_tenant(trading.database, stop_session, 2, session.session_id, "manual", BEFORE)
    async with trading.database.tenant(2) as connection:
        assert await sessions.list_running(connection, 1) == []
        assert await sessions.find_session(connection, 1, session.session_id) is None
        assert await fills.list_fills(connection, 1, session.session_id, Slice(fills.BY_NUMBER, 10)) == []
