"""Named points in the code where a fault run can kill or stop the process; inactive unless settings enable them."""

import os
import signal
from pathlib import Path
from typing import Literal, get_args

Point = Literal[
    "transaction.before_commit",
    "transaction.after_commit",
    "http.before_answer",
    "relay.after_rows_read",
    "relay.after_ack",
    "relay.after_mark",
    "relay.after_commit",
    "consumer.after_fetch",
    "consumer.after_work",
    "consumer.after_offsets",
    "inbox.after_rows",
    "inbox.after_effect",
    "parked.before_retry",
    "parked.after_effect",
    "billing.deadline_due",
    "feed.before_candle",
    "feed.after_candle",
    "worker.after_claim",
    "worker.before_decision",
    "worker.after_decision",
    "worker.after_quiet_step",
    "orders.before_commit",
    "orders.after_commit",
    "orders.after_gate",
    "orders.after_send",
    "alerts.before_firing",
    "alerts.after_firing",
]
POINTS: tuple[str, ...] = get_args(Point)
_SIGNALS = {"KILL": signal.SIGKILL, "STOP": signal.SIGSTOP}


def point(name: Point) -> None:
    """Mark a place where a fault may strike; costs one comparison when switched off."""
    if _switched_on is not None:
        _switched_on.hit(name)


def switch_on(folder: Path, process_name: str) -> None:
    """Count hits below `folder/hits`, and strike as `folder/arm/<process_name>` orders.

    The file holds one line, `<point> <KILL|STOP> <nth>`: the nth hit of that point from then on strikes. Before
    that the file is moved to `folder/fired`, so that each order is executed once.
    """
    global _switched_on
    _switched_on = _Points(folder, process_name)


class _Points:
    def __init__(self, folder: Path, process_name: str) -> None:
        for name in ("arm", "fired", "hits"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self._armed = folder / "arm" / process_name
        self._fired = folder / "fired"
        self._mark = f"{process_name}-{os.getpid()}"
        self._hits = os.open(folder / "hits" / self._mark, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._strikes = 0
        self._seen: tuple[str, int] = ("", 0)  # the armed line, and how often its point was hit since

    def hit(self, name: Point) -> None:
        os.write(self._hits, bytes([POINTS.index(name)]))
        try:
            line = self._armed.read_text().strip()
        except FileNotFoundError:
            return
        armed, action, nth = line.split()
        if armed != name:
            return
        hits = self._seen[1] + 1 if self._seen[0] == line else 1
        self._seen = (line, hits)
        if hits >= int(nth):
            self._strike(_SIGNALS[action])

    def _strike(self, number: signal.Signals) -> None:
        self._strikes += 1
        self._seen = ("", 0)
        try:
            self._armed.rename(self._fired / f"{self._mark}-{self._strikes}")
        except FileNotFoundError:
            return  # withdrawn meanwhile
        os.kill(os.getpid(), number)


_switched_on: _Points | None = None
