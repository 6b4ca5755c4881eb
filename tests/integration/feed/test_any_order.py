"""Whatever the stream skips, repeats or reorders, each bar is published once, in ascending order and linked."""

import random

import pytest

from tests.integration.feed.conftest import FeedScene, SingleSeries, chain, until_published
from tests.integration.feed.exchange import candles

BARS = 30
MARKET = {"BTCUSDT": candles(range(BARS + 1))}


def receive_unreliably(series: SingleSeries, minute: int, draw: random.Random) -> None:
    """Receive random updates of the bar just closed, the one just opened and earlier ones, in random order."""
    updates = [(minute - 1, True), (minute, False)]
    updates += [(draw.randrange(minute), draw.random() < 0.5) for _ in range(draw.randrange(3))]
    updates = [update for update in updates if update[0] >= 0 and draw.random() < 0.7]
    draw.shuffle(updates)
    for bar, confirmed in updates:
        series.receive(bar, confirmed=confirmed and bar < minute)
        if draw.random() < 0.2:
            series.receive(bar, confirmed=confirmed and bar < minute)
    if draw.random() < 0.1:
        series.feed.reconcile()


@pytest.mark.parametrize("scene", [MARKET], indirect=True)
@pytest.mark.parametrize("seed", range(3))
async def test_each_bar_is_published_once_in_its_place(scene: FeedScene, seed: int) -> None:
    draw = random.Random(seed)
    async with scene.series() as series:
        await scene.exchange.step()
        for minute in range(1, BARS + 1):
            await scene.exchange.step()
            receive_unreliably(series, minute, draw)
        series.receive(BARS, confirmed=False)
        assert await until_published(series.producer, 2 * BARS + 1) == chain(*range(BARS + 1))[:-1]
        assert series.alarms == 0
    assert await scene.stored_minutes() == list(range(BARS))
