"""`backtest` takes the instrument from the option, from the file beside the candles, or from the candles, in this
order."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.backtest import backtest
from cli.demo.options import RawOptions, read_options
from cli.options import BadOption
from tests.unit.strategy.scenes import document

CHEAP = ["0.0038", "0.0041", "0.0042", "0.0045"]
EXCHANGES = {
    "symbol": "CHEAPUSDT",
    "interval": "60",
    "tick_size": "0.0005",
    "qty_step": "10",
    "min_order_qty": "10",
    "min_notional": "1",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_candles(tmp_path, CHEAP)
    everything = {"position_size": {"type": "percent_of_equity", "value": 100}}
    (tmp_path / "s.json").write_text(json.dumps(document(risk=everything)))
    return tmp_path


def write_candles(folder: Path, prices: list[str]) -> None:
    lines = [f"{index * 3_600_000},{price},{price},{price},{price},1" for index, price in enumerate(prices)]
    (folder / "c.csv").write_text("\n".join(["open_time_ms,open,high,low,close,volume", *lines]) + "\n")


def store_beside_candles(folder: Path, **changes: object) -> None:
    (folder / "c.csv.instrument.json").write_text(json.dumps(EXCHANGES | changes))


def run_backtest_command(folder: Path, *options: str) -> Result:
    files = ["--candles", str(folder / "c.csv"), "--strategy", str(folder / "s.json")]
    return CliRunner().invoke(backtest, [*files, "--json", *options])


def first_price(result: Result) -> str:
    assert result.exit_code == 0, result.output
    price: str = json.loads(result.stdout)["fill_list"][0]["price"]
    return price


@pytest.mark.parametrize(
    ("prices", "filled"),
    [
        (CHEAP, "0.0041"),
        (["0.5139", "0.5141"], "0.5141"),
        (["0.0050", "0.0051"], "0.0051"),
        (["0.0000002", "0.0000001"], "0.0000001"),
        (["1.10", "1.20"], "1.2"),
        (["1e-7", "2e-7"], "0.0000002"),
    ],
)
def test_without_an_instrument_fills_have_the_prices_of_the_candles(
    folder: Path, prices: list[str], filled: str
) -> None:
    write_candles(folder, prices)
    assert first_price(run_backtest_command(folder)) == filled


def test_the_instrument_stored_beside_the_candles_is_used_and_reported(folder: Path) -> None:
    store_beside_candles(folder)
    result = run_backtest_command(folder)
    assert first_price(result) == "0.004"
    used = json.loads(result.stdout)["instrument"]
    assert (used["tick_size"], used["qty_step"], used["has_finer_prices"]) == ("0.0005", "10", True)
    assert used["source"] == "of CHEAPUSDT, stored with the candles"


def test_the_option_overrides_only_the_fields_it_gives(folder: Path) -> None:
    store_beside_candles(folder)
    result = run_backtest_command(folder, "--instrument", "tick_size=0.0001")
    used = json.loads(result.stdout)["instrument"]
    assert first_price(result) == "0.0041"
    assert (used["tick_size"], used["qty_step"]) == ("0.0001", "10")
    (folder / "c.csv.instrument.json").unlink()
    assert first_price(run_backtest_command(folder, "--instrument", "qty_step=1")) == "0.0041"


def test_a_given_tick_above_a_price_is_refused(folder: Path) -> None:
    result = run_backtest_command(folder, "--instrument", "tick_size=0.01")
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert "--instrument tick_size: the candles have a price of 0.0038, below the tick size of 0.01" in (
        result.stderr
    )


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"interval": "15"}, "its candles have interval 15, but the strategy has 60"),
        ({"tick_size": 1}, "must be an object with the strings"),
        ({"tick_size": "1e-3"}, "tick_size is not a decimal"),
        ({"tick_size": "0"}, "tick_size and qty_step must be above 0"),
        ({"symbol": None}, "must be an object with the strings"),
    ],
)
def test_an_unusable_stored_instrument_is_one_line(folder: Path, changes: dict[str, object], line: str) -> None:
    store_beside_candles(folder, **changes)
    result = run_backtest_command(folder)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert line in result.stderr


def test_a_fetched_file_with_gaps_has_the_interval_stored_with_it(folder: Path) -> None:
    """Its smallest step is two hours; without the stored interval it could be a file of another interval."""
    lines = [f"{index * 7_200_000},1,1,1,1,1" for index in range(3)]
    (folder / "c.csv").write_text("\n".join(["open_time_ms,open,high,low,close,volume", *lines]) + "\n")
    assert "the smallest step" in run_backtest_command(folder).stderr
    store_beside_candles(folder)
    assert [gap["missing"] for gap in json.loads(run_backtest_command(folder).stdout)["gaps"]] == [1, 1]


def test_the_demo_uses_the_same_instruments(folder: Path) -> None:
    def options(*steps: str) -> RawOptions:
        return RawOptions(
            [f"CHEAPUSDT={folder / 'c.csv'}"], [str(folder / "s.json")], steps, "0", "100", 1, None, None
        )

    assert str(read_options(options(), folder).instruments["CHEAPUSDT"].tick_size) == "0.0001"
    store_beside_candles(folder)
    given = read_options(options("CHEAPUSDT:min_notional=2"), folder).instruments["CHEAPUSDT"]
    assert (str(given.tick_size), str(given.min_notional)) == ("0.0005", "2")
    with pytest.raises(BadOption, match="below the tick"):
        read_options(options("tick_size=0.01"), folder)
