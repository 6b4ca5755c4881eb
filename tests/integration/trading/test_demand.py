"""The demand that trading publishes to the feed, and the generation that its sessions use."""

from services.trading.operations.stop_session import stop_session
from shared.contracts.market import MarketInterest
from shared.contracts.types import from_ms
from shared.market.demand import publish_changes
from tests.as_tenant import as_tenant
from tests.integration.accounts import eventually
from tests.integration.trading.conftest import Trading
from tests.integration.trading.market import BEFORE
from tests.unit.trading.scenes import CROSS, INTERVAL, wavy_bars

LONG_PERIODS: dict[str, object] = {
    "interval": INTERVAL,
    "side": "BOTH",
    "indicators": {"fast": {"type": "EMA", "period": 3}, "slow": {"type": "EMA", "period": 500}},
}
SHIFTED = {"left": "fast", "op": "crosses_above", "right": {"ref": "slow", "shift": 200}, "for_bars": 1}
DEEP: dict[str, object] = {
    **CROSS,
    "strategy_name": "deep",
    "strategy_config": LONG_PERIODS,
    "entry_conditions": {"long": SHIFTED},
}
NEXT = "INSERT INTO series (venue, symbol, interval, generation) VALUES ('bybit', 'BTCUSDT', '15', 2)"
SESSIONS = "user_trading_sessions JOIN session_cursors USING (user_id, session_id)"
GENERATIONS = "SELECT generation FROM user_trading_sessions ORDER BY created_at"


async def publish_demand(trading: Trading) -> list[MarketInterest]:
    """Publish pending changes; returns every demand event in the outbox."""
    await publish_changes(trading.database, "trading")
    rows = await trading.fetch("SELECT payload FROM outbox WHERE topic = 'market.interest' ORDER BY id")
    return [MarketInterest.model_validate_json(row["payload"]) for row in rows]


async def until_generations(trading: Trading, *generations: int | None) -> None:
    await eventually(
        lambda: trading.fetch(GENERATIONS), lambda rows: [row["generation"] for row in rows] == [*generations]
    )


async def test_each_change_of_combined_demand_is_published_once_with_the_next_version(trading: Trading) -> None:
    ann, bob = await trading.subscribe(1), await trading.subscribe(2)
    shallow = [await trading.start(ann, await trading.strategy(1)) for _ in range(1)]
    shallow.append(await trading.start(bob, await trading.strategy(2)))
    assert [(each.wanted, each.history_bars) for each in await publish_demand(trading)] == [
        (True, 45)
    ]  # 5 × (EMA 8 and the bar before it)
    deep = await trading.start(ann, await trading.strategy(1, DEEP))
    await publish_demand(trading)
    for session in (deep, *shallow):
        await as_tenant(trading.database, stop_session, session.user_id, session.session_id, "manual", BEFORE)
        await publish_demand(trading)
    events = await publish_demand(trading)
    assert [(each.interest_version, each.wanted, each.history_bars) for each in events] == [
        (1, True, 45),
        (2, True, 3_505),  # the EMA of 500 bars, 200 bars ago, and the bar before it
        (3, True, 45),
        (4, False, 0),
    ]
    await trading.start(ann, shallow[0].strategy_id)
    assert (await publish_demand(trading))[-1].interest_version == 5


async def test_new_sessions_use_the_newest_generation_and_running_ones_keep_theirs(trading: Trading) -> None:
    bars = wavy_bars(60)
    ann = await trading.subscribe(1)
    strategy_id = await trading.strategy(1)
    await trading.start(ann, strategy_id)
    async with trading.worker():
        market = await trading.market(bars)
        await until_generations(trading, 1)
        await trading.fetch(NEXT)
        await trading.start(ann, strategy_id)
        await until_generations(trading, 1, 2)
        await market.close_bars(30)
        stepped = f"SELECT last_bar FROM {SESSIONS} WHERE generation = 1"
        last = from_ms(bars[29].open_time_ms)
        await eventually(lambda: trading.fetch(stepped), lambda rows: rows[0]["last_bar"] == last)
    assert (await publish_demand(trading))[-1].generations == (1, 2)
    (behind,) = await trading.fetch(f"SELECT last_bar FROM {SESSIONS} WHERE generation = 2")
    assert behind["last_bar"] is None  # none of its bars was published


async def test_a_session_waits_for_a_generation_that_begins_early_enough(trading: Trading) -> None:
    ann = await trading.subscribe(1)
    async with trading.worker():
        await trading.market(wavy_bars(20))
        await trading.start(ann, await trading.strategy(1, DEEP))
        await trading.start(ann, await trading.strategy(1))
        await until_generations(trading, None, 1)
        await trading.fetch(NEXT.replace("generation)", "generation, reach)").replace("2)", "2, 6000)"))
        await until_generations(trading, 2, 1)
