"""Reads candle files: `open_time_ms,open,high,low,close,volume`, plain or gzipped."""

import csv
import gzip
from itertools import islice
from pathlib import Path

from sandbox.bybit.replay import Candle

COLUMNS = ["open_time_ms", "open", "high", "low", "close", "volume"]


def read_candles(path: Path, limit: int | None = None) -> list[Candle]:
    """Return the first `limit` candles of a file. Raises ValueError, OSError."""
    with gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="") as file:
        rows = csv.DictReader(file)
        if rows.fieldnames is None or not set(COLUMNS) <= set(rows.fieldnames):
            raise ValueError(f"{path}: the columns must be {','.join(COLUMNS)}")
        candles = [
            Candle(int(row["open_time_ms"]), row["open"], row["high"], row["low"], row["close"], row["volume"])
            for row in islice(rows, limit)
        ]
    if not candles:
        raise ValueError(f"{path}: no candles")
    return candles
