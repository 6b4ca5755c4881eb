"""What must hold after the replay, worked out from plain SQL, the topics and the answers clients get."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import asyncpg

from cli.demo.ledger import TopicLedger
from cli.demo.options import DemoOptions
from cli.demo.scenario import Tenant
from shared.strategy.backtest import run_backtest
from shared.strategy.bars import Terms
from shared.strategy.document import parse_strategy

EVENTUALLY_S = 30
ON_TIME = Decimal("0.99")
SERVICES = ("auth", "billing", "trading", "analytics", "notifications")

# How often each thing must have been said, from the tables of who says it.
EXPECTED_EVENTS = {
    "user.registered": "SELECT count(*) FROM auth.users",
    "subscription.changed": "SELECT count(*) FROM billing.plan_changes",
    "session.started": "SELECT count(*) FROM trading.user_trading_sessions",
    "session.stopped": "SELECT count(*) FROM trading.user_trading_sessions WHERE status = 'STOPPED'",
    "trade.opened": "SELECT count(*) FROM trading.user_trades",
    "trade.closed": "SELECT count(*) FROM trading.user_trades WHERE status = 'CLOSED'",
    "alert.triggered": "SELECT coalesce(sum(triggered_count), 0) FROM notifications.user_alerts",
    "market.interest": " UNION ALL ".join(
        f"SELECT coalesce(sum(interest_version), 0) FROM {service}.published_interests"
        for service in ("trading", "analytics", "notifications")
    ),
    "candle.opened": "SELECT count(*) FROM trading.candles",
    "candle.closed": "SELECT count(*) FROM trading.candles",
}


@dataclass
class Outcome:
    """Each check's verdict, and for one that failed what was seen."""

    checks: dict[str, bool] = field(default_factory=dict)
    seen: dict[str, str] = field(default_factory=dict)

    def record(self, name: str, holds: bool, seen: str) -> None:
        self.checks[name] = holds
        self.seen[name] = seen

    @property
    def ok(self) -> bool:
        return all(self.checks.values())


async def eventually(look: Callable[[], Awaitable[str]]) -> str:
    """The empty string as soon as the fault is gone; the last fault seen otherwise."""
    fault = ""
    try:
        async with asyncio.timeout(EVENTUALLY_S):
            while fault := await look():
                await asyncio.sleep(0.2)
    except TimeoutError:
        return fault
    return ""


def expected_fingerprints(options: DemoOptions) -> dict[tuple[str, str], str]:
    """(strategy, symbol) → the backtest's fingerprint of the same bars."""
    expected = {}
    for candles in options.candles:
        terms = Terms(options.instruments[candles.symbol], options.fee, Decimal(0), options.balance)
        for document in options.documents:
            report = run_backtest(parse_strategy(document), candles.bars, terms)
            expected[(str(document["strategy_name"]), candles.symbol)] = report.fingerprint
    return expected


def compare_fingerprints(options: DemoOptions, tenants: list[Tenant], views: dict[str, Any]) -> str:
    """The first session whose fills are not the backtest's."""
    expected = expected_fingerprints(options)
    for tenant in tenants:
        for session in tenant.sessions:
            wanted = expected[(session.strategy, session.symbol)]
            if views[session.session_id]["fingerprint"] != wanted:
                return f"{session.strategy} on {session.symbol} of {tenant.email} differs from its backtest"
    return ""


async def count_tables(owner: asyncpg.Connection) -> dict[str, int]:
    """Topic → how many events there must be."""
    return {
        topic: int(sum([row[0] for row in await owner.fetch(query)])) for topic, query in EXPECTED_EVENTS.items()
    }


async def compare_events(owner: asyncpg.Connection, ledger: TopicLedger, *, all_above_zero: bool) -> str:
    """The first topic whose distinct events are not as many as the tables say."""
    for topic, expected in (await count_tables(owner)).items():
        if ledger.counts[topic] != expected:
            return f"{topic}: {ledger.counts[topic]} events, {expected} by the tables"
        if all_above_zero and not expected:
            return f"{topic}: none"
    return ""


async def look_for_leftovers(owner: asyncpg.Connection, ledger: TopicLedger) -> str:
    """What waits in an outbox, is parked, or lies in the dead letters."""
    for service in SERVICES:
        unsent = await owner.fetchval(f"SELECT count(*) FROM {service}.outbox WHERE sent_at IS NULL")
        parked = await owner.fetchval(f"SELECT count(*) FROM {service}.parked")
        if unsent or parked:
            return f"{service}: {unsent} unsent, {parked} parked"
    return f"{ledger.dead_letters} dead letters" if ledger.dead_letters else ""


async def compare_fill_times(owner: asyncpg.Connection, ledger: TopicLedger, interval_ms: int) -> str:
    """Fills are committed while bars arrive: before the second-next bar is announced."""
    fills = await owner.fetch(
        """
        SELECT s.symbol, s.interval, (extract(epoch FROM f.time) * 1000)::bigint AS time_ms, f.created_at
        FROM trading.fills f JOIN trading.user_trading_sessions s USING (user_id, session_id)
        WHERE NOT f.late AND f.reason <> 'end_of_data'
        """
    )
    on_time = 0
    for fill in fills:
        said = _second_next(ledger, fill["symbol"], fill["interval"], fill["time_ms"], interval_ms)
        on_time += said is None or fill["created_at"] < said
    if fills and Decimal(on_time) / len(fills) < ON_TIME:
        return f"{len(fills) - on_time} of {len(fills)} fills were committed late"
    return ""


def _second_next(ledger: TopicLedger, symbol: str, interval: str, time_ms: int, interval_ms: int) -> Any:
    bars = ledger.bars_after(symbol, interval, time_ms)
    return ledger.first_said[(symbol, interval, bars[1])] if len(bars) > 1 else None
