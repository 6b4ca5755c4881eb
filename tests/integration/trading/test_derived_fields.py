"""Derived fields of trades and sessions equal the sums over their fills after every step, on any worker."""

import random
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import pytest

from shared.contracts.types import from_ms
from shared.testing.api_client import Json
from tests.integration.trading.callers import Api, Caller
from tests.integration.trading.conftest import Trading
from tests.integration.trading.test_stepping import worker_process
from tests.unit.trading.scenes import CROSS, STEP_MS, wavy_bars

SESSIONS = 5
TRADES_THAT_DIFFER = """
    WITH summed AS (
        SELECT user_id, trade_id, sum(fee) AS fee, bool_or(late) AS late,
               sum(qty) FILTER (WHERE action = 'open') AS opened,
               coalesce(sum(qty) FILTER (WHERE action = 'close'), 0) AS closed,
               sum(CASE action WHEN 'close' THEN qty * price ELSE -qty * price END
                   * CASE side WHEN 'LONG' THEN 1 ELSE -1 END) AS gross,
               sum(qty * price) FILTER (WHERE action = 'close') AS notional,
               max(fill_number) AS last
        FROM fills GROUP BY user_id, trade_id
    )
    SELECT t.*, s.*, f.reason, f.time FROM user_trades t LEFT JOIN summed s USING (user_id, trade_id)
    LEFT JOIN fills f ON f.user_id = t.user_id AND f.session_id = t.session_id AND f.fill_number = s.last
    WHERE (t.fee, t.late, t.quantity, t.closed_quantity) IS DISTINCT FROM (s.fee, s.late, s.opened, s.closed)
       OR (t.status = 'OPEN') IS DISTINCT FROM (s.opened > s.closed)
       OR t.status = 'CLOSED' AND (
              (t.gross_pnl, t.strategy_signal, t.exit_time) IS DISTINCT FROM (s.gross, f.reason, f.time)
              OR abs(t.pnl - (s.gross - s.fee)) > 0.000000005
              OR abs(t.exit_price - s.notional / s.closed) > 0.000000005)
"""
SESSIONS_THAT_DIFFER = """
    SELECT s.session_id FROM user_trading_sessions s
    LEFT JOIN LATERAL (SELECT count(*) AS fills, count(fill_number) = coalesce(max(fill_number), 0) AS whole
                       FROM fills f WHERE f.session_id = s.session_id) f ON true
    LEFT JOIN LATERAL (SELECT count(*) AS ended, coalesce(sum(pnl), 0) AS pnl,
                              count(*) FILTER (WHERE pnl > 0) AS won, count(*) FILTER (WHERE pnl < 0) AS lost
                       FROM user_trades t WHERE t.session_id = s.session_id AND status = 'CLOSED') t ON true
    LEFT JOIN LATERAL (SELECT max(equity) AS highest, (array_agg(equity ORDER BY fill_number DESC))[1] AS last
                       FROM fills e WHERE e.session_id = s.session_id AND equity IS NOT NULL) e ON true
    WHERE (s.fill_count, s.total_trades, s.total_pnl, s.winning_trades, s.losing_trades)
              IS DISTINCT FROM (f.fills, t.ended, t.pnl, t.won, t.lost)
       OR NOT f.whole OR s.highest_equity <> greatest(s.initial_balance, e.highest)
       OR e.last <> s.initial_balance + s.total_pnl
"""
STRATEGIES_THAT_DIFFER = """
    SELECT s.strategy_id FROM user_strategies s LEFT JOIN (
        SELECT strategy_id, count(*) AS ended, sum(pnl) AS pnl, count(*) FILTER (WHERE pnl > 0) AS won
        FROM user_trades WHERE status = 'CLOSED' GROUP BY strategy_id) t USING (strategy_id)
    WHERE (s.total_uses, s.winning_trades, s.total_pnl)
          IS DISTINCT FROM (coalesce(t.ended, 0), coalesce(t.won, 0), coalesce(t.pnl, 0))
"""


def strategy_in_parts(seed: int) -> Json:
    """Build a strategy that enters often and exits at several targets, a stop, a trailing stop or a signal."""
    draw = random.Random(seed)
    levels = draw.randint(2, 5)
    values = sorted(draw.sample(range(3, 40), levels))
    shares = [draw.choice(("13", "20", "25", "7.5")) for _ in values]
    if draw.random() < 0.4:
        shares[-1] = str(100 - sum(Decimal(share) for share in shares[:-1]))
    targets = [
        {"type": "percent", "value": str(Decimal(value) / 10), "close_percent": share}
        for value, share in zip(values, shares, strict=True)
    ]
    risk: Json = {
        "position_size": {"type": "percent_of_equity", "value": "60"},
        "stop_loss": {"type": "percent", "value": str(draw.randint(1, 5))},
        "take_profits": targets,
    }
    if draw.random() < 0.5:
        risk["trailing_stop"] = {"type": "percent", "value": "2", "activation": "1"}
    if draw.random() < 0.3:
        risk["max_bars"] = draw.randint(3, 12)
    return {**CROSS, "strategy_name": f"in parts {seed}", "risk_management": risk}


async def start_all(trading: Trading, first_seed: int) -> None:
    ann = await trading.subscribe(1)
    for seed in range(first_seed, first_seed + SESSIONS):
        await trading.start(ann, await trading.strategy(1, strategy_in_parts(seed)))


async def assert_derived(trading: Trading) -> None:
    for query in (TRADES_THAT_DIFFER, SESSIONS_THAT_DIFFER, STRATEGIES_THAT_DIFFER):
        assert await trading.fetch(query) == []


async def assert_some_were_closed_in_parts(trading: Trading, least: int) -> None:
    parts = "SELECT trade_id FROM fills WHERE action = 'close' GROUP BY trade_id HAVING count(*) > 1"
    assert len(await trading.fetch(parts)) >= least


@pytest.mark.parametrize("first_seed", [0, 100])
async def test_after_every_bar_trades_and_sessions_are_the_sums_of_their_fills(
    trading: Trading, first_seed: int
) -> None:
    await start_all(trading, first_seed)
    draw = random.Random(first_seed)
    bars = wavy_bars(60, seed=first_seed)
    async with trading.worker():
        market = await trading.market(bars)
        for bar in bars:
            if draw.random() < 0.3:  # this step runs long after its bar
                trading.clock.see(from_ms(bar.open_time_ms + 2 * STEP_MS) + timedelta(minutes=1))
            await trading.until_stepped(await market.close_bars())
            await assert_derived(trading)
    await assert_some_were_closed_in_parts(trading, 5)
    mixed = "SELECT trade_id FROM fills GROUP BY trade_id HAVING count(DISTINCT late) = 2"
    assert await trading.fetch(mixed), "no trade has a late fill and one in time"


async def test_sums_hold_after_workers_are_killed_and_replaced(
    trading: Trading, service_env: Callable[[str], dict[str, str]]
) -> None:
    await start_all(trading, 200)
    bars = wavy_bars(80, seed=5)
    market = await trading.market(bars)
    for _ in range(2):
        async with worker_process(service_env("trading"), trading.exchange.url) as process:
            for _ in range(20):
                last = await market.close_bars()
                await assert_derived(trading)
            process.kill()
            await process.wait()
            await assert_derived(trading)
    for _ in range(4):
        async with trading.worker():
            last = await market.close_bars(10)
            await trading.until_stepped(last, within_s=120)
            await assert_derived(trading)
    await assert_some_were_closed_in_parts(trading, 5)


async def list_trades_with_fills(ann: Caller) -> list[tuple[Json, list[Json], str]]:
    """Return each trade with its fills and its ETag as one snapshot; reads again if a step came in between."""
    while True:
        known = await ann.list_all("/v1/trades?sort=entry_time", limit=100)
        fills = await ann.list_all("/v1/fills?sort=fill_time", limit=100)
        tags = [(await ann.call("GET", f"/v1/trades/{each['trade_id']}")).headers["ETag"] for each in known]
        if known == await ann.list_all("/v1/trades?sort=entry_time", limit=100):
            return [
                (trade, [fill for fill in fills if fill["trade_id"] == trade["trade_id"]], tag)
                for trade, tag in zip(known, tags, strict=True)
            ]


async def test_a_partly_closed_trade_shows_its_fees_and_remaining_quantity(api: Api) -> None:
    ann = await api.caller()
    made = await ann.call("POST", "/v1/strategies", strategy_in_parts(3))
    await ann.start(made.text("strategy_id"))
    bars = wavy_bars(60, seed=3)
    market = await api.trading.market(bars)
    seen: dict[str, tuple[int, str, str]] = {}
    steps = 0
    for _ in bars:
        await api.trading.until_stepped(await market.close_bars())
        for trade, fills, tag in await list_trades_with_fills(ann):
            assert Decimal(trade["fee"]) == sum(Decimal(fill["fee"]) for fill in fills)
            left = sum(Decimal(fill["quantity"]) * (1 if fill["action"] == "open" else -1) for fill in fills)
            assert Decimal(trade["remaining_quantity"]) == left
            assert trade["late"] == any(fill["late"] for fill in fills)
            known = seen.get(trade["trade_id"])
            now = (len(fills), tag, trade["updated_at"])
            if known is not None and known[0] != now[0]:
                steps += 1
                assert known[1] != now[1]
                assert known[2] < now[2]
            elif known is not None:
                assert known == now
            seen[trade["trade_id"]] = now
    assert steps > 3
