"""Checks after the replay, computed from SQL, the topics and API responses."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import asyncpg

from cli.demo.ledger import TopicLedger
from cli.demo.options import DemoOptions
from shared.strategy.backtest.run import run_backtest
from shared.strategy.bars import Terms
from stack.migrate import SERVICES

EVENTUALLY_TIMEOUT_S = 30
MAX_TARDY_PERCENT = 1

# Expected number of events by topic, from the publisher's tables.
EXPECTED_EVENTS = {
    "user.registered": "SELECT count(*) FROM auth.users",
    "subscription.changed": "SELECT coalesce(sum(subscription_version), 0) FROM billing.subscribers",
    "session.started": "SELECT count(*) FROM trading.user_trading_sessions",
    "session.stopped": "SELECT count(*) FROM trading.user_trading_sessions WHERE status = 'STOPPED'",
    "trade.opened": "SELECT count(*) FROM trading.user_trades",
    "trade.closed": "SELECT count(*) FROM trading.user_trades WHERE status = 'CLOSED'",
    "alert.triggered": "SELECT count(*) FROM notifications.alert_firings",
    "market.interest": " UNION ALL ".join(
        f"SELECT coalesce(sum(interest_version), 0) FROM {service}.published_interests"
        for service in ("trading", "analytics", "notifications")
    ),
    "candle.opened": "SELECT count(*) FROM trading.candles WHERE origin = 'STREAM'",
    "candle.closed": "SELECT count(*) FROM trading.candles WHERE origin = 'STREAM'",
}

Fault = str  # empty if there is none


@dataclass
class DemoOutcome:
    """Result and observation of each check."""

    checks: dict[str, bool] = field(default_factory=dict)
    seen: dict[str, str] = field(default_factory=dict)

    def record(self, name: str, fault: Fault, observation: str) -> None:
        """Record a check; it passes if `fault` is empty."""
        self.checks[name] = not fault
        self.seen[name] = fault or observation

    @property
    def ok(self) -> bool:
        return all(self.checks.values())


async def eventually(check: Callable[[], Awaitable[Fault]]) -> Fault:
    """Repeat `check` until it returns no fault; returns the last fault after EVENTUALLY_TIMEOUT_S."""
    fault = ""
    try:
        async with asyncio.timeout(EVENTUALLY_TIMEOUT_S):
            while fault := await check():
                await asyncio.sleep(0.2)
    except TimeoutError:
        return fault
    return ""


def expected_fingerprints(options: DemoOptions) -> dict[tuple[str, str], str]:
    """Return the fingerprint of the backtest on the same bars by (strategy, symbol)."""
    expected = {}
    for candles in options.candles:
        terms = Terms(options.instruments[candles.symbol], options.fee, Decimal(0), options.balance)
        for document in options.documents:
            report = run_backtest(document.strategy, list(candles.bars), terms)
            expected[(document.strategy.name, candles.symbol)] = report.fingerprint
    return expected


def compare_fingerprints(
    expected: Mapping[tuple[str, str], str], sessions: Sequence[tuple[str, Mapping[str, Any]]]
) -> Fault:
    """Return the first session whose fills differ from its backtest; `sessions` are (strategy name, view)."""
    for strategy, view in sessions:
        if view["fingerprint"] != expected[(strategy, view["symbol"])]:
            return f"session {view['session_id']}: {strategy} on {view['symbol']} differs from its backtest"
    return ""


async def count_tables(owner: asyncpg.Connection) -> dict[str, int]:
    """Return the expected number of events by topic."""
    return {
        topic: int(sum([row[0] for row in await owner.fetch(query)])) for topic, query in EXPECTED_EVENTS.items()
    }


async def compare_events(owner: asyncpg.Connection, ledger: TopicLedger, *, all_above_zero: bool) -> Fault:
    """Return the first topic whose number of distinct events differs from the tables."""
    for topic, expected in (await count_tables(owner)).items():
        if ledger.counts[topic] != expected:
            return f"{topic}: {ledger.counts[topic]} events, expected {expected} from the tables"
        if all_above_zero and not expected:
            return f"{topic}: no events"
    return ""


async def find_unsent(owner: asyncpg.Connection) -> Fault:
    """Return the first service with unsent or parked events."""
    for service in SERVICES:
        unsent = await owner.fetchval(f"SELECT count(*) FROM {service}.outbox WHERE sent_at IS NULL")
        parked = await owner.fetchval(f"SELECT count(*) FROM {service}.parked")
        if unsent or parked:
            return f"{service}: {unsent} unsent, {parked} parked"
    return ""


async def compare_fill_times(owner: asyncpg.Connection, ledger: TopicLedger) -> tuple[Fault, str]:
    """Check that fills are committed before the second-next bar is announced; returns fault and observation."""
    fills = await owner.fetch(
        """
        SELECT s.symbol, s.interval, (extract(epoch FROM f.time) * 1000)::bigint AS time_ms, f.created_at, f.late
        FROM trading.fills f JOIN trading.user_trading_sessions s USING (user_id, session_id)
        WHERE f.reason <> 'end_of_data'
        """
    )
    in_time = [fill for fill in fills if not fill["late"]]
    tardy = 0
    for fill in in_time:
        announced = ledger.second_next(fill["symbol"], fill["interval"], fill["time_ms"])
        tardy += announced is not None and fill["created_at"] >= announced
    seen = f"{len(fills)} fills, {len(fills) - len(in_time)} marked late, {tardy} tardy"
    return (seen if tardy * 100 > len(in_time) * MAX_TARDY_PERCENT else ""), seen
