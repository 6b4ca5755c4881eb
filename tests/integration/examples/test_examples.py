"""Every example of the OpenAPI document is sent as documented, and answered as documented."""

from collections.abc import Callable, Iterable
from pathlib import Path
from uuid import UUID

import pytest

from shared.strategy.bars import Bar
from shared.testing.tenant import until_known
from stack.migrate import DatabaseAccess
from tests.integration.examples.documented import Documented, documented
from tests.integration.examples.reader import Reader
from tests.integration.trading.market import Market
from tests.isolation.world import SETTLED_WITHIN_S, backtesting, running_services, trading
from tests.pace import patient
from tests.unit.trading.scenes import wavy_bars

ServiceEnv = Callable[[str], dict[str, str]]
BARS = 120
BEFORE_THE_MARKET_MOVES = (
    "POST /v1/auth/register",
    "POST /v1/auth/login",
    "POST /v1/auth/refresh",
    "POST /v1/strategies",
    "POST /v1/strategies/{id}/publish",
    "POST /v1/bot-configurations",
    "POST /v1/sessions",
    "POST /v1/sessions/{id}/pause",
    "POST /v1/sessions/{id}/resume",
    "POST /v1/exchange-accounts",
    "POST /v1/watchlist",
    "POST /v1/alerts",
)
LAST = (
    "DELETE /v1/me/sessions/{id}",
    "DELETE /v1/me/sessions",
    "POST /v1/me/password",
    "POST /v1/auth/logout",
)
ORDER = """
    INSERT INTO trading.order_intents (
        user_id, intent_id, session_id, exchange_account_id, symbol, link_id, bar, leg, attempt, side, quantity,
        reduce_only, reason, strategy_hash, epoch, created_at, state, filled, notional, fee)
    SELECT user_id, uuidv7(), session_id, uuidv7(), symbol, 'tf', now(), 'entry', 1, 'BUY', 1,
           false, 'entry', strategy_hash, 1, now(), 'FILLED', 1, 90000, 49.5
    FROM trading.user_trading_sessions WHERE session_id = $1
"""
METHODS = ("GET", "PATCH", "PUT", "POST", "DELETE")


@pytest.mark.parametrize("operation", documented(), ids=lambda operation: operation.label)
def test_the_examples_of_an_operation_match_its_schemas(operation: Documented) -> None:
    assert list(operation.faults_of_examples()) == []


async def test_every_example_gets_the_documented_answer(
    service_env: ServiceEnv, database_access: DatabaseAccess, postgres: str, tmp_path: Path
) -> None:
    every = {operation.label: operation for operation in documented()}
    first = [every.pop(label) for label in BEFORE_THE_MARKET_MOVES]
    last = [every.pop(label) for label in LAST]
    backtest = every.pop("POST /v1/backtests")
    async with running_services(service_env, database_access, postgres, tmp_path) as (world, exchange):
        service = world.running["trading"]
        market = Market(service.database, service.producer, "BTCUSDT", dear_bars(BARS + 1))
        await market.begin()
        reader = Reader(world)
        for operation in first:
            await reader.follow(operation)
            if operation.label == "POST /v1/auth/register":
                await until_known(reader.person, "PREMIUM", patient(SETTLED_WITHIN_S))
        async with trading(service, exchange), backtesting(service):
            await market.close_bars(BARS)
            await reader.follow(backtest)
            for label in ("GET /v1/trades", "GET /v1/backtests/{id}/trades", "GET /v1/alerts/{id}/firings"):
                await reader.follow(every.pop(label))
        await reader.follow(every.pop("POST /v1/kill-switches"))
        for operation in (*in_order(every.values()), *last):
            await make_room(reader, operation.label)
            await reader.follow(operation)
        assert not reader.faults, "\n".join(reader.faults)


def in_order(operations: Iterable[Documented]) -> list[Documented]:
    """Sort reads first, a list before its items, and deletions last."""
    return sorted(operations, key=lambda each: (METHODS.index(each.method), "{" in each.path, each.path))


def dear_bars(count: int) -> list[Bar]:
    """Return bars at the prices of the examples."""
    return [
        bar._replace(open=900 * bar.open, high=900 * bar.high, low=900 * bar.low, close=900 * bar.close)
        for bar in wavy_bars(count)
    ]


async def make_room(reader: Reader, label: str) -> None:
    """Do first what a user would have to do, so that the example succeeds."""
    if label == "GET /v1/sessions/{id}/orders":
        await reader.world.database.execute(ORDER, UUID(reader.known["session_id"]))
    elif label == "DELETE /v1/me/sessions/{id}":
        logins = await reader.person.must("GET", "/v1/me/sessions")
        reader.known["login_id"] = next(each["login_id"] for each in logins["items"] if not each["current"])
    elif label == "DELETE /v1/backtests/{id}":
        body = {"strategy_id": reader.known["strategy_id"], "symbol": "BTCUSDT", "fee_rate": "0.001"}
        backtest = await reader.person.must(
            "POST", "/v1/backtests", {**body, "from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z"}
        )
        reader.known["backtest_id"] = backtest["backtest_id"]
    elif label == "POST /v1/strategies/templates/{id}/copy":
        strategies = await reader.person.must("GET", "/v1/strategies")
        copied = next(each for each in strategies["items"] if each["strategy_name"].startswith("my own"))
        await reader.person.must("DELETE", f"/v1/strategies/{copied['strategy_id']}")
