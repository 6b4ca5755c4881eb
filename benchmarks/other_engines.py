"""Runs other engines, in the environment that `make bench` makes for them."""

import csv
import gzip
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.crossing import Columns, columns, document
from benchmarks.measuring import RUNS, Rate, summarised
from shared.strategy.bars import Bar

ROOT = Path(__file__).parents[1]
PYTHON = ROOT / ".venv-peers" / "bin" / "python"
SCRIPT = Path(__file__).with_name("peers.py")
FRESH = 8_639


@dataclass(frozen=True)
class Found:
    version: str
    seconds: list[float]
    trades: int


def of_peer(name: str, prices: Columns, bars: int, runs: int = RUNS) -> Found:
    """Its warm runs over the first bars."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "prices.npy"
        np.save(file, np.stack(list(prices.values())))
        return _asked(name, file, runs, bars)


def in_new_processes(bars: Sequence[Bar]) -> tuple[Rate, Rate, str]:
    """Whole runs from a file, ours and backtesting's: start, imports, reading, and the result on the screen."""
    with tempfile.TemporaryDirectory() as folder:
        candles, plan, file = (Path(folder) / name for name in ("candles.csv.gz", "cross.json", "prices.npy"))
        with gzip.open(candles, "wt", newline="") as text:
            csv.writer(text).writerows([Bar._fields, *bars])
        plan.write_text(json.dumps(document()))
        np.save(file, np.stack(list(columns(bars).values())))
        command = [sys.executable, "-m", "cli", "backtest", "--candles", str(candles), "--strategy", str(plan)]
        ours, theirs, version = [], [], ""
        for _ in range(RUNS):
            began = _of_children()
            subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
            ours.append(_of_children() - began)
            began = _of_children()
            version = _asked("backtesting", file, 1, FRESH).version
            theirs.append(_of_children() - began)
    return summarised([1 / each for each in ours]), summarised([1 / each for each in theirs]), version


def _of_children() -> float:
    """Processor time of the processes that ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _asked(name: str, file: Path, runs: int, bars: int) -> Found:
    if not PYTHON.exists():
        raise SystemExit("the other engines are not installed: `make bench` does it, into .venv-peers")
    command = [str(PYTHON), "-W", "ignore", str(SCRIPT), name, str(file), str(runs), str(bars)]
    environment = {**os.environ, "TQDM_DISABLE": "1"}
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
    return Found(**json.loads(said.stdout))
