"""Candles over HTTP: sorted in either order, of one generation."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import pytest

from services.trading.app import build
from shared.chassis.service import RunningService
from shared.contracts.types import from_ms, instant_text
from shared.testing.api_client import Answer, Json, open_client
from shared.testing.tokens import serve_tokens
from tests.integration.trading.conftest import Trading
from tests.unit.trading.scenes import wavy_bars

BARS = wavy_bars(12)
TIMES = [instant_text(from_ms(bar.open_time_ms)) for bar in BARS]
Ask = Callable[[str], Awaitable[Answer]]


@pytest.fixture
async def ask(trading: Trading) -> AsyncIterator[Ask]:
    """Request candles of BTCUSDT as a tenant; ten confirmed bars are stored."""
    await (await trading.market(BARS)).close_bars(10)
    principal = await trading.subscribe(1)
    async with serve_tokens() as tokens:
        settings = trading.settings.model_copy(update={"jwks_url": tokens.jwks_url})
        async with RunningService(build, settings, {"http"}) as running, open_client(running.url) as client:
            token = tokens.make_token(principal.public_id)
            yield lambda query: client.call("GET", f"/v1/candles?symbol=BTCUSDT&interval=15{query}", token=token)


def items(answer: Answer) -> Sequence[Json]:
    assert answer.status == 200, answer.body
    found: list[Json] = answer.body["items"]
    return found


def times(answer: Answer) -> list[str]:
    return [str(item["open_time"]) for item in items(answer)]


async def paged(ask: Ask, query: str) -> list[str]:
    seen, cursor = [], ""
    while True:
        page = await ask(f"&limit=3{query}{cursor}")
        seen += times(page)
        if page.body["next_cursor"] is None:
            return seen
        cursor = f"&cursor={page.text('next_cursor')}"


async def test_candles_are_paged_in_either_order(ask: Ask) -> None:
    assert await paged(ask, "") == await paged(ask, "&sort=-open_time") == TIMES[9::-1]
    assert await paged(ask, "&sort=open_time") == TIMES[:10]
    assert items(await ask("&limit=1&sort=open_time"))[0]["close"] == str(BARS[0].close.normalize())


async def test_from_is_included_and_to_is_not(ask: Ask) -> None:
    span = f"&from={TIMES[2]}&to={TIMES[6]}"
    assert await paged(ask, span) == TIMES[5:1:-1]
    assert await paged(ask, span + "&sort=open_time") == TIMES[2:6]


async def test_a_cursor_belongs_to_its_order(ask: Ask) -> None:
    cursor = (await ask("&limit=3")).text("next_cursor")
    assert (await ask(f"&sort=open_time&cursor={cursor}")).status == 422


async def test_pages_stay_in_their_generation_when_a_new_one_opens(ask: Ask, trading: Trading) -> None:
    first = await ask("&limit=3")
    await trading.fetch(
        "INSERT INTO series (venue, symbol, interval, generation) VALUES ('bybit', 'BTCUSDT', '15', 2)"
    )
    assert times(await ask(f"&limit=3&cursor={first.text('next_cursor')}")) == TIMES[6:3:-1]
    assert times(await ask("")) == []  # the newest generation is the default
    assert times(await ask("&generation=1")) == TIMES[9::-1]


@pytest.mark.parametrize(
    ("query", "status"),
    [("&generation=9", 200), ("&generation=0", 422), ("&generation=x", 422), ("&sort=close", 422)],
)
async def test_query_parameters_are_validated(ask: Ask, query: str, status: int) -> None:
    assert (await ask(query)).status == status
