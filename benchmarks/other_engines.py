"""Runs other engines in the environment that `make bench` creates for them."""

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
from benchmarks.measuring import RUNS, Rate, summarise
from shared.strategy.bars import Bar

ROOT = Path(__file__).parents[1]
PYTHON = ROOT / ".venv-peers" / "bin" / "python"
SCRIPT = Path(__file__).with_name("peers.py")
NEW_PROCESS_BARS = 8_639


@dataclass(frozen=True)
class PeerResult:
    version: str
    seconds: list[float]
    trades: int


def run_peer(name: str, prices: Columns, bars: int, runs: int = RUNS) -> PeerResult:
    """Measure warm runs of a peer over the first `bars` bars."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "prices.npy"
        np.save(file, np.stack(list(prices.values())))
        return _run_script(name, file, runs, bars)


def time_new_processes(bars: Sequence[Bar]) -> tuple[Rate, Rate, str]:
    """Measure new processes, ours and backtesting's: start, imports, reading a file, printing the result."""
    with tempfile.TemporaryDirectory() as folder:
        candles, plan, file = (Path(folder) / name for name in ("candles.csv.gz", "cross.json", "prices.npy"))
        with gzip.open(candles, "wt", newline="") as text:
            csv.writer(text).writerows([Bar._fields, *bars])
        plan.write_text(json.dumps(document()))
        np.save(file, np.stack(list(columns(bars).values())))
        command = [sys.executable, "-m", "cli", "backtest", "--candles", str(candles), "--strategy", str(plan)]
        ours, theirs, version = [], [], ""
        for _ in range(RUNS):
            began = _children_cpu_s()
            subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
            ours.append(_children_cpu_s() - began)
            began = _children_cpu_s()
            version = _run_script("backtesting", file, 1, NEW_PROCESS_BARS).version
            theirs.append(_children_cpu_s() - began)
    return summarise([1 / each for each in ours]), summarise([1 / each for each in theirs]), version


def _children_cpu_s() -> float:
    """Return the processor time of all ended child processes."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _run_script(name: str, file: Path, runs: int, bars: int) -> PeerResult:
    if not PYTHON.exists():
        raise SystemExit("the other engines are not installed: `make bench` installs them into .venv-peers")
    command = [str(PYTHON), "-W", "ignore", str(SCRIPT), name, str(file), str(runs), str(bars)]
    environment = {**os.environ, "TQDM_DISABLE": "1"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
    return PeerResult(**json.loads(done.stdout))
