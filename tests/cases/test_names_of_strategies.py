"""cases/names-of-strategies: each body is refused at `$.strategy_name`, by the parser and by `backtest`."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.backtest import backtest
from shared.strategy.document.parse import StrategyError, parse_strategy

pytestmark = pytest.mark.beside_checkout
NAMES = ("blank", "control", "empty", "invisible", "long")


def _body(shared_folder: Path, name: str) -> dict[str, object]:
    body: dict[str, object] = json.loads((shared_folder / f"cases/names-of-strategies/{name}.json").read_text())
    return body


@pytest.mark.parametrize("name", NAMES)
def test_the_name_is_refused_with_its_path(shared_folder: Path, name: str) -> None:
    with pytest.raises(StrategyError) as refused:
        parse_strategy(_body(shared_folder, name))
    assert [fault.path for fault in refused.value.faults] == ["$.strategy_name"]


@pytest.mark.parametrize("name", NAMES)
def test_backtest_refuses_the_file_in_one_line(shared_folder: Path, name: str) -> None:
    file = str(shared_folder / f"cases/names-of-strategies/{name}.json")
    done = CliRunner().invoke(backtest, ["--strategy", file, "--candles", "none.csv"])
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "$.strategy_name" in done.stderr
