"""What stops entries of live sessions: the plan's trades, the account's limits, and kill switches."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from uuid import UUID

import pytest
from pydantic import SecretStr

from services.trading.errors import KillSwitchOn
from services.trading.operations.account_risk import note_equity, resume, set_risk
from services.trading.operations.block_entries import block_account
from services.trading.operations.kill_switch import lift, switch_on
from services.trading.operations.platform_kill_switch import Scope
from services.trading.operations.platform_kill_switch import lift as lift_platform
from services.trading.operations.platform_kill_switch import switch_on as switch_on_platform
from services.trading.orders.intents import IntentState
from services.trading.risk import RiskSettings
from services.trading.worker.postgres_store import OrderWriter
from shared.chassis.http.etags import ANY_STATE
from shared.chassis.postgres import Connection, Database
from tests.as_tenant import as_tenant
from tests.integration.trading.conftest import Trading
from tests.integration.trading.live import Live, add_account, open_live, start_live, store_bars
from tests.integration.trading.market import BEFORE


@pytest.fixture
async def writer(trading: Trading) -> AsyncIterator[OrderWriter]:
    writer = OrderWriter(trading.database)
    yield writer
    await writer.close()


async def start_many(trading: Trading, writer: OrderWriter, count: int) -> list[Live]:
    """Start sessions of tenant 1 on one account, each on a symbol of its own."""
    caller = await trading.subscribe(1)
    account = await add_account(trading, 1, "u1")
    lives = []
    for number in range(count):
        await store_bars(trading, f"S{number}USDT")
        session = await start_live(trading, caller, account, f"S{number}USDT")
        lives.append(await open_live(trading, session, writer))
    return lives


async def enter(lives: Sequence[Live]) -> list[str | None]:
    """Let all sessions decide their entries at once; returns the code that refused each, or None."""
    committed = await asyncio.gather(*(live.step() for live in lives))
    assert all(each is not None for each in committed)
    return [next(iter(each.refused.values()), None) for each in committed if each is not None]


async def test_the_trades_of_a_plan_are_exact_when_entries_race(trading: Trading, writer: OrderWriter) -> None:
    lives = await start_many(trading, writer, 8)
    await trading.fetch("UPDATE entitlements SET max_trades_per_month = 3")
    others = [OrderWriter(trading.database) for _ in lives]  # as if each had a worker of its own
    for live, other in zip(lives, others, strict=True):
        live.store._writer = other
    refused = await enter(lives)
    assert sorted(map(str, refused)) == ["None"] * 3 + ["max_trades_per_month"] * 5
    assert [row["entries"] for row in await trading.fetch("SELECT entries FROM live_entry_counts")] == [3]
    rows = await trading.fetch("SELECT state, count(*) FROM order_intents GROUP BY 1 ORDER BY 1")
    assert [tuple(row) for row in rows] == [("DROPPED", 5), ("INTENT", 3)]
    query = "SELECT outcome, refusal, allowed, asked FROM decisions WHERE outcome = 'refused'"
    rows = await trading.fetch(query)
    assert {tuple(row) for row in rows} == {("refused", "max_trades_per_month", Decimal(3), Decimal(4))}
    for other in others:
        await other.close()


async def test_entries_of_one_batch_share_what_is_left(trading: Trading, writer: OrderWriter) -> None:
    lives = await start_many(trading, writer, 4)
    await trading.fetch("UPDATE entitlements SET max_trades_per_month = 1")
    refused = await enter(lives)
    assert sorted(map(str, refused)) == ["None"] + ["max_trades_per_month"] * 3


async def limit(trading: Trading, live: Live, **settings: object) -> None:
    account = live.session.exchange_account_id
    await as_tenant(trading.database, set_risk, 1, account, RiskSettings(**settings), ANY_STATE)  # type: ignore[arg-type]


async def test_a_breach_stops_all_entries_of_the_account_until_a_person_resumes(
    trading: Trading, writer: OrderWriter
) -> None:
    lives = await start_many(trading, writer, 4)
    await limit(trading, lives[0], max_positions=2)
    refused = await enter(lives)
    assert sorted(map(str, refused)) == ["None", "None", "account_risk", "max_positions"]
    controls = [await live.store.control() for live in lives]
    assert {control.refusal for control in controls if control is not None} == {"account_risk"}
    admitted = [live for live, code in zip(lives, refused, strict=True) if code is None]
    assert await admitted[0].store.pass_gate([admitted[0].entry().link_id], admitted[0].now) == frozenset()
    alarms = await trading.fetch("SELECT payload FROM outbox WHERE topic = 'session.alarmed'")
    assert len(alarms) == 4
    assert all(b"limit: max_positions" in row["payload"] for row in alarms)
    await as_tenant(trading.database, resume, 1, lives[0].session.exchange_account_id, BEFORE)
    assert await admitted[0].store.pass_gate([admitted[0].entry().link_id], admitted[0].now)
    kinds = [
        row["kind"] for row in await trading.fetch("SELECT DISTINCT kind FROM session_restrictions ORDER BY 1")
    ]
    assert kinds == ["ACCOUNT_RISK", "ACCOUNT_RISK_LIFTED"]


async def test_the_open_notional_counts_what_is_ordered(trading: Trading, writer: OrderWriter) -> None:
    lives = await start_many(trading, writer, 3)
    await limit(trading, lives[0], max_open_notional=Decimal(10_100))  # each entry is of about 5,000
    assert sorted(map(str, await enter(lives))) == ["None", "None", "max_open_notional"]


async def test_an_entry_above_the_largest_order_is_refused_with_both_figures(
    trading: Trading, writer: OrderWriter
) -> None:
    await trading.subscribe(1)
    (live,) = await start_many(trading, writer, 1)
    live.session = replace(live.session, max_order_quantity=Decimal(1))
    live.store._session = live.session
    assert await enter([live]) == ["max_order_quantity"]
    (decision,) = await trading.fetch("SELECT outcome, refusal, allowed, asked FROM decisions")
    assert tuple(decision)[:3] == ("refused", "max_order_quantity", Decimal(1))
    assert decision["asked"] > 1


async def test_a_drawdown_of_the_wallet_is_a_breach(trading: Trading, writer: OrderWriter) -> None:
    (live,) = await start_many(trading, writer, 1)
    account = live.session.exchange_account_id
    assert account is not None
    await limit(trading, live, drawdown_pause_percentage=Decimal(10))
    assert not await as_tenant(trading.database, note_equity, 1, account, Decimal(1000), BEFORE)
    assert not await as_tenant(trading.database, note_equity, 1, account, Decimal(901), BEFORE)
    assert await as_tenant(trading.database, note_equity, 1, account, Decimal(900), BEFORE)
    await as_tenant(trading.database, block_account, 1, account, BEFORE)
    control = await live.store.control()
    assert control is not None
    assert control.refusal == "account_risk"
    await as_tenant(trading.database, resume, 1, account, BEFORE)
    assert not await as_tenant(trading.database, note_equity, 1, account, Decimal(850), BEFORE)


async def switch(database: Database, session_id: UUID | None = None, *, flatten: bool = False) -> UUID:
    row = await as_tenant(database, switch_on, 1, session_id, BEFORE, flatten=flatten, reason=None)
    return row.kill_switch_id


async def test_no_entry_passes_the_gate_after_a_kill_switch(trading: Trading, writer: OrderWriter) -> None:
    lives = await start_many(trading, writer, 2)
    await enter(lives)
    first = await switch(trading.database, lives[0].session.session_id)
    passed = [await live.store.pass_gate([live.entry().link_id], live.now) for live in lives]
    assert passed == [frozenset(), frozenset({lives[1].entry().link_id})]
    control = await lives[0].store.control()
    assert control is not None
    assert (control.refusal, control.flatten, control.ends) == ("kill_switch", None, False)
    await as_tenant(trading.database, lift, 1, first, BEFORE)
    assert await lives[0].store.pass_gate([lives[0].entry().link_id], lives[0].now)


async def test_an_entry_is_not_recorded_under_a_kill_switch(trading: Trading, writer: OrderWriter) -> None:
    (live,) = await start_many(trading, writer, 1)
    await switch(trading.database)
    assert await live.step() is None
    assert not await trading.fetch("SELECT FROM order_intents")


async def test_a_gate_that_is_open_is_waited_for(trading: Trading, writer: OrderWriter) -> None:
    """The switch commits after the gate's transaction: then no entry is between gate and commit."""
    (live,) = await start_many(trading, writer, 1)
    await enter([live])
    async with trading.database.tenants([1]) as connection:
        locked = "SELECT FROM session_leases WHERE session_id = $1 FOR KEY SHARE"
        await connection.execute(locked, live.session.session_id)
        switching = asyncio.create_task(switch(trading.database))
        waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%session_leases%'"
        await trading.until(waiting)
        assert not switching.done()
    await switching
    assert await live.store.pass_gate([live.entry().link_id], live.now) == frozenset()


async def test_a_switch_that_flattens_closes_and_lets_the_session_run(
    trading: Trading, writer: OrderWriter
) -> None:
    (live,) = await start_many(trading, writer, 1)
    await switch(trading.database)
    switched = await switch(trading.database, flatten=True)
    control = await live.store.control()
    assert control is not None
    assert (control.flatten, control.ends) == ("kill_switch", False)
    await as_tenant(trading.database, lift, 1, switched, BEFORE)
    control = await live.store.control()
    assert control is not None
    assert (control.refusal, control.flatten) == (None, None)
    assert len(await trading.fetch("SELECT FROM kill_switches")) == 1


async def test_exits_pass_under_a_kill_switch(trading: Trading, writer: OrderWriter) -> None:
    (live,) = await start_many(trading, writer, 1)
    await enter([live])
    await switch(trading.database)
    entry = live.entry()
    live.book.put(entry.to(IntentState.DROPPED))
    exit_ = live.book.new_intent("exit", entry.bar, "LONG", Decimal(1), "signal", live.now)
    live.book.put(exit_)
    assert await live.commit() is not None
    assert await live.store.pass_gate([exit_.link_id], live.now) == frozenset({exit_.link_id})


@asynccontextmanager
async def as_owner(trading: Trading) -> AsyncIterator[Connection]:
    """A transaction of the owner, who sees all tenants, as the command's."""
    settings = trading.settings.model_copy(update={"postgres_app_dsn": SecretStr(trading.owner_dsn)})
    database = await Database.connect(settings)
    try:
        async with database.untenanted() as connection:
            await connection.execute("SET LOCAL search_path = trading")
            yield connection
    finally:
        await database.close()


async def test_the_operators_switches_cover_all_tenants(trading: Trading, writer: OrderWriter) -> None:
    lives = await start_many(trading, writer, 2)
    scope = Scope(symbol="S0USDT")
    async with as_owner(trading) as owner:
        assert await switch_on_platform(owner, scope, BEFORE, flatten=False, reason=None) == 1
    controls = [await live.store.control() for live in lives]
    assert [control.refusal for control in controls if control is not None] == ["kill_switch", None]
    with pytest.raises(KillSwitchOn):
        await start_live(trading, await trading.subscribe(1), await add_account(trading, 1, "u2"), "S0USDT")
    mine = await switch(trading.database)
    async with as_owner(trading) as owner:
        assert await lift_platform(owner, scope, BEFORE) == 0
    control = await lives[0].store.control()
    assert control is not None
    assert control.refusal == "kill_switch", "the tenant's own is still on"
    await as_tenant(trading.database, lift, 1, mine, BEFORE)
    control = await lives[0].store.control()
    assert control is not None
    assert control.refusal is None
    kinds = [row["kind"] for row in await trading.fetch("SELECT kind FROM session_restrictions ORDER BY kind")]
    assert kinds == ["KILL_SWITCH"] * 2 + ["KILL_SWITCH_LIFTED"] * 2
