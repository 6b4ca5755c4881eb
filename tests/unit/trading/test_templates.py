"""The strategy templates are valid, have stable ids, and trade."""

import random
from decimal import Decimal

import pytest

from services.trading.templates import Template, templates
from shared.strategy.backtest.run import run_backtest
from shared.strategy.bars import Bar, Terms
from tests.unit.trading.scenes import INSTRUMENT

IDS = {
    "channel-breakout": "d6d9b928-26e4-5fd0-a144-fe6107e73188",
    "ema-trend": "8acf0fe1-da11-5e28-9dfa-a8a0ec060f79",
    "pullback": "18b62c13-bc56-5b4c-9e27-087e782218bf",
}


def test_the_three_templates_have_fixed_names_and_ids() -> None:
    assert {each.strategy.name: str(each.template_id) for each in templates()} == IDS
    assert all(each.strategy.description for each in templates())


def long_waves(template: Template) -> list[Bar]:
    """A market in long waves, so that each template finds an entry."""
    draw, bars, price = random.Random(5), [], Decimal(100)
    for index in range(3_000):
        trend = Decimal("0.12") if index % 400 < 250 else Decimal("-0.13")
        close = max(price + trend + Decimal(draw.randint(-100, 100)) / 100, Decimal(20))
        high, low = max(price, close) + Decimal("0.2"), min(price, close) - Decimal("0.2")
        bars.append(Bar(index * template.strategy.interval_ms, price, high, low, close, Decimal(1)))
        price = close
    return bars


@pytest.mark.parametrize("template", templates(), ids=lambda each: each.strategy.name)
def test_each_template_trades(template: Template) -> None:
    report = run_backtest(template.strategy, long_waves(template), Terms(INSTRUMENT))
    assert len(report.trades) > 3


def test_the_old_bots_strategy_enters_near_its_average_and_stays_out_far_above_it() -> None:
    (trend,) = (each for each in templates() if each.strategy.name == "ema-trend")
    closes = [*["100"] * 12, "100.4", "100.6", "100.8", "130", "131", "131"]
    bars = [Bar(n * 1_800_000, *(Decimal(close),) * 4, Decimal(1)) for n, close in enumerate(closes)]
    entry, _ = run_backtest(trend.strategy, bars, Terms(INSTRUMENT)).fills
    assert (entry.time_ms, entry.action, entry.price) == (bars[13].open_time_ms, "open", Decimal("100.6"))
