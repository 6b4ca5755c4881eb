"""Names in any script and sums of any size: every list is read to its end, and no request fails."""

from decimal import Decimal
from uuid import uuid4

import pytest

from shared.contracts.trading import TradeClosed
from tests.integration.accounts import eventually
from tests.integration.analytics.conftest import Platform, session_started, trade_closed

PERFORMANCE = "/v1/performance"
LETTERS = "🚀Ж漢a\x1b"  # the last one is from before names had rules
SORTS = [f"{sign}{name}" for name in ("strategy_name", "pnl", "total_trades") for sign in ("", "-")]
HUGE = "60000000000000000000"


def _trades() -> list[TradeClosed]:
    """Build equal trades: for each letter, two strategies of one name of the greatest length."""
    trades = []
    for number, letter in enumerate(LETTERS * 2):
        name = letter * (100 if letter != "\x1b" else 3_000)
        trade = trade_closed(1, "2026-01-02T10:00:00", "1.5", strategy_id=uuid4())
        trades.append(trade.model_copy(update={"strategy_name": name, "aggregate_seq": number + 1}))
    return trades


async def test_a_list_by_name_is_read_to_its_end_in_every_order(platform: Platform) -> None:
    ann = await platform.register("ann@example.org")
    await platform.publish(session_started(1, "2026-01-01T00:00:00"), *_trades())
    path = f"{PERFORMANCE}/by-strategy"
    await eventually(lambda: platform.every(path, ann), lambda items: len(items) == len(LETTERS) * 2)
    for sort in SORTS:
        found = await _one_by_one(platform, f"{path}?sort={sort}", ann)
        assert len(found) == len(set(found)) == len(LETTERS) * 2, sort


async def _one_by_one(platform: Platform, path: str, token: str) -> list[object]:
    found: list[object] = []
    cursor = ""
    while True:
        body = (await platform.get(f"{path}&limit=1{cursor}", token)).body
        items = body["items"]
        found += [item["strategy_id"] for item in items]
        if body["next_cursor"] is None:
            return found
        cursor = f"&cursor={body['next_cursor']}"


@pytest.mark.parametrize("path", ["summary", "equity?flows=true", "daily", "by-strategy", "by-symbol"])
async def test_balances_from_before_the_limit_fail_no_request(platform: Platform, path: str) -> None:
    ann = await platform.register("ann@example.org")
    sessions = [session_started(1, f"2026-01-0{day}T00:00:00", HUGE) for day in (1, 2, 3)]
    await platform.publish(*sessions, trade_closed(1, "2026-01-04T10:00:00", HUGE))
    await eventually(
        lambda: platform.get(f"{PERFORMANCE}/summary", ann),
        lambda answer: (
            answer.body["total_trades"] == 1 and Decimal(answer.text("starting_balance")) == 3 * Decimal(HUGE)
        ),
    )
    await platform.get(f"{PERFORMANCE}/{path}", ann)
