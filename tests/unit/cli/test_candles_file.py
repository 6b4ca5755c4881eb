import gzip
from decimal import Decimal
from pathlib import Path

import pytest

from cli.candles.file import CandlesError, Widened, read_candles, read_file
from shared.market.bars import Gap, find_gaps

HEADER = "open_time_ms,open,high,low,close,volume"
MINUTE = 60_000


def row(minute: int, prices: str = "1,2,0.5,1.50", volume: str = "3") -> str:
    return f"{minute * MINUTE},{prices},{volume}"


def write_file(folder: Path, *lines: str, name: str = "candles.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return path


def test_decimals_are_kept_as_written_zipped_or_not(tmp_path: Path) -> None:
    plain = write_file(tmp_path, HEADER, row(0), row(1))
    zipped = tmp_path / "candles.csv.gz"
    zipped.write_bytes(gzip.compress(plain.read_bytes()))
    bars = read_candles(plain, MINUTE)
    assert bars == read_candles(zipped, MINUTE)
    assert [bar.open_time_ms for bar in bars] == [0, MINUTE]
    assert str(bars[0].close) == "1.50"


def test_columns_are_found_by_their_names(tmp_path: Path) -> None:
    path = write_file(tmp_path, "symbol,close,low,high,open,volume,open_time_ms", "X,2,1,4,3,0,0")
    assert read_candles(path)[0][1:] == tuple(map(Decimal, (3, 4, 1, 2, 0)))


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([], "line 1: the header has no column"),
        ([HEADER], "line 1: no candles follow the header"),
        (["open_time_ms,open,high,low,close"], "line 1: the header has no column volume"),
        ([HEADER + ",open", "0"], "line 1: the header has the column open twice"),
        ([HEADER, row(1), row(0)], "line 3: open_time_ms 0 is earlier than 60000 in the line before"),
        ([HEADER, row(0), row(1), row(1)], "line 4: open_time_ms 60000 occurs twice"),
        ([HEADER, row(0), row(1, "1,2,0,1")], "line 3: a price is not above 0"),
        ([HEADER, row(0, "1,2,-1,1")], "line 2: a price is not above 0"),
        ([HEADER, row(0, volume="-1")], "line 2: volume -1 is negative"),
        ([HEADER, row(0, volume="NaN")], 'line 2: volume "NaN" is not a number'),
        ([HEADER, row(0, "inf,2,1,1")], 'line 2: open "inf" is not a number'),
        ([HEADER, row(0, "1_0,2,1,1")], 'line 2: open "1_0" is not a number'),
        ([HEADER, row(0, " 1,2,1,1")], 'line 2: open " 1" is not a number'),
        ([HEADER, row(0, "1,2,1")], "line 2: has 5 columns, the header has 6"),
        ([HEADER, row(0), ""], "line 3: has 0 columns, the header has 6"),
        ([HEADER, "1.5,1,2,1,1,0"], 'line 2: open_time_ms "1.5" is not a time in milliseconds'),
        ([HEADER, "-1,1,2,1,1,0"], 'line 2: open_time_ms "-1" is not a time in milliseconds'),
        ([HEADER, "999999999999999,1,2,1,1,0"], "is not a time in milliseconds"),
        ([HEADER, '0,"1', "2"], "line 3: is not CSV"),
    ],
)
def test_a_bad_file_is_refused_with_its_line(tmp_path: Path, lines: list[str], reason: str) -> None:
    with pytest.raises(CandlesError) as caught:
        read_candles(write_file(tmp_path, *lines))
    assert reason in str(caught.value)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "candles.csv"
    path.write_bytes(b"")
    with pytest.raises(CandlesError, match="line 1: the file is empty"):
        read_candles(path)


@pytest.mark.parametrize("damage", ["cut", "flipped", "text"])
def test_a_broken_gzip_is_refused_with_the_last_good_line(tmp_path: Path, damage: str) -> None:
    whole = gzip.compress("\n".join([HEADER, *(row(minute) for minute in range(5000))]).encode())
    broken = {"cut": whole[:-200], "flipped": whole[:-8] + b"\0" * 8, "text": b"open_time_ms"}[damage]
    path = tmp_path / "candles.csv.gz"
    path.write_bytes(broken)
    with pytest.raises(CandlesError, match=r"line \d+: broken gzip"):
        read_candles(path)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "candles.csv"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CandlesError, match="line 1: not UTF-8 text"):
        read_candles(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(CandlesError, match="cannot be read"):
            read_candles(path)


@pytest.mark.parametrize(("minutes", "line"), [([0, 5, 6], 4), ([0, 5, 10], 3)])
def test_the_smallest_step_is_the_interval(tmp_path: Path, minutes: list[int], line: int) -> None:
    path = write_file(tmp_path, HEADER, *(row(minute) for minute in minutes))
    with pytest.raises(CandlesError, match=f"line {line}: the smallest step"):
        read_candles(path, 2 * MINUTE)


def test_gaps_are_found(tmp_path: Path) -> None:
    bars = read_candles(write_file(tmp_path, HEADER, *(row(minute) for minute in (0, 1, 4, 5))), MINUTE)
    assert find_gaps((bar.open_time_ms for bar in bars), MINUTE) == [Gap(MINUTE, 4 * MINUTE, 2)]


@pytest.mark.parametrize(
    ("prices", "high", "low"),
    [("3,2,0.5,1", "3", "0.5"), ("1,2,0.5,3", "3", "0.5"), ("1,2,3,1", "3", "1"), ("1,2,1.1,1.5", "2", "1")],
)
def test_a_bar_that_does_not_enclose_its_open_and_close_is_widened_and_reported(
    tmp_path: Path, prices: str, high: str, low: str
) -> None:
    file = read_file(write_file(tmp_path, HEADER, row(0), row(1, prices), row(2)), MINUTE)
    assert (file.bars[1].high, file.bars[1].low) == (Decimal(high), Decimal(low))
    assert file.widened == [Widened(3, MINUTE)]


@pytest.mark.parametrize(
    ("times", "interval", "reason"),
    [
        ([0, 1, 2.5, 3], MINUTE, "line 4: open_time_ms 150000 is 30 s past the grid of 1 min (UTC)"),
        ([0, 24, 49, 73], 60 * MINUTE * 24, "line 4: open_time_ms 176400000 is 1 h past the grid of 24 h (UTC)"),
        ([15, 16, 17.5], 60 * MINUTE, "line 4: open_time_ms 63000000 is 30 min past the grid of 1 h (UTC)"),
        ([0.5, 1.5], 60 * MINUTE, "line 2: open_time_ms 1800000 is 30 min past the grid of 1 h (UTC)"),
        ([0, 1, 2.0000003], 60 * MINUTE, "line 4: open_time_ms 7200001 is 1 ms past the grid"),
    ],
)
def test_a_time_that_is_not_on_the_grid_is_refused_with_its_line(
    tmp_path: Path, times: list[float], interval: int, reason: str
) -> None:
    unit = MINUTE if interval == MINUTE else 60 * MINUTE
    lines = [f"{round(time * unit)},1,2,1,1,0" for time in times]
    with pytest.raises(CandlesError) as caught:
        read_candles(write_file(tmp_path, HEADER, *lines), interval)
    assert reason in str(caught.value)
